//! Explicit tracking: which hosts of a link asked for what, so that a leave need not be queried.

use super::{Groups, Member};
use crate::engine::core::deadline::Deadline;
use crate::engine::core::slab::NONE;
use crate::imsg::ctl::Mode;
use crate::sys::time::Tick;
use crate::wire::{Address, Family, RecordType};

/// Hosts tracked in one group of one link at most; one that is not suspends tracking there.
pub(super) const MAX_HOSTS: usize = 1024;

/// The handle of a group's first host, which is in the group's own record: most have no other.
pub(super) const FIRST: u32 = NONE - 1;

/// What one host asked for in one group.
#[derive(Clone, Debug)]
pub(super) struct Host<A> {
    /// Its address; unspecified where there is no host.
    pub(super) address: A,
    /// The next host of the group.
    next: u32,
    /// When it is forgotten.
    pub(super) expires: Option<Deadline>,
    /// Its filter mode.
    pub(super) mode: Mode,
    sources: Option<Box<Sources<A>>>,
}

/// Sources, sorted; boxed once more, most hosts have them in eight octets.
#[derive(Clone, Debug)]
struct Sources<A>(Box<[A]>);

impl<A: Address> Default for Host<A> {
    fn default() -> Self {
        Self {
            address: A::UNSPECIFIED,
            next: NONE,
            expires: None,
            mode: Mode::Include,
            sources: None,
        }
    }
}

impl<A: Address> Host<A> {
    /// One that has said nothing yet.
    pub(super) fn new(address: A) -> Self {
        Self { address, ..Self::default() }
    }

    /// Its sources, sorted.
    pub(super) fn sources(&self) -> &[A] {
        self.sources.as_ref().map_or(&[], |s| &s.0)
    }

    /// Takes over what a record of the host says. Current-state records may be partial answers, so
    /// they only add; what it said before it was silent for too long is forgotten.
    pub(super) fn apply(&mut self, now: Tick, kind: RecordType, list: &[A]) {
        if self.expires.is_some_and(|e| e.due(now)) {
            (self.mode, self.sources) = (Mode::Include, None);
        }
        let old = self.sources.take();
        let old = old.as_ref().map_or(&[][..], |s| &s.0);
        let kept =
            |keep: bool| old.iter().copied().filter(move |s| list.binary_search(s).is_ok() == keep);
        let mut sources: Vec<A> = match (self.mode, kind) {
            (_, RecordType::ToIn | RecordType::ToEx | RecordType::IsEx) => list.to_vec(),
            (Mode::Include, RecordType::IsIn | RecordType::Allow)
            | (Mode::Exclude, RecordType::Block) => {
                kept(false).chain(list.iter().copied()).collect()
            }
            (Mode::Include, RecordType::Block)
            | (Mode::Exclude, RecordType::IsIn | RecordType::Allow) => kept(false).collect(),
        };
        match kind {
            RecordType::ToIn => self.mode = Mode::Include,
            RecordType::ToEx | RecordType::IsEx => self.mode = Mode::Exclude,
            RecordType::IsIn | RecordType::Allow | RecordType::Block => {}
        }
        sources.sort_unstable();
        self.sources = (!sources.is_empty()).then(|| Box::new(Sources(sources.into_boxed_slice())));
    }

    /// How many sources it names.
    pub(super) fn source_count(&self) -> u32 {
        u32::try_from(self.sources().len()).unwrap_or(u32::MAX)
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.mode == Mode::Include && self.sources.is_none()
    }

    /// Whether it wants the source.
    #[must_use]
    pub(super) fn wants(&self, source: A) -> bool {
        let listed = self.sources().binary_search(&source).is_ok();
        match self.mode {
            Mode::Include => listed,
            Mode::Exclude => !listed,
        }
    }
}

impl<F: Family> Groups<F> {
    /// The tracked hosts of a member, with their handles.
    fn hosts<'a>(
        &'a self,
        member: &'a Member<F::Addr>,
    ) -> impl Iterator<Item = (u32, &'a Host<F::Addr>)> {
        let first = (!member.host.address.is_unspecified()).then_some((FIRST, &member.host));
        std::iter::successors(first, |(_, host)| Some((host.next, self.hosts.at(host.next)?)))
    }

    /// Those that have not been silent for too long.
    pub(super) fn live_hosts<'a>(
        &'a self,
        member: &'a Member<F::Addr>,
        now: Tick,
    ) -> impl Iterator<Item = &'a Host<F::Addr>> {
        let live = move |h: &&Host<_>| h.expires.is_some_and(|e| !e.due(now));
        self.hosts(member).map(|(_, host)| host).filter(live)
    }

    /// The host of that address, and how many are before it.
    pub(super) fn find_host(&self, member: &Member<F::Addr>, address: F::Addr) -> (u32, usize) {
        let mut before = 0;
        for (handle, host) in self.hosts(member) {
            if host.address == address {
                return (handle, before);
            }
            before += 1;
        }
        (NONE, before)
    }

    /// The host of a member with that handle.
    pub(super) fn host_mut(&mut self, member: u32, handle: u32) -> &mut Host<F::Addr> {
        match handle {
            FIRST => &mut self.members[member].host,
            handle => &mut self.hosts[handle],
        }
    }

    /// Takes in a host that is not there.
    pub(super) fn add_host(&mut self, member: u32, mut host: Host<F::Addr>) -> u32 {
        self.tracked += 1;
        self.shape += 1;
        let first = &mut self.members[member].host;
        if first.address.is_unspecified() {
            *first = host;
            return FIRST;
        }
        host.next = first.next;
        let handle = self.hosts.insert(host);
        self.members[member].host.next = handle;
        handle
    }

    /// Forgets the hosts of a member that `keep` does not hold on to.
    pub(super) fn forget_hosts(&mut self, member: u32, keep: impl Fn(&Host<F::Addr>) -> bool) {
        let mut last = FIRST;
        loop {
            let at = self.host_mut(member, last).next;
            let Some(host) = self.hosts.at(at) else { break };
            if keep(host) {
                last = at;
                continue;
            }
            let gone = self.hosts.remove(at);
            self.host_mut(member, last).next = gone.next;
            self.forgot(&gone);
        }
        let first = &self.members[member].host;
        if !first.address.is_unspecified() && !keep(first) {
            let next = match first.next {
                NONE => Host::default(),
                next => self.hosts.remove(next),
            };
            let gone = std::mem::replace(&mut self.members[member].host, next);
            self.forgot(&gone);
        }
    }

    fn forgot(&mut self, host: &Host<F::Addr>) {
        self.tracked -= 1;
        self.host_sources -= host.source_count();
        self.shape += 1;
    }
}
