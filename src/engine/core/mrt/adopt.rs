//! Routes that an engine before us installed.

use super::decide::{Sources, View, World};
use super::set::SlotSet;
use super::table::{Entry, Kind};
use super::{Mrt, merged, report};
use crate::imsg::Order;
use crate::kroute::{Route, RouteKey};
use crate::sys::time::Tick;
use crate::wire::{Address, Family};

impl<F: Family> Mrt<F> {
    /// Routes of an engine before us will be told, until [`Mrt::begin`].
    pub fn expect_installed(&mut self) {
        self.routes.adopts = true;
    }

    /// All that an engine before us installed is told.
    pub fn begin(&mut self, now: Tick, world: World<'_, F>) {
        if std::mem::take(&mut self.routes.adopts) && self.routes.by_group() {
            let mut groups = Vec::new();
            world.members.groups(&mut |group| groups.push(group));
            groups.sort_unstable();
            for group in groups {
                self.refresh(now, group, world, "a new engine");
            }
        }
    }

    /// A route that an engine before us installed: kept as it is, but for outputs that come in
    /// addition, until [`Mrt::settle`].
    pub fn on_installed(&mut self, now: Tick, route: &Route, world: World<'_, F>) {
        let slot = |ifindex| world.links.iter().find(|l| l.ifindex == ifindex).map(|l| l.slot);
        let Some(group) = F::Addr::from_ip(route.key.group) else { return };
        let by_group = self.routes.by_group();
        let incoming = slot(route.incoming);
        // The kernel does not tell sources; an mroute may.
        let told = || {
            let mut rules = self.statics.ranked::<F>(group, incoming?);
            rules.find_map(|rule| rule.exact::<F>()).map(|(source, _)| source)
        };
        let stand_in = || told().or_else(|| F::Addr::from_ip(merged::any_source(route.key.group)));
        let source = match route.key.source {
            Some(source) => F::Addr::from_ip(source),
            None if by_group => stand_in(),
            None => None,
        };
        let is_shared = by_group || source.is_none();
        let key = RouteKey { source: source.map(Into::into), group: route.key.group };
        if self.routes.find(&key).is_some() {
            return;
        }
        let room = self.len() < self.routes.limits.max_routes as usize + self.mroutes.len();
        let Some(incoming) = incoming.filter(|_| room) else {
            self.routes.orders.push_back(Order::DeleteRoute(key));
            return;
        };
        let mut outputs = SlotSet::EMPTY;
        route.outgoing.iter().filter_map(|o| slot(o.ifindex)).for_each(|s| outputs.insert(s));
        let entry = Entry {
            kind: if is_shared { Kind::Shared } else { Kind::Learned },
            source: source.unwrap_or(F::Addr::UNSPECIFIED),
            group,
            incoming,
            seen: incoming,
            outputs,
            installed: true,
            adopted: true,
            active: now,
            round: self.routes.round,
            ..Entry::default()
        };
        self.differs |= !same_outputs(&report::route(&entry, world.links), route);
        self.plan(now);
        self.routes.table.insert(entry);
    }

    /// Members had the time to answer: routes of an engine before us that nobody wants go.
    pub fn settle(&mut self, now: Tick, world: World<'_, F>) {
        let table = &self.routes.table;
        let adopted: Vec<u32> =
            table.iter_from(0).filter(|(_, e)| e.adopted).map(|(handle, _)| handle).collect();
        let mut groups: Vec<F::Addr> = adopted.iter().map(|h| table.get(*h).group).collect();
        let beside = |h: &u32| {
            let star = table.shared(table.get(*h).group).filter(|star| star != h);
            star.is_some_and(|star| table.get(star).adopted)
        };
        let pinned: Vec<bool> = adopted.iter().map(beside).collect();
        for (handle, pinned) in adopted.into_iter().zip(pinned) {
            let entry = self.routes.table.get_mut(handle);
            // The engine before had a flow beside (*,G) for a reason only.
            (entry.adopted, entry.pinned) = (false, pinned);
            let entry = self.routes.table.get(handle);
            let view = View::new(&self.statics, world, entry.group);
            if self.routes.by_group() && entry.installed {
                // The source was lost from elsewhere before.
                let lost = view.parent(entry.source, entry.seen) != entry.incoming;
                self.routes.table.get_mut(handle).lost |= lost;
                continue;
            }
            let wanted = || view.decide(Sources::One(entry.source), entry.incoming).outputs;
            if entry.kind == Kind::Learned && !entry.outputs.is_empty() && wanted().is_empty() {
                self.routes.withdraw(handle, world.links, "nobody wants it any more");
            }
        }
        groups.sort_unstable();
        groups.dedup();
        if std::mem::take(&mut self.differs) {
            self.routes.rewrite = SlotSet::ALL;
        }
        for group in groups {
            self.refresh(now, group, world, "nobody wants it any more");
        }
        self.routes.rewrite = SlotSet::EMPTY;
    }
}

/// Whether both have the same outputs with the same thresholds.
fn same_outputs(a: &Route, b: &Route) -> bool {
    let sorted = |route: &Route| {
        let mut outgoing = route.outgoing.clone();
        outgoing.sort_unstable();
        outgoing
    };
    sorted(a) == sorted(b)
}
