//! Several instances, each with a multicast routing table of its own.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::net::capture::{Capture, record};
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{FAST, Network, source};
use crate::net::{Host, ip, live, wait_for};

/// Interfaces whose traffic a rule sends to the table, by family.
fn rules(host: &Host, table: u32) -> [Vec<String>; 2] {
    ["-4", "-6"].map(|family| {
        let list = || Command::new("ip").args([family, "mrule"]).output().expect("ip mrule").stdout;
        let text = String::from_utf8(host.run(list)).expect("UTF-8");
        let iif = |line: &str| {
            let (iif, to) = line.split_once(" iif ")?.1.split_once(" lookup ")?;
            (to.split_whitespace().next()? == table.to_string()).then(|| iif.to_owned())
        };
        let mut found: Vec<String> = text.lines().filter_map(iif).collect();
        found.sort();
        found
    })
}

/// Two proxies on one host, each with its upstream and its downstream: receivers get what their own
/// upstream brings, and nothing of the other; the rules go when a daemon ends, and only its own.
#[test]
fn two_instances_on_two_tables() {
    live(|| {
        let (network, far) = (Network::new(), Host::new());
        network.router.cable("up9", &far, "eth0");
        for (host, name, end) in [(&network.router, "up9", 1), (&far, "eth0", 2)] {
            host.address(name, &format!("10.0.9.{end}/24"));
            host.address(name, &format!("fd00:0:0:9::{end}/64"));
            host.settle(name);
        }
        let proxy = |up: &str, down: &str| {
            format!("{FAST}interface {up} {{ upstream }}\ninterface {down} {{ downstream }}\n")
        };
        let mut links = [Capture::new(&network.source, "eth0"), Capture::new(&far, "eth0")];
        let start = |name: &str, table: &str, up, down| {
            Daemon::start_as(&network.router, name, &["-t", table], &proxy(up, down))
        };
        let mut ten = start("ten", "10", "up0", "down1");
        let mut twenty = start("twenty", "20", "up9", "down2");
        for (daemon, table, ups) in [(&ten, 10, "up0"), (&twenty, 20, "up9")] {
            let status = daemon.show("status");
            assert_eq!((&status["table"], &status["upstream"][0]), (&table.into(), &ups.into()));
        }
        let own = |names: [&str; 2]| {
            [names.map(str::to_owned).to_vec(), names.map(str::to_owned).to_vec()]
        };
        wait_for("the rules", || {
            let all = [rules(&network.router, 10), rules(&network.router, 20)];
            (all == [own(["down1", "up0"]), own(["down2", "up9"])]).then_some(())
        });

        for group in ["239.1.2.3", "ff15::1:2:3"].map(ip) {
            let far_source = ip(if group.is_ipv4() { "10.0.9.2" } else { "fd00:0:0:9::2" });
            let mut receivers =
                [0, 1].map(|n| Receiver::join(&network.receivers[n], "eth0", group));
            for link in &mut links {
                wait_for("each upstream is asked", || link.find(|s| s.has(record::TO_EX, group)));
            }
            Sender::new(&network.source, "eth0", source(group, 2), group).send(4);
            Sender::new(&far, "eth0", far_source, group).counting_from(100).send(4);
            let [one, two] = &mut receivers;
            wait_for("data of the first", || (one.got() == [0, 1, 2, 3]).then_some(()));
            wait_for("data of the second", || (two.got() == [100, 101, 102, 103]).then_some(()));
            assert_eq!((one.got().len(), two.got().len()), (4, 4));
            let known = |daemon: &Daemon<'_>, name: &str| {
                let rows = daemon.rows("groups", |row| row["group"] == group.to_string());
                rows.len() == 1 && rows[0]["interface"] == name
            };
            assert!(known(&ten, "down1") && known(&twenty, "down2"));
        }

        assert!(ten.stop().success(), "{}", ten.log());
        assert_eq!(rules(&network.router, 10), [Vec::<String>::new(), Vec::new()]);
        assert_eq!(rules(&network.router, 20), own(["down2", "up9"]));
        assert!(twenty.stop().success(), "{}", twenty.log());
        assert_eq!(rules(&network.router, 20), [Vec::<String>::new(), Vec::new()]);
    });
}

/// A rule goes by name: an interface that gets another one, by a pattern, has another rule.
#[test]
fn rules_follow_a_renamed_interface() {
    live(|| {
        let network = Network::new();
        let text =
            format!("{FAST}interface up0 {{ upstream }}\ninterface \"down*\" {{ downstream }}\n");
        let _daemon = Daemon::start_as(&network.router, "ten", &["-t", "10"], &text);
        let mut receivers = ["239.1.2.3", "ff15::1:2:3"]
            .map(ip)
            .map(|group| (group, Receiver::join(&network.receivers[1], "eth0", group)));
        for (from, to) in [("down2", "down3"), ("down3", "down2")] {
            network.router.down(from);
            network.router.rename(from, to);
            network.router.up(to);
            let all = ["down1", to, "up0"].map(str::to_owned).to_vec();
            wait_for("rules by the new name", || {
                (rules(&network.router, 10) == [all.clone(), all.clone()]).then_some(())
            });
            for (group, receiver) in &mut receivers {
                receiver.clear();
                let mut sender = Sender::new(&network.source, "eth0", source(*group, 2), *group);
                wait_for("data", || {
                    sender.send(1);
                    (!receiver.got().is_empty()).then_some(())
                });
            }
        }
    });
}

/// Two daemons with tables of their own name one interface, whose packets go to one table only: the
/// daemon that gets none says so, once.
#[test]
fn shared_interface_is_told_of() {
    live(|| {
        let network = Network::new();
        let text = |down: &str| {
            format!("{FAST}interface up0 {{ upstream }}\ninterface {down} {{ downstream }}\n")
        };
        let start = |name: &str, table, down| {
            Daemon::start_as(&network.router, name, &["-t", table], &text(down))
        };
        let ten = start("ten", "10", "down1");
        wait_for("its rules", || {
            (rules(&network.router, 10).iter().all(|names| names.len() == 2)).then_some(())
        });
        let twenty = start("twenty", "20", "down2");
        let line = "what arrives on up0 goes to table 10 by a rule before ours";
        wait_for("both families are told of", || {
            (twenty.log().matches(line).count() == 2).then_some(())
        });
        twenty.settle();
        assert_eq!(twenty.log().matches(line).count(), 2, "{}", twenty.log());
        assert!(!ten.log().contains("by a rule before ours"), "{}", ten.log());
    });
}

/// A rule that was there before is used, and stays at the end.
#[test]
fn rules_of_others_are_left() {
    live(|| {
        let network = Network::new();
        for family in ["-4", "-6"] {
            let add = [family, "mrule", "add", "iif", "up0", "lookup", "10"];
            assert!(
                network.router.run(|| Command::new("ip").args(add).status()).expect("ip").success()
            );
        }
        let text =
            format!("{FAST}interface up0 {{ upstream }}\ninterface down1 {{ downstream }}\n");
        let mut daemon = Daemon::start_as(&network.router, "ten", &["-t", "10"], &text);
        let both = ["down1", "up0"].map(str::to_owned).to_vec();
        wait_for("one rule each", || {
            (rules(&network.router, 10) == [both.clone(), both.clone()]).then_some(())
        });
        assert!(daemon.stop().success(), "{}", daemon.log());
        let left = vec!["up0".to_owned()];
        assert_eq!(rules(&network.router, 10), [left.clone(), left]);
    });
}

/// A daemon that is killed leaves its rules; the next one says so and removes them at its end.
#[test]
fn rules_of_a_dead_daemon_are_taken_over() {
    live(|| {
        let network = Network::new();
        let text =
            format!("{FAST}interface up0 {{ upstream }}\ninterface down1 {{ downstream }}\n");
        let start = || Daemon::start_as(&network.router, "ten", &["-t", "10"], &text);
        let both = ["down1", "up0"].map(str::to_owned).to_vec();
        let all = || rules(&network.router, 10) == [both.clone(), both.clone()];
        let mut dead = start();
        wait_for("the rules", || all().then_some(()));
        dead.signal(Signal::SIGKILL);
        dead.ended();
        assert!(all());
        let mut daemon = start();
        wait_for("all are told of", || {
            let told = daemon.log().matches(" left by a daemon that did not end in order").count();
            (told == 4).then_some(())
        });
        assert!(daemon.stop().success(), "{}", daemon.log());
        assert_eq!(rules(&network.router, 10), [Vec::<String>::new(), Vec::new()]);
    });
}
