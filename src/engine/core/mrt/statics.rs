//! Static routes: `mroute` statements, their interfaces, and which of them a packet is for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::set::SlotSet;
use crate::config::model::{GroupSet, Mroute, SourceMatch};
use crate::engine::core::link::Link;
use crate::engine::core::slab::Slab;
use crate::engine::core::slot::{Slot, Slots};
use crate::wire::{Address, Af, Family, Net};

/// A static route and the interfaces that its patterns name now.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The statement.
    pub(super) mroute: Mroute,
    /// Incoming interfaces, each a rule of its own.
    pub(super) from: SlotSet,
    /// Outgoing interfaces.
    pub(super) to: SlotSet,
}

/// Lengths of the group's and of the source's prefix: the longer group wins, then the longer source.
type Shape = (Reverse<u8>, Reverse<u8>);

/// What a rule is for. Scopes are as long as ff00::/8, which they are a part of; `except` is as long
/// as any source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    group_len: Reverse<u8>,
    group: u128,
    source_len: Reverse<u8>,
    source: u128,
}

/// Which of the rules of one key goes before: fewer scopes, `except` before any source, an interface
/// before a pattern, the longer pattern, `+` before `*`. What is equal even then was refused when
/// parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    scopes: (u32, u16),
    is_any: bool,
    pattern: (bool, Reverse<usize>, bool),
}

impl Rank {
    const FIRST: Self =
        Self { scopes: (0, 0), is_any: false, pattern: (false, Reverse(usize::MAX), false) };
    const LAST: Self =
        Self { scopes: (u32::MAX, u16::MAX), is_any: true, pattern: (true, Reverse(0), true) };

    fn of(mroute: &Mroute) -> Self {
        let scopes = match mroute.group {
            GroupSet::Net(_) => Self::LAST.scopes,
            GroupSet::Scopes(mask) => (mask.count_ones(), mask),
        };
        let (name, is_wild) = (&mroute.from.0, mroute.from.is_wild());
        let length = if is_wild { name.len() } else { 0 };
        Self {
            scopes,
            is_any: mroute.source == SourceMatch::Any,
            pattern: (is_wild, Reverse(length), name.ends_with('*')),
        }
    }
}

/// The static routes of one family.
#[derive(Clone, Debug, Default)]
pub(super) struct Statics {
    rules: Slab<Option<Rule>>,
    order: BTreeSet<(Key, Rank, u32)>,
    shapes: BTreeMap<Shape, u32>,
}

impl Rule {
    /// Of a statement.
    pub(super) fn new<F: Family>(mroute: &Mroute, links: &Slots<Link<F>>) -> Self {
        let mut rule = Self { mroute: mroute.clone(), from: SlotSet::EMPTY, to: SlotSet::EMPTY };
        for link in links.iter() {
            rule.resolve(link.slot, Some(&link.name));
        }
        rule
    }

    /// The interfaces that its patterns name.
    #[must_use]
    pub(super) fn uses(&self) -> SlotSet {
        self.from | self.to
    }

    /// An interface came under this name, or went.
    fn resolve(&mut self, slot: Slot, name: Option<&str>) {
        let Self { mroute, from, to } = self;
        from.set(slot, name.is_some_and(|n| mroute.from.matches(n)));
        to.set(slot, name.is_some_and(|n| mroute.to.iter().any(|p| p.matches(n))));
    }

    /// Whether its groups include this one.
    #[must_use]
    pub(super) fn has_group<A: Address>(&self, group: A) -> bool {
        self.mroute.group.contains(group.into())
    }

    /// Whether it is for packets of this source to this group.
    pub(super) fn takes<A: Address>(&self, group: A, source: A) -> bool {
        self.has_group(group)
            && match &self.mroute.source {
                SourceMatch::Any => true,
                SourceMatch::Net(net) => net.contains(&source.into()),
                SourceMatch::Except(nets) => !nets.iter().any(|n| n.contains(&source.into())),
            }
    }

    /// The one group that it is for.
    #[must_use]
    pub(super) fn group<F: Family>(&self) -> Option<F::Addr> {
        match self.mroute.group {
            GroupSet::Net(net) => host::<F>(net),
            GroupSet::Scopes(_) => None,
        }
    }

    /// The one source that it is for.
    fn source<F: Family>(&self) -> Option<F::Addr> {
        match self.mroute.source {
            SourceMatch::Net(net) => host::<F>(net),
            SourceMatch::Any | SourceMatch::Except(_) => None,
        }
    }

    /// The (source, group) that it is for, when it is for one only.
    #[must_use]
    pub(super) fn exact<F: Family>(&self) -> Option<(F::Addr, F::Addr)> {
        Some((self.source::<F>()?, self.group::<F>()?))
    }
}

fn host<F: Family>(net: ipnet::IpNet) -> Option<F::Addr> {
    F::net(net).filter(|n| n.len == full::<F>()).map(|n| n.address)
}

/// Bits of an address.
const fn full<F: Family>() -> u8 {
    match F::AF {
        Af::Ip4 => 32,
        Af::Ip6 => 128,
    }
}

/// The first `len` bits of an address, as a number.
fn prefix<F: Family>(address: F::Addr, len: u8) -> u128 {
    let drop = full::<F>().saturating_sub(len);
    address.bits().checked_shr(u32::from(drop)).unwrap_or(0)
}

/// The rule's place; `None` for a rule of the other family.
fn key<F: Family>(mroute: &Mroute) -> Option<Key> {
    let place = |net: Net<F>| (Reverse(net.len), prefix::<F>(net.address, net.len));
    let (group_len, group) = place(F::net(mroute.group.covering())?);
    let (source_len, source) = match mroute.source {
        SourceMatch::Net(net) => place(F::net(net)?),
        SourceMatch::Any | SourceMatch::Except(_) => (Reverse(0), 0),
    };
    Some(Key { group_len, group, source_len, source })
}

impl Statics {
    /// Takes a statement in, unless it is of the other family.
    pub(super) fn insert<F: Family>(&mut self, mroute: &Mroute, links: &Slots<Link<F>>) -> bool {
        let Some(key) = key::<F>(mroute) else { return false };
        let handle = self.rules.insert(Some(Rule::new(mroute, links)));
        self.order.insert((key, Rank::of(mroute), handle));
        *self.shapes.entry((key.group_len, key.source_len)).or_default() += 1;
        true
    }

    /// Takes a statement out; false when there was none.
    pub(super) fn remove<F: Family>(&mut self, mroute: &Mroute) -> bool {
        let Some(key) = key::<F>(mroute) else { return false };
        let is_it = |h: &u32| self.rules[*h].as_ref().is_some_and(|r| r.mroute == *mroute);
        let Some(handle) = self.of(key).find(is_it) else { return false };
        self.order.remove(&(key, Rank::of(mroute), handle));
        self.rules.remove(handle);
        let shape = (key.group_len, key.source_len);
        if let Some(count) = self.shapes.get_mut(&shape) {
            *count -= 1;
            if *count == 0 {
                self.shapes.remove(&shape);
            }
        }
        true
    }

    /// An interface came under this name, or went: the rules that it comes or goes for.
    pub(super) fn resolve(&mut self, slot: Slot, name: Option<&str>) -> Vec<Rule> {
        let mut changed = Vec::new();
        for handle in 0..self.rules.extent() {
            if let Some(rule) = &mut self.rules[handle] {
                let before = (rule.from, rule.to);
                rule.resolve(slot, name);
                if before != (rule.from, rule.to) {
                    changed.push(rule.clone());
                }
            }
        }
        changed
    }

    /// All, in a fixed order, from the place `from` on; each with its place.
    pub(super) fn iter_from(&self, from: u32) -> impl Iterator<Item = (u32, &Rule)> {
        (from..self.rules.extent()).filter_map(|h| Some((h, self.rules.at(h)?.as_ref()?)))
    }

    /// The best rule for a packet.
    pub(super) fn best<F: Family>(
        &self,
        group: F::Addr,
        source: F::Addr,
        incoming: Slot,
    ) -> Option<&Rule> {
        self.shapes.keys().find_map(|&(group_len, source_len)| {
            let key = Key {
                group_len,
                group: prefix::<F>(group, group_len.0),
                source_len,
                source: prefix::<F>(source, source_len.0),
            };
            self.of(key)
                .filter_map(|h| self.rules[h].as_ref())
                .find(|r| r.from.contains(incoming) && r.takes(group, source))
        })
    }

    /// The rules for packets of any source to the group on an interface, best first.
    pub(super) fn ranked<F: Family>(
        &self,
        group: F::Addr,
        incoming: Slot,
    ) -> impl Iterator<Item = &Rule> {
        let mut last = None;
        let lens =
            self.shapes.keys().map(|s| s.0).filter(move |len| last.replace(*len) != Some(*len));
        lens.flat_map(move |len| self.of_group(len, prefix::<F>(group, len.0)))
            .filter(move |r| r.from.contains(incoming) && r.has_group(group))
    }

    /// The incoming interfaces of the rules for just this group and any source.
    pub(super) fn any_source<F: Family>(&self, group: F::Addr) -> SlotSet {
        let len = Reverse(full::<F>());
        let any = Key { group_len: len, group: group.bits(), source_len: Reverse(0), source: 0 };
        let rules = self.of(any).filter_map(|h| self.rules[h].as_ref());
        rules
            .filter(|r| r.mroute.source == SourceMatch::Any)
            .fold(SlotSet::EMPTY, |set, r| set | r.from)
    }

    /// The rule for just this source and group.
    pub(super) fn exact<F: Family>(&self, group: F::Addr, source: F::Addr) -> Option<&Rule> {
        let len = Reverse(full::<F>());
        let exact =
            Key { group_len: len, group: group.bits(), source_len: len, source: source.bits() };
        self.of(exact).find_map(|h| self.rules[h].as_ref())
    }

    fn of(&self, key: Key) -> impl Iterator<Item = u32> {
        self.order
            .range((key, Rank::FIRST, 0)..=(key, Rank::LAST, u32::MAX))
            .map(|(.., handle)| *handle)
    }

    fn of_group(&self, group_len: Reverse<u8>, group: u128) -> impl Iterator<Item = &Rule> {
        let first = Key { group_len, group, source_len: Reverse(u8::MAX), source: 0 };
        let last = Key { group_len, group, source_len: Reverse(0), source: u128::MAX };
        self.order
            .range((first, Rank::FIRST, 0)..=(last, Rank::LAST, u32::MAX))
            .filter_map(|(.., handle)| self.rules[*handle].as_ref())
    }
}
