//! Reports of every version: RFC 9776, sections 6.4 and 7.3.2.

use super::hosts::{Host, MAX_HOSTS};
use super::state::{Outcome, State};
use super::{Groups, MAX_ENTRIES, Place, Rules};
use crate::config::model::FastLeave;
use crate::engine::core::deadline::Deadline;
use crate::engine::core::slab::NONE;
use crate::engine::core::slot::Slot;
use crate::imsg::ctl::Mode;
use crate::sys::time::Tick;
use crate::wire::{Address, Discard, Family, RecordType};

/// A link got its first member of a group, or lost its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<A> {
    /// The link.
    pub slot: Slot,
    /// The group.
    pub group: A,
    /// Joined; else left.
    pub joined: bool,
}

/// Joins and leaves that are told of one turn at most; further ones only count.
pub(super) const MAX_CHANGES: usize = 256;

/// A report for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A record of IGMPv3 or MLDv2.
    Record(RecordType),
    /// An IGMPv1 report.
    ReportV1,
    /// An IGMPv2 or MLDv1 report.
    ReportV2,
    /// An IGMPv2 leave or MLDv1 done.
    Leave,
}

impl<F: Family> Groups<F> {
    /// Applies what a host of the link said of a group that the link admits; `list` is sorted and
    /// free of duplicates.
    pub fn report(
        &mut self,
        now: Tick,
        slot: Slot,
        rules: &Rules,
        reporter: F::Addr,
        place: Place<F::Addr>,
        (said, list): (Said, &[F::Addr]),
    ) {
        let place = self.current(slot, reporter, place);
        let group = place.group;
        let found = (place.member != NONE).then_some(place.member);
        if said == Said::Leave && rules.version == 1 {
            // RFC 9776, section 7.3.1: an IGMPv1 router ignores leaves.
            return;
        }
        let Some((kind, list)) = self.translate(now, found, said, list) else { return };
        let creates = match kind {
            RecordType::IsEx | RecordType::ToEx => true,
            RecordType::IsIn | RecordType::ToIn | RecordType::Allow => !list.is_empty(),
            RecordType::Block => false,
        };
        let member = match found {
            Some(member) => member,
            None if !creates => return,
            None if self.on_link(slot) >= rules.max_groups => {
                return self.refuse(slot, Discard::GroupLimit);
            }
            None if self.members.count().saturating_add(self.sources) >= MAX_ENTRIES => {
                return self.refuse(slot, Discard::EntryLimit);
            }
            None => self.create(now, slot, group),
        };
        let was = self.members[member].is_dynamic();
        self.remember_version(now, member, said, rules);
        self.track(now, (member, place.host), rules, reporter, (kind, list));
        let record = &mut self.members[member];
        let plain = record.extra.is_none() && list.is_empty() && record.mode == Mode::Exclude;
        if plain && matches!(kind, RecordType::IsEx | RecordType::ToEx) {
            let old = record.group_timer.replace(Deadline::after(now, rules.gmi));
            if old.is_some_and(|old| old.left(now) > rules.gmi) {
                self.tidy(now, member);
            }
            return;
        }
        let outcome = self.apply(now, member, rules, kind, list);
        if outcome.refused > 0 {
            let full = self.members.count().saturating_add(self.sources) >= MAX_ENTRIES;
            self.refuse(slot, if full { Discard::EntryLimit } else { Discard::SourceLimit });
        }
        if outcome.changed {
            self.mark(group);
        }
        let leaves = kind != RecordType::ToEx;
        self.after(now, member, rules, (reporter, leaves), outcome);
        self.tell(slot, group, was, self.members[member].is_dynamic());
        self.tidy(now, member);
    }

    fn apply(
        &mut self,
        now: Tick,
        member: u32,
        rules: &Rules,
        kind: RecordType,
        list: &[F::Addr],
    ) -> Outcome<F::Addr> {
        let taken = self.members.count().saturating_add(self.sources);
        let record = &mut self.members[member];
        let extra = &mut record.extra;
        let mut sources =
            extra.as_mut().map(|e| std::mem::take(&mut e.sources)).unwrap_or_default();
        let before = sources.len();
        let room = MAX_ENTRIES.saturating_sub(taken) as usize;
        let outcome = State {
            mode: &mut record.mode,
            group_timer: &mut record.group_timer,
            sources: &mut sources,
            gmi: Deadline::after(now, rules.gmi),
            max_sources: (rules.max_sources as usize).min(before.saturating_add(room)),
        }
        .apply(kind, list);
        sources.shrink_to_fit();
        if extra.is_some() || !sources.is_empty() {
            extra.get_or_insert_default().sources = sources;
        }
        self.count_sources(before, member);
        outcome
    }

    /// Keeps the number of all sources in step with one member's.
    pub(super) fn count_sources(&mut self, before: usize, member: u32) {
        let after = self.members[member].sources().len();
        let change = i32::try_from(after).unwrap_or(0) - i32::try_from(before).unwrap_or(0);
        self.sources = self.sources.saturating_add_signed(change);
    }

    pub(super) fn tell(&mut self, slot: Slot, group: F::Addr, was: bool, is: bool) {
        if was != is && self.changes.len() < MAX_CHANGES {
            self.changes.push(Change { slot, group, joined: is });
        }
    }

    fn refuse(&mut self, slot: Slot, reason: Discard) {
        self.refused.push((slot, reason));
    }

    /// What the report means in the group's compatibility mode; `None` where it is ignored.
    fn translate<'a>(
        &self,
        now: Tick,
        member: Option<u32>,
        said: Said,
        list: &'a [F::Addr],
    ) -> Option<(RecordType, &'a [F::Addr])> {
        let mode = member.map_or(3, |m| self.version(now, m));
        match (said, mode) {
            (Said::ReportV1 | Said::ReportV2, _) => Some((RecordType::IsEx, &[])),
            (Said::Leave, 1) => None,
            (Said::Leave, _) => Some((RecordType::ToIn, &[])),
            (Said::Record(RecordType::Block), 1 | 2) => None,
            (Said::Record(RecordType::ToIn), 1) => None,
            (Said::Record(kind @ (RecordType::IsEx | RecordType::ToEx)), 1 | 2) => {
                Some((kind, &[]))
            }
            (Said::Record(kind), _) => Some((kind, list)),
        }
    }

    /// The compatibility mode of a group on a link: 1, 2 or 3. RFC 9776, section 7.3.2.
    pub(super) fn version(&self, now: Tick, member: u32) -> u8 {
        let runs = |d: Option<Deadline>| d.is_some_and(|d| !d.due(now));
        match &self.members[member].extra {
            Some(extra) if runs(extra.v1_host) => 1,
            Some(extra) if runs(extra.v2_host) => 2,
            Some(_) | None => 3,
        }
    }

    fn remember_version(&mut self, now: Tick, member: u32, said: Said, rules: &Rules) {
        let present = Some(Deadline::after(now, rules.ohpi));
        let extra = &mut self.members[member].extra;
        match said {
            Said::ReportV1 => extra.get_or_insert_default().v1_host = present,
            Said::ReportV2 => extra.get_or_insert_default().v2_host = present,
            Said::Record(_) | Said::Leave => {}
        }
    }

    fn track(
        &mut self,
        now: Tick,
        (member, host): (u32, u32),
        rules: &Rules,
        reporter: F::Addr,
        (kind, list): (RecordType, &[F::Addr]),
    ) {
        let expires = Some(Deadline::after(now, rules.gmi));
        let mut at = host;
        let adds = matches!(kind, RecordType::IsEx | RecordType::ToEx) || !list.is_empty();
        if at == NONE {
            let length = self.find_host(&self.members[member], reporter).1;
            let full = length >= MAX_HOSTS || self.tracked >= MAX_ENTRIES;
            if full || reporter.is_unspecified() {
                return self.untrack(member, expires, full);
            }
            if !adds || kind == RecordType::Block {
                return;
            }
            at = self.add_host(member, Host::new(reporter));
        }
        let host = self.host_mut(member, at);
        let before = host.source_count();
        host.apply(now, kind, list);
        host.expires = expires;
        let (count, idle) = (host.source_count(), host.is_idle());
        self.host_sources = self.host_sources - before + count;
        if idle {
            self.forget_hosts(member, |h| !h.is_idle());
        } else if count > rules.max_sources
            || self.tracked.saturating_add(self.host_sources) > MAX_ENTRIES
        {
            self.forget_hosts(member, |h| h.address != reporter);
            self.untrack(member, expires, true);
        }
    }

    /// Notes that a host is there, up to a moment, of which nothing else is known.
    fn untrack(&mut self, member: u32, until: Option<Deadline>, refused: bool) {
        let member = &mut self.members[member];
        member.extra.get_or_insert_default().untracked = until;
        if refused {
            let slot = member.slot;
            self.refuse(slot, Discard::HostLimit);
        }
    }

    /// Whether tracking knows all hosts of the group, so that it may decide.
    fn is_tracked(&self, now: Tick, member: u32, rules: &Rules) -> bool {
        rules.fast_leave == FastLeave::Yes
            && self.version(now, member) == 3
            && self.members[member]
                .extra
                .as_ref()
                .is_none_or(|e| e.untracked.is_none_or(|d| d.due(now)))
    }

    /// Queries what a record asks to query, or takes the leave at once where the rules say so.
    fn after(
        &mut self,
        now: Tick,
        member: u32,
        rules: &Rules,
        (reporter, leaves): (F::Addr, bool),
        mut outcome: Outcome<F::Addr>,
    ) {
        if !rules.is_querier || !outcome.query_group && outcome.query_sources.is_empty() {
            return;
        }
        let tracked = self.is_tracked(now, member, rules);
        if !tracked && (rules.fast_leave != FastLeave::Immediate || !leaves) {
            return self.ask(now, member, rules, outcome.query_group, &outcome.query_sources);
        }
        if tracked {
            let others =
                || self.live_hosts(&self.members[member], now).filter(|h| h.address != reporter);
            outcome.query_group &= others().all(|h| h.mode == Mode::Include);
            outcome.query_sources.retain(|&s| others().all(|h| !h.wants(s)));
        }
        let due = Some(Deadline::after(now, crate::sys::time::Millis(0)));
        let record = &mut self.members[member];
        if outcome.query_group {
            record.group_timer = due;
        }
        if let Some(extra) = &mut record.extra {
            for source in &mut extra.sources {
                if outcome.query_sources.binary_search(&source.address).is_ok() {
                    source.expires = due;
                }
            }
        }
        self.expire(now, member);
    }
}
