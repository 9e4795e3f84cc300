//! What routing sockets give, of both families and of every system.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::kroute::Received;
use mcast_proxy::kroute::upcall::{Ipv4Message, VifWidth, decode_ipv4, decode_ipv6};

fuzz_target!(|bytes: &[u8]| {
    for width in [VifWidth::Low, VifWidth::LowHigh] {
        match decode_ipv4(bytes, width) {
            Ipv4Message::Upcall(Received::Upcall { vif, source, group, .. }) => {
                assert!(source.is_ipv4() && group.is_ipv4() && bytes[9] == 0);
                assert!(width == VifWidth::LowHigh || vif < 256);
                assert_eq!(decode_ipv4(&bytes[..20], width), decode_ipv4(bytes, width));
            }
            Ipv4Message::Upcall(Received::Register { bytes: packet }) => {
                assert!(bytes[9] == 0 && bytes[20..] == packet);
            }
            Ipv4Message::Upcall(Received::Igmp { .. }) => panic!("no upcall is an IGMP packet"),
            Ipv4Message::Igmp => assert!(bytes.len() >= 20 && bytes[9] != 0),
            Ipv4Message::Other => {}
        }
    }
    match decode_ipv6(bytes) {
        Some(Received::Upcall { source, group, .. }) => {
            assert!(source.is_ipv6() && group.is_ipv6() && bytes[0] == 0);
            assert_eq!(decode_ipv6(&bytes[..40]), decode_ipv6(bytes));
        }
        Some(Received::Register { bytes: packet }) => {
            assert!(bytes[0] == 0 && bytes[40..] == packet);
        }
        Some(Received::Igmp { .. }) => panic!("no upcall is an IGMP packet"),
        None => {}
    }
});
