//! Upcalls: what a routing socket gives, decoded on every system alike.
//!
//! `struct igmpmsg` (`linux/mroute.h`, `netinet/ip_mroute.h`) lies over the packet's IPv4 header;
//! its octet 9, the protocol in a header, is 0. `struct mrt6msg` (`linux/mroute6.h`,
//! `netinet6/ip6_mroute.h`) begins with octet 0, which is no ICMPv6 type.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{Received, UpcallKind};
use crate::sys::abi::Fact;

/// How `struct igmpmsg` holds the vif number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VifWidth {
    /// In octet 10; what is in octet 11 means nothing (OpenBSD, FreeBSD).
    Low,
    /// In octets 10 and 11 (Linux).
    LowHigh,
}

/// What an IPv4 routing socket gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ipv4Message {
    /// An upcall.
    Upcall(Received),
    /// An IGMP packet; the receiver knows where it arrived.
    Igmp,
    /// Too short, or a type that asks nothing.
    Other,
}

/// Reads a message of an IPv4 routing socket.
#[must_use]
pub fn decode_ipv4(bytes: &[u8], width: VifWidth) -> Ipv4Message {
    let Some(&[_, _, _, _, _, _, _, _, kind, protocol, low, high, s0, s1, s2, s3, g0, g1, g2, g3]) =
        bytes.first_chunk::<20>()
    else {
        return Ipv4Message::Other;
    };
    if protocol != 0 {
        return Ipv4Message::Igmp;
    }
    if kind == WHOLE_PACKET {
        let whole = |(_, packet): (_, &[u8])| Received::Register { bytes: packet.to_vec() };
        let received = bytes.split_first_chunk::<20>().map(whole);
        return received.map_or(Ipv4Message::Other, Ipv4Message::Upcall);
    }
    let Some(kind) = upcall_kind(kind) else { return Ipv4Message::Other };
    let vif = match width {
        VifWidth::Low => u16::from(low),
        VifWidth::LowHigh => u16::from_le_bytes([low, high]),
    };
    let source = Ipv4Addr::new(s0, s1, s2, s3).into();
    let group = Ipv4Addr::new(g0, g1, g2, g3).into();
    Ipv4Message::Upcall(Received::Upcall { kind, vif, source, group })
}

/// Reads a message of an IPv6 routing socket; `None` when it is too short or asks nothing.
#[must_use]
pub fn decode_ipv6(bytes: &[u8]) -> Option<Received> {
    let (&[zero, kind, m0, m1, ..], rest) = bytes.split_first_chunk::<8>()?;
    let (source, rest) = rest.split_first_chunk::<16>()?;
    let (group, packet) = rest.split_first_chunk::<16>()?;
    if zero != 0 {
        return None;
    }
    if kind == WHOLE_PACKET {
        return Some(Received::Register { bytes: packet.to_vec() });
    }
    Some(Received::Upcall {
        kind: upcall_kind(kind)?,
        vif: u16::from_ne_bytes([m0, m1]),
        source: Ipv6Addr::from(*source).into(),
        group: Ipv6Addr::from(*group).into(),
    })
}

/// `IGMPMSG_WHOLEPKT`, `MRT6MSG_WHOLEPKT`: the packet follows, from its IP header on.
const WHOLE_PACKET: u8 = 3;

/// `IGMPMSG_NOCACHE`, `IGMPMSG_WRONGVIF` and their namesakes of IPv6.
fn upcall_kind(kind: u8) -> Option<UpcallKind> {
    match kind {
        1 => Some(UpcallKind::NoCache),
        2 => Some(UpcallKind::WrongVif),
        _ => None,
    }
}

/// What the headers of this system must say: where the fields are that are read here.
pub(super) const ABI: &[Fact] = &[
    ("sizeof(struct igmpmsg)", 20),
    ("offsetof(struct igmpmsg, im_msgtype)", 8),
    ("offsetof(struct igmpmsg, im_mbz)", 9),
    ("offsetof(struct igmpmsg, im_vif)", 10),
    ("sizeof(((struct igmpmsg *)0)->im_vif)", 1),
    #[cfg(target_os = "linux")]
    ("offsetof(struct igmpmsg, im_vif_hi)", 11),
    ("offsetof(struct igmpmsg, im_src)", 12),
    ("offsetof(struct igmpmsg, im_dst)", 16),
    ("IGMPMSG_NOCACHE", 1),
    ("IGMPMSG_WRONGVIF", 2),
    // OpenBSD has no register vifs in IPv4.
    #[cfg(not(target_os = "openbsd"))]
    ("IGMPMSG_WHOLEPKT", WHOLE_PACKET as i64),
    ("sizeof(struct mrt6msg)", 40),
    ("offsetof(struct mrt6msg, im6_mbz)", 0),
    ("offsetof(struct mrt6msg, im6_msgtype)", 1),
    ("offsetof(struct mrt6msg, im6_mif)", 2),
    ("sizeof(((struct mrt6msg *)0)->im6_mif)", 2),
    ("offsetof(struct mrt6msg, im6_src)", 8),
    ("offsetof(struct mrt6msg, im6_dst)", 24),
    ("MRT6MSG_NOCACHE", 1),
    ("MRT6MSG_WRONGMIF", 2),
    ("MRT6MSG_WHOLEPKT", WHOLE_PACKET as i64),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// An upcall made of the places that the headers are asked about.
    fn built(structure: &str, values: &[(&str, &[u8])]) -> Vec<u8> {
        let fact = |name: String| ABI.iter().find(|f| f.0 == name).unwrap().1.try_into().unwrap();
        let mut message = vec![0; fact(format!("sizeof(struct {structure})"))];
        for (field, value) in values {
            let at: usize = fact(format!("offsetof(struct {structure}, {field})"));
            message[at..at + value.len()].copy_from_slice(value);
        }
        message
    }

    #[test]
    fn the_places_that_the_headers_are_asked_about_are_those_that_are_read() {
        let ip4 = built(
            "igmpmsg",
            &[
                ("im_msgtype", &[2]),
                ("im_vif", &[7]),
                ("im_src", &[192, 0, 2, 1]),
                ("im_dst", &[239, 1, 2, 3]),
            ],
        );
        let expected = Received::Upcall {
            kind: UpcallKind::WrongVif,
            vif: 7,
            source: Ipv4Addr::new(192, 0, 2, 1).into(),
            group: Ipv4Addr::new(239, 1, 2, 3).into(),
        };
        assert_eq!(decode_ipv4(&ip4, VifWidth::Low), Ipv4Message::Upcall(expected));
        let (source, group) = ([0x20; 16], [0xff; 16]);
        let ip6 = built(
            "mrt6msg",
            &[
                ("im6_msgtype", &[1]),
                ("im6_mif", &0x102u16.to_ne_bytes()),
                ("im6_src", &source),
                ("im6_dst", &group),
            ],
        );
        let expected = Received::Upcall {
            kind: UpcallKind::NoCache,
            vif: 0x102,
            source: Ipv6Addr::from(source).into(),
            group: Ipv6Addr::from(group).into(),
        };
        assert_eq!(decode_ipv6(&ip6), Some(expected));
    }

    /// 10.0.0.9 to 239.1.2.3, arrived on vif 0x0102, `im_msgtype` 1; with the eight octets of IGMP
    /// header that Linux appends.
    const LINUX: [u8; 28] =
        [0x45, 0, 0, 28, 0, 0, 0, 0, 1, 0, 2, 1, 10, 0, 0, 9, 239, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0];

    #[test]
    fn ipv4_upcall_by_its_layout() {
        let want = |vif| {
            Ipv4Message::Upcall(Received::Upcall {
                kind: UpcallKind::NoCache,
                vif,
                source: [10, 0, 0, 9].into(),
                group: [239, 1, 2, 3].into(),
            })
        };
        assert_eq!(decode_ipv4(&LINUX, VifWidth::LowHigh), want(0x0102));
        assert_eq!(decode_ipv4(&LINUX, VifWidth::Low), want(2));
        assert_eq!(decode_ipv4(&LINUX[..20], VifWidth::Low), want(2));
        assert_eq!(decode_ipv4(&LINUX[..19], VifWidth::Low), Ipv4Message::Other);
    }

    #[test]
    fn ipv4_other_kinds() {
        for (octet, value, want) in [
            // IGMPMSG_WHOLEPKT, and the eight octets of a packet
            (8, 3, Ipv4Message::Upcall(Received::Register { bytes: vec![0; 8] })),
            (8, 4, Ipv4Message::Other), // IGMPMSG_WRVIFWHOLE
            (8, 0, Ipv4Message::Other),
            (9, 2, Ipv4Message::Igmp), // IPPROTO_IGMP
        ] {
            let mut bytes = LINUX;
            bytes[octet] = value;
            assert_eq!(decode_ipv4(&bytes, VifWidth::LowHigh), want);
        }
    }

    #[test]
    fn ipv6_upcall_by_its_layout() {
        let mut bytes = [0u8; 40];
        bytes[1] = 2;
        bytes[2..4].copy_from_slice(&7u16.to_ne_bytes());
        bytes[8..10].copy_from_slice(&[0xfe, 0x80]);
        bytes[23] = 9;
        bytes[24..26].copy_from_slice(&[0xff, 0x0e]);
        bytes[39] = 1;
        let want = Received::Upcall {
            kind: UpcallKind::WrongVif,
            vif: 7,
            source: "fe80::9".parse().unwrap(),
            group: "ff0e::1".parse().unwrap(),
        };
        assert_eq!(decode_ipv6(&bytes), Some(want));
        assert_eq!(decode_ipv6(&bytes[..39]), None);
        bytes[1] = 3; // MRT6MSG_WHOLEPKT
        let whole = Received::Register { bytes: vec![0x60, 0] };
        assert_eq!(decode_ipv6(&[&bytes[..], &[0x60, 0]].concat()), Some(whole));
        bytes[..2].copy_from_slice(&[130, 1]); // an MLD query
        assert_eq!(decode_ipv6(&bytes), None);
    }
}
