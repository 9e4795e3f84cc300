//! The life of interfaces beneath a running daemon.

use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::load::{Load, groups};
use crate::net::capture::{Capture, record};
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{FAST, Network, configuration, source};
use crate::net::{Host, ip, live, wait_for};

pub(crate) const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:2:3"];

/// The interface's row; null where there is none.
pub(crate) fn row(daemon: &Daemon, name: &str) -> Value {
    daemon.rows("interfaces", |row| row["interface"] == name).pop().unwrap_or_default()
}

/// Waits until the interface is a vif of both families, up.
fn wait_up(daemon: &Daemon, name: &str) {
    wait_for(&format!("{name} is up"), || {
        let row = row(daemon, name);
        let vif = |family: &str| row[family]["vif"].is_u64();
        (row["oper-status"] == "up" && vif("ipv4") && vif("ipv6")).then_some(())
    });
}

pub(crate) fn wait_status(daemon: &Daemon, name: &str, status: &str) {
    wait_for(&format!("{name} is {status}"), || {
        (row(daemon, name)["oper-status"] == status).then_some(())
    });
}

/// Waits until the daemon knows of so many of [`GROUPS`] on the interface.
pub(crate) fn wait_groups(daemon: &Daemon, name: &str, count: usize) {
    wait_for(&format!("{count} groups on {name}"), || {
        let is =
            |row: &Value| row["interface"] == name && GROUPS.iter().any(|g| row["group"] == *g);
        (daemon.rows("groups", is).len() == count).then_some(())
    });
}

/// Joins [`GROUPS`] on the host and waits until they are known on the router's interface.
pub(crate) fn join(daemon: &Daemon, host: &Host, name: &str) -> Vec<Receiver> {
    let receivers = GROUPS.map(|group| Receiver::join(host, "eth0", ip(group)));
    wait_groups(daemon, name, 2);
    receivers.into()
}

/// Data of the source arrives at each of the receivers.
pub(crate) fn wait_data(network: &Network, receivers: &mut [Receiver]) {
    for (group, receiver) in GROUPS.map(ip).into_iter().zip(receivers) {
        receiver.clear();
        let mut sender = Sender::new(&network.source, "eth0", source(group, 2), group);
        wait_for(&format!("data to {group}"), || {
            sender.send(1);
            (!receiver.got().is_empty()).then_some(())
        });
    }
}

/// The daemon starts before any of its interfaces is there; some are named by a pattern.
#[test]
fn interfaces_come_late() {
    live(|| {
        let network = Network::new();
        for name in ["up0", "down1", "down2"] {
            network.router.delete(name);
        }
        let text =
            format!("{FAST}interface up0 {{ upstream }}\ninterface \"down*\" {{ downstream }}\n");
        let daemon = Daemon::start(&network.router, &text);
        assert_eq!(row(&daemon, "up0")["oper-status"], "absent");
        assert_eq!(row(&daemon, "down1"), Value::Null);
        assert!(daemon.log().contains("up0: no such interface yet"), "{}", daemon.log());

        network.link(1, "down1", &network.receivers[0]);
        wait_up(&daemon, "down1");
        let mut receivers = join(&daemon, &network.receivers[0], "down1");
        network.link(0, "up0", &network.source);
        wait_up(&daemon, "up0");
        wait_data(&network, &mut receivers);
        network.link(2, "down2", &network.receivers[1]);
        wait_up(&daemon, "down2");
        let mut receivers = join(&daemon, &network.receivers[1], "down2");
        wait_data(&network, &mut receivers);
    });
}

/// What happens to one downstream: it goes and comes in every way, and each time its members are
/// forgotten and learned again. The flows of the other downstream lose nothing.
#[test]
fn downstream_goes_and_comes_beside_another() {
    live(|| {
        let network = Network::new();
        let [_, host] = &network.receivers;
        let text = configuration("").replace("interface down2", "interface \"down2*\"");
        let daemon = Daemon::start(&network.router, &text);
        let load = Load::new(&network, 50);
        let router = &network.router;
        let again = |daemon: &Daemon, name: &str| {
            wait_up(daemon, name);
            let mut receivers = join(daemon, host, name);
            wait_data(&network, &mut receivers);
            receivers
        };
        let mut upstream = Capture::new(&network.source, "eth0");

        let receivers = again(&daemon, "down2");
        let index = router.index("down2");
        router.delete("down2");
        drop(receivers);
        wait_groups(&daemon, "down2", 0);
        for group in GROUPS.map(ip) {
            wait_for("it is left upstream", || upstream.find(|s| s.leaves(group)));
        }
        network.link(2, "down2", host);
        assert_ne!(router.index("down2"), index);
        let mut receivers = again(&daemon, "down2");

        // Down, and up again: the receiver's host does not learn of it, but answers the first query.
        router.down("down2");
        wait_status(&daemon, "down2", "down");
        wait_groups(&daemon, "down2", 0);
        router.up("down2");
        wait_groups(&daemon, "down2", 2);
        wait_data(&network, &mut receivers);

        // The carrier goes with the other end.
        host.down("eth0");
        wait_status(&daemon, "down2", "down");
        wait_groups(&daemon, "down2", 0);
        host.up("eth0");
        wait_groups(&daemon, "down2", 2);
        wait_data(&network, &mut receivers);

        // Another name, which nothing names; one that the pattern matches; the first one.
        for (from, to) in [("down2", "other"), ("other", "down2b"), ("down2b", "down2")] {
            router.down(from);
            router.rename(from, to);
            router.up(to);
            if to == "other" {
                wait_for("nothing is known of it", || {
                    let text = router.proc_net("ip_mr_vif") + &router.proc_net("ip6_mr_vif");
                    (!text.contains("down2") && !text.contains("other")).then_some(())
                });
                assert_eq!(daemon.rows("groups", |row| row["interface"] == "other").len(), 0);
            } else {
                wait_groups(&daemon, to, 2);
                wait_data(&network, &mut receivers);
            }
        }
        let (lost, sent) = load.lost();
        println!("down2 came and went: {lost} of {sent} datagrams beside it lost");
        assert_eq!(lost, 0);
    });
}

/// A downstream vanishes and another one, which nobody asked for anything, comes in its stead: it
/// gets the number that is free, and no packet of what the first one wanted.
#[test]
fn number_of_a_vif_is_used_again_without_its_routes() {
    live(|| {
        let network = Network::new();
        let text = configuration("").replace("interface down2", "interface \"late*\"");
        let daemon = Daemon::start(&network.router, &text);
        let number = |name: &str| row(&daemon, name)["ipv4"]["vif"].clone();
        wait_up(&daemon, "down1");
        let first = number("down1");
        let mut receivers = join(&daemon, &network.receivers[0], "down1");
        let _flows = GROUPS
            .map(ip)
            .map(|group| Sender::new(&network.source, "eth0", source(group, 2), group).flow(1000));
        let mut last = "down1".to_owned();
        for round in 0..10 {
            for receiver in &mut receivers {
                wait_for("the flow arrives", || (!receiver.got().is_empty()).then_some(()));
            }
            let (peer, next) = (Host::new(), format!("late{round}"));
            network.router.delete(&last);
            network.router.cable(&next, &peer, "eth0");
            network.router.address(&next, "10.0.1.1/24");
            peer.address("eth0", "10.0.1.2/24");
            wait_up(&daemon, &next);
            assert_eq!(number(&next), first);
            for group in GROUPS.map(ip) {
                let (before, _) = network.carried(group, "up0");
                wait_for("packets come in", || {
                    (network.carried(group, "up0").0 > before + 10).then_some(())
                });
                assert_eq!(network.carried(group, &next).1, 0, "round {round}");
            }
            receivers = join(&daemon, &peer, &next);
            last = next;
        }
    });
}

/// What both downstreams want goes on at the one while the other goes and comes. Of some hundred
/// changes of its entries one may hit a packet: the kernel empties an entry before it fills it, and
/// forwarding does not wait for that (`ipmr_update_thresholds`).
#[test]
fn shared_flows_go_on_beside_a_downstream_that_goes_and_comes() {
    live(|| {
        let network = Network::new();
        let [_, host] = &network.receivers;
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut load = Load::new(&network, 100);
        let join = || -> Vec<Receiver> {
            groups().into_iter().map(|group| Receiver::join(host, "eth0", group)).collect()
        };
        let arrive = |receivers: &mut Vec<Receiver>| {
            receivers.iter_mut().for_each(Receiver::clear);
            wait_for("every flow arrives", || {
                receivers.iter_mut().all(|r| !r.got().is_empty()).then_some(())
            });
        };
        for round in 0..4 {
            let mut receivers = join();
            arrive(&mut receivers);
            network.router.down("down2");
            wait_status(&daemon, "down2", "down");
            network.router.up("down2");
            arrive(&mut receivers);
            if round % 2 == 0 {
                drop(receivers);
            }
            network.router.delete("down2");
            wait_status(&daemon, "down2", "absent");
            network.link(2, "down2", host);
            load.pass();
        }
        let (lost, sent) = load.lost();
        println!("down2 came and went: {lost} of {sent} datagrams beside it lost");
        assert!(lost <= 1, "{lost} of {sent}");
    });
}

/// An upstream that is made anew is told everything.
#[test]
fn upstream_is_deleted_and_made_anew() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut receivers = join(&daemon, &network.receivers[0], "down1");
        wait_data(&network, &mut receivers);
        for _ in 0..3 {
            network.router.delete("up0");
            wait_status(&daemon, "up0", "absent");
            network.link(0, "up0", &network.source);
            let mut upstream = Capture::new(&network.source, "eth0");
            network.router.settle("up0");
            for group in GROUPS.map(ip) {
                wait_for("it is asked for", || upstream.find(|s| s.has(record::TO_EX, group)));
            }
            wait_data(&network, &mut receivers);
        }
    });
}

/// An upstream that was down, without a carrier or under another name is told everything again, and
/// what it brings is forwarded again.
#[test]
fn upstream_goes_and_comes() {
    live(|| {
        let network = Network::new();
        let (router, peer) = (&network.router, &network.source);
        let text = configuration("source any").replace("interface up0", "interface \"up*\"");
        let daemon = Daemon::start(router, &text);
        let mut receivers = join(&daemon, &network.receivers[0], "down1");
        wait_data(&network, &mut receivers);
        let mut comes = |change: &dyn Fn()| {
            let mut upstream = Capture::new(peer, "eth0");
            change();
            for group in GROUPS.map(ip) {
                wait_for("it is asked for", || upstream.find(|s| s.has(record::TO_EX, group)));
            }
            wait_data(&network, &mut receivers);
        };
        router.down("up0");
        wait_status(&daemon, "up0", "down");
        comes(&|| router.up("up0"));
        peer.down("eth0");
        wait_status(&daemon, "up0", "down");
        comes(&|| {
            peer.up("eth0");
            // It went with the link.
            peer.address("eth0", "fd00::2/64");
        });
        for (from, to) in [("up0", "up1"), ("up1", "up0")] {
            comes(&|| {
                router.down(from);
                router.rename(from, to);
                router.up(to);
            });
        }
    });
}

/// More events than netlink's queue holds.
fn flood(host: &Host) {
    let lines = "for n in $(seq 4000); do echo address add 10.99.0.1/32 dev lo; \
                 echo address del 10.99.0.1/32 dev lo; done";
    let shell = ["-c", &format!("({lines}) | ip -batch -")];
    let done = host.run(|| Command::new("sh").args(shell).status());
    assert!(done.expect("sh").success());
}

/// More happens than netlink's queue holds while the parent does not read it: everything is read
/// anew, and what is wanted comes about.
#[test]
fn lost_events_are_made_up_for() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut kept = join(&daemon, &network.receivers[0], "down1");
        wait_up(&daemon, "down2");
        daemon.signal(Signal::SIGSTOP);
        network.router.delete("down2");
        flood(&network.router);
        network.link(2, "down2", &network.receivers[1]);
        daemon.signal(Signal::SIGCONT);
        let index = u64::from(network.router.index("down2"));
        wait_for("the new down2 is known", || {
            (row(&daemon, "down2")["index"] == index).then_some(())
        });
        wait_up(&daemon, "down2");
        let mut receivers = join(&daemon, &network.receivers[1], "down2");
        wait_data(&network, &mut receivers);
        wait_data(&network, &mut kept);
    });
}

/// All that is lost tells that an interface was made anew, and it has the old one's index: the table
/// is looked at, and it is a router's again.
#[test]
fn interface_is_made_anew_unseen() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        wait_up(&daemon, "down2");
        daemon.signal(Signal::SIGSTOP);
        let index = network.router.index("down2");
        network.router.delete("down2");
        flood(&network.router);
        let peer = Host::new();
        network.router.cable_with_index("down2", index, &peer, "eth0");
        network.router.address("down2", "10.0.2.1/24");
        network.router.settle("down2");
        peer.address("eth0", "10.0.2.2/24");
        assert_eq!(network.router.index("down2"), index);
        daemon.signal(Signal::SIGCONT);
        daemon.order(&["reload"]);
        let mut receivers = join(&daemon, &peer, "down2");
        wait_data(&network, &mut receivers);
    });
}

/// Linux routes among 32 interfaces; the 33rd is refused, by name, and taken when another goes.
#[test]
fn one_interface_too_many() {
    live(|| {
        let (router, peer) = (Host::new(), Host::new());
        for n in 0..34 {
            router.cable(&format!("v{n}"), &peer, &format!("p{n}"));
        }
        let text = format!("{FAST}interface \"v*\" {{ downstream }}\n");
        let daemon = Daemon::start(&router, &text);
        let without = |family: &str| daemon.rows("interfaces", |row| !row[family]["vif"].is_u64());
        let refused = wait_for("all but two have a vif", || {
            let [four, six] = ["ipv4", "ipv6"].map(without);
            (four.len() == 2 && six == four).then(|| four[0].clone())
        });
        let name = refused["interface"].as_str().expect("a name").to_owned();
        let reason = refused["ipv4"]["reason"].as_str().expect("a reason");
        let said = format!("{name} would be one interface too many");
        assert!(reason.contains(&said) && reason.contains("32 at most"), "{reason}");
        assert!(daemon.log().contains(&said), "{}", daemon.log());
        // It is said once, whatever other interfaces do.
        for n in 1..5 {
            router.address("lo", &format!("10.77.0.{n}/32"));
            router.address("v0", &format!("10.77.1.{n}/24"));
        }
        wait_for("the addresses are known", || {
            row(&daemon, "v0")["addresses"].to_string().contains("10.77.1.4").then_some(())
        });
        assert_eq!(daemon.log().matches(&said).count(), 2, "{}", daemon.log());
        let status = daemon.show("status");
        assert_eq!((&status["vifs"], &status["max-vifs"]), (&32.into(), &32.into()));
        // One has the vif that is free then, the other one is not told of again.
        router.delete(if name == "v5" { "v6" } else { "v5" });
        wait_for("one more has a vif", || {
            (without("ipv4").len() == 1 && without("ipv6").len() == 1).then_some(())
        });
        assert_eq!(daemon.log().matches(" would be one interface too many").count(), 4);
    });
}
