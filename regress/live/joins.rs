//! `mgroup`, `join` and `leave`: memberships without a receiver.

use std::net::IpAddr;

use serde_json::Value;

use crate::net::capture::{Capture, Message, Record, record};
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, configuration, source};
use crate::net::{ip, live, wait_for};
use crate::statics::BARE;

/// Waits until a record of one of these kinds for the group, with these sources, was heard.
fn wait_record(link: &mut Capture, kinds: &[u8], group: IpAddr, sources: &[IpAddr]) {
    let is = |r: &Record| kinds.contains(&r.kind) && r.group == group && r.sources == sources;
    wait_for(&format!("record {kinds:?} of {group} {sources:?}"), || {
        link.find(|s| match &s.message {
            Message::Records(records) => records.iter().any(is),
            Message::Query { .. } | Message::Report(_) | Message::Leave(_) | Message::Other(_) => {
                false
            }
        })
    });
}

/// What asks for sources: the change of a list, or the first word about it on a new link.
const ASKS: &[u8] = &[record::ALLOW, record::TO_IN];
const JOINS: &[u8] = &[record::TO_EX];
const LEAVES: &[u8] = &[record::TO_IN];

/// Waits until it was heard that this source, the last one of the group or not, is wanted no more.
fn wait_blocked(link: &mut Capture, group: IpAddr, source: IpAddr) {
    let blocks = |r: &Record| (r.kind, r.group) == (record::BLOCK, group) && r.sources == [source];
    wait_for(&format!("({source}, {group}) is left"), || {
        link.find(|s| match &s.message {
            Message::Records(records) => records.iter().any(blocks) || s.leaves(group),
            Message::Query { .. } | Message::Report(_) | Message::Leave(_) | Message::Other(_) => {
                false
            }
        })
    });
}

/// What is asked for on the interface.
fn asked(daemon: &Daemon, interface: &str) -> Vec<Value> {
    daemon.rows("upstream", |row| row["interface"] == interface)
}

/// Any-source and source-specific, from the control tool, on an interface with no other part.
#[test]
fn join_and_leave_at_run_time() {
    live(|| {
        let network = Network::new();
        let mut link = Capture::new(&network.source, "eth0");
        let daemon = Daemon::start(&network.router, BARE);
        for (group, ssm) in [("225.1.2.3", "232.1.2.3"), ("ff2e::3", "ff3e::3")] {
            let [a, b] = [2, 3].map(|host| source(ip(ssm), host));
            let [from_a, from_b] = [a, b].map(|s| s.to_string());
            daemon.order(&["join", "up0", group]);
            wait_record(&mut link, JOINS, ip(group), &[]);
            daemon.order(&["join", "up0", ssm, &from_a]);
            wait_record(&mut link, ASKS, ip(ssm), &[a]);
            daemon.order(&["join", "up0", ssm, &from_b]);
            wait_record(&mut link, ASKS, ip(ssm), &[b]);
            assert_eq!(asked(&daemon, "up0").len(), 2);
            let again = daemon.ctl(&["join", "up0", group]);
            assert_eq!(again.status.code(), Some(1), "{again:?}");

            daemon.order(&["leave", "up0", ssm, &from_a]);
            wait_blocked(&mut link, ip(ssm), a);
            daemon.order(&["leave", "up0", ssm, &from_b]);
            wait_blocked(&mut link, ip(ssm), b);
            daemon.order(&["leave", "up0", group]);
            wait_record(&mut link, LEAVES, ip(group), &[]);
            assert!(asked(&daemon, "up0").is_empty());
            let again = daemon.ctl(&["leave", "up0", group]);
            assert_eq!(again.status.code(), Some(1), "{again:?}");
        }
    });
}

/// Ranges, from the file and from the control tool: every group of them, and no other.
#[test]
fn ranges_are_joined() {
    live(|| {
        let network = Network::new();
        let mut link = Capture::new(&network.source, "eth0");
        let text = format!("{BARE}mgroup from up0 group 225.1.2.0/28 source 10.0.0.2\n");
        let mut daemon = Daemon::start(&network.router, &text);
        daemon.order(&["join", "up0", "ff2e::/120"]);
        for n in 0..16 {
            let from = source(ip("225.1.2.0"), 2);
            wait_record(&mut link, ASKS, ip(&format!("225.1.2.{n}")), &[from]);
        }
        for n in 0..256 {
            wait_record(&mut link, JOINS, ip(&format!("ff2e::{n:x}")), &[]);
        }
        assert_eq!(asked(&daemon, "up0").len(), 16 + 256);

        daemon.order(&["leave", "up0", "ff2e::/120"]);
        for n in 0..256 {
            wait_record(&mut link, LEAVES, ip(&format!("ff2e::{n:x}")), &[]);
        }
        assert!(daemon.stop().success(), "{}", daemon.log());
        for n in 0..16 {
            let group = ip(&format!("225.1.2.{n}"));
            wait_for("what the file joins is left at exit", || link.find(|s| s.leaves(group)));
        }
    });
}

/// An `mgroup` whose interface comes later is joined then.
#[test]
fn membership_waits_for_its_interface() {
    live(|| {
        let network = Network::new();
        let text = "ipv6 yes\nuser nobody\nmgroup from late0 group 225.1.2.3\nmgroup from late0 group ff2e::3\n";
        let daemon = Daemon::start(&network.router, text);
        let row = daemon.rows("interfaces", |row| row["interface"] == "late0").pop();
        let row = row.expect("an interface that a statement names is told of");
        assert_eq!((&row["oper-status"], &row["role"]), (&"absent".into(), &"static".into()));
        network.router.cable("late0", &network.source, "late0");
        let mut link = Capture::new(&network.source, "late0");
        network.router.address("late0", "10.0.9.1/24");
        wait_record(&mut link, JOINS, ip("225.1.2.3"), &[]);
        wait_record(&mut link, JOINS, ip("ff2e::3"), &[]);
    });
}

/// On a downstream a join is a member that never leaves: the group is asked for upstream and its
/// data sent out; the last host that leaves does not end it.
#[test]
fn join_on_a_downstream_is_a_static_member() {
    live(|| {
        let network = Network::new();
        let mut upstream = Capture::new(&network.source, "eth0");
        let daemon = Daemon::start(&network.router, &configuration(""));
        network.wait_vifs(&["up0", "down1", "down2"]);
        for (group, ssm) in [("225.1.2.3", "232.1.2.3"), ("ff15::3", "ff35::3")] {
            let (any, exact) = (ip(group), ip(ssm));
            let [wanted, other] = [3, 2].map(|host| source(exact, host));
            daemon.order(&["join", "down1", group]);
            daemon.order(&["join", "down1", ssm, &wanted.to_string()]);
            wait_record(&mut upstream, JOINS, any, &[]);
            wait_record(&mut upstream, ASKS, exact, &[wanted]);
            let static_rows = daemon.rows("groups", |row| row["static"] == true);
            assert!(static_rows.iter().any(|row| row["group"] == group), "{static_rows:?}");

            let mut receiver = Receiver::join(&network.receivers[0], "eth0", any);
            wait_for("the host is heard", || {
                daemon.rows("hosts", |row| row["group"] == group).pop()
            });
            receiver.leave();
            wait_for("the host is forgotten", || {
                daemon.rows("hosts", |row| row["group"] == group).is_empty().then_some(())
            });
            let from = |source, group| Sender::new(&network.source, "eth0", source, group);
            let mut sender = from(source(any, 2), any);
            wait_for("data leaves", || {
                (network.forwarded(&mut sender, any, 1) == [1, 0]).then_some(())
            });
            assert!(receiver.got().is_empty());
            let mut sender = from(wanted, exact);
            wait_for("data leaves", || {
                (network.forwarded(&mut sender, exact, 1) == [1, 0]).then_some(())
            });
            assert_eq!(network.forwarded(&mut from(other, exact), exact, 4), [0, 0]);

            daemon.order(&["leave", "down1", group]);
            daemon.order(&["leave", "down1", ssm, &wanted.to_string()]);
            wait_record(&mut upstream, LEAVES, any, &[]);
            wait_blocked(&mut upstream, exact, wanted);
        }
    });
}
