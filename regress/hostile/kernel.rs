//! The parent over the kernel's own routing, in a network namespace.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use mcast_proxy::imsg::Order;
use mcast_proxy::kroute::{self, Options};

use super::forged::{forged, route, routing, unsendable};
use super::frames::Attack;
use super::net::{Host, live};
use super::side::Daemon;
use super::{DOWN, INTERFACES, UP};

const FAMILIES: [bool; 2] = [true, true];

/// One test at a time: a program that another one starts has our routing socket until it is
/// executed, so that the next parent would find it taken.
static ALONE: Mutex<()> = Mutex::new(());

/// The interfaces of the other tests, with their numbers; the work is done where they are.
fn with_interfaces(work: impl FnOnce() + Send) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let host = Host::new();
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip(8)");
        assert!(status.success(), "ip {arguments}");
    };
    host.run(|| {
        for (ifindex, name) in INTERFACES {
            ip(&format!("link add {name} index {ifindex} type veth peer name p{ifindex}"));
            ip(&format!("address add 10.0.{ifindex}.1/24 dev {name}"));
            ip(&format!("link set {name} up"));
        }
        work();
    });
}

fn daemon() -> Daemon<()> {
    Daemon::over((), || {
        let options = Options { table: 0, families: FAMILIES };
        (kroute::open(&options).unwrap(), kroute::monitor(&options).unwrap())
    })
}

/// The lines of a table of the kernel, without its heading.
fn table(name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/thread-self/net/{name}")).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

/// No route, and no vif that the configuration does not name.
fn check(what: &str) {
    assert_eq!([table("ip_mr_cache"), table("ip6_mr_cache")].concat(), [""; 0], "{what}");
    for line in [table("ip_mr_vif"), table("ip6_mr_vif")].concat() {
        let name = line.split_whitespace().nth(1).unwrap();
        assert!(["up0", "down0", "four0"].contains(&name), "{what}: {line}");
    }
}

/// A route that makes sense, so that the others are not refused for want of a kernel.
#[test]
fn an_honest_route_reaches_the_kernel() {
    live(|| {
        with_interfaces(|| {
            let daemon = daemon();
            let mut engine = routing(&daemon);
            engine.send(&Order::SetRoute(route(UP, &[(DOWN, 1)])));
            engine.sync();
            assert_eq!(table("ip_mr_cache").len(), 1);
            daemon.stop(engine);
            check("after the end");
        });
    });
}

#[test]
fn no_forged_order_reaches_the_kernel() {
    live(|| {
        with_interfaces(|| {
            let packets = unsendable().into_iter().map(|(name, p)| (name, Order::Transmit(p)));
            for (name, order) in forged().into_iter().chain(packets) {
                let daemon = daemon();
                let mut engine = routing(&daemon);
                engine.send(&order);
                assert!(engine.is_ended(), "{name}");
                let next = daemon.engine();
                check(name);
                daemon.stop(next);
            }
        });
    });
}

#[test]
fn no_random_frame_reaches_the_kernel() {
    live(|| {
        with_interfaces(|| {
            Attack { cases: 20, start: daemon, check: |_| check("random frames") }.run();
        });
    });
}
