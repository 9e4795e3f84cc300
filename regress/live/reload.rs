//! Reload: what did not change is not touched.

use nix::sys::signal::Signal;

use crate::load::Load;
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, configuration, source};
use crate::net::{ip, live, wait_for};

/// The group that the changes are about.
const CHANGED: &str = "239.9.9.9";

/// 1,000 packets a second on 20 flows; each reload changes one other flow, and every broken file
/// between them changes nothing.
#[test]
fn reload_under_load_loses_nothing() {
    live(|| {
        let network = Network::new();
        let without = configuration("");
        let with = without.replace(
            "interface down2 { downstream }",
            &format!("interface down2 {{ downstream; static-group {CHANGED} }}"),
        );
        assert_ne!(with, without);
        let daemon = Daemon::start(&network.router, &without);
        let load = Load::new(&network, 50);
        for round in 0..50 {
            daemon.rewrite("interface down1 { dwnstream }\n");
            let refused = daemon.ctl(&["reload"]);
            assert_eq!(refused.status.code(), Some(1), "{refused:?}");
            let (text, rows) = if round % 2 == 0 { (&with, 1) } else { (&without, 0) };
            daemon.rewrite(text);
            daemon.order(&["reload"]);
            wait_for("the change is in force", || {
                let found = daemon.rows("groups", |row| row["group"] == CHANGED);
                (found.len() == rows).then_some(())
            });
        }
        let (lost, sent) = load.lost();
        println!("50 reloads: {lost} of {sent} datagrams lost");
        assert_eq!(lost, 0);
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

/// A family is switched off and on; the other one goes on.
#[test]
fn family_off_and_on() {
    live(|| {
        let (network, text) = (Network::new(), configuration(""));
        let daemon = Daemon::start(&network.router, &text);
        let [four, six] = ["239.1.2.3", "ff15::1:2:3"].map(ip);
        let mut receiver = Receiver::join(&network.receivers[0], "eth0", four);
        let mut other = Receiver::join(&network.receivers[0], "eth0", six);
        let flow = Sender::new(&network.source, "eth0", source(four, 2), four).flow(100);
        wait_for("the flow arrives", || (!receiver.got().is_empty()).then_some(()));

        daemon.rewrite(&text.replace("ipv6 yes", "ipv6 no"));
        daemon.order(&["reload"]);
        wait_for("no mif is left", || {
            (network.router.proc_net("ip6_mr_vif").lines().count() == 1).then_some(())
        });
        daemon.rewrite(&text);
        daemon.order(&["reload"]);
        wait_for("the group of IPv6 is known again", || {
            daemon.rows("groups", |row| row["group"] == six.to_string()).pop()
        });
        Sender::new(&network.source, "eth0", source(six, 2), six).send(4);
        wait_for("data of IPv6", || (other.got() == [0, 1, 2, 3]).then_some(()));

        let end = flow.stop().sent();
        wait_for("the last datagram", || (receiver.got().last() == Some(&(end - 1))).then_some(()));
        assert!(receiver.got().windows(2).all(|two| two[0] + 1 == two[1]), "a gap in IPv4");
    });
}
