//! The subscriptions by group: 32 octets for an IPv4 group without sources, and about 12 for finding
//! it.

use super::Subscription;
use crate::engine::core::index::Index;
use crate::engine::core::slab::{NONE, Slab};
use crate::imsg::ctl::Mode;
use crate::wire::{Address, Family, ReportBuilder};

/// A group's subscription; without sources in INCLUDE mode it is none, and only its leave is still
/// to be sent.
#[derive(Clone, Debug)]
pub(super) struct Record<A> {
    /// Unspecified in a free place.
    pub(super) group: A,
    /// Sorted.
    pub(super) sources: Box<[A]>,
    /// What is still to be said of it, or [`NONE`].
    pub(super) work: u32,
    pub(super) mode: Mode,
}

impl<A: Address> Default for Record<A> {
    fn default() -> Self {
        Self { group: A::UNSPECIFIED, sources: Box::default(), work: NONE, mode: Mode::Include }
    }
}

impl<A: Address> Record<A> {
    /// Whether nothing is subscribed to.
    pub(super) fn is_none(&self) -> bool {
        self.mode == Mode::Include && self.sources.is_empty()
    }

    /// Whether it is no record but a free place.
    pub(super) fn is_free(&self) -> bool {
        self.group.is_unspecified()
    }

    /// Whether data of the source is asked for.
    pub(super) fn wants(&self, source: A) -> bool {
        self.sources.binary_search(&source).is_ok() == (self.mode == Mode::Include)
    }
}

/// All of them.
#[derive(Clone, Debug)]
pub(super) struct Table<F: Family> {
    pub(super) records: Slab<Record<F::Addr>>,
    index: Index,
    /// Those that are not none.
    live: u32,
    /// Octets of the live ones' records in reports.
    octets: u64,
}

impl<F: Family> Table<F> {
    pub(super) fn new(key: [u64; 2]) -> Self {
        Self { records: Slab::default(), index: Index::new(key), live: 0, octets: 0 }
    }

    /// Subscriptions that are not none.
    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    /// Octets of their records in reports.
    pub(super) const fn octets(&self) -> u64 {
        self.octets
    }

    /// Those that only wait for their leave to be sent.
    pub(super) const fn left(&self) -> u32 {
        self.records.count() - self.live
    }

    pub(super) fn find(&self, group: F::Addr) -> Option<u32> {
        self.index.find(self.index.hash(&[group]), |at| self.records[at].group == group)
    }

    /// Where the groups are found by their hashes alone, nearly always rightly. Each step is taken
    /// for all of them before the next one: then the processor waits for memory for many at once.
    pub(super) fn look_up(&self, groups: impl Iterator<Item = F::Addr>) -> Vec<u32> {
        let mut places: Vec<u32> = groups.map(|g| self.index.hash(&[g])).collect();
        for place in &mut places {
            *place = self.index.find(*place, |_| true).unwrap_or(NONE);
        }
        places
    }

    /// Takes in a group that is not there.
    pub(super) fn insert(&mut self, group: F::Addr) -> u32 {
        let handle = self.records.insert(Record { group, ..Record::default() });
        self.index.insert(self.index.hash(&[group]), handle);
        handle
    }

    /// Changes a subscription and returns what it was.
    pub(super) fn replace(
        &mut self,
        handle: u32,
        new: Subscription<F::Addr>,
    ) -> Subscription<F::Addr> {
        self.count(handle, false);
        let record = &mut self.records[handle];
        let mode = std::mem::replace(&mut record.mode, new.mode);
        let sources = std::mem::replace(&mut record.sources, new.sources.into_boxed_slice());
        self.count(handle, true);
        Subscription { mode, sources: sources.into_vec() }
    }

    /// Adds the record to the totals, or takes it off.
    fn count(&mut self, handle: u32, add: bool) {
        let record = &self.records[handle];
        if record.is_none() {
            return;
        }
        let length = ReportBuilder::<F>::record_length(record.sources.len());
        let length = u64::try_from(length).unwrap_or_default();
        if add {
            self.live += 1;
            self.octets += length;
        } else {
            self.live -= 1;
            self.octets -= length;
        }
    }

    /// Forgets the group.
    pub(super) fn remove(&mut self, handle: u32) {
        self.count(handle, false);
        let group = self.records.remove(handle).group;
        self.index.remove(self.index.hash(&[group]), handle);
    }
}

/// A walk once around the records, from some place on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    next: u32,
    left: u32,
    end: u32,
}

impl Walk {
    /// All records that are there now, in the order of their places.
    pub(super) fn new<F: Family>(table: &Table<F>) -> Self {
        let end = table.records.extent();
        Self { next: 0, left: end, end }
    }

    /// Once around from here on, all that are there now.
    pub(super) fn again<F: Family>(&self, table: &Table<F>) -> Self {
        let all = Self::new(table);
        Self { next: if self.next < all.end { self.next } else { 0 }, ..all }
    }

    /// Whether nothing was visited yet.
    pub(super) const fn is_fresh(&self) -> bool {
        self.left == self.end
    }

    /// Whether all were visited.
    pub(super) const fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Whether the record is still to be visited.
    pub(super) const fn is_ahead(&self, handle: u32) -> bool {
        let ahead =
            if handle >= self.next { handle - self.next } else { self.end - self.next + handle };
        handle < self.end && ahead < self.left
    }

    /// The record to visit; its place may be free.
    pub(super) const fn here(&self) -> Option<u32> {
        if self.left == 0 { None } else { Some(self.next) }
    }

    /// Goes on.
    pub(super) const fn step(&mut self) {
        self.left -= 1;
        self.next = if self.next + 1 == self.end { 0 } else { self.next + 1 };
    }
}
