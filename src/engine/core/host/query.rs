//! Queries, and when they are answered. RFC 9776, section 5.2; RFC 9777, section 6.2.

use super::table::Walk;
use super::work::{Answer, MAX_ASKED};
use super::{Host, Pace, Purpose, QUERY_INTERVAL, ROBUSTNESS};
use crate::engine::core::timers::GRAIN;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Family, Query, ReportBuilder};

/// Queries answered on their own: ten a second; more are answered together.
pub(super) const ANSWER_PACE: Pace = Pace::new(100_000, 900_000);

/// Most that is believed of a querier's query interval.
const MAX_QUERY_INTERVAL: Millis = Millis(600_000);

/// A pending or running answer to a General Query: messages at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct General {
    walk: Walk,
    /// Microseconds since the start at which the next message is due.
    next: u64,
    /// Microseconds between messages.
    step: u64,
    /// When all is to be said.
    finish: Tick,
}

impl General {
    /// When it is to be looked at.
    pub(super) fn wake(&self) -> Tick {
        Tick(self.next.div_ceil(1000)).min(self.finish)
    }

    /// Spreads the messages again, the next one at `next` at the latest.
    fn spread(&mut self, next: u64, step: u64, messages: u64) {
        (self.next, self.step) = (self.next.min(next), self.step.min(step));
        let last = self.next.saturating_add(self.step.saturating_mul(messages - 1));
        self.finish = Tick(last.div_ceil(1000));
    }
}

impl<F: Family> Host<F> {
    /// A valid query arrived on the interface.
    pub fn on_query(&mut self, now: Tick, query: &Query<'_, F>) {
        self.enter(now);
        if self.leaving {
            return;
        }
        self.adopt(query);
        self.choose_version();
        if self.endpoint.is_none() || self.is_empty() {
            return;
        }
        if query.group.is_unspecified() {
            self.on_general(query.max_response);
        } else {
            self.on_specific(query);
        }
    }

    /// Takes over what the query says of its sender: RFC 9776, sections 4.1.6, 4.1.7 and 8.12; RFC
    /// 9777, section 9.12. Only General Queries tell of an older querier.
    fn adopt(&mut self, query: &Query<'_, F>) {
        if query.version >= F::LAYOUT.newest {
            let (robustness, interval) = (query.robustness, query.query_interval);
            self.robustness = if robustness == 0 { ROBUSTNESS } else { robustness };
            let interval = if interval == Millis(0) { QUERY_INTERVAL } else { interval };
            self.query_interval = interval.min(MAX_QUERY_INTERVAL);
        } else if query.group.is_unspecified() {
            let Millis(response) = query.max_response;
            let present = match F::AF {
                Af::Ip4 => u32::from(ROBUSTNESS) * QUERY_INTERVAL.0 + response.saturating_mul(10),
                Af::Ip6 => u32::from(self.robustness) * self.query_interval.0 + response,
            };
            if let Some(until) = self.older.get_mut(usize::from(query.version.saturating_sub(1))) {
                *until = Some(self.now + Millis(present));
            }
        }
    }

    /// Answers with everything, spread over the time allowed. A pending answer that is done sooner
    /// stands; one that has begun goes on around once more.
    fn on_general(&mut self, allowed: Millis) {
        let taken = self.answers.ready(self.now);
        if !taken && self.general.is_some() {
            return;
        }
        let start = self.now.max(self.answers.ready_at());
        self.answers.take(start, 1);
        let messages = self.messages();
        let step = u64::from(allowed.0).saturating_mul(1000) / messages;
        let most = u32::try_from(step / 1000).unwrap_or(u32::MAX).saturating_sub(1);
        let wait = self.chance.below(most) + 1;
        let next = (start + Millis(wait)).0 * 1000;
        let walk = Walk::new(&self.table);
        let mut answer = General { walk, next, step, finish: Tick(0) };
        answer.spread(next, step, messages);
        match &mut self.general {
            Some(pending) if !pending.walk.is_fresh() => {
                pending.walk = pending.walk.again(&self.table);
                pending.spread(next, step, messages);
            }
            Some(pending) if pending.finish <= answer.finish => pending.walk = walk,
            pending => *pending = Some(answer),
        }
    }

    /// Messages that tell everything, about.
    fn messages(&self) -> u64 {
        let octets = match self.sender() {
            Some(sender) if !self.is_older() => {
                let one = ReportBuilder::<F>::record_length(0);
                let room = ReportBuilder::new(sender).room() / one * one;
                self.table.octets().div_ceil(u64::try_from(room).unwrap_or(1).max(1))
            }
            Some(_) | None => self.table.live().into(),
        };
        octets.max(1)
    }

    /// Sends what is due of the answer to a General Query; all that is left at its end.
    pub(super) fn answer_general(&mut self) {
        let Some(mut answer) = self.general.take() else { return };
        let now = self.now.0 * 1000;
        while !answer.walk.is_done() && (answer.next <= now || answer.finish <= self.now) {
            self.out.extend(self.next_message(&mut answer.walk, Purpose::Answer));
            answer.next = answer.next.saturating_add(answer.step);
        }
        self.general = (!answer.walk.is_done()).then_some(answer);
    }

    /// Answers for one group, or for some sources of it.
    fn on_specific(&mut self, query: &Query<'_, F>) {
        let found = self.table.find(query.group);
        let Some(handle) = found.filter(|h| !self.table.records[*h].is_none()) else { return };
        if !self.is_sayable(query.group) {
            return;
        }
        let mut asked: Vec<F::Addr> = query.sources.iter().collect();
        if asked.is_empty() && !query.sources.is_empty() {
            return;
        }
        asked.sort_unstable();
        asked.dedup();
        if self.is_older() {
            asked.clear();
        }
        let due = self.answer_due(query.max_response);
        if self.general.is_some_and(|g| g.walk.is_ahead(handle) && g.finish <= due) {
            return;
        }
        let at = self.work(handle);
        merge(&mut self.works.get(at).answer, Answer { due, sources: asked });
        self.works.arm(at, self.now);
    }

    /// A random moment in the time allowed; over the limit the next one that the limit allows.
    fn answer_due(&mut self, allowed: Millis) -> Tick {
        let grain = u32::try_from(GRAIN).unwrap_or_default();
        let spread = allowed.0.saturating_sub(grain).max(1);
        let due = self.now + Millis(self.chance.below(spread) + 1);
        if self.answers.ready(self.now) {
            self.answers.take(self.now, 1);
            return due;
        }
        if self.merged_answer <= self.now {
            self.merged_answer = self.answers.ready_at();
            self.answers.take(self.now, 1);
        }
        self.merged_answer
    }
}

/// A query for the group covers one for sources, two for sources are one for both; the sooner
/// moment holds. RFC 9776, section 5.2, rules 3 to 5.
fn merge<A: Copy + Ord>(pending: &mut Option<Answer<A>>, new: Answer<A>) {
    let Some(old) = pending else {
        *pending = Some(new);
        return;
    };
    old.due = old.due.min(new.due);
    if old.sources.is_empty() || new.sources.is_empty() {
        old.sources.clear();
        return;
    }
    old.sources.extend(new.sources);
    old.sources.sort_unstable();
    old.sources.dedup();
    if old.sources.len() > MAX_ASKED {
        old.sources.clear();
    }
}
