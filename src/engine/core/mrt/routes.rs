//! Keeps the table as the decisions want it, and orders what the kernel is to change.

use std::collections::{HashSet, VecDeque};

use super::decide::{Sources, View};
use super::report::{Cause, LogKind, MrtCounters, MrtEvent};
use super::set::SlotSet;
use super::table::{Entry, Kind, Table};
use super::{Limits, report};
use crate::engine::core::link::Link;
use crate::engine::core::slot::{Slot, Slots};
use crate::imsg::Order;
use crate::imsg::ctl::EventKind;
use crate::kroute::{Capabilities, MfcKey, RouteKey};
use crate::sys::time::Tick;
use crate::wire::{Address, Family};

/// The table, and what is to be told.
#[derive(Debug)]
pub(super) struct Routes<F: Family> {
    /// The entries.
    pub(super) table: Table<F>,
    /// What the kernel can do.
    pub(super) capabilities: Capabilities,
    /// Bounds.
    pub(super) limits: Limits,
    /// What was refused.
    pub(super) counters: MrtCounters,
    /// For the kernel.
    pub(super) orders: VecDeque<Order>,
    /// For the monitors and the log.
    pub(super) events: VecDeque<MrtEvent>,
    /// Interfaces whose thresholds changed: entries with these outputs are written again.
    pub(super) rewrite: SlotSet,
    /// Routes of an engine before us are still to be told.
    pub(super) adopts: bool,
    /// The current reading of counters.
    pub(super) round: u32,
    /// Source networks whose refusal was logged.
    pub(super) reported: HashSet<(Slot, ipnet::IpNet)>,
    /// Until when each kind of log line keeps quiet.
    pub(super) quiet: [Tick; LogKind::COUNT],
}

/// Whose room an entry takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// That of what is learned: up to `max-routes`.
    Learned,
    /// That of drop entries: half of it.
    Drops,
    /// That of an `mroute` of one source and group: its own, which no host can take.
    Statics,
}

impl<F: Family> Routes<F> {
    /// No routes.
    pub(super) fn new(capabilities: Capabilities, seed: [u64; 2]) -> Self {
        Self {
            table: Table::new(seed),
            capabilities,
            limits: Limits::default(),
            counters: MrtCounters::default(),
            orders: VecDeque::new(),
            events: VecDeque::new(),
            rewrite: SlotSet::EMPTY,
            adopts: false,
            round: 0,
            reported: HashSet::new(),
            quiet: [Tick::default(); LogKind::COUNT],
        }
    }

    /// Whether the kernel looks at groups alone.
    pub(super) fn by_group(&self) -> bool {
        self.capabilities.key == MfcKey::Group
    }

    /// The entry of a key.
    pub(super) fn find(&self, key: &RouteKey) -> Option<u32> {
        let group = F::Addr::from_ip(key.group)?;
        match key.source.and_then(F::Addr::from_ip) {
            Some(source) if !self.by_group() => self.table.flow(source, group),
            Some(_) | None => self.table.shared(group),
        }
    }

    /// Brings the entries of a group to what is decided for them now.
    pub(super) fn refresh(&mut self, now: Tick, view: &View<'_, F>, cause: Cause) {
        if self.by_group() {
            self.refresh_merged(now, view, cause);
        } else {
            self.reparent(now, view);
            let star = self.raise_star(now, view, cause);
            for handle in self.table.flows_of(view.group) {
                if self.table.is_live(handle) {
                    self.place(now, handle, view, star, cause);
                }
            }
            if star.is_none() {
                self.lower_star(now, view, cause);
            }
        }
        self.table.note_uses(view.group, view.member_links());
    }

    /// A packet that no entry is for.
    pub(super) fn on_unknown(
        &mut self,
        now: Tick,
        view: &View<'_, F>,
        source: F::Addr,
        incoming: Slot,
    ) {
        let verdict = view.decide(Sources::One(source), incoming);
        self.report_refusal(view, source, &verdict);
        if let Some(handle) = self.table.flow(source, view.group) {
            // The kernel has lost it.
            self.table.change(handle, |e| {
                e.installed = false;
                e.active = now;
            });
            let entry = self.table.get(handle);
            let (incoming, outputs) = match entry.kind {
                Kind::Learned => (incoming, verdict.outputs),
                Kind::Fixed | Kind::Shared | Kind::Free => (entry.incoming, entry.outputs),
            };
            return self.put(now, handle, incoming, outputs, view.world.links, "seen again");
        }
        let star = self.table.shared(view.group);
        if star.is_some_and(|h| self.table.get(h).incoming == incoming) {
            return self.release(view, source, incoming, verdict.outputs);
        }
        let room = if verdict.outputs.is_empty() { Room::Drops } else { Room::Learned };
        let entry = Entry::new(now, Kind::Learned, source, view.group, incoming);
        let Some(handle) = self.enter(now, entry, room) else { return };
        self.put(now, handle, incoming, verdict.outputs, view.world.links, "new flow");
        if star.is_some() && !verdict.outputs.is_empty() {
            self.refresh(now, view, "a sender on another interface");
        } else {
            self.table.join_uses(view.group, view.upstream, view.member_links());
        }
    }

    /// Installs the entry of an `mroute` of one source and group, or takes it back while its
    /// interfaces are not there.
    pub(super) fn fix(&mut self, now: Tick, view: &View<'_, F>, source: F::Addr, incoming: Slot) {
        let links = view.world.links;
        let mut outputs = view.decide(Sources::One(source), incoming).outputs;
        let found = self.table.flow(source, view.group);
        if outputs.is_empty() {
            if let Some(handle) = found.filter(|h| self.table.get(*h).kind == Kind::Fixed) {
                self.withdraw(handle, links, "its mroute waits for an interface");
            }
            return;
        }
        let entry = Entry::new(now, Kind::Fixed, source, view.group, incoming);
        let enter = || self.enter(now, entry, Room::Statics);
        let Some(handle) = found.or_else(enter) else { return };
        self.table.change(handle, |e| e.kind = Kind::Fixed);
        outputs |= self.table.get(handle).kept(incoming, links);
        self.put(now, handle, incoming, outputs, links, "mroute");
        self.table.join_uses(view.group, view.upstream, view.member_links());
    }

    /// The `mroute` of a fixed entry is gone: it is a learned one from now on if anything else wants
    /// the flow. Else it goes, since nothing says that packets come.
    pub(super) fn unfix(&mut self, now: Tick, view: &View<'_, F>, source: F::Addr) {
        let fixed = |h: &u32| self.table.get(*h).kind == Kind::Fixed;
        let Some(handle) = self.table.flow(source, view.group).filter(fixed) else { return };
        let entry = self.table.get(handle);
        let outputs = view.decide(Sources::One(source), entry.incoming).outputs;
        if (outputs | entry.kept(entry.incoming, view.world.links)).is_empty() {
            return self.withdraw(handle, view.world.links, "its mroute is gone");
        }
        self.table.change(handle, |e| {
            e.kind = Kind::Learned;
            e.active = now;
        });
    }

    /// Brings a flow to what is decided for it; `star` is where the (*,G) entry over it takes
    /// packets from.
    fn place(
        &mut self,
        now: Tick,
        handle: u32,
        view: &View<'_, F>,
        star: Option<Slot>,
        cause: Cause,
    ) {
        let links = view.world.links;
        let source = self.table.get(handle).source;
        let verdict = view.decide(Sources::One(source), self.table.get(handle).incoming);
        self.report_refusal(view, source, &verdict);
        let entry = self.table.get(handle);
        let outputs = verdict.outputs | entry.kept(entry.incoming, links);
        if !entry.can_arrive(entry.incoming, links) {
            self.withdraw(handle, links, "its incoming interface is gone");
        } else if entry.kind == Kind::Fixed && outputs.is_empty() {
            self.withdraw(handle, links, "its mroute waits for an interface");
        } else if entry.kind == Kind::Learned && star == Some(entry.incoming) && !entry.is_kept() {
            self.withdraw(handle, links, "a (*,G) route is there for it");
        } else {
            let incoming = entry.incoming;
            self.put(now, handle, incoming, outputs, links, cause);
        }
    }

    /// Takes an entry into the table, not yet into the kernel; `None` when there is no room.
    pub(super) fn enter(&mut self, now: Tick, entry: Entry<F>, room: Room) -> Option<u32> {
        let max = self.limits.max_routes as usize;
        let there_is = match room {
            Room::Statics => true,
            Room::Learned => self.make_room(now, |table| table.limited() >= max),
            Room::Drops => {
                self.make_room(now, |table| table.limited() >= max || table.drops() >= max / 2)
            }
        };
        there_is.then(|| self.table.insert(entry))
    }

    /// Lets drop entries go, the longest idle one first, until it is `full` no more.
    fn make_room(&mut self, now: Tick, full: impl Fn(&Table<F>) -> bool) -> bool {
        while full(&self.table) {
            let Some(handle) = self.table.longest_idle_drop() else {
                self.counters.limit += 1;
                let max = self.limits.max_routes;
                self.log(now, LogKind::Limit, || format!("{}: max-routes {max} reached", F::AF));
                return false;
            };
            self.take(handle);
            self.counters.evicted += 1;
        }
        true
    }

    /// Writes an entry as it is to be; nothing when it is so already.
    pub(super) fn put(
        &mut self,
        now: Tick,
        handle: u32,
        incoming: Slot,
        outputs: SlotSet,
        links: &Slots<Link<F>>,
        cause: Cause,
    ) {
        let old = self.table.get(handle);
        let same = old.incoming == incoming && old.outputs == outputs;
        if old.installed && same && (outputs & self.rewrite).is_empty() {
            return;
        }
        let was = old.clone();
        let forwarded = was.installed && !was.outputs.is_empty();
        let half = self.limits.max_routes as usize / 2;
        if forwarded && outputs.is_empty() && !self.make_room(now, |table| table.drops() >= half) {
            return self.withdraw(handle, links, cause);
        }
        let round = self.round;
        self.table.change(handle, |e| {
            if outputs.is_empty() && !e.outputs.is_empty() {
                e.active = now;
            }
            (e.incoming, e.outputs, e.installed, e.round) = (incoming, outputs, true, round);
        });
        if was.installed && was.incoming != incoming && was.source.is_unspecified() {
            // Linux keeps a (*,G) entry beside one with another incoming interface.
            self.orders.push_back(Order::DeleteRoute(report::key(&was)));
        }
        let entry = self.table.get(handle);
        self.orders.push_back(Order::SetRoute(report::route(entry, links)));
        if forwarded && outputs.is_empty() {
            self.tell(EventKind::Remove, &was, links, cause);
        } else if !outputs.is_empty() {
            let moved = forwarded && was.incoming != incoming;
            let kind = if moved { EventKind::Move } else { EventKind::Install };
            let entry = entry.clone();
            self.tell(kind, &entry, links, cause);
        }
    }

    /// Takes an entry out of the table and of the kernel.
    pub(super) fn withdraw(&mut self, handle: u32, links: &Slots<Link<F>>, cause: Cause) {
        let entry = self.take(handle);
        if entry.installed && !entry.outputs.is_empty() {
            self.tell(EventKind::Remove, &entry, links, cause);
        }
    }

    /// Takes an entry out of the table, and of the kernel even if it is not ours there: where the
    /// kernel looks at groups alone it makes entries itself, and does not ask while it has one.
    pub(super) fn forget(&mut self, handle: u32, links: &Slots<Link<F>>, cause: Cause) {
        self.table.get_mut(handle).installed = true;
        self.withdraw(handle, links, cause);
    }

    fn take(&mut self, handle: u32) -> Entry<F> {
        let entry = self.table.remove(handle);
        if entry.installed {
            self.orders.push_back(Order::DeleteRoute(report::key(&entry)));
        }
        entry
    }

    /// The kernel holds packets for a flow that the (*,G) entry covers, because they came before
    /// it: an entry lets them go, and is not needed any more.
    fn release(&mut self, view: &View<'_, F>, source: F::Addr, incoming: Slot, outputs: SlotSet) {
        let group = view.group;
        let entry = Entry { source, group, incoming, outputs, ..Entry::<F>::default() };
        self.orders.push_back(Order::SetRoute(report::route(&entry, view.world.links)));
        self.orders.push_back(Order::DeleteRoute(report::key(&entry)));
    }
}
