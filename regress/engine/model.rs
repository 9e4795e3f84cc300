//! A slow and obvious router part: the words of RFC 9776, section 6.4, as sets, with every timer a
//! moment in milliseconds. Sources are numbers.

use std::collections::{BTreeMap, BTreeSet};

use mcast_proxy::wire::RecordType::{self, Allow, Block, IsEx, IsIn, ToEx, ToIn};

pub(crate) type Set = BTreeSet<u8>;

/// Last member query time.
const LMQT: u64 = 2000;
/// Older ends of what is compared: a timer of the program may run this much longer.
const SLACK: u64 = 20;

/// The state of one group on one link.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// The group timer in EXCLUDE mode.
    exclude: Option<u64>,
    /// Sources with timers that run: A, or X.
    timers: BTreeMap<u8, u64>,
    /// Excluded sources: Y.
    excluded: Set,
    /// Until when an older host is there.
    older: u64,
}

/// What the link's timers are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) gmi: u64,
    pub(crate) ohpi: u64,
    /// Whether leaves are queried: only the querier does.
    pub(crate) querier: bool,
}

impl State {
    /// Ends what is over.
    pub(crate) fn expire(&mut self, now: u64) {
        let over: Set = self.timers.iter().filter(|(_, t)| **t <= now).map(|(s, _)| *s).collect();
        self.timers.retain(|s, _| !over.contains(s));
        if self.exclude.is_some() {
            self.excluded.extend(over);
        }
        if self.exclude.is_some_and(|t| t <= now) {
            self.exclude = None;
            self.excluded.clear();
        }
        if self.is_none() {
            *self = Self::default();
        }
    }

    /// Whether something ends just about now.
    pub(crate) fn is_vague(&self, now: u64) -> bool {
        let times = self.timers.values().chain(&self.exclude).chain([&self.older]);
        times.into_iter().any(|t| now.abs_diff(*t) <= SLACK)
    }

    pub(crate) fn is_none(&self) -> bool {
        self.exclude.is_none() && self.timers.is_empty()
    }

    pub(crate) fn wants(&self, source: u8) -> bool {
        match self.exclude {
            Some(_) => !self.excluded.contains(&source),
            None => self.timers.contains_key(&source),
        }
    }

    /// Whether it is EXCLUDE mode, with the excluded sources; else the included ones.
    pub(crate) fn filter(&self) -> (bool, Set) {
        match self.exclude {
            Some(_) => (true, self.excluded.clone()),
            None => (false, self.timers.keys().copied().collect()),
        }
    }

    /// The state as `show groups` tells it, without timers.
    pub(crate) fn text(&self) -> String {
        if self.is_none() {
            return "none".into();
        }
        let mode = if self.exclude.is_some() { "EXCLUDE" } else { "INCLUDE" };
        let mut all: BTreeMap<u8, &str> = self.timers.keys().map(|s| (*s, "+")).collect();
        all.extend(self.excluded.iter().map(|s| (*s, "-")));
        all.iter().fold(mode.to_owned(), |text, (s, sign)| text + &format!(" {s}{sign}"))
    }

    /// An older report, or leave.
    pub(crate) fn older(&mut self, now: u64, times: Times, leaves: bool) {
        if leaves {
            return self.record(now, times, ToIn, &Set::new());
        }
        self.older = now + times.ohpi;
        self.record(now, times, IsEx, &Set::new());
    }

    /// A record, whose list an older mode may drop. RFC 9776, section 7.3.2.
    pub(crate) fn record(&mut self, now: u64, times: Times, kind: RecordType, list: &Set) {
        let none = Set::new();
        match kind {
            Block if self.older > now => {}
            IsEx | ToEx if self.older > now => self.apply(now, times, kind, &none),
            IsIn | IsEx | ToIn | ToEx | Allow | Block => self.apply(now, times, kind, list),
        }
    }

    /// RFC 9776, section 6.4, row by row.
    fn apply(&mut self, now: u64, times: Times, kind: RecordType, list: &Set) {
        let running: Set = self.timers.keys().copied().collect();
        let (b, gmi) = (list, now + times.gmi);
        let set = |this: &mut Self, sources: &Set, time| {
            this.timers.extend(sources.iter().map(|s| (*s, time)));
            this.excluded.retain(|s| !sources.contains(s));
        };
        match (self.exclude, kind) {
            (_, IsIn | Allow) => set(self, b, gmi),
            (None, IsEx | ToEx) => {
                self.timers.retain(|s, _| b.contains(s));
                self.excluded = b - &running;
                self.exclude = Some(gmi);
                if kind == ToEx {
                    self.query(now, times, &(&running & b));
                }
            }
            (None, Block) => self.query(now, times, &(&running & b)),
            (None, ToIn) => {
                set(self, b, gmi);
                self.query(now, times, &(&running - b));
            }
            (Some(group), IsEx | ToEx) => {
                let new = &(b - &running) - &self.excluded;
                let y = &self.excluded & b;
                self.timers.retain(|s, _| b.contains(s));
                set(self, &new, if kind == IsEx { gmi } else { group });
                self.excluded = y.clone();
                self.exclude = Some(gmi);
                if kind == ToEx {
                    self.query(now, times, &(b - &y));
                }
            }
            (Some(group), Block) => {
                let new = &(b - &running) - &self.excluded;
                set(self, &new, group);
                let asked = b - &self.excluded;
                self.query(now, times, &asked);
            }
            (Some(group), ToIn) => {
                set(self, b, gmi);
                self.query(now, times, &(&running - b));
                if times.querier {
                    self.exclude = Some(group.min(now + LMQT));
                }
            }
        }
    }

    fn query(&mut self, now: u64, times: Times, asked: &Set) {
        for (_, timer) in self.timers.iter_mut().filter(|(s, _)| times.querier && asked.contains(s))
        {
            *timer = (*timer).min(now + LMQT);
        }
    }

    /// A specific query of the elected querier.
    pub(crate) fn follow(&mut self, now: u64) {
        self.exclude = self.exclude.map(|t| t.min(now + LMQT));
    }
}

/// The sum of what is wanted: RFC 9776, section 3.2.
pub(crate) fn sum<'a>(states: impl Iterator<Item = &'a State>) -> (bool, Set) {
    let (mut included, mut excluded) = (Set::new(), None::<Set>);
    for (excludes, sources) in states.map(State::filter) {
        match (&mut excluded, excludes) {
            (_, false) => included.extend(sources),
            (Some(all), true) => *all = &*all & &sources,
            (None, true) => excluded = Some(sources),
        }
    }
    match excluded {
        Some(all) => (true, &all - &included),
        None => (false, included),
    }
}
