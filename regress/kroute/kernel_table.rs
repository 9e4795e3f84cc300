//! What the Linux kernel holds: tables and their rules, vifs, memberships; and what is left of it.

use std::net::IpAddr;

use mcast_proxy::kroute::{Error, Memberships, Options, RouteKey, monitor, open, procfs};
use mcast_proxy::wire::Af;

use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{Host, ip, live, meddle, wait_for};
use crate::router::{BOTH, GROUPS, Router, interface, link_address, wait_got};

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
