//! Messages of route(4) of both systems and of both word lengths: the first octet says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::kroute::links::Links;
use mcast_proxy::kroute::route_message::{Format, Origin, RouteMessage};

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, messages)) = bytes.split_first() else { return };
    let origin = if choice & 1 == 0 { Origin::OpenBsd } else { Origin::FreeBsd };
    let word = if choice & 2 == 0 { 8 } else { 4 };
    let format = Format { origin, word, domain: (choice & 4 == 0).then_some(0) };
    let all: Vec<_> = format.decode(messages).collect();
    // What is cut off says nothing, and nothing else than before.
    let cut = messages.len() * usize::from(*choice >> 3) / 32;
    let some: Vec<_> = format.decode(&messages[..cut]).collect();
    assert!(all.starts_with(&some));
    let mut links = Links::default();
    for message in all {
        match message {
            RouteMessage::Event(event) => links.apply(event),
            RouteMessage::ReadAll => links.restart(),
        }
    }
    for interface in links.snapshot() {
        assert!(!interface.name.is_empty());
        assert!(interface.addresses.iter().all(|a| {
            a.address.is_ipv4() == a.network.addr().is_ipv4() && !is_scoped(a.address)
        }));
    }
});

/// Whether a link-local address still has an interface in it.
fn is_scoped(address: std::net::IpAddr) -> bool {
    matches!(address, std::net::IpAddr::V6(v6)
        if v6.is_unicast_link_local() && v6.segments()[1] != 0)
}
