//! The examples do what they say.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{ip, live, wait_for};

/// Starts an example on the router.
fn start(network: &Network, name: &str, arguments: &[&str]) -> Child {
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(|p| p.parent()).unwrap().join("examples").join(name);
    let mut command = Command::new(&path);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let child = network.router.run(|| command.spawn());
    child.unwrap_or_else(|e| panic!("{}: {e} (cargo build --examples)", path.display()))
}

#[test]
fn static_router_forwards_its_group() {
    live(|| {
        let network = Network::new();
        for group in ["239.1.2.3", "ff15::1:2:3"].map(ip) {
            let arguments = ["up0", &group.to_string(), "down1", "down2"];
            let mut router = start(&network, "static_router", &arguments);
            let mut receivers =
                [0, 1].map(|n| Receiver::join(&network.receivers[n], "eth0", group));
            let file = if group.is_ipv4() { "ip_mr_cache" } else { "ip6_mr_cache" };
            wait_for("the route", || {
                (network.router.proc_net(file).lines().count() == 2).then_some(())
            });
            Sender::new(&network.source, "eth0", source(group, 2), group).send(5);
            for receiver in &mut receivers {
                wait_for("the datagrams", || (receiver.got().len() == 5).then_some(()));
            }
            drop(router.stdin.take());
            let mut said = String::new();
            router.stdout.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(router.wait().unwrap().success());
            assert!(said.starts_with(&format!("* {group}: 5 packets, ")), "{said}");
        }
    });
}

#[test]
fn upcalls_are_printed() {
    live(|| {
        let network = Network::new();
        let mut printer = start(&network, "upcalls", &["up0", "down1"]);
        let vifs = || network.router.proc_net("ip6_mr_vif").lines().count();
        wait_for("the vifs", || (vifs() == 3).then_some(()));
        let mut lines = BufReader::new(printer.stdout.take().unwrap()).lines();
        for (family, group) in [("ipv4", ip("239.1.2.3")), ("ipv6", ip("ff15::1:2:3"))] {
            let from = source(group, 2);
            Sender::new(&network.source, "eth0", from, group).send(1);
            let want = format!("{family} no-route up0 {from} {group}");
            assert!(lines.any(|line| line.unwrap() == want));
        }
        drop(printer.stdin.take());
        assert!(printer.wait().unwrap().success());
    });
}
