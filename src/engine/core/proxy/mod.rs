//! One family of the proxy: links, membership, host parts and routes, and how one follows from the
//! other. RFC 4605.

mod departed;
mod explain;
mod interfaces;
mod packets;
mod rows;
mod tell;
mod turn;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use self::departed::Departed;
use self::packets::Reception;
use super::Action;
use super::chance::Chance;
use super::counters::Counters;
use super::groups::{Groups, Place};
use super::host::Host;
use super::link::Link;
use super::mrdisc::{Announced, Mrdisc};
use super::mrt::{Limits, Mrt, World};
use super::querier::{Querier, RESTART_RESPONSE};
use super::slot::{Slot, Slots};
use crate::config::model::{Config, MAX_ROUTES, ROUTE_TIMEOUT};
use crate::imsg::Start;
use crate::imsg::ctl::{Event, EventKind};
use crate::kroute::{Route, RouteCount, RouteKey, Upcall};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Family, Net};

/// Time after the first response interval of a restarted engine in which reports still arrive.
const SETTLE_SLACK: Millis = Millis(500);

/// What a link has besides what forwarding sees of it.
#[derive(Debug)]
struct Port<F: Family> {
    slot: Slot,
    querier: Querier<F>,
    host: Option<Host<F>>,
    mrdisc: Mrdisc<F>,
    counters: Counters,
    reception: Arc<Reception<F>>,
    /// Messages that may still be taken before `refilled` is looked at again.
    budget: u32,
    refilled: Tick,
    /// Until when each kind of log line keeps quiet.
    quiet: BTreeMap<&'static str, Tick>,
    /// Why it was refused a vif, as it was told last.
    refused: Option<String>,
}

impl<F: Family> Port<F> {
    /// Has multicast router discovery tell what holds now.
    fn announce(&mut self) {
        let (query_interval, robustness) = self.querier.on_link().unwrap_or_default();
        let interval = self.querier.settings().mrdisc_interval;
        self.mrdisc.announce(Announced { interval, query_interval, robustness });
    }

    /// Says its last words on the link.
    fn leave(&mut self, now: Tick) {
        if let Some(host) = &mut self.host {
            host.leave_all(now);
        }
        self.mrdisc.stop();
    }
}

/// One family of the proxy.
#[derive(Debug)]
pub struct Proxy<F: Family> {
    seed: [u64; 2],
    chance: Chance,
    vif_by_address: bool,
    links: Slots<Link<F>>,
    ports: Slots<Port<F>>,
    departed: Vec<Departed<F>>,
    groups: Groups<F>,
    /// Kept for its memory.
    places: Vec<Place<F::Addr>>,
    mrt: Mrt<F>,
    ssm: Vec<Net<F>>,
    /// This engine follows one that died: its routes are kept until members had time to answer, and
    /// so long they are asked to answer quickly.
    restarted: bool,
    /// The daemon ends: nothing begins any more.
    leaving: bool,
    settle_at: Option<Tick>,
}

impl<F: Family> Proxy<F> {
    /// A proxy without links.
    #[must_use]
    pub fn new(start: &Start) -> Self {
        let capabilities = start.capabilities[F::AF.index()];
        let mut mrt = Mrt::new(capabilities, start.seed);
        if start.restarts > 0 {
            mrt.expect_installed();
        }
        Self {
            seed: start.seed,
            chance: Chance::new(start.seed),
            vif_by_address: capabilities.vif_by_address,
            links: Slots::default(),
            ports: Slots::default(),
            departed: Vec::new(),
            groups: Groups::new(start.seed),
            places: Vec::new(),
            mrt,
            ssm: Vec::new(),
            restarted: start.restarts > 0,
            leaving: false,
            settle_at: None,
        }
    }

    /// Takes over what a configuration says of routes; its links come with [`Proxy::sync`].
    pub fn configure(&mut self, now: Tick, config: &Config) {
        let limits = Limits {
            max_routes: config.max_routes.unwrap_or(MAX_ROUTES),
            route_timeout: config.route_timeout.unwrap_or(ROUTE_TIMEOUT),
        };
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.configure(now, limits, &config.mroutes, world);
    }

    /// The interfaces and routes of the start are told.
    pub fn begin(&mut self, now: Tick) {
        if self.restarted {
            let world = World { links: &self.links, members: &self.groups };
            self.mrt.begin(now, world);
            let response = self
                .links
                .iter()
                .map(|l| l.settings.query_response_interval.min(RESTART_RESPONSE))
                .max()
                .unwrap_or(RESTART_RESPONSE);
            self.settle_at = Some(now + response + SETTLE_SLACK);
        }
    }

    /// A route that the engine before this one installed.
    pub fn installed(&mut self, now: Tick, route: &Route) {
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_installed(now, route, world);
    }

    /// The kernel asks.
    pub fn upcall(&mut self, now: Tick, upcall: &Upcall) {
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_upcall(now, upcall, world);
    }

    /// The kernel refused a route.
    pub fn route_failed(&mut self, now: Tick, key: &RouteKey) {
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_route_failed(now, key, world);
    }

    /// Has the routes counted now; false when there is nothing to wait for.
    pub fn count_now(&mut self, now: Tick) -> bool {
        self.mrt.count_now(now)
    }

    /// Counters of routes.
    pub fn counters(&mut self, now: Tick, entries: &[RouteCount], last: bool) {
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_counters(now, entries, last, world);
    }

    /// Forgets learned routes.
    pub fn flush(&mut self, now: Tick, group: Option<IpAddr>, source: Option<IpAddr>) {
        let group = group.map(F::Addr::from_ip);
        let source = source.map(F::Addr::from_ip);
        if group != Some(None) && source != Some(None) {
            let world = World { links: &self.links, members: &self.groups };
            self.mrt.flush(now, group.flatten(), source.flatten(), world);
        }
    }

    /// The next moment at which [`Proxy::on_time`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let ports = self.ports.iter().flat_map(|p| {
            p.querier
                .next_deadline()
                .into_iter()
                .chain(p.host.as_ref().and_then(Host::next_deadline))
                .chain(p.mrdisc.next_deadline())
        });
        ports
            .chain(self.departed.iter().filter_map(|d| d.host.next_deadline()))
            .chain(self.groups.next_deadline())
            .chain(self.mrt.next_deadline())
            .chain(self.settle_at)
            .min()
    }

    /// Handles what is due.
    pub fn on_time(&mut self, now: Tick, out: &mut Vec<Action>) {
        let ports = &self.ports;
        self.groups.on_time(now, |slot| Some(ports.get(slot)?.querier.rules(now)));
        let slots: Vec<Slot> = self.ports.iter().map(|p| p.slot).collect();
        for slot in slots {
            self.query_on_time(now, slot, out);
        }
        for port in self.ports.iter_mut() {
            if let Some(host) = &mut port.host {
                host.on_time(now);
            }
            port.announce();
            port.mrdisc.on_time(now);
        }
        self.departed.iter_mut().for_each(|departed| departed.host.on_time(now));
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_time(now);
        if self.settle_at.is_some_and(|at| at <= now) {
            (self.settle_at, self.restarted) = (None, false);
            self.mrt.settle(now, world);
        }
    }

    /// Leaves all groups upstream, and tells snooping switches that no router is here any more.
    pub fn shutdown(&mut self, now: Tick) {
        self.leaving = true;
        for port in self.ports.iter_mut() {
            port.leave(now);
            port.querier.stop(false);
            self.groups.stop_queries(port.slot);
        }
    }

    /// Whether there is nothing left to send of a shutdown.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let mut hosts = self.ports.iter().filter_map(|p| p.host.as_ref());
        self.departed.is_empty() && hosts.all(|h| h.next_deadline().is_none())
    }

    /// Groups with members on downstream links.
    #[must_use]
    pub const fn group_count(&self) -> u32 {
        self.groups.count()
    }

    fn link_by_index(&self, ifindex: u32) -> Option<&Link<F>> {
        self.links.iter().find(|l| l.ifindex == ifindex)
    }

    fn event(&self, kind: EventKind, slot: Option<Slot>, reason: Option<String>) -> Event {
        Event {
            time: 0,
            event: kind,
            interface: slot.and_then(|s| self.links.get(s)).map(|l| l.name.clone()),
            family: Some(F::AF),
            group: None,
            source: None,
            outgoing_interfaces: Vec::new(),
            reason,
        }
    }
}
