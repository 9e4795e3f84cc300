//! Which record to look at next: lists of records by the moment they are due, linked through the
//! records themselves.
//!
//! A refresh moves only the deadline in the record; its entry here stays where it is, and moves on
//! when it comes up. So a record has one entry at most, and a refresh costs nothing.

use std::collections::BTreeMap;

use super::slab::{NONE, Slab};
use crate::sys::time::Tick;

/// Moments are rounded up to this many milliseconds, so that what falls together is handled
/// together.
pub const GRAIN: u64 = 8;

/// A record's place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The list, in grains modulo 2^32; meaningful while `armed`.
    list: u32,
    prev: u32,
    next: u32,
    armed: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self { list: 0, prev: NONE, next: NONE, armed: false }
    }
}

/// A record that can wait in [`Timers`].
pub trait Waits: Default {
    /// Its place.
    fn entry(&mut self) -> &mut Entry;
}

/// The lists. Moments must lie within 2^31 grains of each other.
#[derive(Clone, Debug, Default)]
pub struct Timers(BTreeMap<u64, u32>);

#[expect(clippy::cast_possible_truncation, reason = "a list is found again modulo 2^32")]
const fn short(grain: u64) -> u32 {
    grain as u32
}

impl Timers {
    /// Has the record looked at once `at` has come, and not before: an earlier entry stays.
    pub fn arm<T: Waits>(&mut self, records: &mut Slab<T>, handle: u32, at: Tick, now: Tick) {
        let grain = at.0.div_ceil(GRAIN);
        let entry = *records[handle].entry();
        if entry.armed {
            if self.full(entry.list, now) <= grain {
                return;
            }
            self.disarm(records, handle, now);
        }
        let head = self.0.insert(grain, handle).unwrap_or(NONE);
        if head != NONE {
            records[head].entry().prev = handle;
        }
        *records[handle].entry() =
            Entry { list: short(grain), prev: NONE, next: head, armed: true };
    }

    /// Forgets the record, before it is removed.
    pub fn disarm<T: Waits>(&mut self, records: &mut Slab<T>, handle: u32, now: Tick) {
        let entry = std::mem::take(records[handle].entry());
        if !entry.armed {
            return;
        }
        if entry.next != NONE {
            records[entry.next].entry().prev = entry.prev;
        }
        if entry.prev != NONE {
            records[entry.prev].entry().next = entry.next;
            return;
        }
        let grain = self.full(entry.list, now);
        if entry.next == NONE {
            self.0.remove(&grain);
        } else {
            self.0.insert(grain, entry.next);
        }
    }

    /// Takes one record whose moment has come.
    pub fn pop_due<T: Waits>(&mut self, records: &mut Slab<T>, now: Tick) -> Option<u32> {
        let (&grain, &handle) = self.0.first_key_value()?;
        if grain.saturating_mul(GRAIN) > now.0 {
            return None;
        }
        self.disarm(records, handle, now);
        Some(handle)
    }

    /// The next moment at which a record is to be looked at.
    #[must_use]
    pub fn next(&self) -> Option<Tick> {
        self.0.first_key_value().map(|(grain, _)| Tick(grain.saturating_mul(GRAIN)))
    }

    /// The grain that `list` stands for: the one nearest to now.
    fn full(&self, list: u32, now: Tick) -> u64 {
        let here = now.0 / GRAIN;
        let ahead = list.wrapping_sub(short(here)).cast_signed();
        here.saturating_add_signed(i64::from(ahead))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Record(Entry, u64);

    impl Waits for Record {
        fn entry(&mut self) -> &mut Entry {
            &mut self.0
        }
    }

    proptest! {
        #[test]
        fn each_record_comes_up_at_its_earliest_moment(
            moments in prop::collection::vec((0_u32..20, 0_u64..2000), 1..200),
            start in prop_oneof![Just(0_u64), Just((u64::from(u32::MAX) - 100) * GRAIN)],
        ) {
            let (mut slab, mut timers) = (Slab::<Record>::default(), Timers::default());
            for _ in 0..20 {
                slab.insert(Record(Entry::default(), u64::MAX));
            }
            for (record, wait) in moments {
                let at = start + wait;
                slab[record].1 = slab[record].1.min(at);
                timers.arm(&mut slab, record, Tick(at), Tick(start));
            }
            for now in start..start + 2100 {
                while let Some(record) = timers.pop_due(&mut slab, Tick(now)) {
                    let due = std::mem::replace(&mut slab[record].1, u64::MAX);
                    prop_assert!(now >= due && now < due + GRAIN);
                }
            }
            for record in 0..20 {
                prop_assert_eq!(slab[record].1, u64::MAX);
            }
            prop_assert_eq!(timers.next(), None);
        }
    }
}
