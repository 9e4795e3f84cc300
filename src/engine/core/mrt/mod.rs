//! Forwarding decisions and the route table of one family.
//!
//! What arrives, who wants it and what the interfaces are decide where packets go (`decide`); the
//! table holds what the kernel was told, so that only what changes is ordered. Every change of what
//! a decision depended on is told to [`Mrt`], which decides again for what it touches.

mod adopt;
mod decide;
mod explain;
mod idle;
mod merged;
mod report;
mod routes;
pub mod set;
mod show;
mod star;
mod statics;
mod table;
#[cfg(test)]
mod tests;

pub use decide::{Reason, Verdict, World, upstream_for};
pub use idle::{DROP_IDLE, READ_INTERVAL, READ_INTERVAL_EXPIRING};
pub use report::{MrtCounters, MrtEvent};
pub use star::{HOLD_DOWN, LOST_AFTER};

use self::decide::{Sources, View};
use self::report::Cause;
use self::routes::Routes;
use self::set::SlotSet;
use self::statics::{Rule, Statics};
use self::table::{Entry, Group, Kind};
use crate::config::model::{MAX_ROUTES, Mroute, ROUTE_TIMEOUT, Role};
use crate::engine::core::link::{Link, Vif};
use crate::engine::core::queue;
use crate::engine::core::slot::{MAX_SLOTS, Slot, Slots};
use crate::imsg::Order;
use crate::kroute::{Capabilities, RouteKey, Upcall, UpcallKind};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Family};

/// Bounds of the route table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries at most; drop entries at most half of it.
    pub max_routes: u32,
    /// A learned route goes after this time without a packet.
    pub route_timeout: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_routes: MAX_ROUTES, route_timeout: ROUTE_TIMEOUT }
    }
}

/// What an interface was when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    is_upstream: bool,
    takes_from_afar: bool,
    threshold: u8,
}

/// The routes of one family.
#[derive(Debug)]
pub struct Mrt<F: Family> {
    statics: Statics,
    mroutes: Vec<Mroute>,
    routes: Routes<F>,
    seen: Vec<Option<Seen>>,
    /// A route of an engine before us has other outputs or thresholds than it would have now.
    differs: bool,
    /// Groups whose (*,G) entry may come back.
    revisit: Vec<F::Addr>,
    /// When counters are read next.
    due: Option<Tick>,
    /// They were asked for and not told yet.
    asking: bool,
    /// When they were asked for last.
    asked: Tick,
}

impl<F: Family> Mrt<F> {
    /// No routes; `seed` keys the hashes.
    pub fn new(capabilities: Capabilities, seed: [u64; 2]) -> Self {
        Self {
            statics: Statics::default(),
            mroutes: Vec::new(),
            routes: Routes::new(capabilities, seed),
            seen: vec![None; MAX_SLOTS],
            differs: false,
            revisit: Vec::new(),
            due: None,
            asking: false,
            asked: Tick::default(),
        }
    }

    /// Takes a configuration over; what it does not change is not touched.
    pub fn configure(
        &mut self,
        now: Tick,
        limits: Limits,
        mroutes: &[Mroute],
        world: World<'_, F>,
    ) {
        self.routes.limits = limits;
        let pairs = || self.mroutes.iter().zip(mroutes);
        let same = pairs().take_while(|(old, new)| old == new).count();
        let rest = (self.mroutes.len() - same).min(mroutes.len() - same);
        let ends = self.mroutes.iter().rev().zip(mroutes.iter().rev()).take(rest);
        let tail = ends.take_while(|(old, new)| old == new).count();
        let fresh = mroutes.get(same..mroutes.len() - tail).unwrap_or_default();
        let old: Vec<Mroute> =
            self.mroutes.splice(same..self.mroutes.len() - tail, fresh.iter().cloned()).collect();
        for mroute in &old {
            self.statics.remove::<F>(mroute);
        }
        for mroute in fresh {
            self.statics.insert::<F>(mroute, world.links);
        }
        let changed = old.iter().chain(fresh).map(|m| Rule::new(m, world.links));
        let changed: Vec<Rule> = changed.collect();
        self.apply(now, &changed, world);
    }

    /// The kernel asks about a packet.
    pub fn on_upcall(&mut self, now: Tick, upcall: &Upcall, world: World<'_, F>) {
        self.routes.counters.upcalls += 1;
        let is_it = |l: &&Link<F>| l.ifindex == upcall.ifindex && matches!(l.vif, Vif::Ready(_));
        let link = world.links.iter().find(is_it);
        let pair = F::Addr::from_ip(upcall.source).zip(F::Addr::from_ip(upcall.group));
        let (Some(slot), Some((source, group))) = (link.map(|l| l.slot), pair) else {
            self.routes.counters.unroutable += 1;
            return;
        };
        if !decide::forwardable(group, source) {
            self.routes.counters.unroutable += 1;
            return;
        }
        self.plan(now);
        let view = View::new(&self.statics, world, group);
        match (upcall.kind, self.routes.by_group()) {
            (UpcallKind::NoCache, true) => {
                self.routes.on_unknown_group(now, &view, source, slot);
            }
            (UpcallKind::NoCache, false) => self.routes.on_unknown(now, &view, source, slot),
            (UpcallKind::WrongVif, true) => {}
            (UpcallKind::WrongVif, false) => {
                if self.routes.on_wrong_interface(now, &view, source, slot) {
                    self.read_soon(now);
                }
            }
        }
    }

    /// The membership of a group changed.
    pub fn on_group_changed(&mut self, now: Tick, group: F::Addr, world: World<'_, F>) {
        if self.routes.table.group(group).is_some_and(|g| g.starless) {
            let view = View::new(&self.statics, world, group);
            if view.member_links().is_empty() {
                self.routes.table.forgive_star(group);
                // Entries of one source, which have to be beneath it, may have been refused as well.
                let rules = self.statics.iter_from(0).map(|(_, rule)| rule);
                let is_exact = |r: &&Rule| r.exact::<F>().is_some_and(|(_, of)| of == group);
                let rules: Vec<Rule> = rules.filter(is_exact).cloned().collect();
                self.apply(now, &rules, world);
            }
        }
        self.refresh(now, group, world, "membership changed");
    }

    /// Anything about an interface changed, or it came, or is gone from `world`: what used it is
    /// decided again. To be called before the interface's vif is deleted.
    pub fn on_link_changed(&mut self, now: Tick, slot: Slot, world: World<'_, F>) {
        self.follow_links(now, SlotSet::one(slot), world);
    }

    /// Anything about any interface changed.
    pub fn on_links_changed_all(&mut self, now: Tick, world: World<'_, F>) {
        self.follow_links(now, SlotSet::ALL, world);
    }

    /// The kernel refused a route: it is not installed.
    pub fn on_route_failed(&mut self, now: Tick, key: &RouteKey, world: World<'_, F>) {
        self.routes.counters.failed += 1;
        let Some(group) = F::Addr::from_ip(key.group) else { return };
        let Some(handle) = self.routes.find(key) else { return };
        let is_fixed = self.routes.table.get(handle).kind == Kind::Fixed;
        // A later order for it may have been obeyed.
        self.routes.forget(handle, world.links, "refused by the kernel");
        // Beneath (*,G) an mroute of one source needs an entry of its own, or packets go by the other.
        if self.routes.capabilities.star_g && (key.source.is_none() || is_fixed) {
            self.routes.table.refuse_star(group);
            self.refresh(now, group, world, "no (*,G) route");
        }
    }

    /// Forgets learned routes: all, those of a group, or one. They are learned again.
    pub fn flush(
        &mut self,
        now: Tick,
        group: Option<F::Addr>,
        source: Option<F::Addr>,
        world: World<'_, F>,
    ) {
        let by_group = self.routes.by_group();
        let is_meant = |e: &Entry<F>| {
            (e.kind == Kind::Learned || e.kind == Kind::Shared && by_group)
                && group.is_none_or(|g| g == e.group)
                && (by_group || source.is_none_or(|s| s == e.source))
        };
        let entries = self.routes.table.iter_from(0).filter(|(_, e)| is_meant(e));
        let (handles, mut groups): (Vec<u32>, Vec<F::Addr>) =
            entries.map(|(handle, e)| (handle, e.group)).unzip();
        for handle in handles {
            self.routes.forget(handle, world.links, "flushed");
        }
        if self.routes.capabilities.star_g {
            groups.sort_unstable();
            groups.dedup();
            groups.into_iter().for_each(|g| self.refresh(now, g, world, "flushed"));
        }
    }

    /// What the kernel is to change, in order.
    pub fn poll_order(&mut self) -> Option<Order> {
        queue::pop(&mut self.routes.orders)
    }

    /// What the monitors and the log are to be told.
    pub fn poll_event(&mut self) -> Option<MrtEvent> {
        queue::pop(&mut self.routes.events)
    }

    /// Entries in the table.
    pub fn len(&self) -> usize {
        self.routes.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was refused, and how often.
    pub fn counters(&self) -> MrtCounters {
        self.routes.counters
    }

    /// What would become of packets of a source to a group on an interface.
    pub fn decide(
        &self,
        group: F::Addr,
        source: F::Addr,
        slot: Slot,
        world: World<'_, F>,
    ) -> Verdict {
        View::new(&self.statics, world, group).decide(Sources::One(source), slot)
    }

    fn refresh(&mut self, now: Tick, group: F::Addr, world: World<'_, F>, cause: Cause) {
        self.routes.refresh(now, &View::new(&self.statics, world, group), cause);
    }

    /// Decides again for the groups that use one of the interfaces; for all when an upstream is or
    /// was among them, or sources may send by a further interface.
    fn follow_links(&mut self, now: Tick, slots: SlotSet, world: World<'_, F>) {
        let mut rules = Vec::new();
        let mut all = false;
        for slot in slots.iter() {
            let (before, link) = self.look_at(slot, world.links);
            let far = |seen: &Option<Seen>| seen.as_ref().is_some_and(|s| s.takes_from_afar);
            all |= [&before, &link].into_iter().flatten().any(|seen| seen.is_upstream)
                || far(&before) != far(&link);
            let [before, link] = [before, link].map(|seen| seen.map(|s| s.name));
            if before != link {
                rules.extend(self.statics.resolve(slot, link.as_deref()));
            }
        }
        let uses = |set: SlotSet| !(set & slots).is_empty();
        let named = self.statics.iter_from(0).map(|(_, rule)| rule);
        rules.extend(named.filter(|r| uses(r.uses())).cloned());
        let groups =
            self.groups_where(world, |_, of| all || of.is_none_or(|of: &Group| uses(of.uses)));
        for group in groups {
            self.refresh(now, group, world, "an interface changed");
        }
        self.apply(now, &rules, world);
        self.routes.rewrite = SlotSet::EMPTY;
    }

    /// Notes how an interface is now; tells how it was before and how it is.
    fn look_at(&mut self, slot: Slot, links: &Slots<Link<F>>) -> (Option<Seen>, Option<Seen>) {
        let now = links.get(slot).map(|link| Seen {
            name: link.name.clone(),
            is_upstream: link.role() == Role::Upstream,
            takes_from_afar: link.takes_from_afar(),
            threshold: link.settings.threshold,
        });
        let before =
            self.seen.get_mut(usize::from(slot.0)).and_then(|s| std::mem::replace(s, now.clone()));
        if let Some((before, now)) = before.as_ref().zip(now.as_ref())
            && before.threshold != now.threshold
        {
            self.routes.rewrite.insert(slot);
        }
        (before, now)
    }

    /// Decides again for what these rules are for, and installs those that need no packet to come
    /// first.
    fn apply(&mut self, now: Tick, rules: &[Rule], world: World<'_, F>) {
        self.plan(now);
        let mut groups: Vec<F::Addr> = rules.iter().filter_map(Rule::group::<F>).collect();
        let ranges: Vec<&Rule> = rules.iter().filter(|r| r.group::<F>().is_none()).collect();
        if !ranges.is_empty() {
            groups.extend(self.groups_where(world, |g, _| ranges.iter().any(|r| r.has_group(g))));
        }
        groups.sort_unstable();
        groups.dedup();
        for (source, group) in rules.iter().filter_map(Rule::exact::<F>) {
            // A rule in force, not one of before; of several incoming interfaces a packet names one.
            let rule = self.statics.exact::<F>(group, source);
            let view = View::new(&self.statics, world, group);
            match rule.and_then(|rule| rule.from.only()) {
                Some(seen) if self.routes.by_group() => {
                    self.routes.remember(now, source, group, seen);
                }
                Some(incoming) => self.routes.fix(now, &view, source, incoming),
                None => self.routes.unfix(now, &view, source),
            }
        }
        for group in groups {
            self.refresh(now, group, world, "mroute");
        }
    }

    /// The groups with entries, and where (*,G) entries are possible those with members, that are
    /// picked.
    fn groups_where(
        &self,
        world: World<'_, F>,
        pick: impl Fn(F::Addr, Option<&Group>) -> bool,
    ) -> Vec<F::Addr> {
        let table = &self.routes.table;
        let picked = table.groups().filter(|(group, of)| pick(*group, Some(of)));
        let mut groups: Vec<F::Addr> = picked.map(|(group, _)| group).collect();
        if self.routes.capabilities.star_g {
            world.members.groups(&mut |group| {
                if table.group(group).is_none() && pick(group, None) {
                    groups.push(group);
                }
            });
        }
        // The order of a keyed hash would make runs differ by their seed.
        groups.sort_unstable();
        groups
    }
}
