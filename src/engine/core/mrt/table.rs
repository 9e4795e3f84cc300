//! The route table: entries by (source, group), by group, and drop entries by how long they idle.

use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher;
use std::ops::BitOr;

use siphasher::sip::SipHasher13;

use super::set::SlotSet;
use crate::engine::core::index::Index;
use crate::engine::core::link::{Link, Vif};
use crate::engine::core::slab::{NONE, Slab};
use crate::engine::core::slot::{Slot, Slots};
use crate::sys::time::Tick;
use crate::wire::{Address, Family};

/// SipHash-1-3 with the engine's key: what hosts send cannot be made to collide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keyed(pub [u64; 2]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0[0], self.0[1])
    }
}

/// What an entry is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// No entry: a free place.
    #[default]
    Free,
    /// A flow that was seen; goes when it idles.
    Learned,
    /// An `mroute` of one source and group.
    Fixed,
    /// The group's own: (*,G), or the only one where the kernel looks at groups alone.
    Shared,
}

/// A copy of the flow arrives on another interface, which may take it over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rival {
    /// That interface.
    pub(super) slot: Slot,
    /// When the packets of the right interface were first counted, and how many there were.
    pub(super) counted: Option<(Tick, u64)>,
}

/// A forwarding entry.
#[derive(Clone, Debug)]
pub(super) struct Entry<F: Family> {
    /// What it is there for.
    pub(super) kind: Kind,
    /// Its source; unspecified for any.
    pub(super) source: F::Addr,
    /// Its group.
    pub(super) group: F::Addr,
    /// Where packets are to arrive.
    pub(super) incoming: Slot,
    /// Where the last unknown packet arrived; of a group-keyed kernel.
    pub(super) seen: Slot,
    /// Where they go; nowhere makes a drop entry.
    pub(super) outputs: SlotSet,
    /// The kernel has it so.
    pub(super) installed: bool,
    /// Installed by an engine before us, and not judged yet.
    pub(super) adopted: bool,
    /// It was moved back to `incoming` from where copies arrive, which would take it away again.
    pub(super) pinned: bool,
    /// The source was lost from `incoming`; of a group-keyed kernel.
    pub(super) lost: bool,
    /// The last reading of counters that it was part of.
    pub(super) round: u32,
    /// When a packet was last known to have come.
    pub(super) active: Tick,
    /// It does not follow its source to another interface before.
    pub(super) hold: Tick,
    /// Where it may move.
    pub(super) rival: Option<Box<Rival>>,
    /// Packets, octets and packets on the wrong interface, as last counted.
    pub(super) counts: [u64; 3],
    pub(super) next: u32,
    pub(super) previous: u32,
}

impl<F: Family> Default for Entry<F> {
    fn default() -> Self {
        Self {
            kind: Kind::Free,
            source: F::Addr::UNSPECIFIED,
            group: F::Addr::UNSPECIFIED,
            incoming: Slot(0),
            seen: Slot(0),
            outputs: SlotSet::EMPTY,
            installed: false,
            adopted: false,
            pinned: false,
            lost: false,
            round: 0,
            active: Tick::default(),
            hold: Tick::default(),
            rival: None,
            counts: [0; 3],
            next: NONE,
            previous: NONE,
        }
    }
}

impl<F: Family> Entry<F> {
    /// One that a packet, an `mroute` or a membership asks for, not yet in the kernel.
    pub(super) fn new(
        now: Tick,
        kind: Kind,
        source: F::Addr,
        group: F::Addr,
        incoming: Slot,
    ) -> Self {
        Self { kind, source, group, incoming, active: now, ..Self::default() }
    }

    /// Of an entry that an engine before us installed, with packets from `incoming`: the outputs
    /// that it had, as far as they are vifs or will be.
    pub(super) fn kept(&self, incoming: Slot, links: &Slots<Link<F>>) -> SlotSet {
        let stays = |link: &&Link<F>| matches!(link.vif, Vif::Ready(_) | Vif::Requested);
        let vifs =
            links.iter().filter(stays).fold(SlotSet::EMPTY, |set, l| set | SlotSet::one(l.slot));
        let keeps = self.adopted && self.incoming == incoming;
        if keeps { self.outputs & vifs } else { SlotSet::EMPTY }
    }

    /// Whether packets can arrive on an interface: it is a vif, or for an entry of an engine before
    /// us, will be.
    pub(super) fn can_arrive(&self, slot: Slot, links: &Slots<Link<F>>) -> bool {
        links.get(slot).is_some_and(|link| match link.vif {
            Vif::Ready(_) => true,
            Vif::Requested => self.adopted,
            Vif::None | Vif::Refused(_) => false,
        })
    }

    /// Whether it stays although a (*,G) entry forwards its packets as well.
    pub(super) fn is_kept(&self) -> bool {
        self.adopted || self.pinned
    }

    /// Whether it is a drop entry that idles out.
    fn is_drop(&self) -> bool {
        self.kind == Kind::Learned && self.outputs.is_empty()
    }
}

/// A group that has entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The upstream that its entries were made for.
    pub(super) upstream: Option<Slot>,
    /// Interfaces that its entries depend on.
    pub(super) uses: SlotSet,
    /// The kernel refused (*,G).
    pub(super) starless: bool,
    /// Its own entry.
    pub(super) shared: u32,
    /// Its flows.
    first: u32,
}

impl Default for Group {
    fn default() -> Self {
        Self { upstream: None, uses: SlotSet::EMPTY, starless: false, shared: NONE, first: NONE }
    }
}

/// All entries of one family.
#[derive(Debug)]
pub(super) struct Table<F: Family> {
    entries: Slab<Entry<F>>,
    flows: Index,
    groups: HashMap<F::Addr, Group, Keyed>,
    drops: BTreeSet<(Tick, u32)>,
    learned: usize,
    fixed: usize,
}

impl<F: Family> Table<F> {
    /// An empty one; `seed` keys the hashes.
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self {
            entries: Slab::default(),
            flows: Index::new(seed),
            groups: HashMap::with_hasher(Keyed(seed)),
            drops: BTreeSet::new(),
            learned: 0,
            fixed: 0,
        }
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.entries.count() as usize
    }

    /// Entries that `max-routes` is for: all but those of an `mroute` of one source and group.
    pub(super) fn limited(&self) -> usize {
        self.len().saturating_sub(self.fixed)
    }

    /// Drop entries that idle out.
    pub(super) fn drops(&self) -> usize {
        self.drops.len()
    }

    /// Entries that idle out, and a group-keyed kernel's.
    pub(super) fn learned(&self) -> usize {
        self.learned
    }

    /// The entry of a handle.
    pub(super) fn get(&self, handle: u32) -> &Entry<F> {
        &self.entries[handle]
    }

    /// The entry of a handle, to change what nothing is ordered by.
    pub(super) fn get_mut(&mut self, handle: u32) -> &mut Entry<F> {
        &mut self.entries[handle]
    }

    /// Whether the handle still names an entry: others may have gone to make room.
    pub(super) fn is_live(&self, handle: u32) -> bool {
        self.entries.at(handle).is_some_and(|e| e.kind != Kind::Free)
    }

    /// Handles and entries in a fixed order, from the place `from` on.
    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &Entry<F>)> {
        (from..self.entries.extent())
            .filter_map(|h| Some((h, self.entries.at(h).filter(|e| e.kind != Kind::Free)?)))
    }

    /// The entry of (source, group).
    pub(super) fn flow(&self, source: F::Addr, group: F::Addr) -> Option<u32> {
        self.flows.find(self.flows.hash(&[source, group]), |handle| {
            let entry = &self.entries[handle];
            entry.source == source && entry.group == group
        })
    }

    /// The group's own entry.
    pub(super) fn shared(&self, group: F::Addr) -> Option<u32> {
        self.groups.get(&group).map(|g| g.shared).filter(|h| *h != NONE)
    }

    /// A group that has entries.
    pub(super) fn group(&self, group: F::Addr) -> Option<&Group> {
        self.groups.get(&group)
    }

    /// A group that has entries, to change.
    pub(super) fn group_mut(&mut self, group: F::Addr) -> Option<&mut Group> {
        self.groups.get_mut(&group)
    }

    /// The groups that have entries.
    pub(super) fn groups(&self) -> impl Iterator<Item = (F::Addr, &Group)> {
        self.groups.iter().map(|(group, of)| (*group, of))
    }

    /// Handles of a group's flows.
    pub(super) fn flows_of(&self, group: F::Addr) -> Vec<u32> {
        let first = self.groups.get(&group).map_or(NONE, |g| g.first);
        let next = |h: &u32| Some(self.entries[*h].next).filter(|h| *h != NONE);
        std::iter::successors(Some(first).filter(|h| *h != NONE), next).collect()
    }

    /// Takes an entry in. There is none of its key.
    pub(super) fn insert(&mut self, mut entry: Entry<F>) -> u32 {
        let group = self.groups.entry(entry.group).or_default();
        group.uses.insert(entry.incoming);
        let is_shared = entry.kind == Kind::Shared;
        if !is_shared {
            entry.next = group.first;
        }
        let (source, address, next) = (entry.source, entry.group, entry.next);
        let handle = self.entries.insert(entry);
        if is_shared {
            group.shared = handle;
        } else {
            group.first = handle;
            if next != NONE {
                self.entries[next].previous = handle;
            }
            self.flows.insert(self.flows.hash(&[source, address]), handle);
        }
        self.account(handle, true);
        handle
    }

    /// Takes an entry out, and its group when that was the last one.
    pub(super) fn remove(&mut self, handle: u32) -> Entry<F> {
        self.account(handle, false);
        let entry = self.entries.remove(handle);
        if entry.kind != Kind::Shared {
            self.flows.remove(self.flows.hash(&[entry.source, entry.group]), handle);
            if entry.next != NONE {
                self.entries[entry.next].previous = entry.previous;
            }
            if entry.previous != NONE {
                self.entries[entry.previous].next = entry.next;
            }
        }
        if let Some(group) = self.groups.get_mut(&entry.group) {
            if group.shared == handle {
                group.shared = NONE;
            } else if group.first == handle {
                group.first = entry.next;
            }
            if group.shared == NONE && group.first == NONE && !group.starless {
                self.drop_group(entry.group);
            }
        }
        entry
    }

    /// Changes an entry in any way but its key.
    pub(super) fn change(&mut self, handle: u32, change: impl FnOnce(&mut Entry<F>)) {
        self.account(handle, false);
        change(&mut self.entries[handle]);
        let (group, uses) = (self.entries[handle].group, self.uses(handle));
        if let Some(group) = self.groups.get_mut(&group) {
            group.uses |= uses;
        }
        self.account(handle, true);
    }

    /// Notes what the group's entries depend on: where they come from and go to, and its members.
    pub(super) fn note_uses(&mut self, group: F::Addr, members: SlotSet) {
        let flows = self.flows_of(group).into_iter().chain(self.shared(group));
        let uses = flows.map(|h| self.uses(h)).fold(members, SlotSet::bitor);
        if let Some(group) = self.groups.get_mut(&group) {
            group.uses = uses;
        }
    }

    /// Notes what a new entry of the group depends on.
    pub(super) fn join_uses(&mut self, group: F::Addr, upstream: Option<Slot>, members: SlotSet) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.upstream = group.upstream.or(upstream);
            group.uses |= members;
        }
    }

    fn uses(&self, handle: u32) -> SlotSet {
        let entry = &self.entries[handle];
        let seen = if entry.kind == Kind::Shared { entry.seen } else { entry.incoming };
        entry.outputs | SlotSet::one(entry.incoming) | SlotSet::one(seen)
    }

    /// Notes that the kernel refused (*,G) for the group.
    pub(super) fn refuse_star(&mut self, group: F::Addr) {
        self.groups.entry(group).or_default().starless = true;
    }

    /// Forgets that the kernel refused (*,G) for the group.
    pub(super) fn forgive_star(&mut self, group: F::Addr) {
        if let Some(of) = self.groups.get_mut(&group) {
            of.starless = false;
            if of.shared == NONE && of.first == NONE {
                self.drop_group(group);
            }
        }
    }

    /// Memory returns with the last one.
    fn drop_group(&mut self, group: F::Addr) {
        self.groups.remove(&group);
        if self.groups.is_empty() {
            self.groups = HashMap::with_hasher(*self.groups.hasher());
        }
    }

    /// The drop entry that has idled longest.
    pub(super) fn longest_idle_drop(&self) -> Option<u32> {
        self.drops.first().map(|(_, handle)| *handle)
    }

    /// Counts the entry in or out, as it is.
    fn account(&mut self, handle: u32, present: bool) {
        let entry = &self.entries[handle];
        let at = (entry.active, handle);
        match (entry.is_drop(), present) {
            (true, true) => _ = self.drops.insert(at),
            (true, false) => _ = self.drops.remove(&at),
            (false, _) => {}
        }
        let count = match entry.kind {
            Kind::Learned => &mut self.learned,
            Kind::Fixed => &mut self.fixed,
            Kind::Shared | Kind::Free => return,
        };
        *count = if present { *count + 1 } else { count.saturating_sub(1) };
    }
}
