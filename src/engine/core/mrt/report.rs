//! What the kernel, the monitors and the log are told of an entry.

use std::net::IpAddr;

use super::decide::{Reason, Verdict, View, network};
use super::routes::Routes;
use super::table::Entry;
use crate::engine::core::link::Link;
use crate::engine::core::slot::Slots;
use crate::imsg::ctl::{Event, EventKind};
use crate::kroute::{Output, Route, RouteKey};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Family};

/// Source networks whose refusal is logged, in an engine's life.
pub(super) const MAX_REPORTED: usize = 256;

/// Between two log lines of one kind.
pub(super) const LOG_GAP: Millis = Millis::from_secs(1);

/// What monitors and the log are told.
#[derive(Clone, Debug, PartialEq)]
pub enum MrtEvent {
    /// A route came, went or moved. Drop entries do so silently.
    Event(Event),
    /// A line for the log, already bounded.
    Log(String),
}

/// Why an entry changes, for the monitors.
pub(super) type Cause = &'static str;

/// What was refused, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MrtCounters {
    /// Questions of the kernel.
    pub upcalls: u64,
    /// Those about what is never forwarded, or from an interface that is not ours.
    pub unroutable: u64,
    /// Those about packets of known flows on another interface.
    pub wrong_interface: u64,
    /// Drop entries that made room for others.
    pub evicted: u64,
    /// Flows left without an entry because `max-routes` was reached.
    pub limit: u64,
    /// Routes that the kernel refused.
    pub failed: u64,
}

/// Kinds of log lines that are bounded in time.
#[derive(Clone, Copy, Debug)]
pub(super) enum LogKind {
    /// `max-routes` was reached.
    Limit,
    /// A flow arrives on a second interface.
    WrongInterface,
}

impl LogKind {
    pub(super) const COUNT: usize = 2;
}

/// What names the entry.
pub(super) fn key<F: Family>(entry: &Entry<F>) -> RouteKey {
    let source = (!entry.source.is_unspecified()).then(|| entry.source.into());
    RouteKey { source, group: entry.group.into() }
}

/// The entry as the kernel gets it.
pub(super) fn route<F: Family>(entry: &Entry<F>, links: &Slots<Link<F>>) -> Route {
    let output = |link: &Link<F>| Output {
        ifindex: link.ifindex,
        threshold: match F::AF {
            Af::Ip4 => link.settings.threshold.clamp(1, u8::MAX - 1),
            Af::Ip6 => 1,
        },
    };
    Route {
        key: key(entry),
        incoming: links.get(entry.incoming).map_or(0, |l| l.ifindex),
        outgoing: entry.outputs.iter().filter_map(|s| links.get(s)).map(output).collect(),
    }
}

impl<F: Family> Routes<F> {
    /// Tells the monitors what became of an entry.
    pub(super) fn tell(
        &mut self,
        event: EventKind,
        entry: &Entry<F>,
        links: &Slots<Link<F>>,
        cause: Cause,
    ) {
        let name = |slot| links.get(slot).map(|l| l.name.clone());
        let key = key(entry);
        self.events.push_back(MrtEvent::Event(Event {
            time: 0,
            event,
            interface: name(entry.incoming),
            family: Some(F::AF),
            group: Some(key.group),
            source: key.source,
            outgoing_interfaces: entry.outputs.iter().filter_map(name).collect(),
            reason: Some(cause.into()),
        }));
    }

    /// Notes a line for the log, at most one of its kind in [`LOG_GAP`].
    pub(super) fn log(&mut self, now: Tick, kind: LogKind, line: impl FnOnce() -> String) {
        if let Some(quiet) = self.quiet.get_mut(kind as usize)
            && *quiet <= now
        {
            *quiet = now + LOG_GAP;
            self.events.push_back(MrtEvent::Log(line()));
        }
    }

    /// Logs a flow that somebody waits for and whose source is not accepted, once for each network.
    pub(super) fn report_refusal(
        &mut self,
        view: &View<'_, F>,
        source: F::Addr,
        verdict: &Verdict,
    ) {
        if let Some(Reason::Source(slot)) = verdict.reason
            && self.reported.len() < MAX_REPORTED
            && self.reported.insert((slot, network(source)))
            && let Some(link) = view.world.links.get(slot)
        {
            let (group, source): (IpAddr, IpAddr) = (view.group.into(), source.into());
            let (name, net) = (&link.name, network(source));
            let line = format!(
                "{source} to {group} is dropped: not in a connected network of {name}; to accept \
                 it: interface {name} {{ source {net} }}"
            );
            self.events.push_back(MrtEvent::Log(line));
        }
    }
}
