//! IPv6 packets of MLD and MRDISC, and bytes as ICMPv6 messages whose envelope is right.
#![no_main]

use std::net::Ipv6Addr;

use libfuzzer_sys::fuzz_target;
use mcast_proxy::imsg::{Envelope, Packet};
use mcast_proxy::wire::{V6, parse_ipv6, router_alert_in_hop_by_hop};
use mcast_proxy_fuzz::message;

/// Octets of the IPv6 header and a Hop-by-Hop header with Router Alert.
const HEADERS: usize = 48;

fuzz_target!(|bytes: &[u8]| {
    let _ = parse_ipv6(bytes, &message::receiver());
    let _ = router_alert_in_hop_by_hop(bytes);
    let group = bytes.get(24..40).and_then(|b| <[u8; 16]>::try_from(b).ok());
    let envelope = Envelope::Ip6 {
        source: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x10),
        destination: group.map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from),
        hop_limit: 1,
        router_alert: true,
        checksum_verified: true,
    };
    let bytes = bytes.get(HEADERS..).unwrap_or(bytes).to_vec();
    message::check::<V6>(&Packet { ifindex: 1, envelope, bytes });
});
