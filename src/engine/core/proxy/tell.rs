//! What the log is told of what the network does: each kind of line about a link only now and then.

use super::{Port, Proxy};
use crate::engine::core::Action;
use crate::engine::core::slot::Slot;
use crate::imsg::{Envelope, Packet};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Discard, Family, Query};

/// Between two lines of one kind about one link.
pub(super) const LINE_GAP: Millis = Millis::from_secs(1);
/// The same for what goes on until somebody mends it.
const WARNING_GAP: Millis = Millis::from_secs(600);

impl<F: Family> Port<F> {
    /// Whether a line of this kind is due.
    fn is_due(&mut self, now: Tick, kind: &'static str, gap: Millis) -> bool {
        let quiet = self.quiet.entry(kind).or_default();
        let due = *quiet <= now;
        if due {
            *quiet = now + gap;
        }
        due
    }
}

impl<F: Family> Proxy<F> {
    /// Counts what had no effect. Limits are told to every log, the other reasons to a verbose one.
    pub(super) fn discard(
        &mut self,
        now: Tick,
        slot: Slot,
        reason: Discard,
        out: &mut Vec<Action>,
    ) {
        let (Some(link), Some(port)) = (self.links.get(slot), self.ports.get_mut(slot)) else {
            return;
        };
        port.counters.discarded(reason);
        let warns = reason.is_limit();
        if port.is_due(now, reason.name(), if warns { WARNING_GAP } else { LINE_GAP }) {
            let (name, n) = (reason.name(), port.counters.discards(reason));
            let line = format!("{}: {}: {name}: {n} without effect so far", link.name, F::AF);
            out.push(if warns { Action::Log(line) } else { Action::Debug(line) });
        }
    }

    /// Warns of MLD from an address that it must not come from, which is that of a misconfigured
    /// host or router; one that has no address yet may report from `::`. RFC 9777, section 5.2.14.
    pub(super) fn warn_of_source(
        &mut self,
        now: Tick,
        slot: Slot,
        packet: &Packet,
        out: &mut Vec<Action>,
    ) {
        if let Envelope::Ip6 { source, .. } = packet.envelope
            && !source.is_unspecified()
        {
            let line = || format!("MLD from {source} has no effect: not a link-local address");
            self.tell(now, slot, ("mld-source", WARNING_GAP), line, out);
        }
    }

    /// Tells of a line about a link, where one of this kind is due.
    pub(super) fn tell(
        &mut self,
        now: Tick,
        slot: Slot,
        (kind, gap): (&'static str, Millis),
        line: impl FnOnce() -> String,
        out: &mut Vec<Action>,
    ) {
        if let (Some(link), Some(port)) = (self.links.get(slot), self.ports.get_mut(slot))
            && port.is_due(now, kind, gap)
        {
            out.push(Action::Log(format!("{}: {}", link.name, line())));
        }
    }

    /// Warns of a querier that speaks another version than is configured here. RFC 9776, section
    /// 7.3.1; RFC 9777, section 8.3.1.
    pub(super) fn compare_version(
        &mut self,
        now: Tick,
        slot: Slot,
        source: F::Addr,
        query: &Query<'_, F>,
        out: &mut Vec<Action>,
    ) {
        let Some(link) = self.links.get(slot) else { return };
        let (protocol, keyword) = match F::AF {
            Af::Ip4 => ("IGMP", "igmp-version"),
            Af::Ip6 => ("MLD", "mld-version"),
        };
        let (ours, theirs) = (link.settings.version(F::AF), query.version);
        let (kind, then) = match F::AF {
            _ if theirs > ours => ("newer-querier", "all routers of a link need the same"),
            _ if theirs == ours || !query.group.is_unspecified() => return,
            Af::Ip4 => ("older-querier", "followed while it is heard"),
            Af::Ip6 => ("older-querier", "all routers of a link need the same"),
        };
        let line = || {
            format!("{source} queries with {protocol}v{theirs}, {keyword} here is {ours}: {then}")
        };
        self.tell(now, slot, (kind, WARNING_GAP), line, out);
    }
}
