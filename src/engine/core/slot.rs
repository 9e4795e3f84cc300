//! Small numbers for interfaces, so that records need not hold an index or a name.

use serde::{Deserialize, Serialize};

/// An interface's place in the tables of one family; below [`MAX_SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub u8);

/// Interfaces of one family at most: more than any kernel's vifs, for those that wait for one.
pub const MAX_SLOTS: usize = 128;

/// The interfaces of one family.
#[derive(Clone, Debug)]
pub struct Slots<T>(Vec<Option<T>>);

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Slots<T> {
    /// Puts a new one in the first free place; `None` when all are taken.
    pub fn insert(&mut self, make: impl FnOnce(Slot) -> T) -> Option<Slot> {
        let place = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if place >= MAX_SLOTS {
            return None;
        }
        let slot = Slot(u8::try_from(place).ok()?);
        let value = Some(make(slot));
        match self.0.get_mut(place) {
            Some(free) => *free = value,
            None => self.0.push(value),
        }
        Some(slot)
    }

    /// Takes one out.
    pub fn remove(&mut self, slot: Slot) -> Option<T> {
        self.0.get_mut(usize::from(slot.0))?.take()
    }

    /// One of them.
    pub fn get(&self, slot: Slot) -> Option<&T> {
        self.0.get(usize::from(slot.0))?.as_ref()
    }

    /// One of them, to change.
    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.0.get_mut(usize::from(slot.0))?.as_mut()
    }

    /// All, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flatten()
    }

    /// All, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }
}
