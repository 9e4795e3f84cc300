//! Forged orders of every kind.

use std::net::{IpAddr, Ipv4Addr};

use mcast_proxy::imsg::{Notice, Order, Transmit};
use mcast_proxy::kroute::{Output, Route, RouteKey};
use mcast_proxy::wire::Af;

use super::side::{Daemon, Engine, interface};
use super::{DISABLED, DOWN, ONLY_IP4, SECRET, UP, mroute};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(source: &str, group: &str) -> RouteKey {
    RouteKey { source: Some(ip(source)), group: ip(group) }
}

pub(crate) fn route(incoming: u32, outgoing: &[(u32, u8)]) -> Route {
    let outgoing = outgoing
        .iter()
        .map(|(ifindex, threshold)| Output { ifindex: *ifindex, threshold: *threshold });
    Route { key: key("10.0.11.9", "239.1.1.1"), incoming, outgoing: outgoing.collect() }
}

fn with_key(source: Option<&str>, group: &str) -> Order {
    let key = RouteKey { source: source.map(ip), group: ip(group) };
    Order::SetRoute(Route { key, ..route(UP, &[(DOWN, 1)]) })
}

/// An engine with both interfaces as vifs of both families.
pub(crate) fn routing<K>(daemon: &Daemon<K>) -> Engine {
    let mut engine = daemon.engine();
    for family in Af::ALL {
        for ifindex in [UP, DOWN] {
            engine.add_vif(family, ifindex).unwrap();
        }
    }
    engine
}

/// Each of these ends the engine and makes no kernel call.
pub(crate) fn forged() -> Vec<(&'static str, Order)> {
    let many: Vec<(u32, u8)> = (100..200).map(|i| (i, 1)).collect();
    let add_vif = |family, ifindex| Order::AddVif { family, ifindex };
    vec![
        ("second ready", Order::Ready),
        ("vif: an interface that nothing names", add_vif(Af::Ip4, SECRET)),
        ("vif: an interface that is disabled", add_vif(Af::Ip4, DISABLED)),
        ("vif: a family that is off there", add_vif(Af::Ip6, ONLY_IP4)),
        ("vif: no such interface", add_vif(Af::Ip4, 4711)),
        ("vif: index 0", add_vif(Af::Ip4, 0)),
        ("delete vif: none", Order::DeleteVif { family: Af::Ip4, ifindex: ONLY_IP4 }),
        ("delete vif: not configured", Order::DeleteVif { family: Af::Ip4, ifindex: SECRET }),
        ("route: not multicast", with_key(Some("10.0.11.9"), "10.0.12.9")),
        ("route: 224.0.0.0/24", with_key(Some("10.0.11.9"), "224.0.0.5")),
        ("route: broadcast", with_key(Some("10.0.11.9"), "255.255.255.255")),
        ("route: unspecified", with_key(None, "0.0.0.0")),
        ("route: ff02", with_key(Some("2001:db8::1"), "ff02::1:3")),
        ("route: ff01", with_key(Some("2001:db8::1"), "ff01::1:3")),
        ("route: ff03", with_key(Some("2001:db8::1"), "ff03::1:3")),
        ("route: ff00", with_key(Some("2001:db8::1"), "ff00::1:3")),
        ("route: unicast IPv6", with_key(Some("2001:db8::1"), "2001:db8::2")),
        ("route: mixed families", with_key(Some("10.0.11.9"), "ff0e::1")),
        ("route: multicast source", with_key(Some("239.1.1.2"), "239.1.1.1")),
        ("route: source 0.0.0.0", with_key(Some("0.0.0.0"), "239.1.1.1")),
        ("route: source ::", with_key(Some("::"), "ff0e::1")),
        ("route: in by no vif", Order::SetRoute(route(ONLY_IP4, &[(DOWN, 1)]))),
        ("route: in by one not configured", Order::SetRoute(route(SECRET, &[(DOWN, 1)]))),
        ("route: out by no vif", Order::SetRoute(route(UP, &[(DOWN, 1), (ONLY_IP4, 1)]))),
        ("route: out by one not configured", Order::SetRoute(route(UP, &[(SECRET, 1)]))),
        ("route: out by one disabled", Order::SetRoute(route(UP, &[(DISABLED, 1)]))),
        ("route: out where it came in", Order::SetRoute(route(UP, &[(UP, 1)]))),
        ("route: one output twice", Order::SetRoute(route(UP, &[(DOWN, 1), (DOWN, 2)]))),
        ("route: threshold 0", Order::SetRoute(route(UP, &[(DOWN, 0)]))),
        ("route: threshold 255", Order::SetRoute(route(UP, &[(DOWN, 255)]))),
        ("route: 100 outputs", Order::SetRoute(route(UP, &many))),
        ("delete route: not multicast", Order::DeleteRoute(key("10.0.11.9", "10.0.12.9"))),
        ("delete route: link-local", Order::DeleteRoute(key("10.0.11.9", "224.0.0.1"))),
        ("delete route: mixed families", Order::DeleteRoute(key("10.0.11.9", "ff0e::1"))),
        ("pong to no ping", Order::Pong(77)),
        ("finished before the end", Order::Finished),
    ]
}

/// An IGMPv2 query to 239.1.1.1 with the header of RFC 2236, section 2, and RFC 2113, section 2.1;
/// the checksums are the kernel's and the receiver's affair.
fn query() -> Transmit {
    let mut bytes = vec![0x46, 0xc0, 0, 32, 0, 0, 0x40, 0, 1, 2, 0, 0];
    bytes.extend([10, 0, 12, 1, 239, 1, 1, 1, 0x94, 4, 0, 0]);
    bytes.extend([0x11, 100, 0, 0, 239, 1, 1, 1]);
    Transmit { ifindex: DOWN, source: ip("10.0.12.1"), destination: ip("239.1.1.1"), bytes }
}

/// The query with one octet changed.
fn with(place: usize, octet: u8) -> Transmit {
    let mut packet = query();
    packet.bytes[place] = octet;
    packet
}

fn icmp6(kind: u8, destination: &str) -> Transmit {
    let bytes = [&[kind][..], &[0; 27]].concat();
    Transmit { ifindex: DOWN, source: ip("::"), destination: ip(destination), bytes }
}

/// None of these is sent.
pub(crate) fn unsendable() -> Vec<(&'static str, Transmit)> {
    let to_unicast = Transmit { destination: ip("10.0.12.9"), ..with(16, 10) };
    vec![
        (
            "to a unicast address",
            Transmit {
                bytes: [query().bytes[..17].to_vec(), vec![0, 12, 9], query().bytes[20..].to_vec()]
                    .concat(),
                ..to_unicast
            },
        ),
        ("to a unicast IPv6 address", icmp6(130, "2001:db8::1")),
        ("another destination in the header", with(16, 10)),
        ("another source in the header", with(15, 2)),
        ("a source that is not ours", Transmit { source: ip("10.0.12.2"), ..with(15, 2) }),
        ("a source of the other family", Transmit { source: ip("::"), ..query() }),
        ("TTL 64", with(8, 64)),
        ("UDP", with(9, 17)),
        ("a fragment", with(6, 0x20)),
        ("another length", with(3, 28)),
        ("no Router Alert", with(20, 0)),
        ("DVMRP", with(24, 0x13)),
        ("no message", Transmit { bytes: query().bytes[..24].to_vec(), ..query() }),
        ("echo request", icmp6(128, "ff02::1")),
        ("router advertisement", icmp6(134, "ff02::1")),
        ("redirect", icmp6(137, "ff02::1")),
        ("an interface that is not configured", Transmit { ifindex: SECRET, ..query() }),
        ("an interface that is disabled", Transmit { ifindex: DISABLED, ..query() }),
        ("a family that is off there", Transmit { ifindex: ONLY_IP4, ..icmp6(130, "ff02::1") }),
        ("longer than the MTU", {
            let mut packet = icmp6(143, "ff02::16");
            packet.bytes.resize(1501, 0);
            packet
        }),
    ]
}

#[test]
fn nothing_but_protocol_messages_is_sent() {
    for (name, packet) in unsendable() {
        let daemon = Daemon::start();
        let mut engine = routing(&daemon);
        engine.sync();
        engine.send(&Order::Transmit(packet));
        assert!(engine.is_ended(), "{name}");
        assert!(daemon.sent.try_recv().is_err(), "{name}");
        let next = daemon.engine();
        daemon.stop(next);
    }
}

#[test]
fn protocol_messages_are_sent_as_they_are() {
    let daemon = Daemon::start();
    let mut engine = routing(&daemon);
    let good = [query(), icmp6(130, "ff02::1"), icmp6(143, "ff02::16"), icmp6(151, "ff02::6a")];
    for packet in good {
        engine.send(&Order::Transmit(packet.clone()));
        engine.sync();
        assert_eq!(daemon.sent.try_recv(), Ok(packet));
    }
    daemon.stop(engine);
}

#[test]
fn each_forged_order_ends_the_engine_and_touches_nothing() {
    for (name, order) in forged() {
        let daemon = Daemon::start();
        let mut engine = routing(&daemon);
        engine.sync();
        let _ = daemon.kernel.calls();
        engine.send(&order);
        assert!(engine.is_ended(), "{name}");
        // The next engine serves: the parent is not harmed.
        let mut next = daemon.engine();
        assert!(matches!(next.told.first(), Some(Notice::Start(s)) if s.restarts == 1), "{name}");
        assert_eq!(daemon.kernel.calls(), [], "{name}");
        next.sync();
        daemon.stop(next);
    }
}

#[test]
fn no_more_routes_than_twice_the_limit() {
    let daemon = Daemon::start();
    let mut engine = routing(&daemon);
    for n in 0..20u8 {
        let key =
            RouteKey { source: Some(ip("10.0.11.9")), group: Ipv4Addr::new(239, 1, 1, n).into() };
        engine.send(&Order::SetRoute(Route { key, ..route(UP, &[(DOWN, 1)]) }));
    }
    // max-routes is 4 in the configuration.
    for _ in 8..20 {
        engine.until(|notice| matches!(notice, Notice::RouteFailed { .. }).then_some(()));
    }
    engine.sync();
    assert_eq!(daemon.kernel.entries(Af::Ip4).len(), 8);
    daemon.stop(engine);
}

/// Learned routes cannot take the room of one that the administrator wants.
#[test]
fn an_mroute_has_room_of_its_own() {
    let daemon = Daemon::start();
    let mut engine = routing(&daemon);
    engine.send(&Order::Add { client: 7, statement: mroute("up0", "down0") });
    for n in 0..10u8 {
        let key =
            RouteKey { source: Some(ip("10.0.11.9")), group: Ipv4Addr::new(239, 1, 1, n).into() };
        engine.send(&Order::SetRoute(Route { key, ..route(UP, &[(DOWN, 1)]) }));
    }
    engine.until(|notice| matches!(notice, Notice::RouteFailed { .. }).then_some(()));
    engine.sync();
    assert_eq!(daemon.kernel.entries(Af::Ip4).len(), 9);
    daemon.stop(engine);
}

#[test]
fn statements_cannot_name_further_interfaces() {
    let daemon = Daemon::start();
    let mut engine = daemon.engine();
    for (from, to, good) in [
        ("up0", "down0", true),
        ("up0", "secret0", false),
        ("secret0", "down0", false),
        ("*", "down0", false),
        ("up0", "secret*", false),
    ] {
        let statement = mroute(from, to);
        engine.send(&Order::Add { client: 7, statement: statement.clone() });
        let answer = engine.until(|notice| {
            if let Notice::Statement { client: 7, result, .. } = notice {
                Some(result)
            } else {
                None
            }
        });
        assert_eq!(answer.is_ok(), good, "{from} to {to}: {answer:?}");
    }
    engine.send(&Order::AddVif { family: Af::Ip4, ifindex: SECRET });
    assert!(engine.is_ended());
}

#[test]
fn an_order_that_is_late_is_answered() {
    let daemon = Daemon::start();
    let mut engine = routing(&daemon);
    daemon.kernel.remove_interface(ONLY_IP4);
    while !matches!(engine.next(), Some(Notice::Interface(_))) {}
    // Now the parent has asked for a Pong, which next() gives only when it comes by.
    let answer = engine.add_vif(Af::Ip4, ONLY_IP4);
    assert!(answer.is_err());
    engine.sync();
    engine.send(&Order::AddVif { family: Af::Ip4, ifindex: ONLY_IP4 });
    assert!(engine.is_ended());
}

#[test]
fn an_interface_under_another_name_is_another_interface() {
    let daemon = Daemon::start();
    let mut engine = routing(&daemon);
    daemon.kernel.interface(interface(ONLY_IP4, "renamed0"));
    while !matches!(engine.next(), Some(Notice::Interface(_))) {}
    engine.sync();
    engine.sync();
    engine.send(&Order::AddVif { family: Af::Ip4, ifindex: ONLY_IP4 });
    assert!(engine.is_ended());
}
