//! Orders of mcast-proxyctl about static routes, in any order and under traffic.

use std::io::Write;
use std::process::{Output, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::net::daemon::program;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{ip, live, wait_for};
use crate::statics::Lab;

/// Overlapping routes of a family, the longest match first, and whether each sends to the first and
/// to the second downstream. `{group}` and `{net}` are a group and a network around it.
const OVERLAPPING: [(&str, [bool; 2]); 5] = [
    ("{two} {group}", [true, true]),
    ("except {three} {group}", [false, true]),
    ("{group}", [true, false]),
    ("{all} {net}", [false, true]),
    ("{net}", [true, false]),
];

/// Numbers that look random, the same each time: Lehmer's generator.
fn chance(state: &mut u64) -> usize {
    *state = *state * 48271 % 0x7fff_ffff;
    usize::try_from(*state).expect("31 bits")
}

/// What is added and removed in any order leaves the longest match of what is there in force, also
/// for flows that were there before.
#[test]
fn the_longest_match_wins_whatever_came_first() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(&network, "");
        let families = [
            ("225.1.2.3", "225.1.2.0/24", "10.0.0.2", "10.0.0.3", "10.0.0.0/29"),
            ("ff2e::3", "ff2e::/64", "fd00::2", "fd00::3", "fd00::/125"),
        ];
        let mut state = 20_260_101;
        for (group, net, two, three, all) in families {
            let words = |text: &str| {
                text.replace("{group}", group)
                    .replace("{net}", net)
                    .replace("{two}", two)
                    .replace("{three}", three)
                    .replace("{all}", all)
            };
            let mut there = [false; OVERLAPPING.len()];
            for _ in 0..30 {
                let n = chance(&mut state) % OVERLAPPING.len();
                let (flows, to) = OVERLAPPING[n];
                let verb = if there[n] { "remove" } else { "add" };
                let line = format!("{verb} up0 {}", words(flows));
                let outputs = ["down1", "down2"].into_iter().zip(to).filter(|(_, is)| *is);
                let line = line.split(' ').chain(outputs.map(|(name, _)| name));
                lab.daemon.order(&line.collect::<Vec<_>>());
                there[n] = !there[n];
                for host in [2, 3, 4] {
                    let takes = |n: &usize| match n {
                        0 => host == 2,
                        1 => host != 3,
                        _ => true,
                    };
                    let best = (0..there.len()).filter(|n| there[*n]).find(takes);
                    let wanted = best.map_or([false; 2], |n| OVERLAPPING[n].1);
                    lab.check(ip(group), host, wanted);
                }
            }
        }
    });
}

/// Runs mcast-proxyctl -b with these lines.
fn batch(network: &Network, lines: &str) -> Output {
    network.router.run(|| {
        let mut ctl = program("mcast-proxyctl");
        ctl.arg("-b").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = ctl.spawn().expect("mcast-proxyctl");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(lines.as_bytes()).expect("it reads");
        drop(input);
        child.wait_with_output().expect("mcast-proxyctl")
    })
}

/// Commands from standard input are done one after the other; one that is refused is told with its
/// line, and the others are done all the same.
#[test]
fn commands_from_standard_input() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(&network, "");
        let done = batch(
            &network,
            "# both families\n\nadd up0 10.0.0.2 225.1.2.3 down1\n  add up0 ff2e::/64 down2\n\
             join up0 225.1.2.3\nremove up0 10.0.0.2 225.1.2.3\nadd up0 225.1.2.3 down1",
        );
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        lab.check(ip("225.1.2.3"), 3, [true, false]);
        lab.check(ip("ff2e::7"), 2, [false, true]);

        let done = batch(&network, "nonsense\nadd up0 224.0.0.5 down1\nadd up0 225.1.2.4 down2\n");
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(said.contains("line 1: unknown command 'nonsense'"), "{said}");
        assert!(said.contains("line 2: 224.0.0.5 is link-local: never forwarded"), "{said}");
        lab.check(ip("225.1.2.4"), 2, [false, true]);
    });
}

/// While the parent hangs, which counts, the routes are told with the counts of before.
#[test]
fn routes_are_told_although_nobody_counts() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(&network, "mroute from up0 group 225.1.2.3 to down1\n");
        let group = ip("225.1.2.3");
        lab.check(group, 2, [true, false]);
        assert_eq!(lab.wait_state(group, "forwarding")["packets"], 4);
        lab.daemon.signal(Signal::SIGSTOP);
        Sender::new(&network.source, "eth0", source(group, 2), group).send(4);
        wait_for("more is forwarded", || (network.carried(group, "down1").1 == 8).then_some(()));
        assert_eq!(lab.wait_state(group, "forwarding")["packets"], 4);
        lab.daemon.signal(Signal::SIGCONT);
        wait_for("all are counted", || {
            (lab.wait_state(group, "forwarding")["packets"] == 8).then_some(())
        });
    });
}

/// Routes are forgotten again and again, and a rule comes and goes, while known and unknown flows
/// arrive: a static flow loses nothing, nothing goes where no rule sends it, and what flows is
/// learned at last.
#[test]
fn flushes_under_traffic() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down1
             mroute from up0 group 225.2.0.0/16 to down1
             mroute from up0 source fd00::2 group ff2e::3 to down1
             mroute from up0 group ff2e:2::/32 to down1
            ",
        );
        let fixed = ["225.1.2.3", "ff2e::3"].map(ip);
        let learned = ["225.2.0.1", "225.2.0.2", "ff2e:2::1", "ff2e:2::2"].map(ip);
        let unknown = ["225.9.0.1", "225.9.0.2", "ff2e:9::1", "ff2e:9::2"].map(ip);
        let mut receivers = fixed.map(|g| Receiver::join(&network.receivers[0], "eth0", g));
        let others: Vec<_> = learned.iter().chain(&unknown).copied().collect();
        let strays = others.iter().map(|g| Receiver::join(&network.receivers[1], "eth0", *g));
        let mut strays: Vec<_> = strays.collect();
        let flow = |g, rate| Sender::new(&network.source, "eth0", source(g, 2), g).flow(rate);
        let flows = fixed.map(|g| flow(g, 1000));
        let noise: Vec<_> = others.iter().map(|g| flow(*g, 500)).collect();
        for group in learned {
            lab.wait_state(group, "forwarding");
        }
        for _ in 0..20 {
            lab.daemon.order(&["flush"]);
            lab.daemon.order(&["add", "up0", "225.9.0.0/24", "down1"]);
            lab.daemon.order(&["flush", "225.9.0.1"]);
            lab.daemon.order(&["remove", "up0", "225.9.0.0/24"]);
        }
        for group in learned {
            lab.wait_state(group, "forwarding");
        }
        for group in unknown {
            let row = lab.wait_state(group, "dropping");
            assert_eq!(row["reason"], "no mroute from up0");
        }
        for (flow, receiver) in flows.into_iter().zip(&mut receivers) {
            let end = flow.stop().sent();
            wait_for("the last datagram", || {
                (receiver.got().last() == Some(&(end - 1))).then_some(())
            });
            assert_eq!(receiver.got(), (0..end).collect::<Vec<_>>());
        }
        drop(noise);
        assert!(strays.iter_mut().all(|r| r.got().is_empty()));
        let waits = |row: &Value| row["state"] == "waiting";
        assert_eq!(lab.daemon.rows("routes", waits).len(), 2);
    });
}
