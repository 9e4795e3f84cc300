//! Joins and leaves of real receivers, and the data that they get.

use std::net::IpAddr;

use serde_json::Value;

use crate::net::capture::{Capture, record, send_igmp};
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, configuration, source};
use crate::net::{ip, live, wait_for};

const GROUP4: &str = "239.1.2.3";
const GROUP6: &str = "ff15::1:2:3";

/// Waits until the daemon knows the group on the interface.
fn wait_joined(daemon: &Daemon, interface: &str, group: IpAddr) -> Value {
    let is = |row: &Value| row["interface"] == interface && row["group"] == group.to_string();
    wait_for("the group is known", || daemon.rows("groups", is).pop())
}

/// Waits until no downstream has the group.
fn wait_left(daemon: &Daemon, group: IpAddr) {
    wait_for("the group is forgotten", || {
        let rows = daemon.rows("groups", |row| row["group"] == group.to_string());
        rows.is_empty().then_some(())
    });
}

/// Waits until a receiver has as many datagrams.
fn wait_got(receiver: &mut Receiver, count: usize) -> Vec<u64> {
    wait_for("the datagrams arrive", || (receiver.got().len() >= count).then_some(()));
    receiver.got().to_vec()
}

/// Data that starts after the join arrives whole; the leave stops it and is told upstream.
fn join_and_leave(group: &str, older: Option<(&str, u32)>, version: u8) {
    let (group, network) = (ip(group), Network::new());
    let [host, _] = &network.receivers;
    if let Some((name, value)) = older {
        host.sysctl(name, value);
    }
    let mut upstream = Capture::new(&network.source, "eth0");
    let daemon = Daemon::start(&network.router, &configuration(""));

    let mut receiver = Receiver::join(host, "eth0", group);
    let row = wait_joined(&daemon, "down1", group);
    assert_eq!((&row["version"], &row["filter-mode"]), (&version.into(), &"exclude".into()));
    wait_for("a report upstream", || upstream.find(|s| s.has(record::TO_EX, group)));

    // The kernel queues as many of an unresolved flow.
    let mut sender = Sender::new(&network.source, "eth0", source(group, 2), group);
    sender.send(4);
    assert_eq!(wait_got(&mut receiver, 4), [0, 1, 2, 3]);

    receiver.leave();
    wait_for("the leave is told upstream", || upstream.find(|s| s.leaves(group)));
    wait_left(&daemon, group);
    let is = |row: &Value| row["group"] == group.to_string() && row["state"] == "forwarding";
    wait_for("the route is withdrawn", || daemon.rows("routes", is).is_empty().then_some(()));
    daemon.settle();
    assert_eq!(network.forwarded(&mut sender, group, 4), [0, 0]);
}

#[test]
fn igmpv3_join_and_leave() {
    live(|| join_and_leave(GROUP4, None, 3));
}

#[test]
fn igmpv2_join_and_leave() {
    live(|| join_and_leave(GROUP4, Some(("net/ipv4/conf/eth0/force_igmp_version", 2)), 2));
}

#[test]
fn mldv2_join_and_leave() {
    live(|| join_and_leave(GROUP6, None, 2));
}

#[test]
fn mldv1_join_and_leave() {
    live(|| join_and_leave(GROUP6, Some(("net/ipv6/conf/eth0/force_mld_version", 1)), 1));
}

/// Each downstream gets the data while it has a receiver.
fn two_downstreams(group: &str) {
    let (group, network) = (ip(group), Network::new());
    let [one, two] = &network.receivers;
    let daemon = Daemon::start(&network.router, &configuration(""));
    let mut sender = Sender::new(&network.source, "eth0", source(group, 2), group);

    let mut first = Receiver::join(one, "eth0", group);
    wait_joined(&daemon, "down1", group);
    sender.send(3);
    assert_eq!(wait_got(&mut first, 3), [0, 1, 2]);

    let mut second = Receiver::join(two, "eth0", group);
    wait_joined(&daemon, "down2", group);
    wait_for("both downstreams are outputs", || {
        let both =
            |row: &Value| row["outgoing-interfaces"].as_array().is_some_and(|o| o.len() == 2);
        daemon.rows("routes", both).pop()
    });
    daemon.settle();
    assert_eq!(network.forwarded(&mut sender, group, 3), [3, 3]);
    assert_eq!(wait_got(&mut second, 3), [3, 4, 5]);
    assert_eq!(wait_got(&mut first, 6), [0, 1, 2, 3, 4, 5]);

    first.leave();
    wait_for("one downstream is an output", || {
        let one = |row: &Value| row["outgoing-interfaces"].as_array().is_some_and(|o| o.len() == 1);
        daemon.rows("routes", one).pop()
    });
    daemon.settle();
    assert_eq!(network.forwarded(&mut sender, group, 3), [0, 3]);
    assert_eq!(wait_got(&mut second, 6), [3, 4, 5, 6, 7, 8]);
}

#[test]
fn two_receivers_on_two_downstreams_ipv4() {
    live(|| two_downstreams(GROUP4));
}

#[test]
fn two_receivers_on_two_downstreams_ipv6() {
    live(|| two_downstreams(GROUP6));
}

/// IGMP without Router Alert reaches the multicast routing socket only. RFC 9776 has reports carry
/// it, common senders omit it.
#[test]
fn report_without_router_alert() {
    live(|| {
        let (group, network) = (ip(GROUP4), Network::new());
        let daemon = Daemon::start(&network.router, &configuration(""));
        let (IpAddr::V4(to), [host, _]) = (group, &network.receivers) else {
            unreachable!("an IPv4 group")
        };
        // RFC 2236, section 2: type 0x16, no response time, checksum, group.
        let report = [&[0x16, 0, 0, 0][..], &to.octets()].concat();
        // Sent until it is heard: the interface may become a vif only after the daemon is ready.
        let row = wait_for("the group is known", || {
            send_igmp(host, "eth0", [10, 0, 1, 2].into(), to, &report);
            daemon.rows("groups", |row| row["group"] == group.to_string()).pop()
        });
        assert_eq!(row["last-reporter"], "10.0.1.2");
    });
}

/// A flow that was dropped before the join arrives from some datagram on, without a gap.
fn flowing_before_the_join(group: &str) {
    let (group, network) = (ip(group), Network::new());
    let daemon = Daemon::start(&network.router, &configuration(""));
    let flow = Sender::new(&network.source, "eth0", source(group, 2), group).flow(200);
    wait_for("the unwanted flow has a drop entry", || {
        let dropped = |row: &Value| row["group"] == group.to_string() && row["state"] == "dropping";
        daemon.rows("routes", dropped).pop()
    });
    let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
    wait_got(&mut receiver, 20);
    let end = flow.stop().sent();
    wait_for("the last datagram", || receiver.got().ends_with(&[end - 1]).then_some(()));
    let first = receiver.got()[0];
    assert_eq!(receiver.got(), (first..end).collect::<Vec<_>>());
}

#[test]
fn flow_before_the_join_ipv4() {
    live(|| flowing_before_the_join(GROUP4));
}

#[test]
fn flow_before_the_join_ipv6() {
    live(|| flowing_before_the_join(GROUP6));
}

/// Only the source that was asked for is forwarded and reported upstream.
fn source_specific(group: &str) {
    let (group, network) = (ip(group), Network::new());
    let (wanted, other) = (source(group, 3), source(group, 2));
    let mut upstream = Capture::new(&network.source, "eth0");
    let daemon = Daemon::start(&network.router, &configuration(""));
    let mut receiver = Receiver::join_source(&network.receivers[0], "eth0", group, wanted);
    let row = wait_joined(&daemon, "down1", group);
    assert_eq!(row["filter-mode"], "include");
    assert_eq!(row["sources"][0]["source"], wanted.to_string());
    let report = wait_for("a report upstream", || upstream.find(|s| s.has(record::ALLOW, group)));
    assert!(!report.has(record::TO_EX, group), "{report:?}");

    let from = |source| Sender::new(&network.source, "eth0", source, group);
    assert_eq!(network.forwarded(&mut from(other), group, 4), [0, 0]);
    assert_eq!(network.forwarded(&mut from(wanted), group, 4), [4, 0]);
    assert_eq!(wait_got(&mut receiver, 4), [0, 1, 2, 3]);
}

#[test]
fn source_specific_join_ipv4() {
    live(|| source_specific("232.1.2.3"));
}

#[test]
fn source_specific_join_ipv6() {
    live(|| source_specific("ff35::1:2:3"));
}
