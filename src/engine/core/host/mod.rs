//! The host side of one interface: tells the queriers there what we subscribe to. RFC 9776, section
//! 5; RFC 9777, section 6.
//!
//! [`Host::subscribe`] takes in changes; [`Host::poll_transmit`] packs all that came since into as
//! few reports as the pace allows, so call it once a turn, after [`Host::on_time`] where
//! [`Host::next_deadline`] has come.

mod query;
mod say;
mod table;
mod work;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use self::query::General;
use self::say::{Purpose, Sweep};
use self::table::{Record, Table};
use self::work::{Queue, Work, Works};
use super::chance::Chance;
use super::pace::Pace;
use super::queue;
use super::slab::NONE;
use crate::imsg::Transmit;
use crate::imsg::ctl::Mode;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Af, Family, Net, Sender};

/// Groups that only wait for their leave to be repeated, at most: beyond, they are dropped unsaid
/// and age out upstream.
pub const MAX_LEFT: u32 = 65_536;

/// Robustness variable until a querier announces one. RFC 9776, section 8.1.
const ROBUSTNESS: u8 = 2;
/// Most that passes between copies of a state change. RFC 9776, section 8.11.
const UNSOLICITED_REPORT_INTERVAL: Millis = Millis(1000);
/// The same in older versions. RFC 2236, section 8.10; RFC 2710, section 7.10.
const OLD_UNSOLICITED_REPORT_INTERVAL: Millis = Millis(10_000);
/// Query interval until a querier announces one. RFC 9776, section 8.2.
const QUERY_INTERVAL: Millis = Millis(125_000);
/// Time in which everything is left at exit.
const LEAVE_TIME: Millis = Millis(1000);

/// Reports: at most 100 in any second, ten at once.
const REPORT_PACE: Pace = Pace::new(11_200, 100_000);
/// Older versions' reports, a group each: at most 1000 in any second.
const OLD_REPORT_PACE: Pace = Pace::new(1_110, 100_000);

/// What the host side goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig<F: Family> {
    /// The interface.
    pub ifindex: u32,
    /// The highest version spoken: IGMP 1 to 3, MLD 1 or 2.
    pub max_version: u8,
    /// Ranges of source-specific groups: older versions cannot say them.
    pub ssm: Vec<Net<F>>,
}

/// Where reports leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<F: Family> {
    /// Their source address; IPv6: link-local.
    pub source: F::Addr,
    /// Octets of an IP packet at most.
    pub mtu: u32,
}

/// What is asked for of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription<A> {
    /// INCLUDE without sources is none.
    pub mode: Mode,
    /// Sorted, each once.
    pub sources: Vec<A>,
}

impl<A> Subscription<A> {
    /// Nothing is asked for.
    #[must_use]
    pub const fn none() -> Self {
        Self { mode: Mode::Include, sources: Vec::new() }
    }

    fn is_none(&self) -> bool {
        self.mode == Mode::Include && self.sources.is_empty()
    }
}

/// A subscription as held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriptionView<'a, A> {
    /// Its group.
    pub group: A,
    /// Its filter mode.
    pub mode: Mode,
    /// Its sources, sorted.
    pub sources: &'a [A],
}

/// The host side of one interface, in one family.
#[derive(Clone, Debug)]
pub struct Host<F: Family> {
    config: HostConfig<F>,
    chance: Chance,
    endpoint: Option<Endpoint<F>>,
    /// The time of the last input.
    now: Tick,
    table: Table<F>,
    works: Works<F::Addr>,
    /// The pending answer to a General Query.
    general: Option<General>,
    sweep: Option<Sweep>,
    leaving: bool,
    pace: Pace,
    answers: Pace,
    /// When the queries over the limit are answered.
    merged_answer: Tick,
    /// Until when an older querier is present, version 1 first. RFC 9776, section 7.2.1.
    older: [Option<Tick>; 2],
    version: u8,
    robustness: u8,
    query_interval: Millis,
    unsayable: Option<F::Addr>,
    /// Whether one was told of since the version changed.
    warned: bool,
    out: VecDeque<Transmit>,
}

impl<F: Family> Host<F> {
    /// Starts with nothing subscribed to and the interface down; `seed` keys its hash and its
    /// delays.
    #[must_use]
    pub fn new(config: HostConfig<F>, seed: [u64; 2]) -> Self {
        let mut host = Self {
            config,
            chance: Chance::new(seed),
            endpoint: None,
            now: Tick(0),
            table: Table::new(seed),
            works: Works::default(),
            general: None,
            sweep: None,
            leaving: false,
            pace: REPORT_PACE,
            answers: query::ANSWER_PACE,
            merged_answer: Tick(0),
            older: [None; 2],
            version: F::LAYOUT.newest,
            robustness: ROBUSTNESS,
            query_interval: QUERY_INTERVAL,
            unsayable: None,
            warned: false,
            out: VecDeque::new(),
        };
        host.choose_version();
        host
    }

    /// Goes by other settings; a change of the version spoken, or of what it can say, announces
    /// everything again.
    pub fn configure(&mut self, now: Tick, config: HostConfig<F>) {
        self.enter(now);
        let before = std::mem::replace(&mut self.config, config);
        self.choose_version();
        if self.is_older() && before.ssm != self.config.ssm && !self.leaving {
            self.announce_all();
        }
    }

    /// The interface has, or has no more, an address to send from. A new one announces everything.
    /// RFC 9777, section 5.2.14.
    pub fn set_endpoint(&mut self, now: Tick, endpoint: Option<Endpoint<F>>) {
        self.enter(now);
        let before = std::mem::replace(&mut self.endpoint, endpoint).map(|e| e.source);
        match endpoint {
            None => self.forget_work(),
            Some(new) if !self.leaving && before != Some(new.source) => self.announce_all(),
            Some(_) => {}
        }
    }

    /// Subscribes to this of these groups from now on; whether there was nothing of one before.
    pub fn subscribe(&mut self, now: Tick, wanted: Vec<(F::Addr, Subscription<F::Addr>)>) -> bool {
        self.enter(now);
        let mut joins = false;
        let places = self.table.look_up(wanted.iter().map(|w| w.0));
        for ((group, subscription), place) in wanted.into_iter().zip(places) {
            // Those before it may have moved it.
            let found = match self.table.records.at(place) {
                Some(record) if record.group == group => Some(place),
                Some(_) | None => self.table.find(group),
            };
            joins |= self.change(group, found, subscription);
        }
        joins
    }

    fn change(
        &mut self,
        group: F::Addr,
        found: Option<u32>,
        subscription: Subscription<F::Addr>,
    ) -> bool {
        if self.leaving || (found.is_none() && subscription.is_none()) {
            return false;
        }
        let handle = found.unwrap_or_else(|| self.table.insert(group));
        let old = self.table.replace(handle, subscription);
        let record = &self.table.records[handle];
        if record.mode == old.mode && *record.sources == *old.sources {
            return false;
        }
        let is_none = self.table.records[handle].is_none();
        if self.endpoint.is_some() && (!is_none || self.table.left() <= MAX_LEFT) {
            self.note_change(handle, &old);
        }
        self.tidy(handle);
        old.is_none()
    }

    /// The kernel left the group with a message from our address: a querier may take it for ours.
    pub fn on_own_leave(&mut self, now: Tick, group: F::Addr) {
        self.enter(now);
        let found = self.table.find(group).filter(|h| !self.table.records[*h].is_none());
        if let (Some(handle), Some(_), false) = (found, self.endpoint, self.leaving) {
            let copies = self.robustness;
            self.tell(handle, |work| work.copies = copies);
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Tick) {
        self.enter(now);
        self.choose_version();
        self.works.wake(self.now);
        self.answer_general();
    }

    /// When [`Host::on_time`] is to be called next; once the interface is left, `None` tells that
    /// all is said.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        let sweep = self.sweep.as_ref().map(|s| s.wake.max(self.pace.ready_at()));
        if self.leaving {
            return sweep;
        }
        let queued = [Queue::Changes, Queue::Answers];
        let queued = queued.iter().any(|q| self.works.first(*q).is_some());
        let older = self.older.iter().zip(1..).filter(|(_, v)| *v < self.config.max_version);
        [
            sweep,
            queued.then(|| self.pace.ready_at()),
            self.works.next(),
            self.general.as_ref().map(General::wake),
        ]
        .into_iter()
        .chain(older.map(|(until, _)| *until))
        .flatten()
        .min()
    }

    /// The next packet to send now.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        if self.out.is_empty() {
            self.flush();
        }
        queue::pop(&mut self.out)
    }

    /// Leaves all groups, within a second, for good: later subscriptions are not taken.
    pub fn leave_all(&mut self, now: Tick) {
        self.enter(now);
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        (self.works, self.general, self.sweep) = (Works::default(), None, None);
        if self.endpoint.is_some() {
            self.start_leaving();
        }
    }

    /// Where reports leave from.
    #[must_use]
    pub const fn endpoint(&self) -> Option<Endpoint<F>> {
        self.endpoint
    }

    /// What is subscribed to of the group.
    #[must_use]
    pub fn get(&self, group: F::Addr) -> Option<SubscriptionView<'_, F::Addr>> {
        self.table.find(group).and_then(|handle| view(self.table.records.at(handle)?))
    }

    /// At most `n` subscriptions from `cursor` on, 0 at first, each with the cursor for what follows
    /// it. One that comes or goes meanwhile may be missed; no other is, and none comes twice.
    pub fn iter_from(
        &self,
        cursor: u64,
        n: usize,
    ) -> impl Iterator<Item = (u64, SubscriptionView<'_, F::Addr>)> {
        let from = u32::try_from(cursor).unwrap_or(NONE);
        (from..self.table.records.extent())
            .filter_map(|at| Some((u64::from(at) + 1, view(self.table.records.at(at)?)?)))
            .take(n)
    }

    /// Groups subscribed to.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.table.live()).unwrap_or(usize::MAX)
    }

    /// Whether no group is subscribed to.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.live() == 0
    }

    /// The version spoken now: IGMP 1 to 3, MLD 1 or 2.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// A source-specific group that is left out because an older version is spoken (RFC 4604): the
    /// first one, once for each time that this version is spoken.
    pub fn take_unsayable(&mut self) -> Option<F::Addr> {
        self.unsayable.take()
    }

    /// Time never goes back.
    fn enter(&mut self, now: Tick) {
        self.now = self.now.max(now);
    }

    fn sender(&self) -> Option<Sender<F>> {
        let ifindex = self.config.ifindex;
        self.endpoint.map(|e| Sender { ifindex, source: e.source, mtu: e.mtu })
    }

    /// Whether reports have no records.
    fn is_older(&self) -> bool {
        self.version < F::LAYOUT.newest
    }

    /// IGMPv1 knows no leave.
    fn has_leave(&self) -> bool {
        F::AF == Af::Ip6 || self.version > 1
    }

    /// Whether the version spoken can report the group. RFC 4604, section 2.2.
    #[must_use]
    pub fn is_sayable(&self, group: F::Addr) -> bool {
        !self.is_older() || !self.config.ssm.iter().any(|range| range.contains(group))
    }

    /// Speaks the lowest version of the queriers present. RFC 9776, section 7.2.1.
    fn choose_version(&mut self) {
        if self.leaving {
            return;
        }
        for until in &mut self.older {
            until.take_if(|until| *until <= self.now);
        }
        let highest = self.config.max_version.clamp(1, F::LAYOUT.newest);
        let present = self.older.iter().zip(1..).find(|(until, _)| until.is_some());
        let version = present.map_or(highest, |(_, version)| highest.min(version));
        if std::mem::replace(&mut self.version, version) != version {
            self.pace = if self.is_older() { OLD_REPORT_PACE } else { REPORT_PACE };
            self.general = None;
            for work in self.works.cancel(self.now) {
                self.release(work);
            }
            self.announce_all();
            self.unsayable = self.find_unsayable();
            self.warned = self.unsayable.is_some();
        }
    }

    fn find_unsayable(&self) -> Option<F::Addr> {
        let mut groups = self.iter_from(0, usize::MAX).map(|(_, view)| view.group);
        groups.find(|group| !self.is_sayable(*group))
    }

    /// The difference to `old` is to be told. RFC 9776, section 5.1.
    fn note_change(&mut self, handle: u32, old: &Subscription<F::Addr>) {
        let copies = self.robustness;
        let record = &self.table.records[handle];
        if !self.is_sayable(record.group) {
            if !std::mem::replace(&mut self.warned, true) {
                self.unsayable = Some(record.group);
            }
        } else if self.is_older() {
            if record.is_none() != old.is_none() {
                self.tell(handle, |work| work.copies = copies);
            }
        } else if record.mode != old.mode {
            self.tell(handle, |work| {
                work.copies = copies;
                work.changes.clear();
            });
        } else {
            let new = &record.sources;
            let gone = old.sources.iter().filter(|s| new.binary_search(s).is_err());
            let come = new.iter().filter(|s| old.sources.binary_search(s).is_err());
            let changes: Vec<F::Addr> = gone.chain(come).copied().collect();
            self.tell(handle, |work| changes.into_iter().for_each(|s| work.change(s, copies)));
        }
    }

    /// Queues a state change of the group for now, in place of its repetition.
    fn tell(&mut self, handle: u32, note: impl FnOnce(&mut Work<F::Addr>)) {
        let at = self.work(handle);
        note(self.works.get(at));
        self.works.queue(Queue::Changes, at);
    }

    /// The group's work, a new one if it has none.
    fn work(&mut self, handle: u32) -> u32 {
        let record = &mut self.table.records[handle];
        if record.work == NONE {
            record.work = self.works.insert(handle);
        }
        record.work
    }

    /// Removes the work if nothing is left of it, and the group if that was all.
    fn release(&mut self, work: u32) {
        let handle = self.works.get(work).record;
        if self.works.release(work, self.now) {
            self.table.records[handle].work = NONE;
            self.tidy(handle);
        }
    }

    /// Removes a group that nothing is subscribed to nor to be said of.
    fn tidy(&mut self, handle: u32) {
        let record = &self.table.records[handle];
        if record.is_none() && record.work == NONE {
            self.table.remove(handle);
        }
    }

    /// Nothing can be said: the interface is down.
    fn forget_work(&mut self) {
        (self.works, self.general, self.sweep) = (Works::default(), None, None);
        self.out.clear();
        for handle in 0..self.table.records.extent() {
            let Some(record) = self.table.records.at(handle).filter(|r| !r.is_free()) else {
                continue;
            };
            if record.is_none() {
                self.table.remove(handle);
            } else {
                self.table.records[handle].work = NONE;
            }
        }
    }

    fn announce_all(&mut self) {
        self.sweep = None;
        if self.endpoint.is_some() && !self.is_empty() {
            self.sweep =
                Some(Sweep::new(&self.table, Purpose::Announce, self.robustness, self.now));
        }
    }
}

/// The record as others see it, if there is one.
fn view<A: crate::wire::Address>(record: &Record<A>) -> Option<SubscriptionView<'_, A>> {
    let Record { group, mode, sources, .. } = record;
    (!record.is_none()).then_some(SubscriptionView { group: *group, mode: *mode, sources })
}
