//! Addresses of interfaces come, change and go beneath a running daemon.

use std::net::IpAddr;

use serde_json::Value;

use crate::interfaces::{GROUPS, join, row, wait_data, wait_groups, wait_status};
use crate::net::capture::{Capture, Message, Seen, record, send_igmp};
use crate::net::daemon::Daemon;
use crate::net::topology::{Network, configuration};
use crate::net::{ip, live, wait_for};

/// Waits until a message that `is` such comes from this address.
fn wait_from(link: &mut Capture, from: &str, is: impl Fn(&Message) -> bool) {
    wait_for(&format!("a message of {from}"), || {
        link.find(|s| s.source == ip(from) && is(&s.message))
    });
}

const fn is_query(message: &Message) -> bool {
    matches!(message, Message::Query { .. })
}

/// Queries and reports come from the address that the interface has; without any, IPv4 falls silent
/// and goes on forwarding.
#[test]
fn addresses_change() {
    live(|| {
        let network = Network::new();
        let router = &network.router;
        let [host, _] = &network.receivers;
        let daemon = Daemon::start(router, &configuration("source any"));
        let (mut up, mut down) =
            (Capture::new(&network.source, "eth0"), Capture::new(host, "eth0"));
        wait_from(&mut down, "10.0.1.1", is_query);
        let mut receivers = join(&daemon, host, "down1");
        let group = ip(GROUPS[0]);
        let reports = |message: &Message| match message {
            Message::Records(records) => records.iter().any(|r| r.group == group),
            Message::Query { .. } | Message::Report(_) | Message::Leave(_) | Message::Other(_) => {
                false
            }
        };
        wait_from(&mut up, "10.0.0.1", reports);

        router.address("down1", "10.0.1.9/24");
        router.remove_address("down1", "10.0.1.1/24");
        router.address("down1", "10.0.1.9/24");
        wait_from(&mut down, "10.0.1.9", is_query);
        wait_for("the new address is the querier's", || {
            (row(&daemon, "down1")["ipv4"]["querier-address"] == "10.0.1.9").then_some(())
        });
        router.remove_address("up0", "10.0.0.1/24");
        router.address("up0", "10.0.0.9/24");
        wait_from(&mut up, "10.0.0.9", reports);
        wait_data(&network, &mut receivers);

        router.remove_address("down1", "10.0.1.9/24");
        router.remove_address("up0", "10.0.0.9/24");
        wait_for("no address is left", || {
            let bare = |name| row(&daemon, name)["addresses"].to_string().contains("10.0.");
            (!bare("up0") && !bare("down1")).then_some(())
        });
        assert!(row(&daemon, "down1")["ipv4"]["vif"].is_u64());
        wait_data(&network, &mut receivers);
        up.clear();
        down.clear();
        router.address("down1", "10.0.1.5/24");
        router.address("up0", "10.0.0.5/24");
        wait_from(&mut down, "10.0.1.5", is_query);
        wait_from(&mut up, "10.0.0.5", reports);
    });
}

/// A link without any IPv6 address forwards to those who ask for it: nobody else can.
#[test]
fn members_of_a_link_without_ipv6_addresses() {
    live(|| {
        let network = Network::new();
        let [host, _] = &network.receivers;
        let daemon = Daemon::start(&network.router, &configuration("source any"));
        let known = || row(&daemon, "down1")["addresses"].as_array().cloned().unwrap_or_default();
        for address in wait_for("both IPv6 addresses", || {
            let all = known().into_iter().filter_map(|a| a.as_str().map(str::to_owned));
            let all: Vec<String> = all.filter(|a| a.contains(':')).collect();
            (all.len() == 2).then_some(all)
        }) {
            let (address, _) = address.split_once('/').unwrap_or((&address, ""));
            network.router.remove_address("down1", &format!("{address}/64"));
        }
        wait_for("they are gone", || {
            (!known().iter().any(|a| a.to_string().contains(':'))).then_some(())
        });
        let mut receivers = join(&daemon, host, "down1");
        wait_data(&network, &mut receivers);
    });
}

/// IPv6 is switched off on one side of the router and on the other, or has too small an MTU, and is
/// on again: IPv4 goes on meanwhile, and then both as before. A membership that is left is heard.
#[test]
fn ipv6_goes_and_comes() {
    live(|| {
        let network = Network::new();
        let router = &network.router;
        let [host, _] = &network.receivers;
        let daemon = Daemon::start(router, &configuration("source any"));
        for (name, small) in [("down1", false), ("up0", false), ("down1", true)] {
            // RFC 8200, section 5: 1280 octets at least.
            let switch = |off: bool| match small {
                true => router.mtu(name, if off { 1200 } else { 1500 }),
                false => router.sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), off.into()),
            };
            let mut receivers = join(&daemon, host, "down1");
            wait_data(&network, &mut receivers);
            let has_ipv6 = || row(&daemon, name)["addresses"].to_string().contains("fe80");
            switch(true);
            wait_for("the address goes", || (!has_ipv6()).then_some(()));
            wait_data(&network, &mut receivers[..1]);
            let mut upstream = Capture::new(&network.source, "eth0");
            let mut link = Capture::new(host, "eth0");
            switch(false);
            wait_for("the address comes", || has_ipv6().then_some(()));
            let group = ip(GROUPS[1]);
            if name == "up0" {
                wait_for("a report", || upstream.find(|s| s.has(record::TO_EX, group)));
            } else {
                let mld = |s: &Seen| s.source.is_ipv6() && is_query(&s.message);
                wait_for("a query of MLD", || link.find(mld));
            }
            wait_groups(&daemon, "down1", 2);
            wait_data(&network, &mut receivers);
            link.clear();
            drop(receivers);
            let asked = |s: &Seen| s.message == Message::Query { newest: true, group };
            wait_for("the leave is asked about", || link.find(asked));
            wait_groups(&daemon, "down1", 0);
        }
    });
}

/// MLD waits for a link-local address that is no longer tentative.
#[test]
fn tentative_address_is_waited_for() {
    live(|| {
        let network = Network::new();
        let daemon = Daemon::start(&network.router, &configuration(""));
        network.router.delete("down1");
        wait_status(&daemon, "down1", "absent");
        network.router.sysctl("net/ipv6/conf/default/accept_dad", 1);
        network.router.sysctl("net/ipv6/conf/default/dad_transmits", 2);
        let [host, _] = &network.receivers;
        network.router.cable("down1", host, "eth0");
        network.router.address("down1", "10.0.1.1/24");
        host.address("eth0", "10.0.1.2/24");
        let mut link = Capture::new(host, "eth0");
        wait_from(&mut link, "10.0.1.1", is_query);
        let waiting = row(&daemon, "down1");
        assert_eq!(waiting["ipv6"]["querier"], false, "{waiting}");
        wait_for("it is the querier of MLD", || {
            (row(&daemon, "down1")["ipv6"]["querier"] == true).then_some(())
        });
        wait_for("a query of MLD", || link.find(|s| s.source.is_ipv6() && is_query(&s.message)));
        let from = |s: &&Seen| s.source.is_ipv6() && is_query(&s.message);
        assert!(link.seen().iter().filter(from).all(|s| s.source.to_string().starts_with("fe80")));
        let mut receivers = join(&daemon, host, "down1");
        wait_data(&network, &mut receivers);
    });
}

/// A link with one address at each end and no network: the peer's reports count.
#[test]
fn point_to_point_link() {
    live(|| {
        let network = Network::new();
        let [host, _] = &network.receivers;
        network.router.remove_address("down1", "10.0.1.1/24");
        network.router.peer_address("down1", "10.8.0.1", "10.9.0.2");
        host.remove_address("eth0", "10.0.1.2/24");
        host.peer_address("eth0", "10.9.0.2", "10.8.0.1");
        let daemon = Daemon::start(&network.router, &configuration(""));
        let mut link = Capture::new(host, "eth0");
        wait_from(&mut link, "10.8.0.1", is_query);
        let mut receivers = join(&daemon, host, "down1");
        wait_data(&network, &mut receivers);
        // Another one's do not.
        let (IpAddr::V4(from), IpAddr::V4(group)) = (ip("10.9.0.3"), ip("239.5.5.5")) else {
            unreachable!("IPv4 addresses")
        };
        let report = [&[0x16, 0, 0, 0][..], &group.octets()].concat();
        wait_for("a report of a stranger is counted", || {
            send_igmp(host, "eth0", from, group, &report);
            let is = |row: &Value| row["interface"] == "down1" && row["family"] == "ipv4";
            let counts = daemon.rows("counters", is).pop()?;
            counts["discarded"]["source-subnet"].as_u64()
        });
        assert!(daemon.rows("groups", |row| row["group"] == "239.5.5.5").is_empty());
    });
}
