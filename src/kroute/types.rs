//! What kernel multicast routing is made of, the same on every system.
//!
//! Interfaces are named by their index everywhere; vif and mif numbers stay inside kroute.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::wire::Af;

/// What the kernel's multicast routing of one family can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What an entry is looked up by.
    pub key: MfcKey,
    /// The kernel removes idle entries itself.
    pub entries_expire: bool,
    /// Packets wait in the kernel until their route is installed.
    pub queues_unresolved: bool,
    /// A packet that arrives on the wrong interface gives an upcall.
    pub wrongvif_upcalls: bool,
    /// (*,G) and (*,*) entries.
    pub star_g: bool,
    /// An interface needs an IPv4 address to become a vif.
    pub vif_by_address: bool,
    /// Interfaces at most.
    pub max_vifs: u8,
}

impl Capabilities {
    /// What this kernel cannot do that another can, each by a name and in words for a user.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let limits = [
            (
                self.key == MfcKey::Group,
                "one-route-per-group",
                "the kernel does not look at sources: who wants some gets all that arrive by the \
                 route's interface",
            ),
            (
                !self.queues_unresolved,
                "first-packets-lost",
                "the kernel drops what arrives before the route is made",
            ),
            (
                !self.wrongvif_upcalls,
                "wrong-interface-unseen",
                "the kernel does not say when packets arrive on another interface than the route's",
            ),
        ];
        limits.into_iter().filter(|limit| limit.0).map(|(_, name, words)| (name, words))
    }
}

/// What a forwarding entry is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MfcKey {
    /// Source and group.
    SourceGroup,
    /// The group only (OpenBSD).
    Group,
}

/// What names a forwarding entry. `source` is `None` for (*,G); on a group-keyed kernel the source
/// is whatever was seen, and only the group counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RouteKey {
    /// The source; `None` for any.
    pub source: Option<IpAddr>,
    /// The group; unspecified, as the source, for (*,*): a packet without another entry goes from any
    /// of the outputs to the incoming interface, one from there nowhere, and neither is asked about.
    /// A (*,G) of the same incoming interface then takes packets from all of these outputs.
    pub group: IpAddr,
}

impl RouteKey {
    /// The family of the entry.
    #[must_use]
    pub const fn family(&self) -> Af {
        Af::of(self.group)
    }
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Some(source) => write!(f, "({source}, {})", self.group),
            None if self.group.is_unspecified() => f.write_str("(*, *)"),
            None => write!(f, "(*, {})", self.group),
        }
    }
}

/// A forwarding entry. No outputs make a drop entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What it is for.
    pub key: RouteKey,
    /// Index of the incoming interface.
    pub incoming: u32,
    /// Outgoing interfaces; never the incoming one.
    pub outgoing: Vec<Output>,
}

/// An outgoing interface of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Output {
    /// Interface index.
    pub ifindex: u32,
    /// Only packets with a greater TTL leave; IPv4. 1 to 254 (255 would mean no output to Linux).
    pub threshold: u8,
}

/// What the kernel counts for a forwarding entry. `packets` and `bytes` leave out those that
/// arrived on the wrong interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCount {
    /// The entry.
    pub key: RouteKey,
    /// Packets that arrived on the incoming interface.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// Packets that arrived on another interface.
    pub wrong_interface: u64,
}

/// Why the kernel asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpcallKind {
    /// No entry for the packet.
    NoCache,
    /// The packet arrived on another interface than its entry's.
    WrongVif,
}

/// A question of the kernel about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upcall {
    /// What about.
    pub kind: UpcallKind,
    /// Index of the interface that the packet arrived on.
    pub ifindex: u32,
    /// The packet's source.
    pub source: IpAddr,
    /// The packet's destination.
    pub group: IpAddr,
}

/// An interface as the system shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its index; a deleted and recreated interface has a new one.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Octets of an IP packet at most.
    pub mtu: u32,
    /// Administratively up, with a carrier.
    pub up: bool,
    /// A loopback interface.
    pub loopback: bool,
    /// Addresses that may be used as a source: no tentative or duplicate ones. The first of its
    /// family is the primary one. Host bits kept; on a point-to-point link the prefix is the peer's.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceAddress {
    /// The address itself.
    pub address: IpAddr,
    /// The network on the link: the address with its prefix length, or the peer's.
    pub network: IpNet,
}

impl InterfaceAddress {
    /// The address with the length of its prefix; differs from the network where that is the peer's.
    #[must_use]
    pub fn own(&self) -> IpNet {
        IpNet::new(self.address, self.network.prefix_len()).unwrap_or(self.network)
    }
}

/// A change of the interface table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InterfaceChange {
    /// New, or changed: this is how it is now.
    Present(Interface),
    /// Deleted.
    Gone {
        /// The index that it had.
        ifindex: u32,
    },
}
