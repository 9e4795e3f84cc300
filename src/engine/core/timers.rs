//! Which record to look at next: lists of records by the moment they are due, linked through the
//! records themselves.
//!
//! A refresh moves only the deadline in the record; its entry here stays where it is, and moves on
//! when it comes up. So a record has one entry at most, and a refresh costs nothing.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::slab::{NONE, Slab};
use crate::sys::time::Tick;

/// Moments are rounded up to this many milliseconds, so that what falls together is handled
/// together.
pub const GRAIN: u64 = 8;

/// A record's place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    list: Option<List>,
    prev: u32,
    next: u32,
}

/// A list: its grain modulo 2^31, twice, and one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct List(NonZeroU32);

impl List {
    #[expect(clippy::cast_possible_truncation, reason = "a list is found again modulo 2^31")]
    fn of(grain: u64) -> Self {
        Self(NonZeroU32::MIN | (grain as u32) << 1)
    }

    /// The grain that it stands for: the one nearest to now.
    fn grain(self, now: Tick) -> u64 {
        let here = now.0 / GRAIN;
        let ahead = self.0.get().wrapping_sub(Self::of(here).0.get()).cast_signed() >> 1;
        here.saturating_add_signed(i64::from(ahead))
    }
}

impl Default for Entry {
    fn default() -> Self {
        Self { list: None, prev: NONE, next: NONE }
    }
}

/// A record that can wait in [`Timers`].
pub trait Waits: Default {
    /// Its place.
    fn entry(&mut self) -> &mut Entry;
}

/// The lists. Moments must lie within 2^30 grains, 99 days, of each other.
#[derive(Clone, Debug, Default)]
pub struct Timers(BTreeMap<u64, u32>);

impl Timers {
    /// Has the record looked at once `at` has come, and not before: an earlier entry stays.
    pub fn arm<T: Waits>(&mut self, records: &mut Slab<T>, handle: u32, at: Tick, now: Tick) {
        let grain = at.0.div_ceil(GRAIN);
        if let Some(list) = records[handle].entry().list {
            if list.grain(now) <= grain {
                return;
            }
            self.disarm(records, handle, now);
        }
        let head = self.0.insert(grain, handle).unwrap_or(NONE);
        if head != NONE {
            records[head].entry().prev = handle;
        }
        *records[handle].entry() = Entry { list: Some(List::of(grain)), prev: NONE, next: head };
    }

    /// Forgets the record, before it is removed.
    pub fn disarm<T: Waits>(&mut self, records: &mut Slab<T>, handle: u32, now: Tick) {
        let entry = std::mem::take(records[handle].entry());
        let Some(list) = entry.list else { return };
        if entry.next != NONE {
            records[entry.next].entry().prev = entry.prev;
        }
        if entry.prev != NONE {
            records[entry.prev].entry().next = entry.next;
            return;
        }
        let grain = list.grain(now);
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
