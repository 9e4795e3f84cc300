//! What is still to be said of a few groups: state changes not yet repeated, queries not yet
//! answered.

use std::collections::VecDeque;

use crate::engine::core::queue::pop;
use crate::engine::core::slab::{NONE, Slab};
use crate::engine::core::timers::{Entry, Timers, Waits};
use crate::sys::time::Tick;

/// Sources that a pending answer remembers; asked for more, it tells the whole state of the group.
pub(super) const MAX_ASKED: usize = 1024;

/// What is still to be said of one group.
#[derive(Clone, Debug)]
pub(super) struct Work<A> {
    pub(super) record: u32,
    /// Copies still to send of the filter mode; in older versions of the report or leave.
    pub(super) copies: u8,
    /// Sources that changed, with the copies still to send, sorted. RFC 9776, section 5.1.
    pub(super) changes: Vec<(A, u8)>,
    /// When the next copy is due.
    pub(super) repeat: Option<Tick>,
    pub(super) answer: Option<Answer<A>>,
    /// In which queues it is.
    queued: [bool; 2],
    entry: Entry,
}

/// A pending answer to a specific query. RFC 9776, section 5.2.
#[derive(Clone, Debug)]
pub(super) struct Answer<A> {
    pub(super) due: Tick,
    /// The sources asked for, sorted; none asks for the group.
    pub(super) sources: Vec<A>,
}

/// What a queue is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// State changes to tell now.
    Changes,
    /// Answers to give now.
    Answers,
}

impl<A> Default for Work<A> {
    fn default() -> Self {
        Self {
            record: NONE,
            copies: 0,
            changes: Vec::new(),
            repeat: None,
            answer: None,
            queued: [false; 2],
            entry: Entry::default(),
        }
    }
}

impl<A> Waits for Work<A> {
    fn entry(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl<A: Copy + Ord> Work<A> {
    /// Whether a state change is still to be told.
    pub(super) fn has_change(&self) -> bool {
        self.copies > 0 || !self.changes.is_empty()
    }

    /// Has the source told `copies` times from now on.
    pub(super) fn change(&mut self, source: A, copies: u8) {
        match self.changes.binary_search_by_key(&source, |c| c.0) {
            Ok(at) => self.changes[at].1 = copies,
            Err(at) => self.changes.insert(at, (source, copies)),
        }
    }

    /// Counts one copy: the filter mode first, sources only after it.
    pub(super) fn sent(&mut self) {
        if self.copies > 0 {
            self.copies -= 1;
        } else {
            self.changes.retain_mut(|(_, copies)| {
                *copies -= 1;
                *copies > 0
            });
        }
    }

    fn next(&self) -> Option<Tick> {
        let answer = self.answer.as_ref().filter(|_| !self.queued[Queue::Answers as usize]);
        self.repeat.into_iter().chain(answer.map(|a| a.due)).min()
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Works<A> {
    slab: Slab<Work<A>>,
    timers: Timers,
    queues: [VecDeque<u32>; 2],
}

impl<A> Default for Works<A> {
    fn default() -> Self {
        Self { slab: Slab::default(), timers: Timers::default(), queues: Default::default() }
    }
}

impl<A: Copy + Ord> Works<A> {
    pub(super) fn insert(&mut self, record: u32) -> u32 {
        self.slab.insert(Work { record, ..Work::default() })
    }

    pub(super) fn get(&mut self, work: u32) -> &mut Work<A> {
        &mut self.slab[work]
    }

    /// The next moment at which something is due; what is queued is not waited for.
    pub(super) fn next(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// Has the work looked at when it is due.
    pub(super) fn arm(&mut self, work: u32, now: Tick) {
        if let Some(at) = self.slab[work].next() {
            self.timers.arm(&mut self.slab, work, at, now);
        }
    }

    /// Queues the work, unless it is queued.
    pub(super) fn queue(&mut self, queue: Queue, work: u32) {
        if !std::mem::replace(&mut self.slab[work].queued[queue as usize], true) {
            self.queues[queue as usize].push_back(work);
        }
    }

    /// The first in the queue.
    pub(super) fn first(&self, queue: Queue) -> Option<(u32, &Work<A>)> {
        self.queues[queue as usize].front().map(|&work| (work, &self.slab[work]))
    }

    /// Takes the first out of the queue.
    pub(super) fn pop(&mut self, queue: Queue) {
        if let Some(work) = pop(&mut self.queues[queue as usize]) {
            self.slab[work].queued[queue as usize] = false;
        }
    }

    /// Queues what is due.
    pub(super) fn wake(&mut self, now: Tick) {
        while let Some(handle) = self.timers.pop_due(&mut self.slab, now) {
            let work = &mut self.slab[handle];
            let repeat = work.repeat.take_if(|at| *at <= now).is_some();
            let answer = work.answer.as_ref().is_some_and(|a| a.due <= now);
            if repeat {
                self.queue(Queue::Changes, handle);
            }
            if answer {
                self.queue(Queue::Answers, handle);
            }
            self.arm(handle, now);
        }
    }

    /// Removes the work if nothing is left of it; returns whether it did.
    pub(super) fn release(&mut self, handle: u32, now: Tick) -> bool {
        let work = &self.slab[handle];
        let idle = !work.has_change() && work.answer.is_none() && work.queued == [false; 2];
        if idle {
            self.timers.disarm(&mut self.slab, handle, now);
            self.slab.remove(handle);
        }
        idle
    }

    /// Cancels answers and repetitions; what is queued to be told now stays. Returns the works that
    /// nothing is left of.
    pub(super) fn cancel(&mut self, now: Tick) -> Vec<u32> {
        self.queues[Queue::Answers as usize] = VecDeque::new();
        let mut idle = Vec::new();
        for handle in 0..self.slab.extent() {
            let work = &mut self.slab[handle];
            if work.record == NONE {
                continue;
            }
            (work.answer, work.repeat) = (None, None);
            work.queued[Queue::Answers as usize] = false;
            if !work.queued[Queue::Changes as usize] {
                work.copies = 0;
                work.changes.clear();
                idle.push(handle);
            }
            self.timers.disarm(&mut self.slab, handle, now);
        }
        idle
    }
}
