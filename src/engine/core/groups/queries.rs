//! Specific queries, ours and the elected querier's, and what expires: RFC 9776, sections 6.5 and
//! 6.6.

use super::hosts::Host;
use super::{Extra, Groups, Rules, Source, SpecificQuery};
use crate::engine::core::deadline::Deadline;
use crate::engine::core::slot::Slot;
use crate::imsg::ctl::Mode;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Family, sources_in_query};

/// Time between specific queries of one link: 200 a second.
const SPACING: Millis = Millis(5);
/// Specific queries that may go out at once after a pause.
const BURST: u32 = 40;

/// The MTU of Ethernet.
const USUAL_MTU: u32 = 1500;

/// Groups looked at in one turn; the others stay due.
const EXPIRIES: usize = 4096;

/// The earlier of a timer and `limit`.
fn lower(timer: &mut Option<Deadline>, limit: Deadline, now: Tick) {
    if timer.is_some_and(|t| t.left(now) > limit.left(now)) {
        *timer = Some(limit);
    }
}

/// Keeps what is asked for until the last of the queries that are put off can be answered.
fn put_off<A>(
    extra: &mut Extra<A>,
    group_timer: &mut Option<Deadline>,
    (wait, interval): (Millis, Millis),
    now: Tick,
) {
    let raise = |timer: &mut Option<Deadline>, queries: u8| {
        let answers = interval.0.saturating_mul(u32::from(queries));
        let answered = Deadline::after(now, Millis(wait.0.saturating_add(answers)));
        if queries > 0 && timer.is_some_and(|t| t.left(now) < answered.left(now)) {
            *timer = Some(answered);
        }
    };
    raise(group_timer, extra.queries);
    extra.sources.iter_mut().for_each(|s| raise(&mut s.expires, s.queries));
}

impl<A> Extra<A> {
    /// Messages of a round on a link of the usual MTU, about: sources may be of two kinds.
    fn messages<F: Family>(&self) -> u32 {
        let asked = self.sources.iter().filter(|s| s.queries > 0).count();
        let lists = asked.div_ceil(sources_in_query::<F>(USUAL_MTU));
        u32::from(self.queries > 0).saturating_add(u32::try_from(lists).unwrap_or(u32::MAX)).max(1)
    }

    /// Asks no more about sources.
    fn end_source_queries(&mut self) {
        self.sources.iter_mut().for_each(|s| (s.queries, s.fresh) = (0, false));
    }

    /// Asks no more.
    fn end_queries(&mut self) {
        (self.queries, self.fresh, self.next_query) = (0, false, None);
        self.has_turn = false;
        self.end_source_queries();
    }
}

impl<F: Family> Groups<F> {
    /// Starts, or adds to, the one series of specific queries of the group on its link.
    pub(super) fn ask(
        &mut self,
        now: Tick,
        member: u32,
        rules: &Rules,
        group: bool,
        sources: &[F::Addr],
    ) {
        if !rules.is_querier || rules.version == 1 {
            return;
        }
        let by_source = rules.version >= 3;
        let extra = self.members[member].extra.get_or_insert_default();
        let running = extra.queries > 0 && extra.next_query.is_some();
        let mut now_due = group && !running;
        if group {
            (extra.queries, extra.fresh) = (rules.lmqc, true);
        }
        let lmqt = rules.lmqt();
        for source in extra.sources.iter_mut().filter(|_| by_source) {
            let long = source.expires.is_some_and(|e| e.left(now) > lmqt);
            if long && sources.binary_search(&source.address).is_ok() {
                (source.queries, source.fresh) = (rules.lmqc, true);
                now_due = true;
            }
        }
        if now_due && !extra.has_turn {
            if running && !group {
                // What goes out before its time is none of the rounds.
                extra.queries = rules.lmqc.min(extra.queries + 1);
            }
            extra.next_query = Some(Deadline::after(now, Millis(0)));
            self.round(now, member, rules);
        }
    }

    /// Sends one round of the series, or puts it off while the link's queries are too many.
    fn round(&mut self, now: Tick, member: u32, rules: &Rules) {
        let record = &mut self.members[member];
        let (group, slot) = (record.group, record.slot);
        let Some(extra) = &mut record.extra else { return };
        if rules.version == 1 {
            return extra.end_queries();
        }
        if rules.version == 2 {
            extra.end_source_queries();
        }
        if !std::mem::take(&mut extra.has_turn) {
            let free = &mut self.links[usize::from(slot.0)].1;
            let wait = Millis((*free - now).0.saturating_sub(SPACING.0 * BURST));
            *free = (*free).max(now) + Millis(SPACING.0.saturating_mul(extra.messages::<F>()));
            if wait.0 > 0 {
                extra.has_turn = true;
                extra.next_query = Some(Deadline::after(now, wait));
                return put_off(extra, &mut record.group_timer, (wait, rules.lmqi), now);
            }
        }
        let lmqt = rules.lmqt();
        let limit = Deadline::after(now, lmqt);
        if extra.queries > 0 {
            if std::mem::take(&mut extra.fresh) {
                lower(&mut record.group_timer, limit, now);
            }
            extra.queries -= 1;
            let suppress = record.group_timer.is_some_and(|t| t.left(now) > lmqt);
            self.queries.push(SpecificQuery { slot, group, suppress, sources: Vec::new() });
        }
        let (mut long, mut short) = (Vec::new(), Vec::new());
        for source in extra.sources.iter_mut().filter(|s| s.queries > 0) {
            if std::mem::take(&mut source.fresh) {
                lower(&mut source.expires, limit, now);
            }
            source.queries -= 1;
            let suppress = source.expires.is_some_and(|e| e.left(now) > lmqt);
            if suppress { &mut long } else { &mut short }.push(source.address);
        }
        for (suppress, sources) in [(true, long), (false, short)] {
            if !sources.is_empty() {
                self.queries.push(SpecificQuery { slot, group, suppress, sources });
            }
        }
        let more = extra.queries > 0 || extra.sources.iter().any(|s| s.queries > 0);
        extra.next_query = more.then(|| Deadline::after(now, rules.lmqi));
    }

    /// A specific query of the elected querier without the S flag lowers timers to `limit`: those of
    /// the sources, which are sorted, or without any that of the group. RFC 9776, section 6.6.1.
    pub fn follow_query(
        &mut self,
        now: Tick,
        slot: Slot,
        group: F::Addr,
        sources: Option<&[F::Addr]>,
        limit: Millis,
    ) {
        let Some(member) = self.find(slot, group) else { return };
        let limit = Deadline::after(now, limit);
        let record = &mut self.members[member];
        match (sources, &mut record.extra) {
            (None, _) => lower(&mut record.group_timer, limit, now),
            (Some(_), None) => {}
            (Some(asked), Some(extra)) => {
                let named = |s: &&mut Source<_>| asked.binary_search(&s.address).is_ok();
                let named = extra.sources.iter_mut().filter(named);
                named.for_each(|s| lower(&mut s.expires, limit, now));
            }
        }
        self.tidy(now, member);
    }

    /// Ends the series of a link that is no longer the querier.
    pub fn stop_queries(&mut self, slot: Slot) {
        if self.on_link(slot) == 0 {
            return;
        }
        for member in 0..self.members.extent() {
            let record = &mut self.members[member];
            if let Some(extra) = record.extra.as_mut().filter(|_| record.slot == slot) {
                extra.end_queries();
            }
        }
    }

    /// Handles what is due: expiry, and the next rounds of queries.
    pub fn on_time(&mut self, now: Tick, rules: impl Fn(Slot) -> Option<Rules>) {
        for _ in 0..EXPIRIES {
            let Some(member) = self.timers.pop_due(&mut self.members, now) else { return };
            let record = &self.members[member];
            let (slot, group) = (record.slot, record.group);
            let was = record.is_dynamic();
            self.forget_hosts(member, |h: &Host<_>| h.expires.is_some_and(|e| !e.due(now)));
            let asks = record_asks(self.members[member].extra.as_deref(), now);
            if let (true, Some(rules)) = (asks, rules(slot)) {
                self.round(now, member, &rules);
            }
            self.expire(now, member);
            let is = self.members[member].is_dynamic();
            self.tell(slot, group, was, is);
            self.tidy(now, member);
        }
    }

    /// Takes the steps of RFC 9776, sections 6.2.3 and 6.5, for timers that have come to zero.
    pub(super) fn expire(&mut self, now: Tick, member: u32) {
        let due = |d: Option<Deadline>| d.is_some_and(|d| d.due(now));
        let record = &mut self.members[member];
        let before = record.sources().len();
        let mut changed = false;
        if let Some(extra) = &mut record.extra {
            match record.mode {
                Mode::Include => extra.sources.retain(|s| !due(s.expires)),
                Mode::Exclude => {
                    for source in extra.sources.iter_mut().filter(|s| due(s.expires)) {
                        source.expires = None;
                        source.queries = 0;
                        changed = true;
                    }
                }
            }
            changed |= extra.sources.len() != before;
        }
        if record.mode == Mode::Exclude && due(record.group_timer) {
            record.mode = Mode::Include;
            record.group_timer = None;
            changed = true;
            if let Some(extra) = &mut record.extra {
                extra.sources.retain(|s| s.expires.is_some());
                extra.queries = 0;
            }
        }
        self.count_sources(before, member);
        if changed {
            self.mark(self.members[member].group);
        }
    }
}

fn record_asks<A>(extra: Option<&Extra<A>>, now: Tick) -> bool {
    extra.and_then(|e| e.next_query).is_some_and(|d| d.due(now))
}
