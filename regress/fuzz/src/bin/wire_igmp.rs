//! IPv4 packets of IGMP and MRDISC.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::imsg::{Envelope, Packet};
use mcast_proxy::wire::V4;
use mcast_proxy_fuzz::message;

fuzz_target!(|bytes: &[u8]| {
    let mut packet = Packet { ifindex: 1, envelope: Envelope::Ip4, bytes: bytes.to_vec() };
    message::check::<V4>(&packet);
    // As a sender that sums what it made up would send it.
    let header = bytes.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    let total = bytes.get(2..4).map_or(0, |b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    if let Some(igmp @ [_, _, _, _, ..]) = packet.bytes.get_mut(header..total) {
        igmp[2..4].fill(0);
        let sum = checksum(igmp);
        igmp[2..4].copy_from_slice(&sum.to_be_bytes());
        message::check::<V4>(&packet);
    }
});

/// RFC 1071, section 4.1, a word at a time.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or_default()
}
