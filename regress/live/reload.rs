//! Reload: what did not change is not touched.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::{Signal, kill};

use crate::load::Load;
use crate::net::capture::{Capture, record};
use crate::net::daemon::{CONFIGURATION, Daemon};
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, configuration, source};
use crate::net::{Host, ip, live, wait_for};

/// The group that the changes are about.
const CHANGED: &str = "239.9.9.9";

/// Changes of the configuration that are about one group or about none: what is replaced, by what,
/// and a line of `show config` that tells that it is in force.
const CHANGES: [(&str, &str, &str); 10] = [
    ("down2 {", "down2 { igmp-version 2;", "igmp-version 2"),
    ("\ninterface up0", "\ninterface up9 { upstream; group 239.9.0.0/16 }\ninterface up0", "up9"),
    ("down2 {", "down2 { static-group 239.9.9.9;", "static-group 239.9.9.9"),
    ("down1 {", "down1 { deny group 239.9.9.9;", "deny group 239.9.9.9"),
    ("down1 {", "down1 { boundary 239.9.9.9;", "boundary 239.9.9.9"),
    ("up0 {", "up0 { deny group 239.9.9.9;", "deny group 239.9.9.9"),
    ("\ninterface up0", "\nmroute from up0 group 239.9.9.9 to down2\ninterface up0", "mroute from"),
    ("\ninterface up0", "\nmgroup from up0 group 239.9.9.9\ninterface up0", "mgroup from up0"),
    ("\nquery-interval 2\n", "\nquery-interval 4\n", "query-interval 4"),
    ("\ninterface up0", "\ninterface \"late*\" { downstream }\ninterface up0", "late*"),
];

/// Files that are refused, each with a part of the complaint.
const BROKEN: [(&str, &str); 5] = [
    ("interface down1 { dwnstream }\n", "1:19: "),
    ("interface down1 { downstream }\ninterface down1 { upstream }\n", "2:19: "),
    ("include \"/run/none.conf\"\n", "No such file or directory"),
    ("include \"/etc/passwd\"\n", "not in a folder that files were read from at start"),
    ("mroute from up0 group 224.0.0.1 to down1\n", "224.0.0.1"),
];

/// Has a file that is good but for its mode, and others that are not good, refused by signal and by
/// request; the configuration in force stays.
fn refused(daemon: &Daemon, good: &str, round: usize) {
    let before = daemon.order(&["show", "config"]);
    let mode = |mode| fs::set_permissions(CONFIGURATION, Permissions::from_mode(mode));
    let (text, complaint) = match BROKEN.get(round % (BROKEN.len() + 1)) {
        Some(broken) => *broken,
        None => (good, "can be written by everyone"),
    };
    daemon.rewrite(text);
    daemon.host().run(|| mode(if text == good { 0o666 } else { 0o644 })).expect("chmod");
    let refused = daemon.ctl(&["reload"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains(complaint), "{said}");
    let failures = || daemon.log().matches("reload failed").count();
    let told = failures();
    daemon.signal(Signal::SIGHUP);
    wait_for("the signal is refused, too", || (failures() > told).then_some(()));
    assert_eq!(daemon.order(&["show", "config"]), before);
    daemon.host().run(|| mode(0o644)).expect("chmod");
}

/// 1,000 packets a second on 20 flows; each reload changes what is about one other flow or none, and
/// every broken file between them changes nothing.
#[test]
fn reload_under_load_loses_nothing() {
    live(|| {
        let network = Network::new();
        let plain = configuration("");
        let daemon = Daemon::start(&network.router, &plain);
        let mut load = Load::new(&network, 50);
        let mut wanted = Receiver::join(&network.receivers[0], "eth0", ip(CHANGED));
        let _flow =
            Sender::new(&network.source, "eth0", source(ip(CHANGED), 2), ip(CHANGED)).flow(50);
        for round in 0..50 {
            let (from, to, line) = CHANGES[round / 2 % CHANGES.len()];
            let changed = plain.replace(from, to);
            assert_ne!(changed, plain);
            let changes = round % 2 == 0;
            let text = if changes { &changed } else { &plain };
            refused(&daemon, text, round);
            daemon.rewrite(text);
            let told = daemon.order(&["reload"]);
            assert!(told.contains(line), "{line}: {told}");
            assert_eq!(daemon.order(&["show", "config"]).contains(line), changes, "{line}");
            load.pass();
        }
        wanted.clear();
        wait_for("the flow that changed is there again", || wanted.got().first().copied());
        let (lost, sent) = load.lost();
        println!("50 reloads: {lost} of {sent} datagrams lost");
        assert_eq!(lost, 0);
    });
}

/// What is added and removed at run time is there after a reload and after an engine's death,
/// until the file says otherwise; what becomes of it is printed.
#[test]
fn run_time_changes_survive() {
    live(|| {
        let network = Network::new();
        let text = configuration("") + "mgroup from up0 group 239.7.7.7\n";
        let daemon = Daemon::start(&network.router, &text);
        daemon.order(&["add", "up0", CHANGED, "down1"]);
        daemon.order(&["join", "up0", "239.8.8.8"]);
        daemon.order(&["leave", "up0", "239.7.7.7"]);
        let (route, join) = (
            format!("mroute from up0 group {CHANGED} to down1"),
            "mgroup from up0 group 239.8.8.8",
        );
        let in_force = || {
            let config = daemon.order(&["show", "config"]);
            [&route, join, "239.7.7.7"].map(|line| config.contains(line))
        };
        assert_eq!(in_force(), [true, true, false]);

        let told = daemon.order(&["reload"]);
        let kept = format!(
            "kept from run time: {route}\nkept from run time: {join}\n\
             stays removed: mgroup from up0 group 239.7.7.7\n"
        );
        assert_eq!(told, kept);
        assert_eq!(in_force(), [true, true, false]);

        let engine = daemon.engine();
        kill(engine, Signal::SIGKILL).expect("a running engine");
        wait_for("another engine", || {
            let output = daemon.ctl(&["show", "config"]);
            output.status.success().then_some(())
        });
        assert_eq!(in_force(), [true, true, false]);
        let mut receiver = Receiver::join(&network.receivers[0], "eth0", ip(CHANGED));
        let mut sender = Sender::new(&network.source, "eth0", source(ip(CHANGED), 2), ip(CHANGED));
        wait_for("data by the added route", || {
            sender.send(1);
            receiver.got().first().copied()
        });

        daemon.rewrite(&format!("{text}{route}\n"));
        let told = daemon.order(&["reload"]);
        assert!(told.contains(&format!("now in the file: {route}\n")), "{told}");
        daemon.rewrite(&configuration("").replace("up0", "down9"));
        let told = daemon.order(&["reload"]);
        assert!(told.contains(&format!("dropped: {join}: interface up0 is not in the")), "{told}");
        daemon.rewrite(&text);
        daemon.order(&["reload"]);
        assert_eq!(in_force(), [false, false, true]);
    });
}

/// Groups that go to another upstream are asked for there before they are left here.
#[test]
fn the_new_upstream_is_joined_before_the_old_is_left() {
    live(|| {
        let (network, far) = (Network::new(), Host::new());
        network.router.cable("up9", &far, "eth0");
        for (host, end) in [(&network.router, 1), (&far, 2)] {
            let name = if end == 1 { "up9" } else { "eth0" };
            host.address(name, &format!("10.0.9.{end}/24"));
            host.settle(name);
        }
        let groups = ["239.1.2.3", "ff15::1:2:3"].map(ip);
        let text = configuration("") + "interface up9 { upstream; group 239.200.0.0/16 }\n";
        let moved = text.replace("group 239.200.0.0/16", "group 239.1.0.0/16; group ff15::/16");
        let (mut old, mut new) =
            (Capture::new(&network.source, "eth0"), Capture::new(&far, "eth0"));
        let daemon = Daemon::start(&network.router, &text);
        let _receivers = groups.map(|g| Receiver::join(&network.receivers[0], "eth0", g));
        for group in groups {
            wait_for("a report", || old.find(|s| s.has(record::TO_EX, group)));
            assert_eq!(new.find(|s| s.has(record::TO_EX, group)), None);
        }
        daemon.rewrite(&moved);
        daemon.order(&["reload"]);
        for group in groups {
            wait_for("the old upstream is left", || old.find(|s| s.leaves(group)));
            assert!(new.find(|s| s.has(record::TO_EX, group)).is_some(), "{group} is left first");
        }
    });
}

/// Waits until the interface has the role.
fn wait_role(daemon: &Daemon, interface: &str, role: &str) {
    wait_for(&format!("{interface} is {role}"), || {
        let is = |row: &serde_json::Value| row["interface"] == interface && row["role"] == role;
        daemon.rows("interfaces", is).pop()
    });
}

/// Upstream and downstream change places, at a signal, and data flows the other way.
#[test]
fn roles_swapped() {
    live(|| {
        let network = Network::new();
        let text = configuration("source any");
        let daemon = Daemon::start(&network.router, &text);
        let swapped = text
            .replace("up0", "other")
            .replace("interface down1 ", "interface up0 ")
            .replace("other", "down1");
        daemon.rewrite(&swapped);
        daemon.signal(Signal::SIGHUP);
        wait_role(&daemon, "down1", "upstream");
        wait_role(&daemon, "up0", "downstream");
        for (group, from) in [("239.1.2.3", "10.0.1.2"), ("ff15::1:2:3", "fd00:0:0:1::2")] {
            let mut receiver = Receiver::join(&network.source, "eth0", ip(group));
            wait_for("the group is known", || {
                daemon
                    .rows("groups", |row| row["group"] == group && row["interface"] == "up0")
                    .pop()
            });
            Sender::new(&network.receivers[0], "eth0", ip(from), ip(group)).send(4);
            wait_for("the data", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
        }
    });
}

/// A family is off at the start and is switched on, off and on again; the other one goes on.
#[test]
fn family_on_and_off() {
    live(|| {
        let (network, text) = (Network::new(), configuration(""));
        let without = text.replace("ipv6 yes", "ipv6 no");
        let daemon = Daemon::start(&network.router, &without);
        let [four, six] = ["239.1.2.3", "ff15::1:2:3"].map(ip);
        let mut receiver = Receiver::join(&network.receivers[0], "eth0", four);
        let mut other = Receiver::join(&network.receivers[0], "eth0", six);
        let flow = Sender::new(&network.source, "eth0", source(four, 2), four).flow(100);
        wait_for("the flow arrives", || (!receiver.got().is_empty()).then_some(()));
        let mut sender = Sender::new(&network.source, "eth0", source(six, 2), six);
        for last in [3, 7] {
            assert_eq!(daemon.show("status")["ipv6"], false);
            daemon.rewrite(&text);
            daemon.order(&["reload"]);
            wait_for("the group of IPv6 is known", || {
                daemon.rows("groups", |row| row["group"] == six.to_string()).pop()
            });
            sender.send(4);
            wait_for("data of IPv6", || (other.got().last() == Some(&last)).then_some(()));
            daemon.rewrite(&without);
            daemon.order(&["reload"]);
            wait_for("no mif is left", || {
                (network.router.proc_net("ip6_mr_vif").lines().count() == 1).then_some(())
            });
        }
        let end = flow.stop().sent();
        wait_for("the last datagram", || (receiver.got().last() == Some(&(end - 1))).then_some(()));
        assert!(receiver.got().windows(2).all(|two| two[0] + 1 == two[1]), "a gap in IPv4");
        assert_eq!(other.got(), [0, 1, 2, 3, 4, 5, 6, 7]);
    });
}

/// A family whose routing another program has is not switched on, and nothing changes.
#[test]
fn family_of_another_program_stays_off() {
    live(|| {
        let (network, text) = (Network::new(), configuration(""));
        let six = text.replace("ipv6 yes", "ipv4 no\nipv6 yes");
        let four = text.replace("ipv6 yes", "ipv6 no");
        let other = Daemon::start_as(&network.router, "other", &[], &six);
        let daemon = Daemon::start(&network.router, &four);
        daemon.rewrite(&text);
        let refused = daemon.ctl(&["reload"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(said.contains("ipv6: ") && said.contains("held by another program"), "{said}");
        assert_eq!(daemon.show("status")["ipv6"], false);
        assert!(other.order(&["show", "status"]).contains("ipv6"));
    });
}

/// What is an upstream no more is left with all copies, by an engine that is there still.
#[test]
fn an_upstream_no_more_is_left() {
    live(|| {
        let (network, text) = (Network::new(), configuration(""));
        let daemon = Daemon::start(&network.router, &text);
        let block = "interface up0 {\n    upstream\n    \n}";
        assert!(text.contains(block));
        let without = ["", "interface up0 { disabled }", "interface up0 { downstream }"];
        for (n, instead) in (1..).zip(without) {
            let groups = [format!("239.1.2.{n}"), format!("ff15::1:2:{n}")];
            let [four, six] = groups.each_ref().map(|group| ip(group));
            let _receivers =
                [four, six].map(|group| Receiver::join(&network.receivers[0], "eth0", group));
            for group in &groups {
                wait_for("the group is asked for", || {
                    daemon.rows("upstream", |row| row["group"] == group.as_str()).pop()
                });
            }
            let mut upstream = Capture::new(&network.source, "eth0");
            daemon.rewrite(&text.replace(block, instead));
            daemon.order(&["reload"]);
            wait_for("two leaves of each group", || {
                let leaves = |group| upstream.seen().iter().filter(|s| s.leaves(group)).count();
                ([four, six].map(leaves) == [2, 2]).then_some(())
            });
            let vif = instead.contains("downstream");
            for table in ["ip_mr_vif", "ip6_mr_vif"] {
                wait_for("only links have vifs", || {
                    (network.router.proc_net(table).contains("up0") == vif).then_some(())
                });
            }
            daemon.rewrite(&text);
            daemon.order(&["reload"]);
        }
        assert_eq!(daemon.show("status")["engine-restarts"], 0);
    });
}

/// Its address goes before the last leave is said: the engine outlives that.
#[test]
fn an_upstream_no_more_loses_its_address() {
    live(|| {
        let (network, text) = (Network::new(), configuration(""));
        let daemon = Daemon::start(&network.router, &text);
        let group = ip("239.1.2.3");
        let _receiver = Receiver::join(&network.receivers[0], "eth0", group);
        for instead in ["", "interface up0 { disabled }"] {
            wait_for("the group is asked for", || {
                daemon.rows("upstream", |row| row["group"] == group.to_string()).pop()
            });
            daemon.rewrite(&text.replace("interface up0 {\n    upstream\n    \n}", instead));
            daemon.order(&["reload"]);
            network.router.remove_address("up0", "10.0.0.1/24");
            wait_for("the vif is gone", || {
                (!network.router.proc_net("ip_mr_vif").contains("up0")).then_some(())
            });
            network.router.address("up0", "10.0.0.1/24");
            daemon.rewrite(&text);
            daemon.order(&["reload"]);
        }
        assert_eq!(daemon.show("status")["engine-restarts"], 0, "{}", daemon.log());
    });
}
