//! Counters: what idles goes, what moved is followed, what the kernel dropped is forgotten.

use super::decide::{View, World};
use super::table::Kind;
use super::{LOST_AFTER, Mrt};
use crate::imsg::Order;
use crate::kroute::RouteCount;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Family};

/// Between two readings of the counters, where `route-timeout` is no shorter.
pub const READ_INTERVAL: Millis = Millis::from_secs(30);

/// The same where the kernel drops idle entries itself.
pub const READ_INTERVAL_EXPIRING: Millis = Millis::from_secs(15);

/// After its last packet a drop entry goes.
pub const DROP_IDLE: Millis = Millis::from_secs(60);

impl<F: Family> Mrt<F> {
    /// Asks for counters when they are due.
    pub fn on_time(&mut self, now: Tick) {
        if self.next_deadline().is_some_and(|due| due <= now) {
            self.read_counters(now);
        }
    }

    /// When [`Mrt::on_time`] is to be called; `None` while no route idles.
    pub fn next_deadline(&self) -> Option<Tick> {
        let table = &self.routes.table;
        let idles = table.learned() > 0 || self.routes.by_group() && table.len() > 0;
        if idles { self.due } else { None }
    }

    /// Asks for counters now, unless an answer is on its way.
    pub fn read_counters(&mut self, now: Tick) {
        let interval = self.interval();
        if !self.asking || now - self.asked >= interval {
            (self.asking, self.asked) = (true, now);
            self.routes.round = self.routes.round.wrapping_add(1);
            self.routes.orders.push_back(Order::ReadCounters(F::AF));
        }
        self.due = Some(now + interval);
    }

    /// Asks for counters because somebody wants to see them; false when there are none. Where
    /// strays are judged by what came between two readings, those are not to be close together.
    pub fn count_now(&mut self, now: Tick) -> bool {
        let counts = !self.routes.by_group() && !self.is_empty();
        if counts {
            self.read_counters(now);
        }
        counts
    }

    /// Asks for counters as soon as [`LOST_AFTER`] has passed since the last time.
    pub(super) fn read_soon(&mut self, now: Tick) {
        self.read_by(now.max(self.asked + LOST_AFTER));
        self.on_time(now);
    }

    fn read_by(&mut self, soon: Tick) {
        self.due = Some(self.due.map_or(soon, |due| due.min(soon)));
    }

    /// Starts the readings before the first route that idles comes.
    pub(super) fn plan(&mut self, now: Tick) {
        if self.next_deadline().is_none() {
            self.due = Some(now + self.interval());
        }
    }

    fn interval(&self) -> Millis {
        let usual = match self.routes.capabilities.entries_expire {
            true => READ_INTERVAL_EXPIRING,
            false => READ_INTERVAL,
        };
        usual.min(self.routes.limits.route_timeout)
    }

    /// What the kernel counted, in parts.
    pub fn on_counters(
        &mut self,
        now: Tick,
        entries: &[RouteCount],
        last: bool,
        world: World<'_, F>,
    ) {
        for count in entries {
            self.on_count(now, count, world);
        }
        if !last {
            return;
        }
        self.asking = false;
        if self.routes.capabilities.entries_expire {
            self.forget_expired(now, world);
        }
        for group in std::mem::take(&mut self.revisit) {
            let view = View::new(&self.statics, world, group);
            self.routes.refresh(now, &view, "its last other sender is silent");
        }
    }

    fn on_count(&mut self, now: Tick, count: &RouteCount, world: World<'_, F>) {
        let Some(group) = F::Addr::from_ip(count.key.group) else { return };
        let routes = &mut self.routes;
        let Some(handle) = routes.find(&count.key) else { return };
        let round = routes.round;
        let entry = routes.table.get(handle);
        let [packets, _, wrong] = entry.counts;
        let came = packets != count.packets;
        let strayed = count.wrong_interface > wrong && !came && entry.installed;
        let idle = match (entry.kind, entry.outputs.is_empty()) {
            (Kind::Learned, true) => DROP_IDLE,
            (Kind::Learned, false) => routes.limits.route_timeout,
            (Kind::Fixed | Kind::Shared | Kind::Free, _) => Millis(u32::MAX),
        };
        let is_idle = !came && now - entry.active >= idle;
        routes.table.change(handle, |e| {
            e.counts = [count.packets, count.bytes, count.wrong_interface];
            e.round = round;
            if came {
                e.active = now;
            }
        });
        let view = View::new(&self.statics, world, group);
        if is_idle {
            routes.withdraw(handle, world.links, "idle");
            if routes.capabilities.star_g && self.revisit.last() != Some(&group) {
                self.revisit.push(group);
            }
        } else if strayed && routes.by_group() {
            routes.lose(handle);
        } else if routes.judge_rival(now, handle, &view, count.packets) {
            self.read_by(now + LOST_AFTER);
        }
    }

    /// Forgets what the kernel has dropped, and lets it ask again for what it was not given.
    fn forget_expired(&mut self, now: Tick, world: World<'_, F>) {
        let routes = &mut self.routes;
        let round = routes.round;
        let gone = |e: &super::table::Entry<F>| match e.installed {
            true => e.round != round,
            false => now - e.active >= DROP_IDLE,
        };
        let gone: Vec<u32> =
            routes.table.iter_from(0).filter(|(_, e)| gone(e)).map(|(handle, _)| handle).collect();
        for handle in gone {
            routes.forget(handle, world.links, "idle");
        }
    }
}
