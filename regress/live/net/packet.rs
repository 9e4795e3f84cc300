//! Packets made by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::PORT;

/// The sum of RFC 1071.
fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let words = parts.iter().flat_map(|p| p.chunks(2));
    let sum: u32 = words.map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| (*b).into())).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    (!u16::try_from(folded).expect("folded twice")).to_be_bytes()
}

fn length(octets: usize) -> [u8; 2] {
    u16::try_from(octets).expect("a short packet").to_be_bytes()
}

/// An IPv4 packet without options, its payload's checksum included.
fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, protocol: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0xc0];
    packet.extend(length(20 + data.len()));
    packet.extend([0, 0, 0, 0, ttl, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum = checksum(&[&packet]);
    packet[10..12].copy_from_slice(&sum);
    packet.extend(data);
    packet
}

/// An IPv6 packet; `data` begins with the header `next`.
fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, hops: u8, next: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(length(data.len()));
    packet.extend([next, hops]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(data);
    packet
}

/// The sum over a message and the pseudo-header of IPv6. RFC 8200, section 8.1.
fn checksum6(source: Ipv6Addr, destination: Ipv6Addr, next: u8, message: &[u8]) -> [u8; 2] {
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    checksum(&[&source.octets(), &destination.octets(), &length, &[0, 0, 0, next], message])
}

/// An IGMP message, its checksum still zero, in an IP packet without any option.
#[must_use]
pub fn igmp(source: Ipv4Addr, destination: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let mut message = message.to_vec();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum);
    ipv4(source, destination, 1, 2, &message)
}

/// An MLD message, its checksum still zero, with Router Alert and a hop limit of 1.
#[must_use]
pub fn mld(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> Vec<u8> {
    let mut data = vec![58, 0, 5, 2, 0, 0, 1, 0];
    data.extend(message);
    data[10..12].copy_from_slice(&checksum6(source, destination, 58, message));
    ipv6(source, destination, 1, 0, &data)
}

/// A datagram to [`PORT`], as a [`Sender`](super::socket::Sender) makes it.
#[must_use]
pub fn datagram(source: IpAddr, group: IpAddr, number: u64) -> Vec<u8> {
    let port = PORT.to_be_bytes();
    let data = number.to_be_bytes();
    let mut datagram = [&port[..], &port, &length(8 + data.len()), &[0, 0], &data].concat();
    match (source, group) {
        // A sum of zero is none.
        (IpAddr::V4(source), IpAddr::V4(group)) => ipv4(source, group, 16, 17, &datagram),
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let sum = checksum6(source, group, 17, &datagram);
            datagram[6..8].copy_from_slice(&sum);
            ipv6(source, group, 16, 17, &datagram)
        }
        _ => panic!("{source} to {group}"),
    }
}
