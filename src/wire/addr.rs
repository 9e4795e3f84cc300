//! The two address families as types: what is generic in the engine is generic over [`Family`].

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ip::{parse_icmp6, parse_ipv4, seal_ipv4};
use super::layout::Layout;
use super::{Discard, Parsed, Receiver};
use crate::imsg::{Envelope, Packet};

/// An address family, as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Af {
    /// IPv4, with IGMP.
    #[serde(rename = "ipv4")]
    Ip4,
    /// IPv6, with MLD.
    #[serde(rename = "ipv6")]
    Ip6,
}

impl Af {
    /// Both families, in the order in which tables list them.
    pub const ALL: [Self; 2] = [Self::Ip4, Self::Ip6];

    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ip4,
            IpAddr::V6(_) => Self::Ip6,
        }
    }

    /// 0 for IPv4, 1 for IPv6: the place in an array of two.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::Ip4 => 0,
            Self::Ip6 => 1,
        }
    }

    /// The name in tables, JSON and messages: `ipv4` or `ipv6`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip4 => "ipv4",
            Self::Ip6 => "ipv6",
        }
    }
}

impl Display for Af {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An address of one family.
pub trait Address:
    Copy + Ord + Hash + Debug + Display + Into<IpAddr> + Serialize + DeserializeOwned + Send + 'static
{
    /// 0.0.0.0 or `::`.
    const UNSPECIFIED: Self;
    /// Octets of an address.
    const LEN: usize;

    /// The address, if it is of this family.
    fn from_ip(address: IpAddr) -> Option<Self>;
    /// The address whose octets `bytes` begins with; `None` when they are too few.
    fn from_prefix(bytes: &[u8]) -> Option<Self>;
    /// Appends the octets in network order.
    fn put(self, out: &mut Vec<u8>);
    /// 224.0.0.0/4 or ff00::/8.
    fn is_multicast(self) -> bool;
    /// 0.0.0.0 or `::`.
    fn is_unspecified(self) -> bool {
        self == Self::UNSPECIFIED
    }
    /// 169.254.0.0/16 or fe80::/10.
    fn is_link_local(self) -> bool;
    /// Whether packets can come from the address: not unspecified, loopback, multicast or broadcast.
    fn is_source(self) -> bool;
    /// The address as a number, for prefix tests and elections.
    fn bits(self) -> u128;
    /// Where this group address may have membership state and be forwarded.
    fn scope(self) -> GroupScope;
}

/// What a destination address is to a multicast router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupScope {
    /// Not a multicast address.
    NotMulticast,
    /// 224.0.0.0/24, or an IPv6 group of scope 2: never forwarded.
    LinkLocal,
    /// An IPv6 group of scope 0, 1 or 3: never forwarded.
    Unroutable,
    /// May have state and be forwarded.
    Routable,
}

impl Address for Ipv4Addr {
    const UNSPECIFIED: Self = Self::UNSPECIFIED;
    const LEN: usize = 4;

    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(a) => Some(a),
            IpAddr::V6(_) => None,
        }
    }
    fn from_prefix(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk::<4>().map(|b| Self::from(*b))
    }
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.octets());
    }
    fn is_multicast(self) -> bool {
        Self::is_multicast(&self)
    }
    fn is_link_local(self) -> bool {
        Self::is_link_local(&self)
    }
    fn is_source(self) -> bool {
        !(Self::is_unspecified(&self)
            || self.is_loopback()
            || Self::is_multicast(&self)
            || self.is_broadcast())
    }
    fn bits(self) -> u128 {
        u128::from(self.to_bits())
    }
    fn scope(self) -> GroupScope {
        match self.octets() {
            [224, 0, 0, _] => GroupScope::LinkLocal,
            [224..=239, ..] => GroupScope::Routable,
            _ => GroupScope::NotMulticast,
        }
    }
}

impl Address for Ipv6Addr {
    const UNSPECIFIED: Self = Self::UNSPECIFIED;
    const LEN: usize = 16;

    fn from_ip(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(a) => Some(a),
        }
    }
    fn from_prefix(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk::<16>().map(|b| Self::from(*b))
    }
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.octets());
    }
    fn is_multicast(self) -> bool {
        Self::is_multicast(&self)
    }
    fn is_link_local(self) -> bool {
        self.is_unicast_link_local()
    }
    fn is_source(self) -> bool {
        !(Self::is_unspecified(&self) || self.is_loopback() || Self::is_multicast(&self))
    }
    fn bits(self) -> u128 {
        self.to_bits()
    }
    /// RFC 4291, section 2.7: the scope is the low nibble of the second octet; RFC 7346 for 3.
    fn scope(self) -> GroupScope {
        match self.octets() {
            [0xff, second, ..] => match second & 0x0f {
                2 => GroupScope::LinkLocal,
                0 | 1 | 3 => GroupScope::Unroutable,
                _ => GroupScope::Routable,
            },
            _ => GroupScope::NotMulticast,
        }
    }
}

/// An address family, as a type.
pub trait Family: Copy + Debug + Default + PartialEq + Eq + Send + 'static {
    /// The same as a value.
    const AF: Af;
    /// Its addresses.
    type Addr: Address;
    /// Every host: where General Queries go.
    const ALL_SYSTEMS: Self::Addr;
    /// Every router: where leaves and MRDISC solicitations go.
    const ALL_ROUTERS: Self::Addr;
    /// Where IGMPv3 and MLDv2 reports go.
    const REPORTS: Self::Addr;
    /// Where MRDISC advertisements and terminations go. RFC 4286, section 7.
    const ALL_SNOOPERS: Self::Addr;
    /// How its messages are laid out.
    const LAYOUT: Layout<Self>;

    /// The network, if it is of this family.
    fn net(net: IpNet) -> Option<Net<Self>>;

    /// Parses a received packet.
    ///
    /// # Errors
    /// Why the packet has no effect: the first check that fails.
    fn parse<'a>(packet: &'a Packet, receiver: &Receiver<'a, Self>) -> Parsed<'a, Self>;

    /// What is to be sent of a message whose checksum is zero: see [`Transmit`](crate::imsg::Transmit).
    fn seal(source: Self::Addr, destination: Self::Addr, message: Vec<u8>) -> Vec<u8>;
}

/// IPv4 with IGMP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V4;

/// IPv6 with MLD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V6;

impl Family for V4 {
    const AF: Af = Af::Ip4;
    type Addr = Ipv4Addr;
    const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
    const ALL_ROUTERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 2);
    const REPORTS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 22);
    const ALL_SNOOPERS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 106);
    const LAYOUT: Layout<Self> = Layout {
        query: 0x11,
        old_reports: &[0x12, 0x16],
        leave: 0x17,
        report: 0x22,
        mrdisc: 0x30,
        before_group: 4,
        newest: 3,
        ip_headers: 24,
        least_mtu: 68,
        ssm: Net { address: Ipv4Addr::new(232, 0, 0, 0), len: 8, mask: 0xff00_0000 },
    };

    fn net(net: IpNet) -> Option<Net<Self>> {
        match net {
            IpNet::V4(n) => Some(Net::from_v4(n)),
            IpNet::V6(_) => None,
        }
    }
    fn parse<'a>(packet: &'a Packet, receiver: &Receiver<'a, Self>) -> Parsed<'a, Self> {
        match packet.envelope {
            Envelope::Ip4 => parse_ipv4(&packet.bytes, receiver),
            Envelope::Ip6 { .. } => Err(Discard::IpHeader),
        }
    }
    fn seal(source: Ipv4Addr, destination: Ipv4Addr, message: Vec<u8>) -> Vec<u8> {
        seal_ipv4(source, destination, &message)
    }
}

impl Family for V6 {
    const AF: Af = Af::Ip6;
    type Addr = Ipv6Addr;
    const ALL_SYSTEMS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    const REPORTS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
    const ALL_SNOOPERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x6a);
    const LAYOUT: Layout<Self> = Layout {
        query: 130,
        old_reports: &[131],
        leave: 132,
        report: 143,
        mrdisc: 151,
        before_group: 8,
        newest: 2,
        ip_headers: 48,
        least_mtu: 1280,
        // ff3x::/32 for every scope x.
        ssm: Net {
            address: Ipv6Addr::new(0xff30, 0, 0, 0, 0, 0, 0, 0),
            len: 32,
            mask: 0xfff0_ffff << 96,
        },
    };

    fn net(net: IpNet) -> Option<Net<Self>> {
        match net {
            IpNet::V4(_) => None,
            IpNet::V6(n) => Some(Net::from_v6(n)),
        }
    }
    fn parse<'a>(packet: &'a Packet, receiver: &Receiver<'a, Self>) -> Parsed<'a, Self> {
        parse_icmp6(&packet.envelope, &packet.bytes, receiver)
    }
    fn seal(_: Ipv6Addr, _: Ipv6Addr, message: Vec<u8>) -> Vec<u8> {
        message
    }
}

/// A network of one family; the address keeps its host bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net<F: Family> {
    /// The address as configured, host bits included.
    pub address: F::Addr,
    /// Prefix length.
    pub len: u8,
    mask: u128,
}

impl Net<V4> {
    fn from_v4(net: Ipv4Net) -> Self {
        Self {
            address: net.addr(),
            len: net.prefix_len(),
            mask: u128::from(net.netmask().to_bits()),
        }
    }
}

impl Net<V6> {
    fn from_v6(net: Ipv6Net) -> Self {
        Self { address: net.addr(), len: net.prefix_len(), mask: net.netmask().to_bits() }
    }
}

impl<F: Family> Net<F> {
    /// Whether the address is inside.
    pub fn contains(&self, address: F::Addr) -> bool {
        (self.address.bits() ^ address.bits()) & self.mask == 0
    }
}
