//! The membership of one group on a link as RFC 9776, section 6 (RFC 9777, section 7), has it, as
//! naively as it can be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::config::model::{FastLeave, Settings};
use mcast_proxy::imsg::ctl::{LinkRow, Mode};
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{Af, RecordType};

use super::claim::{Claim, after, nothing, wants};

/// What the router part of a link goes by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    querier: bool,
    gmi: Millis,
    lmqi: Millis,
    lmqc: u8,
    ohpi: Millis,
    fast_leave: FastLeave,
    /// Queries can name sources.
    names_sources: bool,
    /// Groups of the link at most.
    pub(super) max_groups: usize,
    /// Sources of a group at most.
    max_sources: usize,
}

impl Rules {
    /// By what is in force on the link, and what is configured. RFC 9776, section 8.
    pub(super) fn of(af: Af, row: &LinkRow, settings: &Settings) -> Self {
        let seconds = |s: u32| s * 1000;
        let (interval, response) = (row.query_interval, row.query_max_response_time);
        let present = seconds(interval) * u32::from(row.robustness_variable);
        Self {
            querier: row.querier,
            gmi: Millis(present + 2 * seconds(response)),
            lmqi: Millis(seconds(row.last_member_query_interval)),
            lmqc: row.robustness_variable,
            ohpi: Millis(present + seconds(response)),
            fast_leave: settings.fast_leave,
            names_sources: row.version >= if af == Af::Ip4 { 3 } else { 2 },
            max_groups: settings.max_groups as usize,
            max_sources: settings.max_sources as usize,
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

/// A query to one group: its S flag and sources, none for the group itself.
pub(super) type Asked = (Tick, bool, BTreeSet<IpAddr>);

/// A group's state on a link.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) rules: Rules,
    /// The group timer, in EXCLUDE mode.
    exclude: Option<Tick>,
    sources: BTreeMap<IpAddr, Source>,
    /// Until when hosts of an older version are there.
    older: Tick,
    /// Group-specific queries that are left.
    ask: u8,
    fresh: bool,
    round: Option<Tick>,
    /// What each host asked for last, and until when it counts.
    hosts: BTreeMap<IpAddr, (Claim, Tick)>,
    /// Until when hosts that nobody can tell apart are there.
    untold: Tick,
    /// The queries that went out.
    pub(super) asked: Vec<Asked>,
}

impl Group {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            exclude: None,
            sources: BTreeMap::new(),
            older: Tick(0),
            ask: 0,
            fresh: false,
            round: None,
            hosts: BTreeMap::new(),
            untold: Tick(0),
            asked: Vec::new(),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.exclude.is_none() && self.sources.is_empty()
    }

    /// What `show groups` would show: when the group timer ends, and each source's.
    pub(super) fn shown(&self) -> (Option<Tick>, BTreeMap<IpAddr, Option<Tick>>) {
        (self.exclude, self.sources.iter().map(|(s, source)| (*s, source.end)).collect())
    }

    /// What `show hosts` would show: what each host asked for, and until when it counts.
    pub(super) fn known(&self, now: Tick) -> BTreeMap<IpAddr, (Claim, Tick)> {
        self.hosts.clone().into_iter().filter(|(_, (_, end))| *end > now).collect()
    }

    /// A record of a host, or of nobody.
    pub(super) fn hear(
        &mut self,
        now: Tick,
        host: IpAddr,
        kind: RecordType,
        list: &BTreeSet<IpAddr>,
    ) {
        // Section 7.3.2.
        let none = BTreeSet::new();
        let list = match kind {
            RecordType::Block if self.is_older(now) => return,
            RecordType::IsEx | RecordType::ToEx if self.is_older(now) => &none,
            RecordType::Block
            | RecordType::IsEx
            | RecordType::ToEx
            | RecordType::IsIn
            | RecordType::ToIn
            | RecordType::Allow => list,
        };
        let end = now + self.rules.gmi;
        if host.is_unspecified() {
            self.untold = end;
        } else {
            self.hosts.retain(|_, (_, end)| *end > now);
            let before = self.hosts.remove(&host).map_or(nothing(), |(claim, _)| claim);
            let claim = after(before, kind, list);
            if claim.1.len() > self.rules.max_sources {
                self.untold = end;
            } else if claim != nothing() {
                self.hosts.insert(host, (claim, end));
            }
        }
        let (ask, ask_group) = self.record(now, kind, list);
        if self.rules.querier {
            self.leave(now, host, kind, (ask, ask_group));
        }
    }

    /// A report of IGMPv2 or MLDv1.
    pub(super) fn hear_older(&mut self, now: Tick, host: IpAddr) {
        self.older = now + self.rules.ohpi;
        self.hear(now, host, RecordType::IsEx, &BTreeSet::new());
    }

    /// Sections 6.4.1 and 6.4.2: the sources to ask for, and whether to ask for the group.
    fn record(
        &mut self,
        now: Tick,
        kind: RecordType,
        b: &BTreeSet<IpAddr>,
    ) -> (BTreeSet<IpAddr>, bool) {
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
        (ask, ask_group)
    }

    /// Sources over the limit are as if nobody had named them: not included, and not excluded.
    fn set(&mut self, sources: &BTreeSet<IpAddr>, end: Option<Tick>) {
        for source in sources {
            let is_full = self.sources.len() >= self.rules.max_sources;
            if let Some(source) = self.sources.get_mut(source) {
                source.end = end;
            } else if !is_full {
                self.sources.insert(*source, Source { end, ask: 0, fresh: false });
            }
        }
    }

    /// Somebody may have left: by default whoever is still there is asked. `immediate` believes what
    /// a leave says, and `yes` what the other hosts said, as long as all of them are known.
    fn leave(
        &mut self,
        now: Tick,
        host: IpAddr,
        kind: RecordType,
        (mut ask, mut ask_group): (BTreeSet<IpAddr>, bool),
    ) {
        match self.rules.fast_leave {
            FastLeave::Immediate if kind != RecordType::ToEx => {}
            FastLeave::Yes if !self.is_older(now) && self.untold <= now => {
                let mut others = self.known(now);
                others.remove(&host);
                ask.retain(|source| !others.values().any(|(claim, _)| wants(claim, *source)));
                ask_group &= !others.values().any(|(claim, _)| claim.0 == Mode::Exclude);
            }
            FastLeave::No | FastLeave::Yes | FastLeave::Immediate => {
                return self.query(now, &ask, ask_group);
            }
        }
        for (_, source) in self.sources.iter_mut().filter(|(s, _)| ask.contains(s)) {
            source.end = source.end.map(|_| now);
        }
        if ask_group {
            self.exclude = Some(now);
        }
        self.lapse(now);
    }

    /// Section 6.6.3: one series for the group; what is asked for anew begins it again.
    fn query(&mut self, now: Tick, ask: &BTreeSet<IpAddr>, ask_group: bool) {
        let Rules { lmqc, .. } = self.rules;
        let limit = now + self.rules.lmqt();
        let mut at_once = ask_group && (self.ask == 0 || self.round.is_none());
        if ask_group {
            (self.ask, self.fresh) = (lmqc, true);
        }
        let may_ask = |s: &IpAddr| ask.contains(s) && self.rules.names_sources;
        for (_, source) in self.sources.iter_mut().filter(|(s, _)| may_ask(s)) {
            if source.end.is_some_and(|end| end > limit) {
                (source.ask, source.fresh, at_once) = (lmqc, true, true);
            }
        }
        if at_once {
            if !ask_group && self.ask > 0 && self.round.is_some() {
                // Out of its turn: none of the rounds that the group is still asked about.
                self.ask = lmqc.min(self.ask + 1);
            }
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
            let newest = self.rules.names_sources;
            let suppress = newest && self.exclude.is_some_and(|end| end > limit);
            self.asked.push((now, suppress, BTreeSet::new()));
        }
        if !self.rules.names_sources {
            self.sources.values_mut().for_each(|s| (s.ask, s.fresh) = (0, false));
        }
        let mut lists = [BTreeSet::new(), BTreeSet::new()];
        for (address, source) in self.sources.iter_mut().filter(|(_, s)| s.ask > 0) {
            source.ask -= 1;
            if std::mem::take(&mut source.fresh) {
                source.end = source.end.map(|end| end.min(limit));
            }
            lists[usize::from(source.end.is_some_and(|end| end > limit))].insert(*address);
        }
        let lists = [false, true].into_iter().zip(lists).filter(|(_, list)| !list.is_empty());
        self.asked.extend(lists.map(|(suppress, list)| (now, suppress, list)));
        let more = self.ask > 0 || self.sources.values().any(|s| s.ask > 0);
        self.round = more.then(|| now + self.rules.lmqi);
    }

    /// The next moment at which something happens.
    pub(super) fn next(&self) -> Option<Tick> {
        let ends = self.sources.values().filter_map(|s| s.end);
        ends.chain(self.exclude).chain(self.round).min()
    }

    pub(super) fn on_time(&mut self, now: Tick) {
        if self.round.is_some_and(|at| at <= now) {
            self.send(now);
        }
        self.lapse(now);
    }

    /// Section 6.5.
    fn lapse(&mut self, now: Tick) {
        let due = |end: Option<Tick>| end.is_some_and(|end| end <= now);
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

    /// A specific query of the elected querier, which gives hosts so long to answer each one.
    /// Section 6.6.1.
    pub(super) fn follow(&mut self, now: Tick, asked: &[IpAddr], response: Millis) {
        let limit = now + Millis(response.0 * u32::from(self.rules.lmqc));
        if asked.is_empty() {
            self.exclude = self.exclude.map(|end| end.min(limit));
        }
        for (_, source) in self.sources.iter_mut().filter(|(s, _)| asked.contains(s)) {
            source.end = source.end.map(|end| end.min(limit));
        }
    }

    /// It is source-specific from now on: whoever named no sources asks for nothing. RFC 4604,
    /// section 2.2.
    pub(super) fn name_sources(&mut self, now: Tick) {
        if self.exclude.is_some() {
            self.exclude = Some(now);
            self.hosts.retain(|_, (claim, _)| claim.0 == Mode::Include);
            self.lapse(now);
        }
    }

    /// We are no longer the querier.
    pub(super) fn yield_to_another(&mut self) {
        (self.ask, self.fresh, self.round) = (0, false, None);
        self.sources.values_mut().for_each(|s| (s.ask, s.fresh) = (0, false));
    }
}
