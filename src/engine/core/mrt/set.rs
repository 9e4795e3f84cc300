//! Sets of interfaces.

use std::ops::{BitAnd, BitOr, BitOrAssign};

use crate::engine::core::slot::{MAX_SLOTS, Slot};

const _: () = assert!(MAX_SLOTS <= u128::BITS as usize, "a slot is a bit");

/// A set of interfaces of one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSet(u128);

impl SlotSet {
    /// No interface.
    pub const EMPTY: Self = Self(0);

    /// Every interface.
    pub const ALL: Self = Self(u128::MAX >> (u128::BITS as usize - MAX_SLOTS));

    /// One interface.
    #[must_use]
    pub const fn one(slot: Slot) -> Self {
        Self(1 << slot.0)
    }

    /// Puts an interface in.
    pub fn insert(&mut self, slot: Slot) {
        *self |= Self::one(slot);
    }

    /// Puts an interface in, or takes it out.
    pub fn set(&mut self, slot: Slot, member: bool) {
        let bit = Self::one(slot).0;
        self.0 = if member { self.0 | bit } else { self.0 & !bit };
    }

    /// Whether an interface is in it.
    #[must_use]
    pub const fn contains(self, slot: Slot) -> bool {
        self.0 & Self::one(slot).0 != 0
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its interface, when it has just one.
    #[must_use]
    pub fn only(self) -> Option<Slot> {
        if self.0.is_power_of_two() { self.iter().next() } else { None }
    }

    /// Its interfaces in the order of their slots.
    pub fn iter(self) -> impl Iterator<Item = Slot> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let slot = u8::try_from(rest.trailing_zeros()).ok()?;
            (rest != 0).then(|| {
                rest &= rest - 1;
                Slot(slot)
            })
        })
    }
}

impl BitOr for SlotSet {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl BitOrAssign for SlotSet {
    fn bitor_assign(&mut self, rhs: Self) {
        self.0 |= rhs.0;
    }
}

impl BitAnd for SlotSet {
    type Output = Self;
    fn bitand(self, rhs: Self) -> Self {
        Self(self.0 & rhs.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_slot_are_members_like_any_other() {
        let last = Slot(127);
        let mut set = SlotSet::one(last);
        assert_eq!(set.only(), Some(last));
        set.insert(Slot(0));
        assert_eq!(set.only(), None);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Slot(0), last]);
        set.set(last, false);
        assert_eq!(set.only(), Some(Slot(0)));
        assert_eq!(SlotSet::ALL.iter().count(), MAX_SLOTS);
        assert_eq!(SlotSet::EMPTY.only(), None);
        assert_eq!(SlotSet::EMPTY.iter().count(), 0);
    }
}
