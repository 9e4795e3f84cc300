//! What IP carries messages in: headers, Router Alert, checksums.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::layout::Type;
use super::parse::{self, Arrival, Parsed};
use super::{Discard, Receiver, V4, V6};
use crate::imsg::Envelope;

const IGMP: u8 = 2;
const ICMP6: u8 = 58;
const FRAGMENT: u8 = 44;
const IP4_HEADER: usize = 20;
const IP6_HEADER: usize = 40;
/// RFC 2113, section 2.1: examine the packet.
const ROUTER_ALERT4: [u8; 4] = [148, 4, 0, 0];
/// Option type and length, and the value that means MLD. RFC 2711, sections 2.1 and 5.
const ROUTER_ALERT6: (u8, [u8; 2]) = (5, [0, 0]);

/// Parses IGMP or MRDISC from the IPv4 header on, its fields as on the wire and its checksum verified
/// by the kernel.
///
/// # Errors
/// Why the packet has no effect: the first check that fails.
pub fn parse_ipv4<'a>(datagram: &'a [u8], receiver: &Receiver<'a, V4>) -> Parsed<'a, V4> {
    let (fixed, after) = datagram.split_first_chunk::<IP4_HEADER>().ok_or(Discard::IpHeader)?;
    let [version, _, t0, t1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        *fixed;
    let header = usize::from(version & 0x0f).wrapping_mul(4);
    let options = header.checked_sub(IP4_HEADER).and_then(|len| after.get(..len));
    let (4, IGMP, Some(options)) = (version >> 4, protocol, options) else {
        return Err(Discard::IpHeader);
    };
    let total = usize::from(u16::from_be_bytes([t0, t1]));
    let message = datagram.get(header..total).ok_or(Discard::Length)?;
    let kind = parse::message_type::<V4>(message)?;
    // More fragments, and the offset: all but the reserved and the don't-fragment bit.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return Err(Discard::Fragment);
    }
    if Sum::default().add(message).checksum() != 0 {
        return Err(Discard::Checksum);
    }
    let envelope = Arrival {
        source: Ipv4Addr::new(s0, s1, s2, s3),
        destination: Ipv4Addr::new(d0, d1, d2, d3),
        ttl,
    };
    let kind = kind.ok_or(Discard::Type)?;
    if ttl != 1 && matches!(kind, Type::Advertisement | Type::Solicitation | Type::Termination) {
        return Err(Discard::Ttl);
    }
    // IGMPv1 has no Router Alert: its report, and a query of eight octets with code 0.
    let version_1 = kind == Type::OldReport(1)
        || kind == Type::Query && matches!(message, [_, 0, _, _, _, _, _, _]);
    if receiver.require_router_alert && !version_1 && !router_alert_in_options(options) {
        return Err(Discard::RouterAlert);
    }
    parse::message(kind, envelope, message, receiver)
}

/// Parses MLD or MRDISC from the ICMPv6 header on.
///
/// # Errors
/// Why the packet has no effect: the first check that fails.
pub fn parse_icmp6<'a>(
    envelope: &Envelope,
    message: &'a [u8],
    receiver: &Receiver<'a, V6>,
) -> Parsed<'a, V6> {
    let Envelope::Ip6 { source, destination, hop_limit, router_alert, checksum_verified } =
        *envelope
    else {
        return Err(Discard::IpHeader);
    };
    if !checksum_verified && icmp6_sum(source, destination, message).checksum() != 0 {
        return Err(Discard::Checksum);
    }
    let kind = parse::message_type::<V6>(message)?.ok_or(Discard::Type)?;
    if hop_limit != 1 {
        return Err(Discard::HopLimit);
    }
    if !router_alert {
        return Err(Discard::RouterAlert);
    }
    if !source.is_unicast_link_local() {
        return Err(Discard::SourceNotLinkLocal);
    }
    parse::message(kind, Arrival { source, destination, ttl: hop_limit }, message, receiver)
}

/// Parses MLD or MRDISC from the IPv6 header on, as a packet socket delivers it.
///
/// # Errors
/// Why the packet has no effect: the first check that fails.
pub fn parse_ipv6<'a>(datagram: &'a [u8], receiver: &Receiver<'a, V6>) -> Parsed<'a, V6> {
    let (fixed, after) = datagram.split_first_chunk::<IP6_HEADER>().ok_or(Discard::IpHeader)?;
    let ([version, _, _, _, l0, l1, next, hop_limit], addresses) =
        fixed.split_first_chunk::<8>().ok_or(Discard::IpHeader)?;
    let (source, destination) = addresses.split_first_chunk::<16>().ok_or(Discard::IpHeader)?;
    let destination = destination.first_chunk::<16>().ok_or(Discard::IpHeader)?;
    if version >> 4 != 6 {
        return Err(Discard::IpHeader);
    }
    let length = usize::from(u16::from_be_bytes([*l0, *l1]));
    let payload = after.get(..length).ok_or(Discard::Length)?;
    let (options, next, message) = match *next {
        0 => hop_by_hop(payload).ok_or(Discard::IpHeader)?,
        next => (&[][..], next, payload),
    };
    match next {
        ICMP6 => {}
        FRAGMENT => return Err(Discard::Fragment),
        _ => return Err(Discard::IpHeader),
    }
    let envelope = Envelope::Ip6 {
        source: Ipv6Addr::from(*source),
        destination: Ipv6Addr::from(*destination),
        hop_limit: *hop_limit,
        router_alert: router_alert_in_hop_by_hop(options),
        checksum_verified: false,
    };
    parse_icmp6(&envelope, message, receiver)
}

/// Whether a Hop-by-Hop header, from its first octet on, carries Router Alert for MLD: option 5 with
/// the value 0, at any position.
#[must_use]
pub fn router_alert_in_hop_by_hop(header: &[u8]) -> bool {
    let mut options = header.get(2..).unwrap_or_default();
    loop {
        options = match *options {
            [0, ref rest @ ..] => rest,
            [kind, len, ref rest @ ..] => match rest.split_at_checked(len.into()) {
                Some((value, _)) if (kind, value) == (ROUTER_ALERT6.0, &ROUTER_ALERT6.1) => {
                    return true;
                }
                Some((_, rest)) => rest,
                None => return false,
            },
            [] | [_] => return false,
        };
    }
}

/// The Hop-by-Hop header at the head of a payload, the number of what follows it, and that.
fn hop_by_hop(payload: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let [next, len, ..] = *payload else {
        return None;
    };
    let len = usize::from(len).wrapping_add(1).wrapping_mul(8);
    let (header, message) = payload.split_at_checked(len)?;
    Some((header, next, message))
}

fn router_alert_in_options(mut options: &[u8]) -> bool {
    loop {
        options = match *options {
            [] | [0, ..] => return false,
            [1, ref rest @ ..] => rest,
            _ if options.starts_with(&ROUTER_ALERT4) => return true,
            [_, len, ..] if len >= 2 => options.get(usize::from(len)..).unwrap_or_default(),
            _ => return false,
        };
    }
}

/// The sum of the pseudo header and the message. RFC 8200, section 8.1.
fn icmp6_sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Sum {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    Sum::default()
        .add(&source.octets())
        .add(&destination.octets())
        .add(&length.to_be_bytes())
        .add(&u32::from(ICMP6).to_be_bytes())
        .add(message)
}

/// An IPv4 packet around an IGMP message whose checksum is zero; fills both checksums in. RFC 9776,
/// section 4: TTL 1, precedence Internetwork Control, Router Alert.
pub(super) fn seal_ipv4(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    const HEADER: usize = IP4_HEADER + ROUTER_ALERT4.len();
    const IP_CHECKSUM: usize = 10;
    const IGMP_CHECKSUM: usize = HEADER + 2;
    let total = u16::try_from(message.len().saturating_add(HEADER)).unwrap_or(u16::MAX);
    let mut packet = Vec::with_capacity(total.into());
    packet.extend([0x46, 0xc0]);
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 1, IGMP, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(ROUTER_ALERT4);
    fill_checksum(&mut packet, 0, IP_CHECKSUM);
    packet.extend(message);
    fill_checksum(&mut packet, HEADER, IGMP_CHECKSUM);
    packet
}

/// Writes the checksum of the octets from `start` on, where that is zero, to `at`.
fn fill_checksum(bytes: &mut [u8], start: usize, at: usize) {
    let sum = Sum::default().add(bytes.get(start..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = sum.checksum().to_be_bytes();
    }
}
