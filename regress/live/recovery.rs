//! An engine that dies or hangs, and a parent that dies: what flows goes on flowing.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::load::{Load, groups};
use crate::net::capture::{Capture, record, send_igmp, send_mld};
use crate::net::daemon::Daemon;
use crate::net::socket::{Flow, Receiver, Sender};
use crate::net::topology::{Network, configuration, source};
use crate::net::{ip, live, wait_for, wait_within};

/// A new join works again so soon after an engine's death, and after it began to hang.
const AFTER_DEATH: Duration = Duration::from_secs(1);
const AFTER_HANG: Duration = Duration::from_secs(10);
/// What a busy machine may add.
const ALLOWANCE: Duration = Duration::from_secs(5);

/// A group of its own for each number, of both families in turn.
fn fresh(number: u32) -> IpAddr {
    ip(&match number % 2 {
        0 => format!("239.2.2.{number}"),
        _ => format!("ff15::2:{number}"),
    })
}

fn flow(network: &Network, group: IpAddr) -> Flow {
    Sender::new(&network.source, "eth0", source(group, 2), group).flow(200)
}

/// Waits for an engine that is not `old`.
fn replaced(daemon: &Daemon, old: Pid) {
    wait_for("another engine", || {
        let output = daemon.ctl(&["show", "status", "-j"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        (status["engine-pid"].as_i64()? != i64::from(old.as_raw())).then_some(())
    });
}

/// Every group is told upstream again, and none was left.
fn announced_again(upstream: &mut Capture) {
    for group in groups() {
        wait_for("a report upstream", || {
            upstream.find(|s| s.has(record::TO_EX, group) || s.has(record::IS_EX, group))
        });
        assert_eq!(upstream.find(|s| s.leaves(group)), None);
    }
}

fn forwarding(daemon: &Daemon) -> Vec<Value> {
    daemon.rows("routes", |row| row["state"] == "forwarding")
}

#[test]
fn engine_killed_twenty_times() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut upstream = Capture::new(&network.source, "eth0");
        let mut load = Load::new(&network, 100);
        let mut slowest = Duration::ZERO;
        for round in 1..=20 {
            let group = fresh(round);
            // In half of the rounds the flow is there before and dropped, in the others it is new.
            let before = (round % 4 < 2).then(|| flow(&network, group));
            let engine = daemon.engine();
            upstream.clear();
            kill(engine, Signal::SIGKILL).expect("a running engine");
            let death = Instant::now();
            let _flow = before.unwrap_or_else(|| flow(&network, group));
            let mut receiver = Receiver::join(&network.receivers[1], "eth0", group);
            wait_within(AFTER_DEATH + ALLOWANCE, "a new join works", || {
                (!receiver.got().is_empty()).then_some(())
            });
            slowest = slowest.max(death.elapsed());
            replaced(&daemon, engine);
            load.pass();
            announced_again(&mut upstream);
            let pause = RandomState::new().hash_one(round) % 2000;
            std::thread::sleep(Duration::from_millis(pause));
        }
        assert_eq!(daemon.show("status")["engine-restarts"], 20);
        let (lost, sent) = load.lost();
        println!("20 deaths: {lost} of {sent} datagrams lost, slowest new join {slowest:?}");
        assert_eq!(lost, 0);
        wait_for("what nobody wants is withdrawn", || forwarding(&daemon).is_empty().then_some(()));
    });
}

/// First an engine that serves hangs, then one that has just replaced another: no host has answered
/// it yet.
#[test]
fn engine_hangs() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut upstream = Capture::new(&network.source, "eth0");
        let mut load = Load::new(&network, 100);
        let mut slowest = Duration::ZERO;
        for (numbers, ready) in [([1, 2], None), ([3, 4], Some("engine ready again, restart 2"))] {
            let _flows = numbers.map(|number| flow(&network, fresh(number)));
            upstream.clear();
            let mut engine = daemon.engine();
            if let Some(line) = ready {
                kill(engine, Signal::SIGKILL).expect("a running engine");
                wait_for("the next engine", || daemon.log().contains(line).then_some(()));
                engine = daemon.child().expect("an engine");
            }
            kill(engine, Signal::SIGSTOP).expect("a running engine");
            let begin = Instant::now();
            let join = |number| Receiver::join(&network.receivers[1], "eth0", fresh(number));
            let mut receivers = numbers.map(join);
            wait_within(AFTER_HANG + ALLOWANCE, "new joins work", || {
                receivers.iter_mut().all(|r| !r.got().is_empty()).then_some(())
            });
            slowest = slowest.max(begin.elapsed());
            replaced(&daemon, engine);
            load.pass();
            announced_again(&mut upstream);
        }
        let (lost, sent) = load.lost();
        println!("2 hangs: {lost} of {sent} datagrams lost, slowest new join {slowest:?}");
        assert_eq!(lost, 0);
    });
}

/// Hosts that vanished without a word: their reports are made by hand, so that no kernel answers
/// the queries of the next engine.
#[test]
fn what_nobody_wants_goes_after_the_response_time() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        let four = Ipv4Addr::new(239, 3, 3, 3);
        let six = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 3, 3);
        let _flows = [IpAddr::V4(four), IpAddr::V6(six)].map(|group| flow(&network, group));
        let wanted = Receiver::join(&network.receivers[0], "eth0", ip("239.3.3.4"));
        let _flow = flow(&network, ip("239.3.3.4"));
        let host = &network.receivers[1];
        wait_for("all are forwarded", || {
            // IGMPv2 and MLDv1 reports. RFC 2236, section 2; RFC 2710, section 3.
            let report = [&[0x16, 0, 0, 0][..], &four.octets()].concat();
            send_igmp(host, "eth0", [10, 0, 2, 2].into(), four, &report);
            let report = [&[131, 0, 0, 0, 0, 0, 0, 0][..], &six.octets()].concat();
            send_mld(host, "eth0", Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77), six, &report);
            (forwarding(&daemon).len() == 3).then_some(())
        });
        let engine = daemon.engine();
        kill(engine, Signal::SIGKILL).expect("a running engine");
        let death = Instant::now();
        replaced(&daemon, engine);
        assert_eq!(forwarding(&daemon).len(), 3, "withdrawn before members could answer");
        // The configuration's response time is half a second.
        let left = wait_within(AFTER_DEATH + ALLOWANCE, "the unwanted are withdrawn", || {
            Some(forwarding(&daemon)).filter(|rows| rows.len() < 2)
        });
        println!("unwanted routes were withdrawn {:?} after a death", death.elapsed());
        assert_eq!(left.len(), 1, "what is wanted stays");
        assert_eq!(left[0]["group"], "239.3.3.4");
        drop(wanted);
    });
}

/// Engines that die as soon as they are there, in several ways; then one lives.
#[test]
fn engines_that_crash_again_and_again_are_told_of() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut load = Load::new(&network, 100);
        let causes = [Signal::SIGILL, Signal::SIGKILL, Signal::SIGABRT, Signal::SIGSYS];
        let mut last = None;
        for cause in causes.iter().cycle().take(6) {
            let engine = wait_for("another engine", || daemon.child().filter(|e| Some(*e) != last));
            // Only a process that is the engine already dies of these as one.
            let name = || fs::read_to_string(format!("/proc/{engine}/cmdline")).ok();
            wait_for("it runs", || name().filter(|n| n.contains("--engine")));
            kill(engine, *cause).expect("a running engine");
            last = Some(engine);
        }
        replaced(&daemon, last.expect("six engines"));
        load.pass();
        let (lost, sent) = load.lost();
        println!("6 deaths in a row: {lost} of {sent} datagrams lost");
        assert_eq!(lost, 0);
        let log = daemon.log();
        for cause in [
            "killed by SIGILL",
            "killed by SIGKILL",
            "killed by SIGABRT",
            "killed for a system call that its sandbox does not allow",
            "failure 6 in a row, the next in 400 ms",
        ] {
            assert!(log.contains(cause), "no \"{cause}\"");
        }
        let status = daemon.show("status");
        assert_eq!(status["engine-restarts"], 6);
        let ended = status["engine-ended"].as_str().expect("why the last one ended");
        assert!(ended.contains("failure 6 in a row"), "{ended}");
        let events = daemon.rows("events", |row| row["event"] == "start");
        assert_eq!(events.last().expect("the start of the engine")["reason"], ended);
    });
}

#[test]
fn parent_killed_ends_the_engine_and_cleans_up() {
    live(|| {
        let network = Network::new();
        let mut daemon = Daemon::start(&network.router, &configuration(""));
        let (parent, engine) = (daemon.pid(), daemon.engine());
        let group = ip("239.1.2.3");
        let mut upstream = Capture::new(&network.source, "eth0");
        let _receiver = Receiver::join(&network.receivers[0], "eth0", group);
        wait_for("a report upstream", || upstream.find(|s| s.has(record::TO_EX, group)));
        daemon.signal(Signal::SIGKILL);
        daemon.ended();
        wait_for("the engine ends", || {
            (!fs::exists(format!("/proc/{engine}")).expect("/proc")).then_some(())
        });
        for table in ["ip_mr_vif", "ip6_mr_vif", "ip_mr_cache", "ip6_mr_cache"] {
            let text = network.router.proc_net(table);
            assert_eq!(text.lines().count(), 1, "{table}: {text}");
        }
        let again = Daemon::start(&network.router, &configuration(""));
        let log = again.log();
        assert!(log.contains(&format!("process {parent} did not end in order")), "{log}");
        wait_for("the group is learned again", || {
            again.rows("groups", |row| row["group"] == group.to_string()).pop()
        });
    });
}
