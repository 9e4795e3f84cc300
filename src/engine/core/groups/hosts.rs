//! Explicit tracking: which hosts of a link asked for what, so that a leave need not be queried.

use crate::engine::core::deadline::Deadline;
use crate::engine::core::slab::{NONE, Slab};
use crate::imsg::ctl::Mode;
use crate::sys::time::Tick;
use crate::wire::RecordType;

/// Hosts tracked in one group of one link at most; one that is not suspends tracking there.
pub(super) const MAX_HOSTS: usize = 1024;

/// What one host asked for in one group.
#[derive(Clone, Debug)]
pub(super) struct Host<A> {
    /// Its address.
    pub(super) address: Option<A>,
    /// The next host of the group.
    pub(super) next: u32,
    /// When it is forgotten.
    pub(super) expires: Option<Deadline>,
    /// Its filter mode.
    pub(super) mode: Mode,
    /// Its sources, sorted.
    pub(super) sources: Option<Box<[A]>>,
}

impl<A> Default for Host<A> {
    fn default() -> Self {
        Self { address: None, next: NONE, expires: None, mode: Mode::Include, sources: None }
    }
}

impl<A: Copy + Ord> Host<A> {
    /// Takes over what a record of the host says. Current-state records may be partial answers, so
    /// they only add; what it said before it was silent for too long is forgotten.
    pub(super) fn apply(&mut self, now: Tick, kind: RecordType, list: &[A]) {
        if self.expires.is_some_and(|e| e.due(now)) {
            (self.mode, self.sources) = (Mode::Include, None);
        }
        let old = self.sources.take().unwrap_or_default();
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
        self.sources = (!sources.is_empty()).then(|| sources.into_boxed_slice());
    }

    /// How many sources it names.
    pub(super) fn source_count(&self) -> u32 {
        self.sources.as_ref().map_or(0, |s| u32::try_from(s.len()).unwrap_or(u32::MAX))
    }

    /// Whether it asks for nothing.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.mode == Mode::Include && self.sources.is_none()
    }

    /// Whether it wants the source.
    #[must_use]
    pub(super) fn wants(&self, source: A) -> bool {
        let listed = self.sources.as_ref().is_some_and(|s| s.binary_search(&source).is_ok());
        match self.mode {
            Mode::Include => listed,
            Mode::Exclude => !listed,
        }
    }
}

/// The live hosts of the chain that begins at `first`.
pub(super) fn live<A>(
    hosts: &Slab<Host<A>>,
    first: u32,
    now: Tick,
) -> impl Iterator<Item = &Host<A>> {
    let mut at = first;
    std::iter::from_fn(move || {
        let host = hosts.at(at)?;
        at = host.next;
        Some(host)
    })
    .filter(move |h| h.expires.is_some_and(|e| !e.due(now)))
}
