//! The interface table as the system's messages build it, and what is new in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Interface, InterfaceAddress, InterfaceChange};

/// What a message of the system says about interfaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// An interface is there, like this. Its addresses are not part of it; an empty name is the one
    /// that is known.
    Link(Interface),
    /// An interface is gone.
    LinkGone {
        /// Its index.
        ifindex: u32,
    },
    /// An address is there.
    Address {
        /// Of which interface.
        ifindex: u32,
        /// Which.
        address: InterfaceAddress,
        /// It is a second one in its network; others are preferred as a source.
        secondary: bool,
    },
    /// An address is gone, or not to be used (yet).
    AddressGone {
        /// Of which interface.
        ifindex: u32,
        /// Which.
        address: InterfaceAddress,
    },
}

/// All interfaces.
#[derive(Debug, Default)]
pub struct Links {
    now: BTreeMap<u32, Link>,
    /// What was told last.
    told: BTreeMap<u32, Interface>,
    touched: BTreeSet<u32>,
    /// Said to be gone since, although another may have its index now.
    gone: BTreeSet<u32>,
}

#[derive(Debug)]
struct Link {
    /// Without addresses.
    facts: Interface,
    /// In the system's order, with whether they are secondary.
    addresses: Vec<(InterfaceAddress, bool)>,
}

impl Link {
    fn interface(&self) -> Interface {
        let mut addresses = self.addresses.clone();
        addresses.sort_by_key(|(a, secondary)| match a.address {
            IpAddr::V4(_) => (false, *secondary),
            IpAddr::V6(v6) => (true, !v6.is_unicast_link_local()),
        });
        let addresses = addresses.into_iter().map(|(a, _)| a).collect();
        Interface { addresses, ..self.facts.clone() }
    }
}

impl Links {
    /// Takes over what one message says.
    pub fn apply(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Link(facts) => {
                self.touched.insert(facts.ifindex);
                let addresses = Vec::new();
                match self.now.get_mut(&facts.ifindex) {
                    Some(link) if facts.name.is_empty() => {
                        let name = std::mem::take(&mut link.facts.name);
                        link.facts = Interface { name, ..facts };
                    }
                    Some(link) => link.facts = facts,
                    None if facts.name.is_empty() => {}
                    None => drop(self.now.insert(facts.ifindex, Link { facts, addresses })),
                }
            }
            LinkEvent::LinkGone { ifindex } => {
                self.touched.insert(ifindex);
                self.now.remove(&ifindex);
                self.gone.insert(ifindex);
            }
            LinkEvent::Address { ifindex, address, secondary } => {
                self.touched.insert(ifindex);
                let Some(link) = self.now.get_mut(&ifindex) else { return };
                match link.addresses.iter_mut().find(|(a, _)| *a == address) {
                    Some(known) => known.1 = secondary,
                    None => link.addresses.push((address, secondary)),
                }
            }
            LinkEvent::AddressGone { ifindex, address } => {
                self.touched.insert(ifindex);
                let Some(link) = self.now.get_mut(&ifindex) else { return };
                link.addresses.retain(|(a, _)| *a != address);
            }
        }
    }

    /// The name of an interface that is there.
    #[must_use]
    pub fn name(&self, ifindex: u32) -> Option<&str> {
        self.now.get(&ifindex).map(|link| link.facts.name.as_str())
    }

    /// Starts anew: all that is there follows.
    pub fn restart(&mut self) {
        self.touched.extend(self.now.keys());
        self.now.clear();
    }

    /// Appends what differs from what was told last.
    pub fn changes(&mut self, out: &mut Vec<InterfaceChange>) {
        for ifindex in std::mem::take(&mut self.gone) {
            if self.told.remove(&ifindex).is_some() {
                out.push(InterfaceChange::Gone { ifindex });
            }
        }
        for ifindex in std::mem::take(&mut self.touched) {
            match self.now.get(&ifindex).map(Link::interface) {
                Some(interface) => {
                    if self.told.get(&ifindex) != Some(&interface) {
                        self.told.insert(ifindex, interface.clone());
                        out.push(InterfaceChange::Present(interface));
                    }
                }
                None => {
                    if self.told.remove(&ifindex).is_some() {
                        out.push(InterfaceChange::Gone { ifindex });
                    }
                }
            }
        }
    }

    /// All interfaces, which counts as told.
    pub fn snapshot(&mut self) -> Vec<Interface> {
        self.touched.clear();
        self.gone.clear();
        self.told = self.now.iter().map(|(index, link)| (*index, link.interface())).collect();
        self.told.values().cloned().collect()
    }
}
