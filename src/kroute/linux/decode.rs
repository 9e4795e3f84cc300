//! Messages of rtnetlink(7) as values. The layouts are those of `linux/rtnetlink.h`,
//! `linux/if_link.h` and `linux/if_addr.h`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::netlink::attributes;
use crate::kroute::links::LinkEvent;
use crate::kroute::{Installed, Interface, InterfaceAddress, Output, RouteKey};
use crate::wire::Af;

const RTNL_FAMILY_IPMR: u8 = 128;
const RTNL_FAMILY_IP6MR: u8 = 129;
const RTPROT_STATIC: u8 = 4;
/// `RTNH_F_UNRESOLVED`: the entry waits for an answer to its upcall.
const UNRESOLVED: u32 = 32;

/// The family number of multicast routes and their rules.
pub(super) const fn routing_family(family: Af) -> u8 {
    match family {
        Af::Ip4 => RTNL_FAMILY_IPMR,
        Af::Ip6 => RTNL_FAMILY_IP6MR,
    }
}

/// The body of `RTM_GETROUTE` for the multicast routes of all tables: `struct rtmsg`.
pub(super) const fn route_request(family: Af) -> [u8; 12] {
    let mut body = [0; 12];
    let [first, ..] = &mut body;
    *first = routing_family(family);
    body
}

pub(super) fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|b| u32::from_ne_bytes(*b))
}

fn ip_of(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => value.first_chunk::<4>().map(|b| IpAddr::from(*b)),
        16 => value.first_chunk::<16>().map(|b| IpAddr::from(*b)),
        _ => None,
    }
}

/// A multicast route and its table. Unresolved entries and other families give `None`.
pub(super) fn route(family: Af, body: &[u8]) -> Option<(u32, Installed)> {
    let (&[af, _, _, _, table, protocol, _, _, f0, f1, f2, f3], rest) =
        body.split_first_chunk::<12>()?;
    if af != routing_family(family) || u32::from_ne_bytes([f0, f1, f2, f3]) & UNRESOLVED != 0 {
        return None;
    }
    let (mut source, mut group, mut incoming) = (None, None, None);
    let (mut table, mut outgoing, mut counts) = (u32::from(table), Vec::new(), [0; 3]);
    for (kind, value) in attributes(rest) {
        match kind {
            libc::RTA_TABLE => table = u32_of(value)?,
            libc::RTA_SRC => source = ip_of(value),
            libc::RTA_DST => group = ip_of(value),
            libc::RTA_IIF => incoming = u32_of(value),
            libc::RTA_MULTIPATH => outgoing = outputs(family, value),
            RTA_MFC_STATS => counts = stats(value)?,
            _ => {}
        }
    }
    let group = group.filter(|g| Af::of(*g) == family)?;
    let source = source.filter(|s| !s.is_unspecified());
    if source.is_none() {
        outgoing.retain(|o| Some(o.ifindex) != incoming);
    }
    let [packets, bytes, wrong_interface] = right_ones(counts);
    let installed = Installed {
        key: RouteKey { source, group },
        path: Some((incoming, outgoing)),
        foreign: protocol == RTPROT_STATIC,
        packets,
        bytes,
        wrong_interface,
    };
    Some((table, installed))
}

const RTA_MFC_STATS: u16 = 17;

/// Takes the packets that came in on a wrong interface out of packets and octets. Their octets are
/// not counted apart: they are taken to be as long as the others.
pub(super) fn right_ones([packets, bytes, wrong]: [u64; 3]) -> [u64; 3] {
    let right = packets.saturating_sub(wrong);
    let share = (u128::from(bytes) * u128::from(right)).checked_div(u128::from(packets));
    [right, share.and_then(|b| u64::try_from(b).ok()).unwrap_or_default(), wrong]
}

/// A row of `struct rtnexthop`, whose `rtnh_hops` is the threshold.
fn outputs(family: Af, mut hops: &[u8]) -> Vec<Output> {
    let mut outputs = Vec::new();
    while let Some((&[l0, l1, _, ttl, i0, i1, i2, i3], _)) = hops.split_first_chunk::<8>() {
        let threshold = if family == Af::Ip4 { ttl } else { 1 };
        outputs.push(Output { ifindex: u32::from_ne_bytes([i0, i1, i2, i3]), threshold });
        let length = usize::from(u16::from_ne_bytes([l0, l1])).max(8).next_multiple_of(4);
        hops = hops.get(length..).unwrap_or_default();
    }
    outputs.sort_unstable();
    outputs
}

/// `struct rta_mfc_stats`: packets, octets, packets on a wrong interface.
fn stats(value: &[u8]) -> Option<[u64; 3]> {
    let (packets, rest) = value.split_first_chunk::<8>()?;
    let (bytes, rest) = rest.split_first_chunk::<8>()?;
    let wrong = rest.first_chunk::<8>()?;
    Some([packets, bytes, wrong].map(|octets| u64::from_ne_bytes(*octets)))
}

/// What a message of the link and address groups says; `None` when it is about something else.
pub(super) fn link_event(kind: u16, body: &[u8]) -> Option<LinkEvent> {
    match kind {
        libc::RTM_NEWLINK => link(body).map(LinkEvent::Link),
        libc::RTM_DELLINK => link(body).map(|l| LinkEvent::LinkGone { ifindex: l.ifindex }),
        libc::RTM_NEWADDR => address(body, true),
        libc::RTM_DELADDR => address(body, false),
        _ => None,
    }
}

const UP_AND_RUNNING: u32 = (libc::IFF_UP | libc::IFF_RUNNING) as u32;
const LOOPBACK: u32 = libc::IFF_LOOPBACK as u32;

/// `struct ifinfomsg` and attributes. A message of another family than `AF_UNSPEC` tells what a
/// bridge does with the interface, not that it is there or gone.
fn link(body: &[u8]) -> Option<Interface> {
    let (&[af, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..], rest) =
        body.split_first_chunk::<16>()?;
    if af != 0 {
        return None;
    }
    let flags = u32::from_ne_bytes([f0, f1, f2, f3]);
    let (mut name, mut mtu) = (String::new(), 0);
    for (kind, value) in attributes(rest) {
        match kind {
            libc::IFLA_IFNAME => {
                let end = value.split(|b| *b == 0).next().unwrap_or_default();
                name = String::from_utf8_lossy(end).into_owned();
            }
            libc::IFLA_MTU => mtu = u32_of(value)?,
            _ => {}
        }
    }
    Some(Interface {
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        name,
        mtu,
        up: flags & UP_AND_RUNNING == UP_AND_RUNNING,
        loopback: flags & LOOPBACK != 0,
        addresses: Vec::new(),
    })
}

/// `struct ifaddrmsg` and attributes. `IFA_ADDRESS` is the peer where `IFA_LOCAL` differs from it.
fn address(body: &[u8], present: bool) -> Option<LinkEvent> {
    let (&[_, len, flags, _, i0, i1, i2, i3], rest) = body.split_first_chunk::<8>()?;
    let ifindex = u32::from_ne_bytes([i0, i1, i2, i3]);
    let (mut local, mut on_link, mut flags) = (None, None, u32::from(flags));
    for (kind, value) in attributes(rest) {
        match kind {
            libc::IFA_LOCAL => local = ip_of(value),
            libc::IFA_ADDRESS => on_link = ip_of(value),
            IFA_FLAGS => flags = u32_of(value)?,
            _ => {}
        }
    }
    let address = local.or(on_link)?;
    let network = IpNet::new(on_link.unwrap_or(address), len).ok()?;
    let address = InterfaceAddress { address, network };
    let waiting = flags & libc::IFA_F_TENTATIVE != 0 && flags & libc::IFA_F_OPTIMISTIC == 0;
    if !present || waiting || flags & libc::IFA_F_DADFAILED != 0 {
        return Some(LinkEvent::AddressGone { ifindex, address });
    }
    // The same bit means "temporary" in IPv6, which is no worse a source for what is sent here.
    let secondary = address.address.is_ipv4() && flags & libc::IFA_F_SECONDARY != 0;
    Some(LinkEvent::Address { ifindex, address, secondary })
}

const IFA_FLAGS: u16 = 8;
