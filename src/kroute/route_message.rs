//! Messages of route(4), from a route socket or from `NET_RT_IFLIST`, as values.
//!
//! Pure functions over octets, on every system. The layouts are those of `net/if.h`, `net/if_dl.h`
//! and `net/route.h` of OpenBSD and FreeBSD.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::links::LinkEvent;
use super::{Interface, InterfaceAddress};

/// Whose kernel says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// OpenBSD.
    OpenBsd,
    /// FreeBSD.
    FreeBsd,
}

/// How messages are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Whose they are.
    pub origin: Origin,
    /// Octets of the kernel's `long`: addresses begin at multiples of it.
    pub word: usize,
    /// The routing domain; interfaces of others are as if they were not there. OpenBSD.
    pub domain: Option<u16>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMessage {
    /// Something about one interface.
    Event(LinkEvent),
    /// That something is new which only the whole table shows, or that messages were lost.
    ReadAll,
}

/// Octets of what every message begins with: length, version, type.
const HEADER: usize = 4;

/// `RTM_VERSION` of both.
const VERSION: u8 = 5;
const RTM_NEWADDR: u8 = 0xc;
const RTM_DELADDR: u8 = 0xd;
const RTM_IFINFO: u8 = 0xe;
/// OpenBSD's.
const RTM_DESYNC: u8 = 0x10;
/// OpenBSD's.
const RTM_CHGADDRATTR: u8 = 0x14;
const IFAN_DEPARTURE: u16 = 1;
const IFNAMSIZ: usize = 16;

/// Positions in `rtm_addrs`.
const RTAX_NETMASK: usize = 2;
const RTAX_IFP: usize = 4;
const RTAX_IFA: usize = 5;
const RTAX_BRD: usize = 7;
/// More than any system has.
const RTAX_MAX: usize = 32;

/// FreeBSD's `ifi_datalen`, and the length of its `struct ifa_msghdr`; OpenBSD's messages say how
/// long their headers are.
const IFI_DATALEN: usize = 6;
const IFA_MSGHDR: usize = 20;

const AF_INET: u8 = 2;
const AF_LINK: u8 = 18;
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;

/// What differs between the two.
#[derive(Debug)]
struct Layout {
    announce: u8,
    /// Types of messages that call for the whole table.
    read_all: &'static [u8],
    af_inet6: u8,
    addrs: usize,
    flags: usize,
    index: usize,
    /// Where `struct if_data` is, and what is wanted of it.
    if_data: usize,
    link_state: usize,
    mtu: usize,
    ifan_index: usize,
    ifan_what: usize,
    ifan_name: usize,
}

const OPENBSD: Layout = Layout {
    announce: 0xf,
    read_all: &[RTM_DESYNC, RTM_CHGADDRATTR],
    af_inet6: 24,
    addrs: 12,
    flags: 16,
    index: 6,
    if_data: 24,
    link_state: 3,
    mtu: 4,
    ifan_index: 6,
    ifan_what: 8,
    ifan_name: 10,
};

const FREEBSD: Layout = Layout {
    announce: 0x11,
    read_all: &[],
    af_inet6: 28,
    addrs: 4,
    flags: 8,
    index: 12,
    if_data: 16,
    link_state: 4,
    mtu: 8,
    ifan_index: 4,
    ifan_what: 22,
    ifan_name: 6,
};

impl Format {
    const fn layout(&self) -> &'static Layout {
        match self.origin {
            Origin::OpenBsd => &OPENBSD,
            Origin::FreeBsd => &FREEBSD,
        }
    }

    /// What the messages say that lie one behind the other; the rest after a malformed one is left
    /// out.
    pub fn decode<'a>(&'a self, mut bytes: &'a [u8]) -> impl Iterator<Item = RouteMessage> + 'a {
        let message = move || {
            let length = usize::from(u16_at(bytes, 0)?);
            let (message, rest) = bytes.split_at_checked(length).filter(|_| length >= HEADER)?;
            bytes = rest;
            Some(message)
        };
        std::iter::from_fn(message).filter_map(|message| self.message(message))
    }

    fn message(&self, message: &[u8]) -> Option<RouteMessage> {
        let &[_, _, version, kind] = message.first_chunk()?;
        if version != VERSION {
            return None;
        }
        let layout = self.layout();
        if kind == layout.announce {
            return announcement(layout, message);
        }
        if layout.read_all.contains(&kind) {
            return Some(RouteMessage::ReadAll);
        }
        let event = match kind {
            RTM_IFINFO => self.link(message),
            RTM_NEWADDR | RTM_DELADDR => self.address(message, kind == RTM_NEWADDR),
            _ => None,
        };
        event.map(RouteMessage::Event)
    }

    /// Whether the message is about an interface of this routing domain: `ifm_tableid`,
    /// `ifam_tableid`.
    fn is_ours(&self, message: &[u8]) -> Option<bool> {
        match (self.origin, self.domain) {
            (Origin::OpenBsd, Some(ours)) => Some(u16_at(message, 8)? == ours),
            (Origin::OpenBsd, None) | (Origin::FreeBsd, _) => Some(true),
        }
    }

    /// `struct if_msghdr`. An interface that moved to another routing domain is gone from this one.
    fn link(&self, message: &[u8]) -> Option<LinkEvent> {
        let layout = self.layout();
        let ifindex = u32::from(u16_at(message, layout.index)?);
        if !self.is_ours(message)? {
            return Some(LinkEvent::LinkGone { ifindex });
        }
        let flags = u32_at(message, layout.flags)?;
        let data = message.get(layout.if_data..)?;
        let state = *data.get(layout.link_state)?;
        let mtu = u32_at(data, layout.mtu)?;
        let header = match self.origin {
            Origin::OpenBsd => usize::from(u16_at(message, 4)?),
            Origin::FreeBsd => layout.if_data + usize::from(u16_at(data, IFI_DATALEN)?),
        };
        let name = self.sockaddr(message, header, RTAX_IFP).and_then(link_name);
        Some(LinkEvent::Link(Interface {
            ifindex,
            name: name.unwrap_or_default(),
            mtu,
            up: flags & IFF_UP != 0 && self.has_carrier(state),
            loopback: flags & IFF_LOOPBACK != 0,
            addresses: Vec::new(),
        }))
    }

    /// `LINK_STATE_IS_UP` of OpenBSD, where 4 and more are up; FreeBSD's 1 is down. 0 is unknown,
    /// which is what an interface without a carrier says.
    const fn has_carrier(&self, state: u8) -> bool {
        match self.origin {
            Origin::OpenBsd => state == 0 || state >= 4,
            Origin::FreeBsd => state != 1,
        }
    }

    /// `struct ifa_msghdr`.
    fn address(&self, message: &[u8], present: bool) -> Option<LinkEvent> {
        let layout = self.layout();
        if !self.is_ours(message)? {
            return None;
        }
        let ifindex = u32::from(u16_at(message, layout.index)?);
        let header = match self.origin {
            Origin::OpenBsd => usize::from(u16_at(message, 4)?),
            Origin::FreeBsd => IFA_MSGHDR,
        };
        let own = self.sockaddr(message, header, RTAX_IFA)?;
        let address = self.ip(own)?;
        let mask = self.sockaddr(message, header, RTAX_NETMASK);
        let length = mask.map_or(Some(if address.is_ipv4() { 32 } else { 128 }), |m| {
            prefix_length(address, m)
        })?;
        let network = IpNet::new(address, length).ok()?;
        // The broadcast address is in the network; a peer's is what the network is on the link.
        let peer = self.sockaddr(message, header, RTAX_BRD).and_then(|a| self.ip(a));
        let other = |p: &IpAddr| p.is_ipv4() == address.is_ipv4() && !network.contains(p);
        let peer = peer.filter(|p| !p.is_unspecified() && other(p));
        let network = peer.map_or(Some(network), |p| IpNet::new(p, length).ok())?;
        let address = InterfaceAddress { address, network };
        Some(if present {
            LinkEvent::Address { ifindex, address, secondary: false }
        } else {
            LinkEvent::AddressGone { ifindex, address }
        })
    }

    /// One of the addresses behind the header.
    fn sockaddr<'a>(&self, message: &'a [u8], header: usize, which: usize) -> Option<&'a [u8]> {
        let addrs = u32_at(message, self.layout().addrs)?;
        let mut rest = message.get(header..)?;
        for place in (0..RTAX_MAX).filter(|place| addrs & 1 << place != 0) {
            let length = usize::from(*rest.first()?);
            if place == which {
                return rest.get(..length);
            }
            let padded = length.max(1).next_multiple_of(self.word.max(1));
            rest = rest.get(padded..)?;
        }
        None
    }

    /// `struct sockaddr_in` or `struct sockaddr_in6`. The kernel may leave the interface of a
    /// link-local address in its third and fourth octet.
    fn ip(&self, sockaddr: &[u8]) -> Option<IpAddr> {
        let family = *sockaddr.get(1)?;
        if family == AF_INET {
            let octets: [u8; 4] = *sockaddr.get(4..)?.first_chunk()?;
            return Some(Ipv4Addr::from(octets).into());
        }
        if family != self.layout().af_inet6 {
            return None;
        }
        let mut address = Ipv6Addr::from(*sockaddr.get(8..)?.first_chunk::<16>()?);
        if address.is_unicast_link_local() {
            address = Ipv6Addr::from_bits(address.to_bits() & !(0xffff << 96));
        }
        Some(address.into())
    }
}

/// `struct if_announcemsghdr`. One that comes has more to it than is said here.
fn announcement(layout: &Layout, message: &[u8]) -> Option<RouteMessage> {
    let ifindex = u32::from(u16_at(message, layout.ifan_index)?);
    message.get(layout.ifan_name..)?.get(..IFNAMSIZ)?;
    Some(match u16_at(message, layout.ifan_what)? {
        IFAN_DEPARTURE => RouteMessage::Event(LinkEvent::LinkGone { ifindex }),
        _ => RouteMessage::ReadAll,
    })
}

/// `struct sockaddr_dl`: the name is at its beginning, without a zero.
fn link_name(sockaddr: &[u8]) -> Option<String> {
    let (&[_, family, _, _, _, length, _, _], data) = sockaddr.split_first_chunk()?;
    let name = data.get(..usize::from(length))?;
    (family == AF_LINK).then(|| String::from_utf8_lossy(name).into_owned())
}

/// The prefix length that a mask is. It has no family, and trailing zeros may be left out.
fn prefix_length(address: IpAddr, mask: &[u8]) -> Option<u8> {
    let (at, length) = match address {
        IpAddr::V4(_) => (4, 4),
        IpAddr::V6(_) => (8, 16),
    };
    let mut octets = [0; 16];
    let given = mask.iter().skip(at).take(length);
    octets.iter_mut().zip(given).for_each(|(to, from)| *to = *from);
    let bits = u128::from_be_bytes(octets);
    let ones = bits.leading_ones();
    (ones == bits.count_ones()).then(|| u8::try_from(ones).ok()).flatten()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

/// What the headers of this system must say.
#[cfg(not(target_os = "linux"))]
pub(super) const ABI: &[crate::sys::abi::Fact] = {
    const HERE: &Layout = if cfg!(target_os = "openbsd") { &OPENBSD } else { &FREEBSD };
    &[
        ("RTM_VERSION", VERSION as i64),
        ("RTM_NEWADDR", RTM_NEWADDR as i64),
        ("RTM_DELADDR", RTM_DELADDR as i64),
        ("RTM_IFINFO", RTM_IFINFO as i64),
        ("RTM_IFANNOUNCE", HERE.announce as i64),
        #[cfg(target_os = "openbsd")]
        ("RTM_DESYNC", RTM_DESYNC as i64),
        #[cfg(target_os = "openbsd")]
        ("RTM_CHGADDRATTR", RTM_CHGADDRATTR as i64),
        ("IFAN_DEPARTURE", IFAN_DEPARTURE as i64),
        ("IFNAMSIZ", IFNAMSIZ as i64),
        ("RTAX_NETMASK", RTAX_NETMASK as i64),
        ("RTAX_IFP", RTAX_IFP as i64),
        ("RTAX_IFA", RTAX_IFA as i64),
        ("RTAX_BRD", RTAX_BRD as i64),
        ("AF_INET", AF_INET as i64),
        ("AF_INET6", HERE.af_inet6 as i64),
        ("AF_LINK", AF_LINK as i64),
        ("IFF_UP", IFF_UP as i64),
        ("IFF_LOOPBACK", IFF_LOOPBACK as i64),
        ("LINK_STATE_UNKNOWN", 0),
        ("LINK_STATE_UP", if cfg!(target_os = "openbsd") { 4 } else { 2 }),
        #[cfg(target_os = "freebsd")]
        ("LINK_STATE_DOWN", 1),
        #[cfg(target_os = "openbsd")]
        ("offsetof(struct if_msghdr, ifm_hdrlen)", 4),
        #[cfg(target_os = "openbsd")]
        ("offsetof(struct if_msghdr, ifm_tableid)", 8),
        ("offsetof(struct if_msghdr, ifm_type)", 3),
        ("offsetof(struct if_msghdr, ifm_addrs)", HERE.addrs as i64),
        ("offsetof(struct if_msghdr, ifm_flags)", HERE.flags as i64),
        ("offsetof(struct if_msghdr, ifm_index)", HERE.index as i64),
        ("offsetof(struct if_msghdr, ifm_data)", HERE.if_data as i64),
        ("offsetof(struct if_data, ifi_link_state)", HERE.link_state as i64),
        ("offsetof(struct if_data, ifi_mtu)", HERE.mtu as i64),
        #[cfg(target_os = "freebsd")]
        ("offsetof(struct if_data, ifi_datalen)", IFI_DATALEN as i64),
        #[cfg(target_os = "openbsd")]
        ("offsetof(struct ifa_msghdr, ifam_hdrlen)", 4),
        #[cfg(target_os = "openbsd")]
        ("offsetof(struct ifa_msghdr, ifam_tableid)", 8),
        #[cfg(target_os = "freebsd")]
        ("sizeof(struct ifa_msghdr)", IFA_MSGHDR as i64),
        ("offsetof(struct ifa_msghdr, ifam_addrs)", HERE.addrs as i64),
        ("offsetof(struct ifa_msghdr, ifam_index)", HERE.index as i64),
        ("offsetof(struct if_announcemsghdr, ifan_index)", HERE.ifan_index as i64),
        ("offsetof(struct if_announcemsghdr, ifan_what)", HERE.ifan_what as i64),
        ("offsetof(struct if_announcemsghdr, ifan_name)", HERE.ifan_name as i64),
        ("offsetof(struct sockaddr_dl, sdl_family)", 1),
        ("offsetof(struct sockaddr_dl, sdl_nlen)", 5),
        ("offsetof(struct sockaddr_dl, sdl_data)", 8),
        ("offsetof(struct sockaddr_in, sin_addr)", 4),
        ("offsetof(struct sockaddr_in6, sin6_addr)", 8),
    ]
};
