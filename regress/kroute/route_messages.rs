//! Messages of route(4) as the headers of OpenBSD and FreeBSD lay them out, of 64 and of 32 bits:
//! `route_messages/messages.c` and what `make.sh` made of it.

use std::collections::BTreeMap;

use mcast_proxy::kroute::links::{LinkEvent, Links};
use mcast_proxy::kroute::route_message::{Format, Origin, RouteMessage};
use mcast_proxy::kroute::{Interface, InterfaceAddress, InterfaceChange};

use RouteMessage::{Event, ReadAll};

const OPENBSD: Format = Format { origin: Origin::OpenBsd, word: 8, domain: Some(0) };
const FREEBSD: Format = Format { origin: Origin::FreeBsd, word: 8, domain: None };

/// How a system's messages are read, and its file.
const SYSTEMS: [(Format, &str); 4] = [
    (OPENBSD, include_str!("route_messages/x86_64-openbsd")),
    (Format { word: 4, ..OPENBSD }, include_str!("route_messages/x86-openbsd")),
    (FREEBSD, include_str!("route_messages/x86_64-freebsd")),
    (Format { word: 4, ..FREEBSD }, include_str!("route_messages/x86-freebsd")),
];

fn messages(file: &str) -> BTreeMap<&str, Vec<u8>> {
    file.lines()
        .map(|line| {
            let (name, octets) = line.split_once(' ').unwrap();
            let octet = |at| u8::from_str_radix(&octets[at..at + 2], 16).unwrap();
            (name, (0..octets.len()).step_by(2).map(octet).collect())
        })
        .collect()
}

fn decoded(format: Format, bytes: &[u8]) -> Vec<RouteMessage> {
    format.decode(bytes).collect()
}

fn interface(ifindex: u32, name: &str, mtu: u32) -> Interface {
    let (name, addresses) = (name.to_owned(), Vec::new());
    Interface { ifindex, name, mtu, up: true, loopback: false, addresses }
}

fn link(interface: Interface) -> Vec<RouteMessage> {
    vec![Event(LinkEvent::Link(interface))]
}

fn address(ifindex: u32, address: &str, network: &str) -> Vec<RouteMessage> {
    let (address, network) = (address.parse().unwrap(), network.parse().unwrap());
    let address = InterfaceAddress { address, network };
    vec![Event(LinkEvent::Address { ifindex, address, secondary: false })]
}

/// What each message says; `messages.c` gives the values.
fn expected(name: &str) -> Vec<RouteMessage> {
    let em0 = interface(3, "", 1500);
    match name {
        "listed" => link(interface(3, "em0", 1500)),
        "no_carrier" | "down" => link(Interface { up: false, ..em0 }),
        "carrier_unknown" => link(Interface { loopback: true, ..interface(300, "", 32768) }),
        "other_domain" => vec![Event(LinkEvent::LinkGone { ifindex: 3 })],
        "new_inet" => address(3, "10.0.1.1", "10.0.1.1/24"),
        "deleted_inet" => {
            let (address, network) = ("10.0.1.1".parse().unwrap(), "10.0.1.1/24".parse().unwrap());
            let address = InterfaceAddress { address, network };
            vec![Event(LinkEvent::AddressGone { ifindex: 3, address })]
        }
        "point_to_point" => address(4, "10.9.0.1", "10.9.0.2/32"),
        "with_link" => address(3, "172.16.5.6", "172.16.5.6/16"),
        "short_mask" => address(3, "10.16.33.1", "10.16.33.1/20"),
        "no_mask" => address(3, "10.16.33.1", "10.16.33.1/0"),
        "link_local" => address(3, "fe80::9", "fe80::9/64"),
        "global" => address(3, "2001:db8:0:1::1", "2001:db8:0:1::1/64"),
        "departure" => vec![Event(LinkEvent::LinkGone { ifindex: 7 })],
        "arrival" | "desync" | "attributes" => vec![ReadAll],
        "route" | "group" => Vec::new(),
        other => panic!("{other} is a message that nothing is expected of"),
    }
}

#[test]
fn each_by_its_layout() {
    for (format, file) in SYSTEMS {
        let messages = messages(file);
        assert!(messages.len() >= 16);
        for (name, bytes) in &messages {
            assert_eq!(decoded(format, bytes), expected(name), "{format:?} {name}");
        }
    }
}

/// As sysctl(3) gives them; nothing is aligned for whoever reads.
#[test]
fn one_behind_the_other_at_every_alignment() {
    for (format, file) in SYSTEMS {
        let messages = messages(file);
        let want: Vec<_> = messages.keys().flat_map(|name| expected(name)).collect();
        let all: Vec<u8> = messages.values().flatten().copied().collect();
        for shift in 0..8 {
            let mut bytes = vec![0; shift];
            bytes.extend_from_slice(&all);
            assert_eq!(decoded(format, &bytes[shift..]), want);
        }
    }
}

/// A message that is cut off says nothing, and those before it what they say.
#[test]
fn cut_off_at_every_octet() {
    for (format, file) in SYSTEMS {
        for (name, bytes) in messages(file) {
            for length in 0..bytes.len() {
                assert_eq!(decoded(format, &bytes[..length]), [], "{name} of {length} octets");
                let two = [bytes.as_slice(), &bytes[..length]].concat();
                assert_eq!(decoded(format, &two), expected(name));
            }
        }
    }
}

/// The length that a message gives itself is what counts: less of it than its kind has is malformed,
/// and never reads what follows. Addresses may be cut off where they are not wanted.
#[test]
fn shorter_than_its_kind() {
    for (format, file) in SYSTEMS {
        for (name, bytes) in messages(file) {
            for length in 0..bytes.len() {
                let mut short = bytes[..length.max(2)].to_vec();
                short[..2].copy_from_slice(&u16::try_from(length).unwrap().to_ne_bytes());
                let got = decoded(format, &short);
                let said = expected(name);
                let nameless = name == "listed" && got == link(interface(3, "", 1500));
                // The peer or the broadcast address is the last one.
                let alone =
                    name == "point_to_point" && got == address(4, "10.9.0.1", "10.9.0.1/32");
                assert!(
                    got.is_empty() || got == said || nameless || alone,
                    "{name} {length}: {got:?}"
                );
            }
        }
    }
}

/// Nothing can be told of what follows a message without a length.
#[test]
fn nothing_follows_a_length_of_nothing() {
    for (format, file) in SYSTEMS {
        let good = messages(file).remove("listed").unwrap();
        for length in 0..4u16 {
            let bad = [&length.to_ne_bytes()[..], &[5, 0xe], &good].concat();
            assert_eq!(decoded(format, &bad), []);
        }
    }
}

#[test]
fn other_versions_and_unknown_types_say_nothing() {
    for (format, file) in SYSTEMS {
        for (name, mut bytes) in messages(file) {
            bytes[2] = 4;
            assert_eq!(decoded(format, &bytes), [], "{name}");
            bytes[2] = 5;
            for kind in (0x17..=u8::MAX).chain([0, 1, 2, 3, 4, 5, 6, 7, 0xb]) {
                bytes[3] = kind;
                assert_eq!(decoded(format, &bytes), [], "{name} {kind}");
            }
        }
    }
}

/// 255.0.255.0 is no prefix.
#[test]
fn mask_with_a_hole() {
    for (format, file) in SYSTEMS {
        let mut bytes = messages(file).remove("new_inet").unwrap();
        let mask = bytes.windows(4).position(|w| w == [255, 255, 255, 0]).unwrap();
        bytes[mask + 1] = 0;
        assert_eq!(decoded(format, &bytes), []);
    }
}

/// The table as it is listed, then what the route socket tells: a link without a name keeps the one
/// that is known, and an unknown one is not made up.
#[test]
fn table_and_events_make_interfaces() {
    for (format, file) in SYSTEMS {
        let messages = messages(file);
        let mut links = Links::default();
        let mut apply = |names: &[&str]| {
            for message in names.iter().flat_map(|name| decoded(format, &messages[name])) {
                let Event(event) = message else { panic!("{message:?}") };
                links.apply(event);
            }
            links.snapshot()
        };
        let address = |address: &str, network: &str| InterfaceAddress {
            address: address.parse().unwrap(),
            network: network.parse().unwrap(),
        };
        let em0 = Interface {
            addresses: vec![
                address("10.0.1.1", "10.0.1.1/24"),
                address("fe80::9", "fe80::9/64"),
                address("2001:db8:0:1::1", "2001:db8:0:1::1/64"),
            ],
            ..interface(3, "em0", 1500)
        };
        assert_eq!(
            apply(&["listed", "new_inet", "global", "link_local"]),
            std::slice::from_ref(&em0)
        );
        let lost = Interface { up: false, ..em0.clone() };
        assert_eq!(apply(&["no_carrier", "carrier_unknown"]), [lost]);
        let mut addresses = em0.addresses.clone();
        addresses.remove(0);
        assert_eq!(apply(&["listed", "deleted_inet"]), [Interface { addresses, ..em0 }]);
    }
}

/// FreeBSD gives the index of a deleted interface to the next one: the kernel's vif went with the
/// first, so that both have to be told.
#[test]
fn index_is_used_again() {
    let mut links = Links::default();
    let em0 = interface(3, "em0", 1500);
    links.apply(LinkEvent::Link(em0.clone()));
    assert_eq!(links.snapshot(), std::slice::from_ref(&em0));
    links.apply(LinkEvent::LinkGone { ifindex: 3 });
    links.restart();
    links.apply(LinkEvent::Link(em0.clone()));
    let mut changes = Vec::new();
    links.changes(&mut changes);
    let gone = InterfaceChange::Gone { ifindex: 3 };
    assert_eq!(changes, [gone, InterfaceChange::Present(em0)]);
    links.changes(&mut changes);
    assert_eq!(changes.len(), 2);
}
