//! What the parent knows, and checks requests against: the configuration in force, the interfaces
//! that it names, the vifs.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::model::{Config, Pattern, Role, Settings};
use crate::kroute::{Interface, InterfaceChange};
use crate::wire::Af;

/// What the parent knows.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// The configuration in force, run-time additions included.
    pub config: Config,
    /// Interfaces that the administrator's file names; run-time statements may name no others.
    pub named: Vec<Pattern>,
    /// The interfaces that the configuration names, by index.
    pub interfaces: BTreeMap<u32, Interface>,
    /// The vifs and their numbers, by [`Af::index`]; also of interfaces that are gone, until the
    /// engine says so.
    pub vifs: [BTreeMap<u32, u16>; 2],
    /// Interfaces that nothing names any more and that are vifs still: the engine takes its leave.
    pub left: BTreeMap<u32, Interface>,
    /// Whether the kernel's routing is open, by [`Af::index`].
    pub families: [bool; 2],
    /// (*,G) entries can be made, by [`Af::index`].
    pub star_g: [bool; 2],
    /// The engine cannot send by itself.
    pub transmits: bool,
}

impl World {
    /// Whether the family's routing is open.
    #[must_use]
    pub const fn has(&self, family: Af) -> bool {
        let [ipv4, ipv6] = self.families;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
    }

    /// The vifs of the family.
    #[must_use]
    pub const fn vifs(&self, family: Af) -> &BTreeMap<u32, u16> {
        let [ipv4, ipv6] = &self.vifs;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
    }

    /// The vifs of the family, to change.
    pub const fn vifs_mut(&mut self, family: Af) -> &mut BTreeMap<u32, u16> {
        let [ipv4, ipv6] = &mut self.vifs;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
    }

    /// The interface is no vif of the family any more.
    pub fn remove_vif(&mut self, family: Af, ifindex: u32) {
        self.vifs_mut(family).remove(&ifindex);
        if Af::ALL.iter().all(|family| !self.vifs(*family).contains_key(&ifindex)) {
            self.left.remove(&ifindex);
        }
    }

    /// What holds for an interface; `None` when nothing names it or it is disabled.
    #[must_use]
    pub fn settings(&self, interface: &Interface) -> Option<Settings> {
        self.config.resolve(&interface.name).filter(|s| s.role != Role::Disabled)
    }

    /// The interfaces that the configuration names, not by a pattern, and that are not there.
    pub fn absent(&self) -> impl Iterator<Item = Pattern> {
        let is_there = |name: &str| self.interfaces.values().any(|i| i.name == name);
        let names = self.config.names().into_iter();
        names.filter(move |pattern| !pattern.is_wild() && !is_there(&pattern.0))
    }

    /// Takes a change of the interface table; returns what the engine is to be told, if anything.
    pub fn change(&mut self, change: InterfaceChange) -> Option<InterfaceChange> {
        match change {
            InterfaceChange::Present(interface) => self.present(interface),
            InterfaceChange::Gone { ifindex } => {
                self.interfaces.remove(&ifindex).map(|_| InterfaceChange::Gone { ifindex })
            }
        }
    }

    /// Whether the configuration names it; a pattern does not mean the loopback, whose packets are
    /// the host's own.
    fn names(&self, interface: &Interface) -> bool {
        let exactly = || self.config.names().iter().any(|name| name.0 == interface.name);
        self.config.resolve(&interface.name).is_some() && (!interface.loopback || exactly())
    }

    /// An interface that was renamed to one that nothing names is gone.
    fn present(&mut self, interface: Interface) -> Option<InterfaceChange> {
        let ifindex = interface.ifindex;
        if !self.names(&interface) {
            if Af::ALL.iter().any(|family| self.vifs(*family).contains_key(&ifindex)) {
                // As the engine knows it: it is told of no change.
                self.left.entry(ifindex).or_insert(interface);
            }
            return self.change(InterfaceChange::Gone { ifindex });
        }
        self.left.remove(&ifindex);
        let before = self.interfaces.insert(ifindex, interface.clone());
        (before.as_ref() != Some(&interface)).then_some(InterfaceChange::Present(interface))
    }

    /// Compares a whole interface table with what is known; returns what the engine is to be told.
    pub fn compare(&mut self, table: Vec<Interface>) -> Vec<InterfaceChange> {
        let there: BTreeSet<u32> = table.iter().map(|i| i.ifindex).collect();
        let gone: Vec<u32> =
            self.interfaces.keys().copied().filter(|i| !there.contains(i)).collect();
        let gone = gone.into_iter().map(|ifindex| InterfaceChange::Gone { ifindex });
        let changes = gone.chain(table.into_iter().map(InterfaceChange::Present));
        changes.filter_map(|c| self.change(c)).collect()
    }
}
