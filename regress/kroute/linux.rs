//! Multicast routing of the Linux kernel: real packets through a router in a namespace.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use mcast_proxy::kroute::{
    Error, FromKernel, Interface, Kernel, Memberships, Options, Output, Route, RouteCount,
    RouteKey, Upcall, UpcallKind, monitor, open, procfs,
};
use mcast_proxy::wire::Af;

use crate::net::capture::send_igmp;
use crate::net::lacking::{Lack, NO_ROUTE_COUNTS, NO_ROUTE_DUMP, lack};
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{Host, any, ip, live, meddle, wait_for};

const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:2:3"];
const BOTH: Options = Options { table: 0, families: [true, true] };

/// A router with a vif on each of its links.
struct Router<'a> {
    network: &'a Network,
    kernel: Box<dyn Kernel>,
}

impl<'a> Router<'a> {
    fn new(network: &'a Network, options: Options) -> Self {
        let mut router = Self { network, kernel: network.router.run(|| open(&options)).unwrap() };
        for family in Af::ALL {
            for (number, name) in (0..).zip(["up0", "down1", "down2"]) {
                let interface = interface(&network.router, name);
                assert_eq!(router.kernel.add_vif(family, &interface).unwrap(), number);
            }
        }
        router
    }

    fn index(&self, name: &str) -> u32 {
        self.network.router.index(name)
    }

    fn route(&self, source: Option<IpAddr>, group: IpAddr, from: &str, to: &[&str]) -> Route {
        let output = |name: &&str| Output { ifindex: self.index(name), threshold: 1 };
        Route {
            key: RouteKey { source, group },
            incoming: self.index(from),
            outgoing: to.iter().map(output).collect(),
        }
    }

    fn set(&mut self, source: Option<IpAddr>, group: IpAddr, from: &str, to: &[&str]) -> Route {
        let route = self.route(source, group, from, to);
        self.kernel.set_route(&route).unwrap();
        route
    }

    /// What the kernel says until it says something about this group.
    fn upcalls(&mut self, group: IpAddr) -> Vec<Upcall> {
        wait_for("an upcall", || {
            let found = self.heard(group);
            (!found.is_empty()).then_some(found)
        })
    }

    /// What the kernel has said about this group.
    fn heard(&mut self, group: IpAddr) -> Vec<Upcall> {
        let mut out = Vec::new();
        self.kernel.receive(Af::of(group), &mut out).unwrap();
        let upcall = |m| match m {
            FromKernel::Upcall(upcall) if upcall.group == group => Some(upcall),
            FromKernel::Upcall(_) | FromKernel::Register { .. } | FromKernel::Igmp { .. } => None,
        };
        out.into_iter().filter_map(upcall).collect()
    }
}

/// The interface as the monitor shows it.
fn interface(host: &Host, name: &str) -> Interface {
    let all = host.run(|| monitor(&BOTH).unwrap().snapshot()).unwrap();
    all.into_iter().find(|i| i.name == name).unwrap_or_else(|| panic!("no interface {name}"))
}

fn wait_got(receiver: &mut Receiver, count: usize) {
    wait_for("the datagrams arrive", || (receiver.got().len() >= count).then_some(()));
    assert_eq!(receiver.got().len(), count);
}

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

/// The kernel itself says what the table is: the parsers read it.
#[test]
fn procfs_shows_what_was_set() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for (group, prefix) in GROUPS.map(ip).into_iter().zip(["ip", "ip6"]) {
            let from = source(group, 2);
            router.set(Some(from), group, "up0", &["down1", "down2"]);
            let vifs = procfs::vifs(&network.router.proc_net(&format!("{prefix}_mr_vif")));
            let names: Vec<_> = vifs.iter().map(|v| (v.vif, v.interface.as_str())).collect();
            assert_eq!(names, [(0, "up0"), (1, "down1"), (2, "down2")]);
            let text = network.router.proc_net(&format!("{prefix}_mr_cache"));
            let cache = procfs::cache(Af::of(group), &text);
            assert_eq!(cache.len(), 1, "{text}");
            assert_eq!((cache[0].source, cache[0].group, cache[0].vif), (from, group, Some(0)));
            assert_eq!(cache[0].outputs, [(1, 1), (2, 1)]);
            let mut sender = Sender::new(&network.source, "eth0", source(group, 3), group);
            sender.send(1);
            router.upcalls(group);
            let text = network.router.proc_net(&format!("{prefix}_mr_cache"));
            let cache = procfs::cache(Af::of(group), &text);
            assert!(
                cache.iter().any(|c| c.source == source(group, 3) && c.vif.is_none()),
                "{text}"
            );
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

/// The address of the host on a receiver's link.
fn link_address(group: IpAddr, link: u8) -> IpAddr {
    ip(&match group {
        IpAddr::V4(_) => format!("10.0.{link}.2"),
        IpAddr::V6(_) => format!("fd00:0:0:{link}::2"),
    })
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

/// A second router is told who is the first.
#[test]
fn busy_table_names_its_holder() {
    live(|| {
        let host = Host::new();
        for family in Af::ALL {
            let mut options = Options { table: 0, families: [false; 2] };
            options.families[family.index()] = true;
            let first = host.run(|| open(&options)).unwrap();
            let error = host.run(|| open(&options)).err().expect("the table is taken");
            let pid = std::process::id();
            assert!(
                matches!(&error, Error::Busy { holders, .. } if holders.iter().any(|h| h.pid == pid))
            );
            let program = std::fs::read_to_string("/proc/self/comm").unwrap();
            let text = error.to_string();
            for part in [family.name(), "default", program.trim(), &format!("pid {pid}"), "-t"] {
                assert!(text.contains(part), "{part} in {text}");
            }
            drop(first);
            host.run(|| open(&options)).expect("the table is free again");
        }
    });
}

/// Another table forwards beside the default one: its interfaces' packets go there by rules, which
/// go with it.
#[test]
fn tables_are_apart() {
    live(|| {
        let network = Network::new();
        let _default = network.router.run(|| open(&BOTH)).unwrap();
        let mut router = Router::new(&network, Options { table: 7, ..BOTH });
        assert_eq!(rules(&network.router), [3, 3]);
        for group in GROUPS.map(ip) {
            let from = source(group, 2);
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            let mut sender = Sender::new(&network.source, "eth0", from, group);
            sender.send(1);
            router.upcalls(group);
            router.set(Some(from), group, "up0", &["down1"]);
            sender.send(1);
            wait_got(&mut receiver, 2);
            assert_eq!(router.kernel.counters(Af::of(group)).unwrap()[0].packets, 2);
            assert!(router.kernel.reconcile(Af::of(group)).unwrap().is_empty());
        }
        for (flag, family) in [("-4", Af::Ip4), ("-6", Af::Ip6)] {
            let delete = [flag, "mrule", "del", "iif", "down1", "lookup", "7"];
            let ip = || std::process::Command::new("ip").args(delete).status();
            assert!(network.router.run(ip).unwrap().success());
            let drift = router.kernel.reconcile(family).unwrap();
            assert_eq!(drift.rules_restored, [router.index("down1")]);
            assert!(router.kernel.reconcile(family).unwrap().is_empty());
        }
        assert_eq!(rules(&network.router), [3, 3]);
        network.router.down("down2");
        network.router.rename("down2", "renamed");
        assert!(router.kernel.reconcile(Af::Ip4).unwrap().is_empty());
        assert!(rule_list(&network.router, "-4").contains("iif renamed lookup 7"));
        router.kernel.delete_vif(Af::Ip4, network.router.index("renamed")).unwrap();
        assert_eq!(rules(&network.router), [2, 3]);
        drop(router);
        assert_eq!(rules(&network.router), [0, 0]);
    });
}

/// Rules to table 7, of both families.
fn rules(host: &Host) -> [usize; 2] {
    ["-4", "-6"].map(|family| rule_list(host, family).matches("lookup 7").count())
}

fn rule_list(host: &Host, family: &str) -> String {
    let list = || std::process::Command::new("ip").args([family, "mrule"]).output().unwrap().stdout;
    String::from_utf8(host.run(list)).unwrap()
}

/// What another program deletes is installed again, what it makes its own is ours again; what it adds
/// is reported, and left.
#[test]
fn drift_is_mended() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        for group in GROUPS.map(ip) {
            let family = Af::of(group);
            let [deleted, taken, foreign] = [2, 3, 4].map(|host| source(group, host));
            let restored = router.set(Some(deleted), group, "up0", &["down1"]);
            let taken_over = router.set(Some(taken), group, "up0", &["down1", "down2"]);
            let kept = router.set(None, group, "up0", &["down1", "down2"]);
            meddle::delete_route(&network.router, deleted, group);
            meddle::add_route(&network.router, taken, group);
            meddle::add_route(&network.router, foreign, group);
            let foreign = RouteKey { source: Some(foreign), group };
            let drift = router.kernel.reconcile(family).unwrap();
            assert_eq!((drift.restored, drift.foreign), (vec![restored.key], vec![foreign]));
            assert_eq!(drift.taken, [taken_over.key]);
            assert!(drift.corrected.is_empty() && drift.removed.is_empty());
            assert!(drift.failed.is_empty());
            let drift = router.kernel.reconcile(family).unwrap();
            assert!(drift.is_empty(), "{drift:?}");
            let mut routes = router.kernel.routes(family);
            routes.sort_by_key(|r| r.key);
            assert_eq!(routes, [kept, restored, taken_over]);
            assert_eq!(router.kernel.counters(family).unwrap().len(), 3);

            if family == Af::Ip6 {
                meddle::delete_mif(&network.router, 1);
                let drift = router.kernel.reconcile(family).unwrap();
                assert_eq!(drift.vifs_restored, [router.index("down1")]);
                assert!(router.kernel.reconcile(family).unwrap().is_empty());
            }
            for from in [deleted, taken] {
                let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
                Sender::new(&network.source, "eth0", from, group).send(2);
                wait_got(&mut receiver, 2);
            }
        }
    });
}

/// An interface that is deleted takes its vif along; made anew it is another, and gets a vif again.
#[test]
fn interface_is_deleted_and_made_anew() {
    live(|| {
        let network = Network::new();
        let mut router = Router::new(&network, BOTH);
        let gone = router.index("down2");
        for group in GROUPS.map(ip) {
            let from = Some(source(group, 2));
            router.set(from, group, "up0", &["down1", "down2"]);
            router.set(Some(link_address(group, 2)), group, "down2", &["up0"]);
        }
        network.router.delete("down2");
        let fresh = Host::new();
        network.router.cable("down2", &fresh, "eth0");
        network.router.address("down2", "10.0.2.1/24");
        // The kernel sends nothing before it has seen the carrier.
        wait_for("the link is up", || interface(&network.router, "down2").up.then_some(()));
        for group in GROUPS.map(ip) {
            let family = Af::of(group);
            assert_eq!(router.kernel.reconcile(family).unwrap().vifs_lost, [gone]);
            router.kernel.delete_vif(family, gone).unwrap();
            let left = router.route(Some(source(group, 2)), group, "up0", &["down1"]);
            assert_eq!(router.kernel.routes(family), [left]);
            let interface = interface(&network.router, "down2");
            assert_ne!(interface.ifindex, gone);
            assert_eq!(router.kernel.add_vif(family, &interface).unwrap(), 2);
            let mut receiver = Receiver::join(&fresh, "eth0", group);
            router.set(Some(source(group, 2)), group, "up0", &["down1", "down2"]);
            // The new link may take a moment until it carries anything.
            let mut sender = Sender::new(&network.source, "eth0", source(group, 2), group);
            wait_for("a datagram arrives", || {
                sender.send(1);
                (!receiver.got().is_empty()).then_some(())
            });
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

/// What was made is gone with the value, and another one can have the routing.
#[test]
fn nothing_is_left_when_dropped() {
    live(|| {
        let network = Network::new();
        let names = || {
            let all = network.router.run(|| monitor(&BOTH).unwrap().snapshot()).unwrap();
            all.into_iter().map(|i| i.name).collect::<Vec<_>>()
        };
        let before = names();
        for _ in 0..2 {
            let mut router = Router::new(&network, BOTH);
            let lines = || {
                ["ip_mr_vif", "ip6_mr_vif", "ip_mr_cache", "ip6_mr_cache"]
                    .map(|file| network.router.proc_net(file).lines().count() - 1)
            };
            for group in GROUPS.map(ip) {
                router.set(Some(source(group, 2)), group, "up0", &["down1"]);
                router.set(None, group, "up0", &["down2"]);
                router.kernel.add_register(Af::of(group)).unwrap();
            }
            assert_eq!((lines(), names().len()), ([4, 4, 2, 2], before.len() + 2));
            drop(router);
            assert_eq!((lines(), names()), ([0; 4], before.clone()));
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

/// The kernel routes among 32 interfaces; the next is refused, and why is said.
#[test]
fn interfaces_are_limited() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        for n in 0..33 {
            host.cable(&format!("v{n}"), &peer, &format!("p{n}"));
        }
        let all = host.run(|| monitor(&BOTH).unwrap().snapshot()).unwrap();
        let all: Vec<_> = all.into_iter().filter(|i| i.name.starts_with('v')).collect();
        let mut kernel = host.run(|| open(&BOTH)).unwrap();
        for family in Af::ALL {
            for (number, interface) in (0..32).zip(&all) {
                assert_eq!(kernel.add_vif(family, interface).unwrap(), number);
            }
            let error = kernel.add_vif(family, &all[32]).unwrap_err().to_string();
            assert!(error.contains("v32") && error.contains("32 at most"), "{error}");
            assert!(matches!(kernel.add_vif(family, &all[4]), Err(Error::VifExists { .. })));
            kernel.delete_vif(family, all[4].ifindex).unwrap();
            assert_eq!(kernel.add_vif(family, &all[32]).unwrap(), 4);
        }
    });
}

/// More groups and sources than one socket takes, and all of them gone at the end.
#[test]
fn memberships_spread_over_sockets() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("eth0", &peer, "eth0");
        host.address("eth0", "10.0.0.1/24");
        host.settle("eth0");
        let index = host.index("eth0");
        let groups: Vec<IpAddr> = (1..=50).map(|n| ip(&format!("239.7.7.{n}"))).collect();
        let sources: Vec<IpAddr> = (1..=25).map(|n| ip(&format!("10.0.0.{n}"))).collect();
        let joined = || {
            let members = procfs::igmp(&host.proc_net("igmp"));
            members.iter().filter(|m| m.ifindex == index && groups.contains(&m.group)).count()
        };
        let filtered = || procfs::filters(Af::Ip4, &host.proc_net("mcfilter")).len();
        let memberships = host.run(|| {
            let mut memberships = Memberships::new();
            for group in &groups {
                memberships.join(index, *group, None).unwrap();
            }
            for source in &sources {
                memberships.join(index, ip("232.7.7.7"), Some(*source)).unwrap();
                memberships.join(index, groups[0], Some(*source)).unwrap();
            }
            memberships.join(index, ip("ff15::7"), None).unwrap();
            memberships.join(index, ip("ff35::7"), Some(ip("fd00::1"))).unwrap();
            memberships.leave(index, groups[1], None).unwrap();
            memberships
        });
        assert_eq!(memberships.len(), 101);
        assert_eq!(joined(), 49);
        assert_eq!(filtered(), 50);
        let members = procfs::igmp6(&host.proc_net("igmp6"));
        assert!(members.iter().any(|m| m.group == ip("ff15::7") && m.interface == "eth0"));
        let filters = procfs::filters(Af::Ip6, &host.proc_net("mcfilter6"));
        assert_eq!(filters.len(), 1, "{}", host.proc_net("mcfilter6"));
        assert_eq!((filters[0].source, filters[0].include), (ip("fd00::1"), 1));
        drop(memberships);
        wait_for("the groups are left", || (joined() == 0 && filtered() == 0).then_some(()));
    });
}

/// Names as long as names can be, which leave no space in columns that are narrower.
#[test]
fn long_names_are_read_whole() {
    live(|| {
        const NAME: &str = "fifteen-letters";
        let (host, peer) = (Host::new(), Host::new());
        host.cable(NAME, &peer, "eth0");
        let interface = interface(&host, NAME);
        let mut memberships = host.run(Memberships::new);
        let mut kernel = host.run(|| open(&BOTH)).unwrap();
        for (group, member, prefix) in [("239.7.7.7", "igmp", "ip"), ("ff15::7", "igmp6", "ip6")] {
            let group = ip(group);
            host.run(|| memberships.join(interface.ifindex, group, None)).unwrap();
            kernel.add_vif(Af::of(group), &interface).unwrap();
            let text = host.proc_net(member);
            let members = if group.is_ipv4() { procfs::igmp(&text) } else { procfs::igmp6(&text) };
            let found = members.into_iter().find(|m| m.group == group).unwrap();
            assert_eq!((found.interface.as_str(), found.ifindex), (NAME, interface.ifindex));
            let vifs = procfs::vifs(&host.proc_net(&format!("{prefix}_mr_vif")));
            assert_eq!(vifs[0].interface, NAME);
        }
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
