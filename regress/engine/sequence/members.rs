//! The membership of each downstream as RFC 9776, section 6 (RFC 9777, section 7), has it, as naively
//! as it can be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::imsg::ctl::LinkRow;
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{Af, RecordType};

/// What the router part of a link goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    querier: bool,
    gmi: Millis,
    lmqi: Millis,
    lmqc: u8,
    ohpi: Millis,
}

impl Rules {
    /// By what is in force on the link. RFC 9776, section 8.
    pub(super) fn of(row: &LinkRow) -> Self {
        let seconds = |s: u32| s * 1000;
        let (interval, response) = (row.query_interval, row.query_max_response_time);
        let present = seconds(interval) * u32::from(row.robustness_variable);
        Self {
            querier: row.querier,
            gmi: Millis(present + 2 * seconds(response)),
            lmqi: Millis(seconds(row.last_member_query_interval)),
            lmqc: row.robustness_variable,
            ohpi: Millis(present + seconds(response)),
        }
    }

    fn lmqt(self) -> Millis {
        Millis(self.lmqi.0 * u32::from(self.lmqc))
    }
}

/// A source; without an end it is excluded.
#[derive(Clone, Copy, Debug)]
struct Source {
    end: Option<Tick>,
    /// Queries that still name it.
    ask: u8,
    fresh: bool,
}

/// A group's state on a link.
#[derive(Clone, Debug)]
pub(super) struct Group {
    rules: Rules,
    /// The group timer, in EXCLUDE mode.
    exclude: Option<Tick>,
    sources: BTreeMap<IpAddr, Source>,
    /// Until when hosts of an older version are there.
    older: Tick,
    /// Group-specific queries that are left.
    ask: u8,
    fresh: bool,
    round: Option<Tick>,
}

/// A link of a family, and a group.
pub(super) type Key = (Af, usize, IpAddr);

/// All of it.
#[derive(Default)]
pub(super) struct Members(pub(super) BTreeMap<Key, Group>);

impl Group {
    fn new(rules: Rules) -> Self {
        Self {
            rules,
            exclude: None,
            sources: BTreeMap::new(),
            older: Tick(0),
            ask: 0,
            fresh: false,
            round: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.exclude.is_none() && self.sources.is_empty()
    }

    /// What `show groups` would show: when the group timer ends, and each source's.
    pub(super) fn shown(&self) -> (Option<Tick>, BTreeMap<IpAddr, Option<Tick>>) {
        (self.exclude, self.sources.iter().map(|(s, source)| (*s, source.end)).collect())
    }

    /// Sections 6.4.1 and 6.4.2.
    fn record(&mut self, now: Tick, kind: RecordType, b: &BTreeSet<IpAddr>) {
        let gmi = now + self.rules.gmi;
        let of = |state: &Self, running: bool| -> BTreeSet<IpAddr> {
            let all = state.sources.iter();
            all.filter(|(_, s)| s.end.is_some() == running).map(|(s, _)| *s).collect()
        };
        // A of INCLUDE(A), or X and Y of EXCLUDE(X,Y).
        let (x, y) = (of(self, true), of(self, false));
        let (mut ask, mut ask_group) = (BTreeSet::new(), false);
        match (kind, self.exclude) {
            (RecordType::IsIn | RecordType::Allow, _) => self.set(b, Some(gmi)),
            (RecordType::ToIn, before) => {
                self.set(b, Some(gmi));
                (ask, ask_group) = (&x - b, before.is_some());
            }
            (RecordType::Block, None) => ask = &x & b,
            (RecordType::Block, Some(timer)) => {
                self.set(&(&(b - &x) - &y), Some(timer));
                ask = b - &y;
            }
            (RecordType::IsEx | RecordType::ToEx, before) => {
                let new = match (kind, before) {
                    (_, None) => None,
                    (RecordType::ToEx, Some(timer)) => Some(timer),
                    (_, Some(_)) => Some(gmi),
                };
                self.sources.retain(|s, _| b.contains(s));
                self.set(&(&(b - &x) - &y), new);
                self.exclude = Some(gmi);
                if kind == RecordType::ToEx {
                    ask = if before.is_some() { b - &y } else { &x & b };
                }
            }
        }
        self.query(now, &ask, ask_group);
    }

    fn set(&mut self, sources: &BTreeSet<IpAddr>, end: Option<Tick>) {
        for source in sources {
            let source =
                self.sources.entry(*source).or_insert(Source { end, ask: 0, fresh: false });
            source.end = end;
        }
    }

    /// Section 6.6.3: one series for the group; what is asked for anew begins it again.
    fn query(&mut self, now: Tick, ask: &BTreeSet<IpAddr>, ask_group: bool) {
        if !self.rules.querier {
            return;
        }
        let Rules { lmqc, .. } = self.rules;
        let limit = now + self.rules.lmqt();
        let mut at_once = ask_group && (self.ask == 0 || self.round.is_none());
        if ask_group {
            (self.ask, self.fresh) = (lmqc, true);
        }
        for (_, source) in self.sources.iter_mut().filter(|(s, _)| ask.contains(s)) {
            if source.end.is_some_and(|end| end > limit) {
                (source.ask, source.fresh, at_once) = (lmqc, true, true);
            }
        }
        if at_once {
            self.send(now);
        }
    }

    /// One round of queries; what is asked for the first time has its timer lowered.
    fn send(&mut self, now: Tick) {
        let limit = now + self.rules.lmqt();
        if self.ask > 0 {
            self.ask -= 1;
            if std::mem::take(&mut self.fresh) {
                self.exclude = self.exclude.map(|end| end.min(limit));
            }
        }
        for source in self.sources.values_mut().filter(|s| s.ask > 0) {
            source.ask -= 1;
            if std::mem::take(&mut source.fresh) {
                source.end = source.end.map(|end| end.min(limit));
            }
        }
        let more = self.ask > 0 || self.sources.values().any(|s| s.ask > 0);
        self.round = more.then(|| now + self.rules.lmqi);
    }

    /// The next moment at which something happens.
    fn next(&self) -> Option<Tick> {
        let ends = self.sources.values().filter_map(|s| s.end);
        ends.chain(self.exclude).chain(self.round).min()
    }

    /// Section 6.5.
    fn expire(&mut self, now: Tick) {
        let due = |end: Option<Tick>| end.is_some_and(|end| end <= now);
        if due(self.round) {
            self.send(now);
        }
        if self.exclude.is_some() {
            for source in self.sources.values_mut().filter(|s| due(s.end)) {
                (source.end, source.ask) = (None, 0);
            }
        } else {
            self.sources.retain(|_, s| !due(s.end));
        }
        if due(self.exclude) {
            (self.exclude, self.ask) = (None, 0);
            self.sources.retain(|_, s| s.end.is_some());
        }
    }

    fn is_older(&self, now: Tick) -> bool {
        self.older > now
    }
}

impl Members {
    /// A record of a host.
    pub(super) fn record(
        &mut self,
        now: Tick,
        key: Key,
        rules: Rules,
        (kind, list): (RecordType, &BTreeSet<IpAddr>),
    ) {
        let group = self.0.entry(key).or_insert_with(|| Group::new(rules));
        group.rules = rules;
        let none = BTreeSet::new();
        // Section 7.3.2.
        let (skip, list) = match kind {
            RecordType::Block => (group.is_older(now), list),
            RecordType::IsEx | RecordType::ToEx if group.is_older(now) => (false, &none),
            RecordType::IsEx
            | RecordType::ToEx
            | RecordType::IsIn
            | RecordType::ToIn
            | RecordType::Allow => (false, list),
        };
        if !skip {
            group.record(now, kind, list);
        }
        self.0.retain(|_, group| !group.is_idle());
    }

    /// A report of IGMPv2 or MLDv1.
    pub(super) fn older(&mut self, now: Tick, key: Key, rules: Rules) {
        let group = self.0.entry(key).or_insert_with(|| Group::new(rules));
        group.rules = rules;
        group.older = now + rules.ohpi;
        group.record(now, RecordType::IsEx, &BTreeSet::new());
    }

    /// A specific query of the elected querier, which gives hosts so long to answer each one.
    /// Section 6.6.1.
    pub(super) fn follow(&mut self, now: Tick, key: Key, asked: &[IpAddr], response: Millis) {
        let Some(group) = self.0.get_mut(&key) else { return };
        let limit = now + Millis(response.0 * u32::from(group.rules.lmqc));
        if asked.is_empty() {
            group.exclude = group.exclude.map(|end| end.min(limit));
        }
        for (_, source) in group.sources.iter_mut().filter(|(s, _)| asked.contains(s)) {
            source.end = source.end.map(|end| end.min(limit));
        }
    }

    /// The link's groups go by this from now on.
    pub(super) fn rules(&mut self, af: Af, link: usize, rules: Rules) {
        let here = self.0.iter_mut().filter(|((family, at, _), _)| (*family, *at) == (af, link));
        here.for_each(|(_, group)| group.rules = rules);
    }

    /// We are no longer the querier.
    pub(super) fn yield_to_another(&mut self, af: Af, link: usize) {
        let here = self.0.iter_mut().filter(|((family, at, _), _)| (*family, *at) == (af, link));
        for (_, group) in here {
            (group.ask, group.fresh, group.round) = (0, false, None);
            group.sources.values_mut().for_each(|s| (s.ask, s.fresh) = (0, false));
        }
    }

    /// Everything that happens up to a moment.
    pub(super) fn pass(&mut self, end: Tick) {
        for group in self.0.values_mut() {
            while let Some(at) = group.next().filter(|at| *at <= end) {
                group.expire(at);
            }
        }
        self.0.retain(|_, group| !group.is_idle());
    }
}
