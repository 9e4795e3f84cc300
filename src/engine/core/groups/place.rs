//! Where the records of a report find their state.

use super::Groups;
use crate::engine::core::slab::NONE;
use crate::engine::core::slot::Slot;
use crate::wire::{Address, Family};

/// Where the state of a group on a link is, and that of a host in it.
#[derive(Clone, Copy, Debug)]
pub struct Place<A> {
    /// The group.
    pub group: A,
    hash: u32,
    pub(super) member: u32,
    pub(super) host: u32,
    shape: u64,
}

impl<A: Address> Place<A> {
    /// Not looked up.
    #[must_use]
    pub const fn new(group: A) -> Self {
        Self { group, hash: 0, member: NONE, host: NONE, shape: u64::MAX }
    }
}

impl<F: Family> Groups<F> {
    /// Looks up the groups of one report. Each step is taken for all of them before the next one:
    /// then the processor waits for memory for many at once.
    pub fn look_up(&self, slot: Slot, reporter: F::Addr, places: &mut [Place<F::Addr>]) {
        for place in &mut *places {
            place.hash = self.index.hash(&[place.group]);
        }
        for place in &mut *places {
            // Nearly always the right one; the record is not looked at yet.
            place.member = self.index.find(place.hash, |_| true).unwrap_or(NONE);
        }
        for place in &mut *places {
            place.member = self.settle(slot, place).unwrap_or(NONE);
            place.shape = self.shape;
        }
        for place in places {
            let member = self.members.at(place.member);
            place.host = member.map_or(NONE, |m| self.find_host(m, reporter).0);
        }
    }

    /// The place as it is now.
    pub(super) fn current(
        &self,
        slot: Slot,
        reporter: F::Addr,
        mut place: Place<F::Addr>,
    ) -> Place<F::Addr> {
        if place.shape != self.shape {
            self.look_up(slot, reporter, std::slice::from_mut(&mut place));
        }
        place
    }

    /// The group's member on the link; what the place holds was found by the hash alone.
    fn settle(&self, slot: Slot, place: &Place<F::Addr>) -> Option<u32> {
        let is_it = |member: u32| self.members[member].group == place.group;
        let head = match self.members.at(place.member)?.group == place.group {
            true => place.member,
            false => self.index.find(place.hash, is_it)?,
        };
        self.chain(head).find(|&m| self.members[m].slot == slot)
    }
}
