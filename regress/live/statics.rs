//! Static routes, from the file and from mcast-proxyctl, with packets that the kernel forwards.

use std::net::IpAddr;

use serde_json::Value;

use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{ip, live, wait_for};

/// The router's interfaces, without a part in any protocol.
pub(crate) const BARE: &str = "ipv6 yes
user nobody
interface up0 { }
interface down1 { }
interface down2 { }
";

/// Datagrams of a look at a flow: as many as the kernel keeps of one without a route.
const COUNT: u64 = 4;

/// A router with static routes.
pub(crate) struct Lab<'a> {
    pub(crate) network: &'a Network,
    pub(crate) daemon: Daemon<'a>,
}

impl<'a> Lab<'a> {
    /// Starts the daemon with [`BARE`] and these statements, and waits until all its interfaces
    /// are there.
    pub(crate) fn new(network: &'a Network, statements: &str) -> Self {
        let daemon = Daemon::start(&network.router, &format!("{BARE}{statements}"));
        Self::of(network, daemon, &["up0", "down1", "down2"])
    }

    /// Waits until these interfaces of the daemon are vifs, and in its routes.
    pub(crate) fn of(network: &'a Network, daemon: Daemon<'a>, interfaces: &[&str]) -> Self {
        network.wait_vifs(interfaces);
        let lab = Self { network, daemon };
        lab.settle();
        lab
    }

    /// The routes of the group, with a source or without.
    pub(crate) fn routes(&self, group: IpAddr) -> Vec<Value> {
        self.daemon.rows("routes", |row| row["group"] == group.to_string())
    }

    /// Waits until a route of the group is in this state.
    pub(crate) fn wait_state(&self, group: IpAddr, state: &str) -> Value {
        wait_for(&format!("{group} is {state}"), || {
            self.routes(group).into_iter().find(|row| row["state"] == state)
        })
    }

    /// Waits until nothing is known of the group.
    fn wait_unknown(&self, group: IpAddr) {
        wait_for("no route is left", || self.routes(group).is_empty().then_some(()));
    }

    /// The parent answers in order: with this refusal, all that came before is done.
    pub(crate) fn settle(&self) {
        let refused = self.daemon.ctl(&["remove", "up0", "225.255.255.255", "down1"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    }

    /// A flow from host 2, 3 or 4 of the source's link leaves by the downstreams that are wanted,
    /// whole, and by no other; where by none, it has a drop entry.
    pub(crate) fn check(&self, group: IpAddr, host: u8, wanted: [bool; 2]) {
        self.settle();
        let from = source(group, host);
        let mut sender = Sender::new(&self.network.source, "eth0", from, group);
        let out = || ["down1", "down2"].map(|name| self.network.carried(group, name).1);
        let (before, (arrived, _)) = (out(), self.network.carried(group, "up0"));
        sender.send(COUNT);
        wait_for("the router takes them in", || {
            (self.network.carried(group, "up0").0 == arrived + COUNT).then_some(())
        });
        let goal = [0, 1].map(|n| before[n] + if wanted[n] { COUNT } else { 0 });
        if wanted == [false; 2] {
            let is = |row: &Value| {
                (row["group"] == group.to_string() && row["state"] == "dropping")
                    && row["source"] == from.to_string()
            };
            wait_for("a drop entry", || self.daemon.rows("routes", is).pop());
            assert_eq!(out(), goal, "({from}, {group}) leaves");
        } else {
            let what = format!("({from}, {group}) leaves by {wanted:?}");
            wait_for(&what, || (out() == goal).then_some(()));
        }
    }
}

const ONE: [bool; 2] = [true, false];
const TWO: [bool; 2] = [false, true];
const BOTH: [bool; 2] = [true, true];
const NONE: [bool; 2] = [false, false];

/// (S,G) takes its source only, (*,G) any.
fn check_basic(lab: &Lab<'_>) {
    for [exact, any] in [["225.1.2.3", "225.1.2.4"], ["ff2e::3", "ff2e::4"]] {
        lab.wait_state(ip(exact), "forwarding");
        lab.wait_state(ip(any), "forwarding");
        lab.check(ip(exact), 2, BOTH);
        lab.check(ip(exact), 3, NONE);
        for host in [2, 3, 4] {
            lab.check(ip(any), host, ONE);
        }
    }
}

#[test]
fn basic_routes_from_the_file() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down1 down2
             mroute from up0 group 225.1.2.4 to down1
             mroute from up0 source fd00::2 group ff2e::3 to down1 down2
             mroute from up0 group ff2e::4 to down1
            ",
        );
        check_basic(&lab);
    });
}

#[test]
fn basic_routes_from_the_control_tool() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(&network, "");
        for group in ["225.1.2.3", "ff2e::3"] {
            let exact = source(ip(group), 2).to_string();
            let any = ip(&group.replace(".3", ".4").replace(":3", ":4"));
            lab.daemon.order(&["add", "up0", &exact, group, "down1", "down2"]);
            lab.daemon.order(&["add", "up0", &any.to_string(), "down1"]);
        }
        check_basic(&lab);
        for group in ["225.1.2.3", "ff2e::3"].map(ip) {
            let exact = source(group, 2).to_string();
            lab.daemon.order(&["remove", "up0", &exact, &group.to_string(), "down1", "down2"]);
            lab.check(group, 2, NONE);
            let again = lab.daemon.ctl(&["remove", "up0", &exact, &group.to_string(), "down1"]);
            assert_eq!(again.status.code(), Some(1), "{again:?}");
        }
    });
}

/// Prefixes of sources, of groups and of both; the longest group wins, then the longest source.
#[test]
fn prefixes_of_sources_and_groups() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 source 10.0.0.2/31 group 225.1.2.3 to down1
             mroute from up0 group 225.2.0.0/16 to down2
             mroute from up0 group 225.2.7.0/24 to down1
             mroute from up0 source 10.0.0.4 group 225.2.7.0/24 to down1 down2
             mroute from up0 source 10.0.0.4/30 group 225.3.0.0/24 to down1 down2
             mroute from up0 except 10.0.0.4/32,10.9.0.0/16 group 225.4.4.4 to down1
             mroute from up0 source fd00::2/127 group ff2e::3 to down1
             mroute from up0 group ff2e:2::/32 to down2
             mroute from up0 group ff2e:2:7::/48 to down1
             mroute from up0 source fd00::4 group ff2e:2:7::/48 to down1 down2
             mroute from up0 source fd00::4/126 group ff2e:3::/64 to down1 down2
             mroute from up0 except fd00::4/128,fd09::/16 group ff2e:4::4 to down1
            ",
        );
        let groups = [
            ["225.1.2.3", "225.2.200.1", "225.2.7.9", "225.3.0.77", "225.4.4.4", "225.3.1.77"],
            ["ff2e::3", "ff2e:2::1", "ff2e:2:7::9", "ff2e:3::77", "ff2e:4::4", "ff2e:3:0:1::77"],
        ];
        for [sources, wide, narrow, both, except, outside] in groups.map(|all| all.map(ip)) {
            for host in [2, 3] {
                lab.check(sources, host, ONE);
                lab.check(wide, host, TWO);
                lab.check(narrow, host, ONE);
                lab.check(both, host, NONE);
                lab.check(except, host, ONE);
            }
            lab.check(sources, 4, NONE);
            lab.check(narrow, 4, BOTH);
            lab.check(both, 4, BOTH);
            lab.check(except, 4, NONE);
            lab.check(outside, 4, NONE);
        }
    });
}

/// IPv6 routes by scope: a mask with bit n for scope n, and names of RFC 7346.
#[test]
fn scopes_of_groups() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 source :: group :: to 0x20 down1
             mroute from up0 scope organization-local.. to down2
            ",
        );
        let waits = |row: &Value| row["state"] == "waiting";
        let groups = lab.daemon.rows("routes", waits).into_iter().map(|row| row["group"].clone());
        let named = ["scope site-local", "scope organization-local.."];
        assert_eq!(groups.collect::<Vec<_>>(), named);
        for (group, wanted) in
            [("ff15::1", ONE), ("ff18::1", TWO), ("ff1e::1", TWO), ("ff14::1", NONE)]
        {
            lab.check(ip(group), 2, wanted);
        }
    });
}

/// What no rule wants becomes a drop entry, a route when a rule comes, and a drop entry again when
/// that goes.
#[test]
fn unknown_flows_become_routes_and_back() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(&network, "");
        for (group, net, other) in
            [("225.1.2.3", "225.1.2.0/29", "225.1.2.6"), ("ff2e::3", "ff2e::/125", "ff2e::6")]
        {
            let (group, other) = (ip(group), ip(other));
            lab.check(group, 2, NONE);
            let exact = source(group, 2).to_string();
            lab.daemon.order(&["add", "up0", &exact, &group.to_string(), "down1"]);
            lab.check(group, 2, ONE);
            lab.check(group, 3, NONE);
            lab.check(other, 2, NONE);

            lab.daemon.order(&["add", "up0", net, "down1"]);
            for (group, host) in [(group, 2), (group, 3), (other, 2)] {
                lab.check(group, host, ONE);
            }
            lab.daemon.order(&["remove", "up0", net, "down1"]);
            lab.check(group, 2, ONE);
            lab.check(group, 3, NONE);
            lab.check(other, 2, NONE);
        }
    });
}

/// A learned route goes when nothing came for `route-timeout`; one of an exact statement stays.
#[test]
fn idle_routes_expire() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "route-timeout 1s
             mroute from up0 group 225.1.2.0/24 to down1
             mroute from up0 source 10.0.0.2 group 225.9.9.9 to down1
             mroute from up0 group ff2e::/64 to down1
             mroute from up0 source fd00::2 group ff2e:9::9 to down1
            ",
        );
        for (group, fixed) in [("225.1.2.3", "225.9.9.9"), ("ff2e::3", "ff2e:9::9")] {
            let (group, fixed) = (ip(group), ip(fixed));
            lab.check(group, 2, ONE);
            lab.wait_unknown(group);
            lab.check(fixed, 2, ONE);
            lab.check(group, 2, ONE);
        }
    });
}

/// What `show routes` and `explain` count is what the kernel counts then, of every kind of route.
#[test]
fn counts_are_those_of_the_kernel() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down1
             mroute from up0 group 225.1.2.4 to down1
             mroute from up0 group 225.2.0.0/16 to down1
             mroute from up0 source fd00::2 group ff2e::3 to down1
             mroute from up0 group ff2e::4 to down1
             mroute from up0 group ff2e:2::/32 to down1
            ",
        );
        let groups =
            ["225.1.2.3", "225.1.2.4", "225.2.0.5", "ff2e::3", "ff2e::4", "ff2e:2::5"].map(ip);
        for sent in [COUNT, 2 * COUNT, 3 * COUNT] {
            for group in groups {
                lab.check(group, 2, ONE);
                let row = lab.wait_state(group, "forwarding");
                assert_eq!(row["packets"], sent, "{row}");
                let told = lab.daemon.order(&["explain", &group.to_string()]);
                assert!(told.contains(&format!(", {sent} packets at the last count")), "{told}");
            }
        }
    });
}

/// A second statement for the same source and group adds its outgoing interfaces.
#[test]
fn routes_are_merged_at_run_time() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down1
             mroute from up0 group ff2e::3 to down1
            ",
        );
        for (group, from) in [("225.1.2.3", "10.0.0.2"), ("ff2e::3", "::")] {
            lab.check(ip(group), 2, ONE);
            lab.daemon.order(&["add", "up0", from, group, "down2"]);
            lab.check(ip(group), 2, BOTH);
            lab.daemon.order(&["remove", "up0", from, group, "down1"]);
            lab.check(ip(group), 2, TWO);
        }
        let printed = lab.daemon.order(&["show", "config"]);
        for line in [
            "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down2",
            "mroute from up0 group ff2e::3 to down2",
        ] {
            assert!(printed.lines().any(|l| l == line), "{line} in {printed}");
        }
    });
}

/// A route that waits for its interface keeps its prefix length, and starts when it comes.
#[test]
fn waiting_routes_keep_their_prefix() {
    live(|| {
        let network = Network::new();
        network.router.delete("down1");
        let text = format!(
            "{BARE}mroute from up0 group 225.1.2.0/24 to down1
             mroute from up0 source fd00::2/127 group ff2e::/64 to down1
             mroute from up0 source 10.0.0.2 group 225.7.8.9 to down1
            "
        );
        let daemon = Daemon::start(&network.router, &text);
        for group in ["225.1.2.0/24", "ff2e::/64", "225.7.8.9"] {
            let row = daemon.rows("routes", |row| row["group"] == group).pop();
            let row = row.unwrap_or_else(|| panic!("{group}: {}", daemon.show("routes")));
            assert_eq!(row["state"], "waiting");
            assert_eq!(row["reason"], "absent or down: down1");
        }
        network.router.cable("down1", &network.receivers[0], "eth0");
        let lab = Lab::of(&network, daemon, &["up0", "down1", "down2"]);
        lab.wait_state(ip("225.7.8.9"), "forwarding");
        lab.check(ip("225.7.8.9"), 2, ONE);
        for (inside, outside) in [("225.1.2.200", "225.1.3.200"), ("ff2e::200", "ff2e:0:0:1::200")]
        {
            lab.check(ip(inside), 2, ONE);
            lab.check(ip(outside), 2, NONE);
        }
        lab.check(ip("ff2e::200"), 4, NONE);
    });
}

/// One flush forgets every learned route at once; they are learned again.
#[test]
fn flush_works_the_first_time() {
    live(|| {
        let network = Network::new();
        let lab = Lab::new(
            &network,
            "mroute from up0 group 225.1.2.0/24 to down1\nmroute from up0 group ff2e::/64 to down1\n",
        );
        let flows = ["225.1.2.3", "225.1.2.4", "225.9.9.9", "ff2e::3", "ff2e::4", "ff2e:9::9"];
        let learned = || {
            let known = |row: &Value| flows.iter().any(|group| row["group"] == *group);
            lab.daemon.rows("routes", known).len()
        };
        let kernel = || {
            let rows = |file| network.router.proc_net(file).lines().count() - 1;
            rows("ip_mr_cache") + rows("ip6_mr_cache")
        };
        let wanted = |group: &str| if group.contains('9') { NONE } else { ONE };
        for group in flows {
            lab.check(ip(group), 2, wanted(group));
        }
        assert_eq!((learned(), kernel()), (6, 6));
        lab.daemon.order(&["flush", "225.1.2.3", "10.0.0.2"]);
        assert_eq!((learned(), kernel()), (5, 5));
        lab.daemon.order(&["flush"]);
        assert_eq!((learned(), kernel()), (0, 0));
        for group in flows {
            lab.check(ip(group), 2, wanted(group));
        }
    });
}

/// Patterns on both sides: each incoming interface forwards to every outgoing one but itself, those
/// that come later as well.
#[test]
fn patterns_of_interfaces() {
    live(|| {
        let network = Network::new();
        let text = "ipv6 yes\nuser nobody
interface \"up*\" { }
interface \"down+\" { }
mroute from \"up*\" group 225.1.2.0/24 to \"down+\"
mroute from \"up*\" group 225.9.9.9 to \"down+\"
mroute from \"up*\" group ff2e::/64 to \"down+\"
mroute from \"up*\" group ff2e:9::9 to \"down+\"
";
        network.router.delete("down2");
        let daemon = Daemon::start(&network.router, text);
        let lab = Lab::of(&network, daemon, &["up0", "down1"]);
        let groups = ["225.1.2.3", "225.9.9.9", "ff2e::3", "ff2e:9::9"].map(ip);
        let mut first = groups.map(|g| Receiver::join(&network.receivers[0], "eth0", g));
        let mut senders = groups.map(|g| Sender::new(&network.source, "eth0", source(g, 2), g));
        for (sender, receiver) in senders.iter_mut().zip(&mut first) {
            sender.send(4);
            wait_for("data by the first", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
        }
        network.link(2, "down2", &network.receivers[1]);
        network.wait_vifs(&["down2"]);
        for group in groups {
            wait_for("two outputs", || {
                let both = |row: &Value| row["outgoing-interfaces"].as_array()?.get(1).cloned();
                lab.routes(group).iter().find_map(both)
            });
            lab.check(group, 2, BOTH);
        }
    });
}

/// A pattern for all interfaces leaves the loopback out, which is taken by its name.
#[test]
fn loopback_is_taken_by_its_name_only() {
    live(|| {
        let network = Network::new();
        let text = "ipv6 yes\nuser nobody\ninterface \"*\" { }
mroute from \"*\" group 225.1.2.3 to \"*\"\nmroute from \"*\" group ff2e::3 to \"*\"\n";
        let daemon = Daemon::start(&network.router, text);
        let daemon = Lab::of(&network, daemon, &["up0", "down1", "down2"]).daemon;
        let names = || {
            let rows = daemon.rows("interfaces", |_| true);
            rows.iter().map(|row| row["interface"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(), ["up0", "down1", "down2"]);
        for group in ["225.1.2.3", "ff2e::3"].map(ip) {
            let mut sender = Sender::new(&network.source, "eth0", source(group, 2), group);
            assert_eq!(network.forwarded(&mut sender, group, 4), [4, 4]);
            let row = daemon.rows("routes", |row| row["group"] == group.to_string()).remove(0);
            assert_eq!(row["packets"], 4, "{row}");
        }
        daemon.rewrite(&format!("{text}interface lo {{ }}\n"));
        daemon.order(&["reload"]);
        wait_for("the loopback is there", || names().contains(&"lo".into()).then_some(()));
        daemon.rewrite(text);
        daemon.order(&["reload"]);
        wait_for("it is gone", || (!names().contains(&"lo".into())).then_some(()));
    });
}

/// IPv4 packets leave with a TTL greater than the threshold only; a reload changes it.
#[test]
fn thresholds_of_outputs() {
    live(|| {
        let network = Network::new();
        let text = |threshold: u8| {
            format!(
                "user nobody\ninterface up0 {{ }}\ninterface down1 {{ threshold {threshold} }}\n\
                 interface down2 {{ }}\nmroute from up0 group 225.1.2.3 to down1 down2\n"
            )
        };
        let daemon = Daemon::start(&network.router, &text(5));
        let lab = Lab { network: &network, daemon };
        let group = ip("225.1.2.3");
        let route = |threshold: u8| {
            wait_for("the route", || {
                let row = lab.daemon.rows("routes", |row| row["state"] == "forwarding").pop()?;
                let outputs = row["outgoing-interfaces"].as_array()?;
                (outputs.len() == 2 && outputs[0]["threshold"] == threshold).then_some(())
            });
            lab.settle();
        };
        route(5);
        let out = |ttl| {
            let from = source(group, 2);
            let mut sender = Sender::with_ttl(&network.source, "eth0", from, group, ttl);
            network.forwarded(&mut sender, group, 4)
        };
        assert_eq!([out(1), out(2), out(5), out(6)], [[0, 0], [0, 4], [0, 4], [4, 4]]);
        lab.daemon.rewrite(&text(1));
        lab.daemon.order(&["reload"]);
        route(1);
        assert_eq!([out(1), out(2)], [[0, 0], [4, 4]]);
    });
}
