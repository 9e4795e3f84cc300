//! What another program does to the kernel's table is put right, counted and logged; what it adds is
//! told of, and left.

use std::net::IpAddr;
use std::time::Duration;

use crate::net::daemon::Daemon;
use crate::net::lacking::NO_MRT_ROUTE;
use crate::net::topology::{Network, source};
use crate::net::{ip, live, meddle, wait_for, wait_within};
use crate::statics::{BARE, Lab};

const GROUPS: [&str; 2] = ["225.1.2.3", "ff2e::3"];
/// The tables are compared once a minute; a busy machine may add the rest.
const MINUTE: Duration = Duration::from_secs(90);

/// A static route of the sources 2 and 3 in each family.
const ROUTES: &str = "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down1
mroute from up0 source 10.0.0.3 group 225.1.2.3 to down2
mroute from up0 source fd00::2 group ff2e::3 to down1
mroute from up0 source fd00::3 group ff2e::3 to down2
";

fn lab(network: &Network) -> Lab<'_> {
    let lab = Lab::new(network, ROUTES);
    for group in GROUPS.map(ip) {
        wait_for("both routes", || {
            let rows = lab.routes(group);
            (rows.len() == 2 && rows.iter().all(|r| r["state"] == "forwarding")).then_some(())
        });
    }
    lab.settle();
    lab
}

/// In each family another program deletes one route, makes one its own, and adds a third; of IPv6 it
/// deletes an interface as well.
fn meddle(network: &Network) {
    for group in GROUPS.map(ip) {
        meddle::delete_route(&network.router, source(group, 2), group);
        meddle::add_route(&network.router, source(group, 3), group);
        meddle::add_route(&network.router, source(group, 4), group);
    }
    meddle::delete_mif(&network.router, 1);
}

fn mended(lab: &Lab<'_>) {
    let counts = wait_for("it is counted", || {
        let counts = lab.daemon.show("status")["limits"].clone();
        counts["mended"].is_u64().then_some(counts)
    });
    assert_eq!((&counts["mended"], &counts["foreign-routes"]), (&5.into(), &2.into()));
    for group in GROUPS.map(ip) {
        lab.check(group, 2, [true, false]);
        lab.check(group, 3, [false, true]);
        let added = format!("({}, {group})", source(group, 4));
        assert!(lab.daemon.log().contains(&added), "{added} in {}", lab.daemon.log());
    }
}

/// Whether the log tells that each family was put right.
fn is_told(lab: &Lab<'_>) -> bool {
    let log = lab.daemon.log();
    ["ipv4: ", "ipv6: "].iter().zip(["0 interfaces, 2", "1 interfaces, 2"]).all(|(family, what)| {
        let what = format!("put right: {what} routes");
        log.lines().any(|line| line.contains(family) && line.contains(&what))
    })
}

#[test]
fn reload_mends_the_kernel_table() {
    live(|| {
        let network = Network::new();
        let lab = lab(&network);
        meddle(&network);
        lab.daemon.order(&["reload"]);
        mended(&lab);
        assert!(is_told(&lab), "{}", lab.daemon.log());
    });
}

/// Nothing tells the daemon of it, and no packet makes the kernel ask.
#[test]
fn kernel_table_is_mended_every_minute() {
    live(|| {
        let network = Network::new();
        let lab = lab(&network);
        meddle(&network);
        wait_within(MINUTE, "it is put right", || is_told(&lab).then_some(()));
        let there = |group: IpAddr| {
            let table = if group.is_ipv4() { "ip_mr_cache" } else { "ip6_mr_cache" };
            network.router.proc_net(table)
        };
        let before = GROUPS.map(|group| there(ip(group)));
        mended(&lab);
        // In the table's own notation: group, source, vif.
        assert!(before[0].contains("030201E1 0200000A 0 "), "{}", before[0]);
        assert!(before[1].contains("fd00:0000:0000:0000:0000:0000:0000:0002 0 "), "{}", before[1]);
    });
}

/// The kernel refuses an IPv4 route, which makes the daemon look at its tables.
#[test]
fn kernel_table_is_mended_after_an_error() {
    live(|| {
        let network = Network::new();
        let text = format!("{BARE}mroute from up0 source fd00::2 group ff2e::3 to down1\n");
        let lacking = [NO_MRT_ROUTE];
        let daemon =
            Daemon::spawn_lacking(&network.router, "mcast-proxy", &[], &text, &lacking).serving();
        let (lab, group) = (Lab::of(&network, daemon, &["up0", "down1"]), ip("ff2e::3"));
        lab.wait_state(group, "forwarding");
        meddle::delete_route(&network.router, source(group, 2), group);
        lab.daemon.order(&["add", "up0", "10.0.0.2", "225.1.2.3", "down1"]);
        for line in ["route (10.0.0.2, 225.1.2.3): ", "put right: 0 interfaces, 1 routes"] {
            wait_for(line, || lab.daemon.log().contains(line).then_some(()));
        }
        lab.check(group, 2, [true, false]);
        let refused = lab.routes(ip("225.1.2.3")).pop().expect("the route that was added");
        assert_ne!(refused["state"], "forwarding", "{refused}");
    });
}

/// What a program that has ended left in the table is told of at the start.
#[test]
fn leftovers_are_told_of_at_the_start() {
    live(|| {
        let network = Network::new();
        let mut dead = lab(&network);
        for group in GROUPS.map(ip) {
            meddle::add_route(&network.router, source(group, 4), group);
        }
        assert!(dead.daemon.stop().success());
        let daemon = lab(&network).daemon;
        for group in GROUPS.map(ip) {
            let left = format!("({}, {group})", source(group, 4));
            assert!(daemon.log().contains(&left), "{left} in {}", daemon.log());
        }
        wait_for("they are counted", || {
            (daemon.show("status")["limits"]["foreign-routes"] == 2).then_some(())
        });
    });
}
