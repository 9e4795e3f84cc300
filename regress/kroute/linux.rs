//! Packets through multicast routes of the Linux kernel, in a router in a namespace.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast_proxy::kroute::{
    Error, FromKernel, Options, Output, Route, RouteCount, Upcall, UpcallKind,
};
use mcast_proxy::wire::Af;

use crate::net::capture::send_igmp;
use crate::net::lacking::{Lack, NO_ROUTE_COUNTS, NO_ROUTE_DUMP, lack};
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{any, ip, live, wait_for};
use crate::router::{BOTH, GROUPS, Router, link_address, wait_got};

/// The packets that asked are queued, and sent when their route comes.
#[test]
fn unknown_flow_is_asked_about_and_forwarded_whole() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for group in GROUPS.map(ip) {
            let from = source(group, 2);
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            let mut sender = Sender::new(&network.source, "eth0", from, group);
            sender.send(3);
            let up0 = router.index("up0");
            let asked = Upcall { kind: UpcallKind::NoCache, ifindex: up0, source: from, group };
            assert_eq!(router.upcalls(group), [asked]);
            let route = router.set(Some(from), group, "up0", &["down1"]);
            wait_got(&mut receiver, 3);
            sender.send(7);
            wait_got(&mut receiver, 10);
            // Eight octets of data, eight of UDP, and the header of IP.
            let bytes = 10 * (16 + if group.is_ipv4() { 20 } else { 40 });
            let counts = router.kernel.counters(Af::of(group)).unwrap();
            assert_eq!(counts.len(), 1);
            assert_eq!(counts[0].key, route.key);
            assert_eq!(
                (counts[0].packets, counts[0].bytes, counts[0].wrong_interface),
                (10, bytes, 0)
            );
            assert_eq!(router.kernel.routes(Af::of(group)), [route]);
        }
    });
}

/// A replaced route forwards to the new outputs and keeps its counters; a deleted one asks again.
#[test]
fn routes_are_replaced_and_deleted() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for group in GROUPS.map(ip) {
            let from = source(group, 2);
            let mut receivers =
                [0, 1].map(|n| Receiver::join(&network.receivers[n], "eth0", group));
            let mut sender = Sender::new(&network.source, "eth0", from, group);
            let route = router.set(Some(from), group, "up0", &["down1"]);
            sender.send(2);
            wait_got(&mut receivers[0], 2);
            router.set(Some(from), group, "up0", &["down2", "down1"]);
            sender.send(2);
            wait_got(&mut receivers[0], 4);
            wait_got(&mut receivers[1], 2);
            router.set(Some(from), group, "up0", &[]);
            sender.send(1);
            wait_for("the packet is counted", || {
                let counts = router.kernel.counters(Af::of(group)).unwrap();
                (counts[0].packets == 5).then_some(())
            });
            assert_eq!(router.heard(group), []);
            router.kernel.delete_route(&route.key).unwrap();
            router.kernel.delete_route(&route.key).unwrap();
            sender.send(1);
            assert_eq!(router.upcalls(group)[0].kind, UpcallKind::NoCache);
            assert_eq!(receivers.each_mut().map(|r| r.got().len()), [4, 2]);
        }
    });
}

/// One (*,G) route serves every source of its incoming interface without a question; other groups,
/// and the same group from elsewhere, are asked about as before.
#[test]
fn any_source_route_asks_nothing() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for (group, other) in GROUPS.map(ip).into_iter().zip(["239.9.9.9", "ff15::9"].map(ip)) {
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            let mut own = Receiver::join(&network.source, "eth0", group);
            let route = router.set(None, group, "up0", &["down1"]);
            for host in [2, 3, 4] {
                Sender::new(&network.source, "eth0", source(group, host), group).send(2);
            }
            wait_got(&mut receiver, 6);
            own.clear();
            assert_eq!(router.heard(group), []);
            let counts = router.kernel.counters(Af::of(group)).unwrap();
            assert_eq!(
                counts.iter().map(|c| (c.key, c.packets)).collect::<Vec<_>>(),
                [(route.key, 6)]
            );
            assert!(router.kernel.reconcile(Af::of(group)).unwrap().is_empty());

            Sender::new(&network.source, "eth0", source(group, 2), other).send(1);
            assert_eq!(router.upcalls(other)[0].kind, UpcallKind::NoCache);

            // From an output of the route it is on the wrong interface; with a route of its own it
            // goes everywhere else.
            let downstream = link_address(group, 1);
            let mut sender = Sender::new(&network.receivers[0], "eth0", downstream, group);
            sender.send(1);
            let asked = router.upcalls(group);
            assert_eq!((asked[0].kind, asked[0].source), (UpcallKind::WrongVif, downstream));
            assert_eq!(asked[0].ifindex, router.index("down1"));
            router.set(Some(downstream), group, "down1", &["up0"]);
            sender.send(2);
            wait_got(&mut own, 2);
            // From an interface that the route does not name, the packet waits for its route.
            let aside = link_address(group, 2);
            let mut sender = Sender::new(&network.receivers[1], "eth0", aside, group);
            sender.send(1);
            assert_eq!(router.upcalls(group)[0].kind, UpcallKind::NoCache);
            router.set(Some(aside), group, "down2", &["up0", "down1"]);
            wait_got(&mut own, 3);
        }
    });
}

/// What nobody has a route for goes from the outputs of a (*,*) route to its incoming interface, and
/// from there nowhere, without a question; a (*,G) route takes packets from all of those outputs.
#[test]
fn route_of_all_groups() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for (group, other) in GROUPS.map(ip).into_iter().zip(["239.9.9.9", "ff15::9"].map(ip)) {
            let family = Af::of(group);
            let own = [group, other].map(|g| Receiver::join(&network.source, "eth0", g));
            let side = [group, other].map(|g| Receiver::join(&network.receivers[1], "eth0", g));
            let ([mut own, mut own_other], [mut side, mut side_other]) = (own, side);
            let every = router.set(None, any(group), "up0", &["down1", "down2"]);
            assert_eq!(every.key.to_string(), "(*, *)");
            router.set(None, group, "up0", &["down2"]);
            let from = link_address(group, 1);
            for to in [other, group] {
                Sender::new(&network.receivers[0], "eth0", from, to).send(2);
            }
            for receiver in [&mut own_other, &mut own, &mut side] {
                wait_got(receiver, 2);
            }
            let mut sender = Sender::new(&network.source, "eth0", source(group, 2), other);
            assert_eq!(network.forwarded(&mut sender, group, 2), [0, 0]);
            assert!(side_other.got().is_empty());
            assert_eq!((router.heard(group), router.heard(other)), (vec![], vec![]));
            assert!(router.kernel.reconcile(family).unwrap().is_empty());
            let counts = router.kernel.counters(family).unwrap();
            let counted = counts.iter().find(|c| c.key == every.key).map(|c| c.packets);
            assert_eq!(counted, Some(4));
            router.kernel.delete_route(&every.key).unwrap();
            sender.send(1);
            assert_eq!(router.upcalls(other)[0].kind, UpcallKind::NoCache);
        }
    });
}

/// A packet on the wrong interface is told even where that is no output; it is not counted as
/// forwarded.
#[test]
fn wrong_interface_is_told() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for group in GROUPS.map(ip) {
            let from = link_address(group, 2);
            router.set(Some(from), group, "up0", &["down1"]);
            Sender::new(&network.receivers[1], "eth0", from, group).send(1);
            let asked = router.upcalls(group);
            assert_eq!((asked[0].kind, asked[0].source), (UpcallKind::WrongVif, from));
            assert_eq!(asked[0].ifindex, router.index("down2"));
            let counts = router.kernel.counters(Af::of(group)).unwrap();
            assert_eq!((counts[0].packets, counts[0].bytes, counts[0].wrong_interface), (0, 0, 1));
        }
    });
}

/// One dump tells the counters of all routes; where the kernel has none, each is asked about, and the
/// counters are the same.
#[test]
fn counters_by_dump_or_one_by_one() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for group in GROUPS.map(ip) {
            let family = Af::of(group);
            let from = source(group, 2);
            let route = router.set(Some(from), group, "up0", &["down1"]);
            let other = router.set(None, group, "up0", &["down2"]);
            let length = if group.is_ipv4() { 32 } else { 128 };
            network.receivers[1].address("eth0", &format!("{from}/{length}"));
            Sender::new(&network.source, "eth0", from, group).send(3);
            Sender::new(&network.receivers[1], "eth0", from, group).send(2);
            let mut counters = |lacking: &[Lack]| {
                let kernel = &mut router.kernel;
                let counts = network.router.run(|| {
                    lack(lacking);
                    kernel.counters(family)
                });
                counts.map(|mut counts| {
                    counts.sort_by_key(|c| c.key);
                    counts
                })
            };
            // Eight octets of data, eight of UDP, and the header of IP.
            let bytes = 3 * (16 + if group.is_ipv4() { 20 } else { 40 });
            let count = |route: &Route, packets, bytes, wrong_interface| RouteCount {
                key: route.key,
                packets,
                bytes,
                wrong_interface,
            };
            let all = [count(&other, 0, 0, 0), count(&route, 3, bytes, 2)];
            wait_for("all packets are counted", || {
                (counters(&[NO_ROUTE_COUNTS]).unwrap() == all).then_some(())
            });
            assert_eq!(counters(&[NO_ROUTE_DUMP]).unwrap(), all);
            let error = counters(&[NO_ROUTE_DUMP, NO_ROUTE_COUNTS]).unwrap_err();
            assert!(error.to_string().contains("counters"), "{error}");
        }
    });
}

/// What a route sends out by the vif for registers is given whole, beside its other outputs.
#[test]
fn registers_are_told_whole() {
    live(|| {
        let network = Network::new();
        for (table, group) in [(0, GROUPS[0]), (0, GROUPS[1]), (7, GROUPS[0]), (7, GROUPS[1])] {
            let (group, from) = (ip(group), source(ip(group), 2));
            let family = Af::of(group);
            let mut router = Router::new(&network, Options { table, ..BOTH });
            let register = router.kernel.add_register(family).unwrap();
            assert!(matches!(router.kernel.add_register(family), Err(Error::VifExists { .. })));
            let mut route = router.route(Some(from), group, "up0", &["down1"]);
            route.outgoing.push(Output { ifindex: register, threshold: 1 });
            router.kernel.set_route(&route).unwrap();
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            Sender::new(&network.source, "eth0", from, group).counting_from(0x0102_0304).send(1);
            let packet = wait_for("the packet", || {
                let mut out = Vec::new();
                router.kernel.receive(family, &mut out).unwrap();
                out.into_iter().find_map(|message| match message {
                    FromKernel::Register { bytes } => Some(bytes),
                    FromKernel::Upcall(_) | FromKernel::Igmp { .. } => None,
                })
            });
            // RFC 791, section 3.1; RFC 8200, section 3; then UDP and a number.
            let (length, addresses) = match (from, group) {
                (IpAddr::V4(from), IpAddr::V4(to)) => (20, [from.octets(), to.octets()].concat()),
                (IpAddr::V6(from), IpAddr::V6(to)) => (40, [from.octets(), to.octets()].concat()),
                _ => unreachable!(),
            };
            assert_eq!(packet.len(), length + 8 + 8, "{packet:02x?}");
            assert!(packet[..length].ends_with(&addresses), "{packet:02x?}");
            assert!(packet.ends_with(&[0, 0, 0, 0, 1, 2, 3, 4]), "{packet:02x?}");
            wait_got(&mut receiver, 1);
            assert!(router.kernel.reconcile(family).unwrap().is_empty());

            router.kernel.delete_vif(family, register).unwrap();
            let left = router.route(Some(from), group, "up0", &["down1"]);
            assert_eq!(router.kernel.routes(family), [left]);
            assert!(router.kernel.add_register(family).is_ok());
        }
    });
}

/// An IGMP report without Router Alert to its own group comes out as it is; one with other traffic's
/// header does not disturb.
#[test]
fn igmp_without_router_alert_is_handed_on() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        let (IpAddr::V4(from), IpAddr::V4(group)) = (ip("10.0.1.2"), ip("239.5.5.5")) else {
            panic!()
        };
        // RFC 2236, section 2: type 0x16, group 239.5.5.5.
        let report = [0x16, 0, 0, 0, 239, 5, 5, 5];
        send_igmp(&network.receivers[0], "eth0", from, group, &report);
        let down1 = router.index("down1");
        let bytes = wait_for("the report", || {
            let mut out = Vec::new();
            router.kernel.receive(Af::Ip4, &mut out).unwrap();
            out.into_iter().find_map(|m| match m {
                FromKernel::Igmp { ifindex, bytes } if ifindex == down1 => Some(bytes),
                FromKernel::Igmp { .. } | FromKernel::Register { .. } | FromKernel::Upcall(_) => {
                    None
                }
            })
        });
        assert_eq!(bytes.len(), 28);
        assert_eq!(bytes[12..20], [10, 0, 1, 2, 239, 5, 5, 5]);
        // The checksum by hand: 0x1600 + 0xef05 + 0x0505 = 0x10a0a, folded 0x0a0b, inverted 0xf5f4.
        assert_eq!(bytes[20..], [0x16, 0, 0xf5, 0xf4, 239, 5, 5, 5]);
    });
}

/// The unresolved flows of a burst are all told: the receive buffer holds them.
#[test]
fn burst_of_flows_is_told_whole() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for base in ["239.200", "ff15::200"] {
            let group = |n: u32| match base {
                "239.200" => ip(&format!("{base}.{}.{}", n / 256, n % 256)),
                _ => ip(&format!("{base}:{n:x}")),
            };
            for n in 0..1000 {
                let group = group(n);
                Sender::new(&network.source, "eth0", source(group, 2), group).send(1);
            }
            let (mut told, deadline) = (0, Instant::now() + Duration::from_secs(20));
            while told < 1000 && Instant::now() < deadline {
                let mut out = Vec::new();
                router.kernel.receive(Af::of(group(0)), &mut out).unwrap();
                told += out.iter().filter(|m| matches!(m, FromKernel::Upcall(_))).count();
            }
            assert!(told >= 1000, "{told}");
        }
    });
}
