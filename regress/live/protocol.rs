//! What a fake cannot show: other queriers, snooping, hosts of several versions on one link,
//! source lists, another upstream.

use std::net::IpAddr;

use netlink_packet_route::link::InfoBridge;
use serde_json::Value;

use crate::net::capture::{Capture, Message, record};
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
    _bridge: Host,
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
        for (host, address) in [(&network.router, "fe80::1/64"), (&other, "fe80::9/64")] {
            host.settle("down1");
            host.address("down1", address);
        }
        receiver.settle("eth0");
        Self { network, other, _bridge: bridge }
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

/// RFC 9776, section 7.3.2: one older host puts the group into its mode; when it is gone, the
/// mode is that of the others again.
fn mixed_versions(group: &str, older: (&str, u32), oldest: u8, newest: u8) {
    let group = ip(group);
    let net = Shared::new(vec![InfoBridge::MulticastSnooping(false)]);
    net.other.sysctl(older.0, older.1);
    let daemon = Daemon::start(&net.network.router, &configuration(""));
    let new = Receiver::join(&net.network.receivers[0], "eth0", group);
    assert_eq!(joined(&daemon, group)["version"], newest);
    let old = Receiver::join(&net.other, "down1", group);
    wait_for("the older host is heard", || {
        (joined(&daemon, group)["version"] == oldest).then_some(())
    });
    old.leave();
    wait_for("the older host is forgotten", || {
        (joined(&daemon, group)["version"] == newest).then_some(())
    });
    new.leave();
    wait_for("the group is left", || rows(&daemon, group).is_empty().then_some(()));
}

#[test]
fn igmp_versions_mixed_on_one_link() {
    live(|| mixed_versions("239.1.2.3", ("net/ipv4/conf/down1/force_igmp_version", 2), 2, 3));
}

#[test]
fn mld_versions_mixed_on_one_link() {
    live(|| mixed_versions("ff15::1:2:3", ("net/ipv6/conf/down1/force_mld_version", 1), 1, 2));
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
