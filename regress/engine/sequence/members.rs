//! The membership of all downstreams.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::{Af, RecordType};

use super::group::{Asked, Group, Rules};

/// A link of a family, and a group.
pub(super) type Key = (Af, usize, IpAddr);

/// All of it.
#[derive(Default)]
pub(super) struct Members {
    pub(super) groups: BTreeMap<Key, Group>,
    /// The queries of this operation.
    pub(super) asked: Vec<(Key, Asked)>,
}

impl Members {
    /// A record of a host; `configured` are the groups that the link has without it.
    pub(super) fn record(
        &mut self,
        now: Tick,
        key: Key,
        (rules, configured): (Rules, &BTreeSet<IpAddr>),
        host: IpAddr,
        (kind, list): (RecordType, &BTreeSet<IpAddr>),
    ) {
        if let Some(group) = self.group(key, rules, configured) {
            group.hear(now, host, kind, list);
        }
        self.tidy();
    }

    /// A report of IGMPv2 or MLDv1.
    pub(super) fn older(
        &mut self,
        now: Tick,
        key: Key,
        (rules, configured): (Rules, &BTreeSet<IpAddr>),
        host: IpAddr,
    ) {
        if let Some(group) = self.group(key, rules, configured) {
            group.hear_older(now, host);
        }
        self.tidy();
    }

    /// The group's state; `None` when the link has as many groups as it may.
    fn group(
        &mut self,
        key: Key,
        rules: Rules,
        configured: &BTreeSet<IpAddr>,
    ) -> Option<&mut Group> {
        let (af, link, address) = key;
        let mut there = configured.clone();
        there.extend(self.on(af, link).map(|((_, _, group), _)| *group));
        if there.len() >= rules.max_groups && !there.contains(&address) {
            return None;
        }
        let group = self.groups.entry(key).or_insert_with(|| Group::new(rules));
        group.rules = rules;
        Some(group)
    }

    fn on(&mut self, af: Af, link: usize) -> impl Iterator<Item = (&Key, &mut Group)> {
        self.groups.iter_mut().filter(move |((family, at, _), _)| (*family, *at) == (af, link))
    }

    /// A specific query of the elected querier.
    pub(super) fn follow(&mut self, now: Tick, key: Key, asked: &[IpAddr], response: Millis) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.follow(now, asked, response);
        }
    }

    /// The link's groups go by this from now on.
    pub(super) fn rules(&mut self, af: Af, link: usize, rules: Rules) {
        self.on(af, link).for_each(|(_, group)| group.rules = rules);
    }

    /// We are no longer the querier.
    pub(super) fn yield_to_another(&mut self, af: Af, link: usize) {
        self.on(af, link).for_each(|(_, group)| group.yield_to_another());
    }

    /// The link has no other groups than these any more.
    pub(super) fn keep(&mut self, af: Af, link: usize, keeps: impl Fn(IpAddr) -> bool) {
        self.groups.retain(|(family, at, group), _| (*family, *at) != (af, link) || keeps(*group));
    }

    /// Groups that are source-specific from now on.
    pub(super) fn name_sources(&mut self, now: Tick, which: impl Fn(IpAddr) -> bool) {
        for (_, group) in self.groups.iter_mut().filter(|((.., group), _)| which(*group)) {
            group.name_sources(now);
        }
        self.tidy();
    }

    /// Everything that happens up to a moment.
    pub(super) fn pass(&mut self, end: Tick) {
        for group in self.groups.values_mut() {
            while let Some(at) = group.next().filter(|at| *at <= end) {
                group.on_time(at);
            }
        }
        self.tidy();
    }

    /// The first moment at which something is to happen.
    pub(super) fn next(&self) -> Option<Tick> {
        self.groups.values().filter_map(Group::next).min()
    }

    fn tidy(&mut self) {
        for (key, group) in &mut self.groups {
            self.asked.extend(group.asked.drain(..).map(|asked| (*key, asked)));
        }
        self.groups.retain(|_, group| !group.is_idle());
    }
}
