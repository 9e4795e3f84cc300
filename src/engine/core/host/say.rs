//! What is said: state changes, answers, and everything to newcomers and at the end, at the pace
//! that the links bear.

use std::borrow::Cow;

use super::table::{Record, Table, Walk};
use super::work::Queue;
use super::{Host, LEAVE_TIME, OLD_UNSOLICITED_REPORT_INTERVAL, UNSOLICITED_REPORT_INTERVAL};
use crate::imsg::Transmit;
use crate::imsg::ctl::Mode;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Family, RecordType, ReportBuilder, Sender, leave, old_report};

/// Why groups are said one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To answer a General Query.
    Answer,
    /// Because nobody there knows of them.
    Announce,
    /// To leave them.
    Leave,
}

/// Everything is said, some times over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    walk: Walk,
    purpose: Purpose,
    /// Passes that are not over.
    passes: u8,
    /// When this pass began.
    began: Tick,
    /// When it may begin.
    pub(super) wake: Tick,
}

impl Sweep {
    pub(super) fn new<F: Family>(
        table: &Table<F>,
        purpose: Purpose,
        passes: u8,
        now: Tick,
    ) -> Self {
        Self { walk: Walk::new(table), purpose, passes, began: now, wake: now }
    }
}

impl<F: Family> Host<F> {
    /// Packs what is to be said now into as many messages as may go now.
    pub(super) fn flush(&mut self) {
        while self.pace.ready(self.now) {
            let mut messages = self.tell_changes();
            if messages.is_empty() {
                messages = self.tell_answers();
            }
            if messages.is_empty() {
                messages = self.tell_all();
            }
            if messages.is_empty() {
                return;
            }
            self.pace.take(self.now, messages.len());
            self.out.extend(messages);
        }
    }

    /// The time between copies.
    fn repeat_after(&mut self) -> Millis {
        if self.is_older() {
            return OLD_UNSOLICITED_REPORT_INTERVAL;
        }
        Millis(self.chance.below(UNSOLICITED_REPORT_INTERVAL.0 - 1) + 1)
    }

    /// One message of state changes, repeated together as one.
    fn tell_changes(&mut self) -> Vec<Transmit> {
        let Some(sender) = self.sender() else { return Vec::new() };
        let mut message = Message::new(sender);
        let mut repeat = None;
        while let Some((at, work)) = self.works.first(Queue::Changes) {
            let record = &self.table.records[work.record];
            let mode = work.copies > 0;
            if message.is_full(if mode { record.sources.len() } else { work.changes.len() }) {
                break;
            }
            let none = record.is_none();
            if self.is_older() {
                message.old = self.old_message(sender, record.group, none);
            } else if mode {
                message.push(to(record.mode), record.group, &record.sources);
            } else {
                let sources = work.changes.iter().map(|(source, _)| *source);
                let (allow, block): (Vec<_>, _) = sources.partition(|s| record.wants(*s));
                message.push(RecordType::Allow, record.group, &allow);
                message.push(RecordType::Block, record.group, &block);
            }
            self.works.pop(Queue::Changes);
            let due = match repeat {
                Some(due) => due,
                None => *repeat.insert(self.now + self.repeat_after()),
            };
            self.told(at, due, none);
        }
        message.finish()
    }

    /// Counts a copy of the work's state change; the next one, if any, is due at `due`.
    fn told(&mut self, at: u32, due: Tick, none: bool) {
        let older = self.is_older();
        let work = self.works.get(at);
        work.sent();
        if older {
            work.changes.clear();
            // RFC 2236, section 3: a leave is sent once.
            work.copies = if none { 0 } else { work.copies };
        }
        work.repeat = work.has_change().then_some(due);
        self.works.arm(at, self.now);
        self.release(at);
    }

    /// One message of answers to specific queries.
    fn tell_answers(&mut self) -> Vec<Transmit> {
        let Some(sender) = self.sender() else { return Vec::new() };
        let mut message = Message::new(sender);
        while let Some((at, work)) = self.works.first(Queue::Answers) {
            let record = &self.table.records[work.record];
            if let Some(answer) = work.answer.as_ref().filter(|_| !record.is_none()) {
                let (kind, sources) = said(record, &answer.sources);
                if message.is_full(sources.len()) {
                    break;
                }
                if self.is_older() {
                    message.old = self.old_message(sender, record.group, false);
                } else {
                    message.push(kind, record.group, &sources);
                }
            }
            self.works.pop(Queue::Answers);
            self.works.get(at).answer = None;
            self.release(at);
        }
        message.finish()
    }

    /// The next message of the sweep.
    fn tell_all(&mut self) -> Vec<Transmit> {
        let Some(mut sweep) = self.sweep.take_if(|s| s.wake <= self.now) else {
            return Vec::new();
        };
        if sweep.walk.is_fresh() {
            sweep.began = self.now;
        }
        let messages = self.next_message(&mut sweep.walk, sweep.purpose);
        if sweep.walk.is_done() {
            let after = match sweep.purpose {
                Purpose::Leave => Millis(LEAVE_TIME.0 / u32::from(self.leave_passes())),
                Purpose::Answer | Purpose::Announce => self.repeat_after(),
            };
            sweep.passes -= 1;
            sweep.wake = (sweep.began + after).max(self.now + Millis(1));
            sweep.walk = Walk::new(&self.table);
        }
        if sweep.passes > 0 && !sweep.walk.is_done() {
            self.sweep = Some(sweep);
        }
        messages
    }

    /// Times that all groups are left: RFC 2236, section 3, has one leave.
    fn leave_passes(&self) -> u8 {
        if self.is_older() { 1 } else { self.robustness }
    }

    /// Begins to leave everything, each pass in its part of the time.
    pub(super) fn start_leaving(&mut self) {
        let groups = u64::from(self.table.records.count());
        if groups == 0 || !self.has_leave() {
            return;
        }
        let Some(sender) = self.sender() else { return };
        let passes = self.leave_passes();
        let in_one = if self.is_older() {
            1
        } else {
            ReportBuilder::new(sender).room() / ReportBuilder::<F>::record_length(0)
        };
        let messages = groups.div_ceil(u64::try_from(in_one).unwrap_or(1).max(1));
        let share = u64::from(LEAVE_TIME.0) * 1000 / u64::from(passes);
        self.pace = self.pace.no_slower(share / messages);
        self.sweep = Some(Sweep::new(&self.table, Purpose::Leave, passes, self.now));
    }

    /// The next message of a walk; none only once it is done.
    pub(super) fn next_message(&self, walk: &mut Walk, purpose: Purpose) -> Vec<Transmit> {
        let Some(sender) = self.sender() else { return Vec::new() };
        let mut message = Message::new(sender);
        while let Some(at) = walk.here() {
            if let Some(record) = self.table.records.at(at).filter(|r| self.is_said(r, purpose)) {
                let (kind, sources) = match purpose {
                    Purpose::Answer => said(record, &[]),
                    Purpose::Announce => (to(record.mode), Cow::Borrowed(&*record.sources)),
                    Purpose::Leave => (RecordType::ToIn, Cow::default()),
                };
                if message.is_full(sources.len()) {
                    break;
                }
                if self.is_older() {
                    message.old = self.old_message(sender, record.group, purpose == Purpose::Leave);
                } else {
                    message.push(kind, record.group, &sources);
                }
            }
            walk.step();
        }
        message.finish()
    }

    fn is_said(&self, record: &Record<F::Addr>, purpose: Purpose) -> bool {
        !record.is_free()
            && (purpose == Purpose::Leave || !record.is_none())
            && self.is_sayable(record.group)
    }

    /// A report, or a leave where the version has one and the group could be reported.
    fn old_message(&self, from: Sender<F>, group: F::Addr, left: bool) -> Option<Transmit> {
        match left {
            _ if !self.is_sayable(group) => None,
            true => self.has_leave().then(|| leave(&from, group)),
            false => Some(old_report(&from, self.version, group)),
        }
    }
}

/// A message being filled: records, or a single older message.
struct Message<F: Family> {
    builder: ReportBuilder<F>,
    empty: bool,
    old: Option<Transmit>,
}

impl<F: Family> Message<F> {
    fn new(from: Sender<F>) -> Self {
        Self { builder: ReportBuilder::new(from), empty: true, old: None }
    }

    /// Whether a record with so many sources is for the next message. One that no message holds is
    /// several messages by itself.
    fn is_full(&self, sources: usize) -> bool {
        self.old.is_some()
            || !self.empty && (self.builder.complete() > 0 || !self.builder.fits(sources))
    }

    fn push(&mut self, kind: RecordType, group: F::Addr, sources: &[F::Addr]) {
        self.builder.push(kind, group, sources);
        self.empty = false;
    }

    fn finish(self) -> Vec<Transmit> {
        let mut messages = self.builder.finish();
        messages.extend(self.old);
        messages
    }
}

/// The record that tells the filter mode as changed.
const fn to(mode: Mode) -> RecordType {
    match mode {
        Mode::Include => RecordType::ToIn,
        Mode::Exclude => RecordType::ToEx,
    }
}

/// The answer to a query for the group, or for the sources in `asked`. RFC 9776, section 5.2.
fn said<'a, A: Address>(record: &'a Record<A>, asked: &[A]) -> (RecordType, Cow<'a, [A]>) {
    match (asked, record.mode) {
        ([], Mode::Include) => (RecordType::IsIn, Cow::Borrowed(&record.sources)),
        ([], Mode::Exclude) => (RecordType::IsEx, Cow::Borrowed(&record.sources)),
        (asked, Mode::Include | Mode::Exclude) => {
            (RecordType::IsIn, asked.iter().copied().filter(|s| record.wants(*s)).collect())
        }
    }
}
