//! What a fake cannot show: other queriers, snooping, hosts of several versions on one link,
//! source lists, another upstream.

use std::net::IpAddr;

use netlink_packet_route::link::InfoBridge;
use serde_json::Value;

use crate::net::capture::{Capture, Message, Seen, record};
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{FAST, Network, configuration, source};
use crate::net::{Host, ip, live, wait_for};

/// The querier that the daemon tells of on an interface, and whether it is itself.
fn querier(daemon: &Daemon, interface: &str, family: &str) -> (bool, String) {
    let row = daemon.rows("interfaces", |row| row["interface"] == interface).remove(0);
    let row = &row[family];
    let address = row["querier-address"].as_str().unwrap_or_default();
    (row["querier"].as_bool().expect("querier"), address.to_owned())
}

/// Two routers and a receiver on one bridge, in a host of its own.
pub(crate) struct Shared {
    pub(crate) network: Network,
    pub(crate) other: Host,
    bridge: Host,
}

impl Shared {
    /// `down1` of the router and `eth0` of the first receiver lead to the bridge instead, and so
    /// does `down1` of another router.
    pub(crate) fn new(options: Vec<InfoBridge>) -> Self {
        let (network, other, bridge) = (Network::new(), Host::new(), Host::new());
        let [receiver, _] = &network.receivers;
        network.router.delete("down1");
        bridge.bridge("br0", options);
        let ends = [(&network.router, "down1", 1), (receiver, "eth0", 2), (&other, "down1", 9)];
        for (host, name, number) in ends {
            let port = format!("port{number}");
            bridge.cable(&port, host, name);
            bridge.plug(&port, "br0");
            host.address(name, &format!("10.0.1.{number}/24"));
            host.address(name, &format!("fd00:0:0:1::{number}/64"));
        }
        // The lower link-local address wins the election of MLD.
        for (host, address) in [(&network.router, "fe80::11/64"), (&other, "fe80::19/64")] {
            host.settle("down1");
            host.address("down1", address);
        }
        receiver.settle("eth0");
        Self { network, other, bridge }
    }
}

const ONLY_DOWN1: &str = "interface down1 { downstream }\n";

/// RFC 9776, section 6.6.2: the lower address is the querier; when it falls silent, the other is.
#[test]
fn second_querier_is_elected_and_replaced() {
    live(|| {
        let net = Shared::new(vec![InfoBridge::MulticastSnooping(false)]);
        let low = Daemon::start(&net.network.router, &configuration(""));
        let high = Daemon::start(&net.other, &format!("{FAST}{ONLY_DOWN1}"));
        wait_for("the higher address yields", || {
            (querier(&high, "down1", "ipv4") == (false, "10.0.1.1".into())).then_some(())
        });
        assert_eq!(querier(&low, "down1", "ipv4"), (true, "10.0.1.1".into()));
        let both = || (querier(&low, "down1", "ipv6").0, querier(&high, "down1", "ipv6").0);
        wait_for("one querier of MLD", || (both().0 != both().1).then_some(()));
        drop(low);
        wait_for("the higher address takes over", || {
            (querier(&high, "down1", "ipv4").0 && querier(&high, "down1", "ipv6").0).then_some(())
        });
    });
}

/// RFC 4286: routers of a link hear each other's advertisements, and the last word.
#[test]
fn routers_of_a_link_discover_each_other() {
    live(|| {
        let net = Shared::new(vec![InfoBridge::MulticastSnooping(false)]);
        let text = configuration("");
        let one = Daemon::start(&net.network.router, &format!("mrdisc yes\n{text}"));
        let text = format!("mrdisc yes\n{FAST}{ONLY_DOWN1}");
        let mut other = Daemon::start(&net.other, &text);
        let neighbors = || {
            let row = one.rows("interfaces", |row| row["interface"] == "down1").remove(0);
            ["ipv4", "ipv6"].map(|family| row[family]["mrdisc-neighbors"].clone())
        };
        let heard = ["10.0.1.9", "fe80::19"].map(|address| Value::from(vec![address]));
        wait_for("an advertisement in each family", || (neighbors() == heard).then_some(()));
        assert!(other.stop().success());
        let none = [(); 2].map(|()| Value::from(Vec::<Value>::new()));
        wait_for("its terminations", || (neighbors() == none).then_some(()));
    });
}

/// A bridge that queries by itself, with a lower address, is the querier: the data is its matter
/// then, unless `forward-non-querier` says otherwise; when it falls silent, all is as before.
#[test]
fn bridge_with_a_querier_of_its_own() {
    live(|| {
        // Hundredths of a second; the kernel takes one second at least.
        let every = 100;
        let net = Shared::new(vec![
            InfoBridge::MulticastQuerier(true),
            InfoBridge::MulticastQueryUseIfaddr(true),
            InfoBridge::MulticastQueryInterval(every),
            InfoBridge::MulticastStartupQueryInterval(every),
        ]);
        let [host, _] = &net.network.receivers;
        net.network.router.remove_address("down1", "10.0.1.1/24");
        net.network.router.address("down1", "10.0.1.200/24");
        net.bridge.address("br0", "10.0.1.3/24");
        net.bridge.settle("br0");
        net.bridge.address("br0", "fe80::3/64");
        let mut heard = Capture::new(host, "eth0");
        for bridge in ["10.0.1.3", "fe80::3"].map(ip) {
            // Each port queries by itself: by its third query the bridge knows that it is the querier.
            wait_for("the bridge queries", || {
                let is =
                    |s: &&Seen| s.source == bridge && matches!(s.message, Message::Query { .. });
                (heard.seen().iter().filter(is).count() >= 3).then_some(())
            });
        }

        let text = configuration("");
        let daemon = Daemon::start(&net.network.router, &text);
        for (family, bridge) in [("ipv4", "10.0.1.3"), ("ipv6", "fe80::3")] {
            wait_for(&format!("the bridge is the querier of {family}"), || {
                (querier(&daemon, "down1", family) == (false, bridge.into())).then_some(())
            });
        }
        let groups = ["239.1.2.3", "ff15::1:2:3"].map(ip);
        let mut receivers = groups.map(|group| Receiver::join(host, "eth0", group));
        let mut senders = groups.map(|g| Sender::new(&net.network.source, "eth0", source(g, 2), g));
        for (group, sender) in groups.into_iter().zip(&mut senders) {
            joined(&daemon, group);
            sender.send(1);
            let row = wait_for("a drop entry", || {
                let is = |row: &Value| row["group"] == group.to_string();
                daemon.rows("routes", is).into_iter().find(|row| row["state"] == "dropping")
            });
            assert_eq!(row["reason"], "not the querier on down1");
        }
        let lifted =
            text.replace("interface down1 {", "interface down1 { forward-non-querier yes;");
        daemon.rewrite(&lifted);
        daemon.order(&["reload"]);
        let mut arrives = |what: &str| {
            for (receiver, sender) in receivers.iter_mut().zip(&mut senders) {
                receiver.clear();
                wait_for(what, || {
                    sender.send(1);
                    (!receiver.got().is_empty()).then_some(())
                });
            }
        };
        arrives("data beside the bridge's querier");
        daemon.rewrite(&text);
        daemon.order(&["reload"]);

        net.bridge.configure("br0", vec![InfoBridge::MulticastQuerier(false)]);
        for family in ["ipv4", "ipv6"] {
            wait_for("the daemon takes over", || querier(&daemon, "down1", family).0.then_some(()));
        }
        arrives("data after the bridge's querier");
    });
}

/// A snooping bridge forwards to the port of the querier what it asks for, and the data to the
/// receiver alone.
#[test]
fn snooping_bridge_between_router_and_receivers() {
    live(|| {
        for group in ["239.1.2.3", "ff15::1:2:3"].map(ip) {
            let net = Shared::new(vec![InfoBridge::MulticastSnooping(true)]);
            let daemon = Daemon::start(&net.network.router, &configuration(""));
            let mut receiver = Receiver::join(&net.network.receivers[0], "eth0", group);
            joined(&daemon, group);
            let sender = Sender::new(&net.network.source, "eth0", source(group, 2), group);
            let flow = sender.flow(100);
            wait_for("seven seconds of data", || (receiver.got().len() >= 700).then_some(()));
            drop(flow);
            assert!(receiver.got().windows(2).all(|two| two[0] + 1 == two[1]), "a gap");
            receiver.leave();
            wait_for("the group is left", || rows(&daemon, group).is_empty().then_some(()));
        }
    });
}

fn rows(daemon: &Daemon, group: IpAddr) -> Vec<Value> {
    daemon.rows("groups", |row| row["group"] == group.to_string())
}

fn joined(daemon: &Daemon, group: IpAddr) -> Value {
    wait_for("the group is known", || rows(daemon, group).pop())
}

/// RFC 9776, section 7.3.2: the oldest host puts the group into its mode; when it is gone, the mode
/// is that of the others again. `versions` are those of the hosts, the newest first, each with what
/// makes its kernel speak it.
fn mixed_versions(group: &str, sysctl: &str, versions: &[(u32, u8)]) {
    let group = ip(group);
    let net = Shared::new(vec![InfoBridge::MulticastSnooping(false)]);
    let daemon = Daemon::start(&net.network.router, &configuration(""));
    let wait_version = |version: u8| {
        wait_for(&format!("the group is in mode {version}"), || {
            (rows(&daemon, group).pop()?["version"] == version).then_some(())
        });
    };
    let hosts: Vec<Host> = versions.iter().map(|_| Host::new()).collect();
    let mut members = Vec::new();
    for (number, (host, (force, version))) in (30..).zip(hosts.iter().zip(versions)) {
        let port = format!("port{number}");
        net.bridge.cable(&port, host, "eth0");
        net.bridge.plug(&port, "br0");
        host.address("eth0", &format!("10.0.1.{number}/24"));
        host.settle("eth0");
        host.sysctl(sysctl, *force);
        members.push(Receiver::join(host, "eth0", group));
        wait_version(*version);
    }
    while let Some(member) = members.pop() {
        drop(member);
        match members.len().checked_sub(1).and_then(|left| versions.get(left)) {
            Some((_, version)) => wait_version(*version),
            None => wait_for("the group is left", || rows(&daemon, group).is_empty().then_some(())),
        }
    }
}

#[test]
fn igmp_versions_mixed_on_one_link() {
    let sysctl = "net/ipv4/conf/eth0/force_igmp_version";
    live(|| mixed_versions("239.1.2.3", sysctl, &[(0, 3), (2, 2), (1, 1)]));
}

#[test]
fn mld_versions_mixed_on_one_link() {
    let sysctl = "net/ipv6/conf/eth0/force_mld_version";
    live(|| mixed_versions("ff15::1:2:3", sysctl, &[(0, 2), (1, 1)]));
}

/// Source lists of real sockets: what they block is not forwarded, and the upstream is asked for
/// what the sum of them wants.
fn source_lists(group: &str) {
    let (group, network) = (ip(group), Network::new());
    let [one, two] = &network.receivers;
    let [a, b, c] = [2, 3, 4].map(|host| source(group, host));
    let mut upstream = Capture::new(&network.source, "eth0");
    let daemon = Daemon::start(&network.router, &configuration(""));
    let merged = |mode: &str, sources: &[IpAddr]| {
        let sources: Vec<Value> = sources.iter().map(|s| s.to_string().into()).collect();
        wait_for(&format!("{mode} {sources:?} upstream"), || {
            let is = |row: &Value| {
                row["group"] == group.to_string()
                    && row["filter-mode"] == mode
                    && row["sources"].as_array() == Some(&sources)
            };
            daemon.rows("upstream", is).pop()
        });
    };

    let mut first = Receiver::join(one, "eth0", group);
    first.block(a);
    first.block(b);
    merged("exclude", &[a, b]);
    wait_for("it is told upstream", || {
        upstream.find(|s| match &s.message {
            Message::Records(records) => {
                records.iter().any(|r| r.group == group && r.sources.contains(&b))
            }
            Message::Query { .. } | Message::Report(_) | Message::Leave(_) | Message::Other(_) => {
                false
            }
        })
    });
    let mut second = Receiver::join_source(two, "eth0", group, b);
    merged("exclude", &[a]);
    wait_for("b is asked for", || upstream.find(|s| s.has(record::ALLOW, group)));

    let [mut from_a, mut from_b, mut from_c] =
        [a, b, c].map(|s| Sender::new(&network.source, "eth0", s, group));
    for sender in [&mut from_a, &mut from_b, &mut from_c] {
        sender.send(3);
    }
    wait_for("c at the first", || (first.got() == [0, 1, 2]).then_some(()));
    wait_for("b at the second", || (second.got() == [0, 1, 2]).then_some(()));
    for (family, name, count) in [(group, "down1", 3), (group, "down2", 3)] {
        assert_eq!(network.carried(family, name).1, count, "{name}");
    }

    first.unblock(a);
    merged("exclude", &[]);
    second.drop_source(b);
    first.leave();
    wait_for("nothing is wanted", || rows(&daemon, group).is_empty().then_some(()));
}

#[test]
fn source_lists_ipv4() {
    live(|| source_lists("239.1.2.3"));
}

#[test]
fn source_lists_ipv6() {
    live(|| source_lists("ff15::1:2:3"));
}

/// The backup upstream is joined while the preferred one is down, and left when it is back.
#[test]
fn upstream_failover() {
    live(|| {
        let (network, backup) = (Network::new(), Host::new());
        network.router.cable("up1", &backup, "eth0");
        for (host, end) in [(&network.router, 1), (&backup, 2)] {
            let name = if end == 1 { "up1" } else { "eth0" };
            host.address(name, &format!("10.0.3.{end}/24"));
            host.address(name, &format!("fd00:0:0:3::{end}/64"));
            host.settle(name);
        }
        let text = configuration("source any")
            + "interface up1 {\n upstream\n source any\n preference 2\n}\n";
        let _daemon = Daemon::start(&network.router, &text);
        let groups = ["239.1.2.3", "ff15::1:2:3"].map(ip);
        let mut first = Capture::new(&network.source, "eth0");
        let mut second = Capture::new(&backup, "eth0");
        let mut receivers = groups.map(|g| Receiver::join(&network.receivers[0], "eth0", g));
        for group in groups {
            wait_for("the preferred is asked", || first.find(|s| s.has(record::TO_EX, group)));
        }
        assert_eq!(second.find(|s| s.has(record::TO_EX, groups[0])), None);

        network.router.down("up0");
        for (group, receiver) in groups.iter().zip(&mut receivers) {
            wait_for("the backup is asked", || second.find(|s| s.has(record::TO_EX, *group)));
            let from = if group.is_ipv4() { "10.0.3.2" } else { "fd00:0:0:3::2" };
            Sender::new(&backup, "eth0", ip(from), *group).send(4);
            wait_for("data of the backup", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
            receiver.clear();
        }
        first.clear();
        network.router.up("up0");
        // Going down took its addresses of IPv6 away.
        network.router.settle("up0");
        for (group, receiver) in groups.iter().zip(&mut receivers) {
            wait_for("the preferred is asked again", || {
                first.find(|s| s.has(record::TO_EX, *group))
            });
            wait_for("the backup is left", || second.find(|s| s.leaves(*group)));
            Sender::new(&network.source, "eth0", source(*group, 2), *group).send(4);
            wait_for("data of the preferred", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
        }
    });
}

/// RFC 4286: advertised from the start, asked for, and ended at the end; each with Router Alert and
/// a hop limit of 1, to the group of all snoopers.
#[test]
fn router_discovery() {
    live(|| {
        let network = Network::new();
        let [host, _] = &network.receivers;
        let mut link = Capture::new(host, "eth0");
        let text = configuration("").replace("interface down1 {", "interface down1 { mrdisc yes;");
        let mut daemon = Daemon::start(&network.router, &text);
        let kinds = [("224.0.0.106", 0x30, 0x32), ("ff02::6a", 151, 153)];
        let wait = |link: &mut Capture, group: &str, kind: u8| {
            let seen = wait_for(&format!("message {kind} to {group}"), || {
                link.find(|s| s.destination == ip(group) && s.message == Message::Other(kind))
            });
            assert_eq!((seen.ttl, seen.alert), (1, true), "{seen:?}");
        };
        for (group, advertisement, _) in kinds {
            wait(&mut link, group, advertisement);
        }
        assert!(daemon.stop().success(), "{}", daemon.log());
        for (group, _, termination) in kinds {
            wait(&mut link, group, termination);
        }
    });
}
