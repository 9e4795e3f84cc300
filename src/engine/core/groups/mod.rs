//! The membership state of the downstream links: groups, their state on each link, sources, hosts.
//!
//! A group is found by one keyed hash, which leads to its state on one link; that on the others
//! hangs from it. RFC 9776 and RFC 9777, router side.

mod hosts;
mod place;
mod queries;
mod report;
mod state;
mod view;

use self::hosts::Host;
pub use self::place::Place;
pub use self::report::{Change, Said};
pub use self::state::{Outcome, Source, State};
pub use self::view::Merge;
use super::deadline::Deadline;
use super::index::Index;
use super::link::Link;
use super::slab::{NONE, Slab};
use super::slot::{MAX_SLOTS, Slot};
use super::timers::{Entry, Timers, Waits};
use crate::config::model::FastLeave;
use crate::imsg::ctl::Mode;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Discard, Family};

/// Groups on links and their sources, in one family at most; tracked hosts and theirs likewise.
pub const MAX_ENTRIES: u32 = 1_048_576;

/// What the router part of a link goes by: its settings, or what the elected querier announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Group membership interval.
    pub gmi: Millis,
    /// Last member query interval.
    pub lmqi: Millis,
    /// Last member query count.
    pub lmqc: u8,
    /// Older host present interval.
    pub ohpi: Millis,
    /// Only the querier queries and lowers timers.
    pub is_querier: bool,
    /// Version of our queries: IGMP 1 to 3, MLD 2 or 3 for MLDv1 and MLDv2.
    pub version: u8,
    /// What a leave does.
    pub fast_leave: FastLeave,
    /// Groups of the link at most.
    pub max_groups: u32,
    /// Sources of a group at most.
    pub max_sources: u32,
}

impl Rules {
    /// Last member query time.
    #[must_use]
    pub fn lmqt(&self) -> Millis {
        Millis(self.lmqi.0.saturating_mul(u32::from(self.lmqc)))
    }
}

/// A query to send: Q(G), or Q(G,A) where `sources` is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecificQuery<A> {
    /// The link to send it on.
    pub slot: Slot,
    /// The group.
    pub group: A,
    /// S flag.
    pub suppress: bool,
    /// The sources.
    pub sources: Vec<A>,
}

/// A group's state on one link.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Member<A> {
    /// Unspecified in a free place.
    group: A,
    /// The same group on another link.
    next: u32,
    /// Seconds since the start.
    created: u32,
    group_timer: Option<Deadline>,
    entry: Entry,
    extra: Option<Box<Extra<A>>>,
    slot: Slot,
    mode: Mode,
    host: Host<A>,
}

// In IPv4, all that a refresh touches is in one line of the processor's cache.
const _: () = assert!(size_of::<Member<std::net::Ipv4Addr>>() == 64);

/// What most groups do not have.
#[derive(Clone, Debug)]
struct Extra<A> {
    sources: Vec<Source<A>>,
    v1_host: Option<Deadline>,
    v2_host: Option<Deadline>,
    /// Hosts that are not tracked are there until then.
    untracked: Option<Deadline>,
    /// Rounds of Q(G) left.
    queries: u8,
    /// The next Q(G) lowers the group timer first.
    fresh: bool,
    next_query: Option<Deadline>,
    /// The next query was put off, and has its turn then.
    has_turn: bool,
    fixed: Option<Fixed<A>>,
}

/// What `static-group` holds: any source, or these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed<A> {
    /// Any source.
    pub any: bool,
    /// Sorted.
    pub sources: Vec<A>,
}

impl<A> Default for Extra<A> {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            v1_host: None,
            v2_host: None,
            untracked: None,
            queries: 0,
            fresh: false,
            next_query: None,
            has_turn: false,
            fixed: None,
        }
    }
}

impl<A: Address> Default for Member<A> {
    fn default() -> Self {
        Self {
            group: A::UNSPECIFIED,
            next: NONE,
            created: 0,
            group_timer: None,
            entry: Entry::default(),
            extra: None,
            slot: Slot(0),
            mode: Mode::Include,
            host: Host::default(),
        }
    }
}

impl<A: Address> Waits for Member<A> {
    fn entry(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

impl<A: Address> Member<A> {
    fn is_free(&self) -> bool {
        self.group.is_unspecified()
    }

    fn sources(&self) -> &[Source<A>] {
        self.extra.as_ref().map_or(&[], |e| &e.sources)
    }

    /// Whether hosts asked for it.
    fn is_dynamic(&self) -> bool {
        self.mode == Mode::Exclude || !self.sources().is_empty()
    }

    fn fixed(&self) -> Option<&Fixed<A>> {
        self.extra.as_ref()?.fixed.as_ref()
    }
}

/// All membership state of one family.
#[derive(Clone, Debug)]
pub struct Groups<F: Family> {
    /// One member of each group.
    index: Index,
    members: Slab<Member<F::Addr>>,
    /// Those that are not the first of their group.
    hosts: Slab<Host<F::Addr>>,
    /// Tracked hosts.
    tracked: u32,
    sources: u32,
    /// Sources that hosts are known to name.
    host_sources: u32,
    timers: Timers,
    /// Grows with each member or host that comes or goes: what was found before may be elsewhere.
    shape: u64,
    dirty: Vec<F::Addr>,
    queries: Vec<SpecificQuery<F::Addr>>,
    changes: Vec<Change<F::Addr>>,
    /// Groups, and the moment of the next specific query, by link.
    links: Vec<(u32, Tick)>,
    /// Records that found no room, by reason.
    refused: Vec<(Slot, Discard)>,
}

impl<F: Family> Groups<F> {
    /// An empty table whose hash is keyed by `seed`.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        Self {
            index: Index::new(seed),
            members: Slab::default(),
            hosts: Slab::default(),
            tracked: 0,
            sources: 0,
            host_sources: 0,
            timers: Timers::default(),
            shape: 0,
            dirty: Vec::new(),
            queries: Vec::new(),
            changes: Vec::new(),
            links: vec![(0, Tick(0)); MAX_SLOTS],
            refused: Vec::new(),
        }
    }

    /// The member that the group is found by.
    fn head(&self, group: F::Addr) -> Option<u32> {
        self.index.find(self.index.hash(&[group]), |m| self.members[m].group == group)
    }

    fn find(&self, slot: Slot, group: F::Addr) -> Option<u32> {
        self.chain(self.head(group)?).find(|&m| self.members[m].slot == slot)
    }

    /// The members of a group, by link, from this one on.
    fn chain(&self, head: u32) -> impl Iterator<Item = u32> {
        let mut at = head;
        std::iter::from_fn(move || {
            let member = self.members.at(at)?;
            Some(std::mem::replace(&mut at, member.next))
        })
    }

    fn create(&mut self, now: Tick, slot: Slot, group: F::Addr) -> u32 {
        let created = super::deadline::seconds(now);
        let member = self.members.insert(Member { group, slot, created, ..Member::default() });
        match self.head(group) {
            Some(head) => {
                let after = std::mem::replace(&mut self.members[head].next, member);
                self.members[member].next = after;
            }
            None => self.index.insert(self.index.hash(&[group]), member),
        }
        self.links[usize::from(slot.0)].0 += 1;
        self.shape += 1;
        member
    }

    /// Takes a member out of its group.
    fn delete(&mut self, now: Tick, member: u32) {
        self.timers.disarm(&mut self.members, member, now);
        self.forget_hosts(member, |_| false);
        let Member { group, next, .. } = self.members[member];
        let hash = self.index.hash(&[group]);
        let before =
            self.head(group).and_then(|h| self.chain(h).find(|&m| self.members[m].next == member));
        match (before, next) {
            (Some(before), _) => self.members[before].next = next,
            (None, NONE) => self.index.remove(hash, member),
            (None, _) => self.index.replace(hash, member, next),
        }
        let gone = self.members.remove(member);
        self.links[usize::from(gone.slot.0)].0 -= 1;
        self.sources -= u32::try_from(gone.sources().len()).unwrap_or(0);
        self.shape += 1;
        self.mark(group);
    }

    /// Notes that what the group's members want may differ.
    fn mark(&mut self, group: F::Addr) {
        self.dirty.push(group);
    }

    /// Takes the groups that changed.
    pub fn take_dirty(&mut self) -> Vec<F::Addr> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// Has every group looked at again: the choice of upstreams changed.
    pub fn mark_all(&mut self) {
        self.dirty.extend(self.index.iter().map(|m| self.members[m].group));
    }

    /// Takes the specific queries to send.
    pub fn take_queries(&mut self) -> Vec<SpecificQuery<F::Addr>> {
        std::mem::take(&mut self.queries)
    }

    /// Takes the joins and leaves to tell.
    pub fn take_changes(&mut self) -> Vec<Change<F::Addr>> {
        std::mem::take(&mut self.changes)
    }

    /// Takes the limits that were hit.
    pub fn take_refused(&mut self) -> Vec<(Slot, Discard)> {
        std::mem::take(&mut self.refused)
    }

    /// The next moment at which [`Groups::on_time`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// Groups with state on the link.
    #[must_use]
    pub fn on_link(&self, slot: Slot) -> u32 {
        self.links.get(usize::from(slot.0)).map_or(0, |l| l.0)
    }

    /// Groups with state, on all links.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.members.count()
    }

    /// Tracked hosts.
    #[must_use]
    pub const fn host_count(&self) -> u32 {
        self.tracked
    }

    /// Forgets what hosts of the link asked for, where it is `meant`; with `fixed`, what is configured
    /// too.
    pub fn clear_link(
        &mut self,
        now: Tick,
        slot: Slot,
        fixed: bool,
        meant: impl Fn(F::Addr) -> bool,
    ) {
        for member in 0..self.members.extent() {
            // The last one to go takes the places of all along.
            let Some(record) = self.members.at(member) else { return };
            if record.is_free() || record.slot != slot || !meant(record.group) {
                continue;
            }
            if let (Some(kept), false) = (record.fixed().cloned(), fixed) {
                let group = record.group;
                self.drop_dynamic(now, member, Some(kept));
                self.mark(group);
            } else {
                self.delete(now, member);
            }
        }
    }

    /// Has the group timers run out in the groups that `which` names, and forgets who wanted them so.
    pub fn end_exclude(&mut self, now: Tick, which: impl Fn(F::Addr) -> bool) {
        for member in 0..self.members.extent() {
            let Some(record) = self.members.at(member) else { return };
            if !record.is_free() && record.mode == Mode::Exclude && which(record.group) {
                self.members[member].group_timer = Some(Deadline::after(now, Millis(0)));
                self.forget_hosts(member, |h| h.mode == Mode::Include);
                self.tidy(now, member);
            }
        }
    }

    /// Sets what `static-group` holds for the group on the link.
    pub fn set_fixed(
        &mut self,
        now: Tick,
        slot: Slot,
        address: F::Addr,
        fixed: Option<Fixed<F::Addr>>,
    ) {
        let member = match (self.find(slot, address), &fixed) {
            (Some(member), _) => member,
            (None, Some(_)) => self.create(now, slot, address),
            (None, None) => return,
        };
        if self.members[member].fixed() == fixed.as_ref() {
            return;
        }
        self.mark(self.members[member].group);
        self.members[member].extra.get_or_insert_default().fixed = fixed;
        self.tidy(now, member);
    }

    /// The groups that `static-group` holds on the link.
    pub fn fixed_on(&self, slot: Slot) -> Vec<F::Addr> {
        (0..self.members.extent())
            .filter_map(|m| self.members.at(m))
            .filter(|m| !m.is_free() && m.slot == slot && m.fixed().is_some())
            .map(|m| m.group)
            .collect()
    }

    fn drop_dynamic(&mut self, now: Tick, member: u32, fixed: Option<Fixed<F::Addr>>) {
        self.timers.disarm(&mut self.members, member, now);
        self.forget_hosts(member, |_| false);
        let record = &mut self.members[member];
        self.sources -= u32::try_from(record.sources().len()).unwrap_or(0);
        record.mode = Mode::Include;
        record.group_timer = None;
        record.extra = fixed.map(|f| Box::new(Extra { fixed: Some(f), ..Extra::default() }));
    }

    /// Puts what is left of a member in order: gone when nobody wants it, else armed.
    fn tidy(&mut self, now: Tick, member: u32) {
        let record = &self.members[member];
        if !record.is_dynamic() {
            match record.fixed().cloned() {
                Some(fixed) => self.drop_dynamic(now, member, Some(fixed)),
                None => self.delete(now, member),
            }
            return;
        }
        let record = &mut self.members[member];
        let mut next = record.group_timer;
        if let Some(extra) = &mut record.extra {
            let mut ends = [&mut extra.v1_host, &mut extra.v2_host, &mut extra.untracked];
            // Long after it came a deadline would count as ahead again.
            ends.iter_mut().for_each(|end| **end = end.filter(|d| !d.due(now)));
            let idle = extra.sources.is_empty()
                && ends.iter().all(|end| end.is_none())
                && extra.next_query.is_none()
                && extra.fixed.is_none();
            for deadline in extra.sources.iter().filter_map(|s| s.expires).chain(extra.next_query) {
                if next.is_none_or(|n| deadline.left(now) < n.left(now)) {
                    next = Some(deadline);
                }
            }
            if idle {
                record.extra = None;
            }
        }
        if let Some(next) = next {
            self.timers.arm(&mut self.members, member, next.tick(now), now);
        }
    }
}

/// Whether the link's rules let hosts of it have the group.
pub fn admits<F: Family>(link: &Link<F>, group: F::Addr) -> Result<(), Discard> {
    if link.is_boundary(group) {
        Err(Discard::Boundary)
    } else if link.permits(group, None) {
        Ok(())
    } else {
        Err(Discard::Policy)
    }
}
