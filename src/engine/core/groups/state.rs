//! What a report does to the state of one group on one link: RFC 9776, section 6.4, and RFC 9777,
//! section 7.4, row by row.

use crate::engine::core::deadline::Deadline;
use crate::imsg::ctl::Mode;
use crate::wire::RecordType;

/// A source of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<A> {
    /// Its address.
    pub address: A,
    /// Its timer; `None` is zero: excluded (the Y of EXCLUDE(X,Y)).
    pub expires: Option<Deadline>,
    /// Queries that still name it.
    pub queries: u8,
    /// The next query lowers its timer first.
    pub fresh: bool,
}

/// The state of one group on one link while a record is applied.
pub struct State<'a, A> {
    /// Filter mode.
    pub mode: &'a mut Mode,
    /// Group timer, in EXCLUDE mode.
    pub group_timer: &'a mut Option<Deadline>,
    /// Sources in order of their addresses.
    pub sources: &'a mut Vec<Source<A>>,
    /// The moment of the group membership interval's end.
    pub gmi: Deadline,
    /// Sources at most.
    pub max_sources: usize,
}

/// What a record asks for besides the new state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<A> {
    /// What is forwarded may differ.
    pub changed: bool,
    /// Q(G).
    pub query_group: bool,
    /// Q(G,A).
    pub query_sources: Vec<A>,
    /// Sources that found no room.
    pub refused: u32,
}

impl<A> Default for Outcome<A> {
    fn default() -> Self {
        Self { changed: false, query_group: false, query_sources: Vec::new(), refused: 0 }
    }
}

impl<A: Copy + Ord> State<'_, A> {
    /// Applies one record; `list` is sorted and free of duplicates.
    pub fn apply(&mut self, kind: RecordType, list: &[A]) -> Outcome<A> {
        let mut outcome = Outcome::default();
        match (*self.mode, kind) {
            (_, RecordType::IsIn | RecordType::Allow) => self.refresh(list, &mut outcome),
            (Mode::Include, RecordType::IsEx | RecordType::ToEx) => {
                if kind == RecordType::ToEx {
                    outcome.query_sources = self.select(|s| list.binary_search(&s.address).is_ok());
                }
                self.exclude(list, None, &mut outcome);
                outcome.changed = true;
                *self.mode = Mode::Exclude;
                *self.group_timer = Some(self.gmi);
            }
            (Mode::Include, RecordType::Block) => {
                outcome.query_sources = self.select(|s| list.binary_search(&s.address).is_ok());
            }
            (Mode::Include, RecordType::ToIn) => {
                outcome.query_sources = self.select(|s| list.binary_search(&s.address).is_err());
                self.refresh(list, &mut outcome);
            }
            (Mode::Exclude, RecordType::IsEx) => {
                self.exclude(list, Some(self.gmi), &mut outcome);
                *self.group_timer = Some(self.gmi);
            }
            (Mode::Exclude, RecordType::ToEx) => {
                self.exclude(list, *self.group_timer, &mut outcome);
                outcome.query_sources = self.requested_of(list);
                *self.group_timer = Some(self.gmi);
            }
            (Mode::Exclude, RecordType::Block) => {
                for &address in list {
                    self.add(address, *self.group_timer, &mut outcome);
                }
                outcome.query_sources = self.requested_of(list);
            }
            (Mode::Exclude, RecordType::ToIn) => {
                outcome.query_sources =
                    self.select(|s| s.expires.is_some() && list.binary_search(&s.address).is_err());
                outcome.query_group = true;
                self.refresh(list, &mut outcome);
            }
        }
        outcome
    }

    /// Rows 1, 3, 5, 9: the listed sources run for the membership interval.
    fn refresh(&mut self, list: &[A], outcome: &mut Outcome<A>) {
        for &address in list {
            match self.find(address) {
                Ok(at) => {
                    let source = &mut self.sources[at];
                    outcome.changed |= source.expires.is_none();
                    source.expires = Some(self.gmi);
                }
                Err(_) => {
                    outcome.changed |=
                        *self.mode == Mode::Include && self.sources.len() < self.max_sources;
                    self.add(address, Some(self.gmi), outcome);
                }
            }
        }
    }

    /// Rows 2, 4, 7, 11: what is not listed goes, what is new starts with `timer`.
    fn exclude(&mut self, list: &[A], timer: Option<Deadline>, outcome: &mut Outcome<A>) {
        self.sources.retain(|s| {
            let stays = list.binary_search(&s.address).is_ok();
            outcome.changed |= !stays && s.expires.is_none();
            stays
        });
        for &address in list {
            self.add(address, timer, outcome);
        }
    }

    /// Adds a source that is not there yet. One over the limit is left out: in INCLUDE mode it is
    /// not forwarded, in EXCLUDE mode it is.
    fn add(&mut self, address: A, expires: Option<Deadline>, outcome: &mut Outcome<A>) {
        let Err(at) = self.find(address) else { return };
        if self.sources.len() >= self.max_sources {
            outcome.refused += 1;
        } else {
            self.sources.insert(at, Source { address, expires, queries: 0, fresh: false });
        }
    }

    fn find(&self, address: A) -> Result<usize, usize> {
        self.sources.binary_search_by_key(&address, |s| s.address)
    }

    /// The listed sources whose timers run (A-Y once A-X-Y was added).
    fn requested_of(&self, list: &[A]) -> Vec<A> {
        self.select(|s| s.expires.is_some() && list.binary_search(&s.address).is_ok())
    }

    fn select(&self, which: impl Fn(&Source<A>) -> bool) -> Vec<A> {
        self.sources.iter().filter(|s| which(s)).map(|s| s.address).collect()
    }
}
