//! One source and group on two interfaces.

use std::net::IpAddr;

use netlink_packet_route::link::InfoBridge;
use serde_json::Value;

use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{Host, ip, live, wait_for};
use crate::protocol::Shared;

/// Where the numbers of the second sender begin.
const SECOND: u64 = 1 << 32;

fn policy(name: &str) -> String {
    let routes: String = ["225.1.2.0/24", "ff2e::/64"]
        .iter()
        .flat_map(|net| {
            ["up0", "down2"].map(|from| format!("mroute from {from} group {net} to down1\n"))
        })
        .collect();
    format!(
        "ipv6 yes\nuser nobody\ninterface up0 {{ }}\ninterface down1 {{ }}\n\
         interface down2 {{ wrongvif {name} }}\n{routes}"
    )
}

/// The interface that the route of the flow takes its packets from.
fn incoming(daemon: &Daemon, from: IpAddr, group: IpAddr) -> Value {
    let is = |row: &Value| row["source"] == from.to_string() && row["group"] == group.to_string();
    daemon.rows("routes", is).pop().map(|row| row["incoming-interface"].clone()).unwrap_or_default()
}

/// The same flow from two links: the first one is forwarded, whole, whatever comes in by the other;
/// that is told or not, and followed or not, as `wrongvif` says.
fn policies(group: &str) {
    let (group, network) = (ip(group), Network::new());
    let from = source(group, 2);
    network.receivers[1]
        .address("eth0", &format!("{from}/{}", if group.is_ipv4() { 32 } else { 128 }));
    let daemon = Daemon::start(&network.router, &policy("ignore"));
    network.wait_vifs(&["up0", "down1", "down2"]);
    let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
    let right = Sender::new(&network.source, "eth0", from, group).flow(200);
    wait_for("the flow arrives", || (!receiver.got().is_empty()).then_some(()));
    let wrong =
        Sender::new(&network.receivers[1], "eth0", from, group).counting_from(SECOND).flow(200);
    wait_for("strays come in", || (network.strayed(group) > 20).then_some(()));
    let line = format!("{from} to {group} arrived on down2, its route is from up0");
    assert_eq!(incoming(&daemon, from, group), "up0");
    assert!(!daemon.log().contains(&line));

    daemon.rewrite(&policy("log"));
    daemon.order(&["reload"]);
    wait_for("it is logged", || daemon.log().contains(&line).then_some(()));
    assert_eq!(incoming(&daemon, from, group), "up0");

    daemon.rewrite(&policy("follow"));
    daemon.order(&["reload"]);
    let strays = network.strayed(group);
    wait_for("more strays come in", || (network.strayed(group) > strays + 200).then_some(()));
    assert_eq!(incoming(&daemon, from, group), "up0");
    let end = right.stop().sent();
    wait_for("the route follows its source", || {
        receiver.got().last().is_some_and(|n| *n >= SECOND).then_some(())
    });
    assert_eq!(incoming(&daemon, from, group), "down2");
    let moves = daemon.rows("events", |row| row["event"] == "move");
    assert_eq!(moves.len(), 1, "{moves:?}");
    drop(wrong);

    // Of the first flow nothing is missing.
    let first = receiver.got()[0];
    let got: Vec<u64> = receiver.got().iter().copied().take_while(|n| *n < SECOND).collect();
    assert_eq!(got, (first..end).collect::<Vec<_>>());
}

#[test]
fn wrong_interface_policies_ipv4() {
    live(|| policies("225.1.2.3"));
}

#[test]
fn wrong_interface_policies_ipv6() {
    live(|| policies("ff2e::3"));
}

/// Two routers send onto one link what their own links bring, and both sources have the same
/// address: each router hears the other's packets there, and its own flow goes on.
#[test]
fn two_routers_on_one_lan() {
    live(|| {
        let net = Shared::new(vec![InfoBridge::MulticastSnooping(false)]);
        let emitter = Host::new();
        net.other.cable("up0", &emitter, "eth0");
        for address in ["10.0.0.2/24", "fd00::2/64"] {
            emitter.address("eth0", address);
        }
        emitter.settle("eth0");
        net.other.settle("up0");
        let text = "ipv6 yes\nuser nobody
mroute from up0 group 225.1.2.3 to down1
mroute from up0 group 225.2.0.0/24 to down1
mroute from up0 group ff2e::3 to down1
mroute from up0 group ff2e:2::/64 to down1
";
        let one = Daemon::start(&net.network.router, text);
        let two = Daemon::start(&net.other, text);
        net.network.wait_vifs(&["up0", "down1"]);
        for group in ["225.1.2.3", "225.2.0.3", "ff2e::3", "ff2e:2::3"].map(ip) {
            let from = source(group, 2);
            let mut receiver = Receiver::join(&net.network.receivers[0], "eth0", group);
            let first = Sender::new(&net.network.source, "eth0", from, group).flow(200);
            wait_for("the first router's flow", || (!receiver.got().is_empty()).then_some(()));
            let second = Sender::new(&emitter, "eth0", from, group).counting_from(SECOND).flow(200);
            // What goes missing while the routers learn of each other's copies is not told.
            wait_for("both flows arrive", || {
                let both = [0, SECOND].map(|from| {
                    receiver.got().iter().filter(|n| (**n >= SECOND) == (from == SECOND)).count()
                });
                both.iter().all(|count| *count > 100).then_some(())
            });
            receiver.clear();
            wait_for("they go on", || (receiver.got().len() > 1000).then_some(()));
            let (low, high): (Vec<u64>, Vec<u64>) =
                receiver.got().iter().partition(|n| **n < SECOND);
            for of in [low, high] {
                let whole = of.windows(2).all(|two| two[0] + 1 == two[1]);
                assert!(whole, "a gap in {of:?}\n{}\n{}", one.show("routes"), two.show("routes"));
            }
            drop((first, second));
        }
    });
}
