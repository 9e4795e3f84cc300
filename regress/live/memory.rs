//! What the processes hold does not grow with what they have done.

use std::fs;

use nix::unistd::Pid;

use crate::net::daemon::Daemon;
use crate::net::socket::Receiver;
use crate::net::topology::{Network, configuration};
use crate::net::{ip, live, wait_for};

/// Rounds until every bounded table, buffer and heap has its size.
const WARM: u32 = 60;
const ROUNDS: u32 = 60;
/// Octets that a process may grow by in them: less than the least thing lost in every step.
const SLACK: u64 = 256 << 10;
const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:2:3"];

/// Octets of memory that are the process's own.
fn own(pid: Pid) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a running process");
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).expect("Anonymous");
    let kib = line.trim().strip_suffix(" kB").expect("KiB");
    kib.parse::<u64>().expect("a number") << 10
}

/// Reloads that add and remove, run-time statements, an interface that is made anew, members and
/// flows that come and go.
fn round(network: &Network, daemon: &Daemon, texts: &[String; 2]) {
    for text in texts.iter().cycle().take(8) {
        daemon.rewrite(text);
        daemon.order(&["reload"]);
    }
    daemon.order(&["add", "up0", "10.9.9.9", "225.1.2.3", "down1"]);
    daemon.order(&["remove", "up0", "10.9.9.9", "225.1.2.3", "down1"]);
    network.router.delete("down2");
    network.link(2, "down2", &network.receivers[1]);
    let members = GROUPS.map(|group| Receiver::join(&network.receivers[1], "eth0", ip(group)));
    let known = |count: usize| {
        wait_for(&format!("{count} groups"), || {
            let is = |row: &serde_json::Value| GROUPS.iter().any(|group| row["group"] == *group);
            (daemon.rows("groups", is).len() == count).then_some(())
        });
    };
    known(2);
    drop(members);
    known(0);
}

#[test]
fn reloads_and_interface_changes_leak_nothing() {
    live(|| {
        let network = Network::new();
        let text = configuration("source any")
            .replace("{ downstream }", "{ downstream; fast-leave immediate }");
        let more = format!(
            "{text}interface \"late*\" {{ downstream; static-group 239.7.0.0/24 }}
mroute from up0 group 225.7.0.0/16 to down1 down2
mgroup from late0 group 225.7.7.7\n"
        )
        .replace("late0", "extra0");
        let daemon = Daemon::start(&network.router, &text);
        network.wait_vifs(&["up0", "down1", "down2"]);
        let texts = [more, text];
        let processes = [daemon.pid(), daemon.engine()];
        for _ in 0..WARM {
            round(&network, &daemon, &texts);
        }
        let before = processes.map(own);
        for _ in 0..ROUNDS {
            round(&network, &daemon, &texts);
        }
        let after = processes.map(own);
        println!("parent and engine, octets: {before:?}, {ROUNDS} rounds later {after:?}");
        assert_eq!(processes[1], daemon.engine(), "the engine was replaced");
        for (before, after) in before.iter().zip(after) {
            assert!(after <= before + SLACK, "{before} to {after} octets");
        }
    });
}
