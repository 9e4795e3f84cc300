//! A point-to-point device without broadcast, both ways: one address with that of the peer, and a
//! link-local one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use crate::net::capture::{Capture, Message, Seen, record};
use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{FAST, Network, source};
use crate::net::tunnel::Tunnel;
use crate::net::{any, ip, live, packet, wait_for};

const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:2:3"];
/// Ours and the peer's; no network has both.
const OURS: &str = "10.8.0.1";
const PEER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);

/// A router whose tunnel `vx0` leads to the source's host.
fn network() -> (Network, Tunnel) {
    let network = Network::new();
    network.router.tunnel("vx0");
    network.router.peer_address("vx0", OURS, &PEER.to_string());
    network.router.settle("vx0");
    let far = Tunnel::new(&network.source, ip("10.0.0.1"));
    (network, far)
}

/// An IGMPv3 or MLDv2 message of the peer, whose parts after the checksum are these.
fn message(to: IpAddr, kind: [u8; 2], rest: &[&[u8]]) -> Vec<u8> {
    let message = [&[kind[0], kind[1], 0, 0], &rest.concat()[..]].concat();
    match to {
        IpAddr::V4(to) => packet::igmp(PEER, to, &message),
        IpAddr::V6(to) => packet::mld(PEER6, to, &message),
    }
}

/// A general query. RFC 9776, section 4.1; RFC 9777, section 5.1.
fn query(like: IpAddr) -> Vec<u8> {
    let tail = [2, 125, 0, 0];
    match like {
        IpAddr::V4(_) => message(ip("224.0.0.1"), [0x11, 5], &[&[0; 4], &tail]),
        // 500 ms to answer, as 5 tenths above.
        IpAddr::V6(_) => message(ip("ff02::1"), [130, 0], &[&[1, 244, 0, 0], &[0; 16], &tail]),
    }
}

/// A report of one record without sources. RFC 9776, section 4.2; RFC 9777, section 5.2.
fn report(group: IpAddr, kind: u8) -> Vec<u8> {
    let head = [0, 0, 0, 1, kind, 0, 0, 0];
    match group {
        IpAddr::V4(group) => message(ip("224.0.0.22"), [0x22, 0], &[&head, &group.octets()]),
        IpAddr::V6(group) => message(ip("ff02::16"), [143, 0], &[&head, &group.octets()]),
    }
}

/// It has our address of its family.
fn is_ours(seen: &Seen) -> bool {
    match seen.source {
        IpAddr::V4(_) => seen.source == ip(OURS),
        IpAddr::V6(from) => from.is_unicast_link_local(),
    }
}

/// Reports leave by it with our address, a query of the peer is answered, and data from anywhere
/// behind it is forwarded.
#[test]
fn tunnel_as_upstream() {
    live(|| {
        let (network, far) = network();
        let text = "interface vx0 { upstream; source any }\ninterface down1 { downstream }\n";
        let _daemon = Daemon::start(&network.router, &format!("{FAST}{text}"));
        let mut leaving = Capture::leaving(&network.router, "vx0");
        for group in GROUPS.map(ip) {
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            let all_routers = ip(if group.is_ipv4() { "224.0.0.22" } else { "ff02::16" });
            let is = |s: &Seen, kind| {
                s.has(kind, group) && s.destination == all_routers && s.ttl == 1 && s.alert
            };
            let told = wait_for("a report", || leaving.find(|s| is(s, record::TO_EX)));
            assert!(is_ours(&told), "{told:?}");
            leaving.clear();
            far.send(&query(group));
            let told = wait_for("an answer", || leaving.find(|s| is(s, record::IS_EX)));
            assert!(is_ours(&told), "{told:?}");
            let from = ip(if group.is_ipv4() { "10.77.0.5" } else { "fd77::5" });
            (0..4).for_each(|n| far.send(&packet::datagram(from, group, n)));
            wait_for("the data", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
            drop(receiver);
            let left = wait_for("a leave", || leaving.find(|s| s.leaves(group)));
            assert!(is_ours(&left), "{left:?}");
        }
    });
}

/// Queries leave by it, a report of the peer makes it an output, and a leave is asked about.
#[test]
fn tunnel_as_downstream() {
    live(|| {
        let (network, far) = network();
        let mut leaving = Capture::leaving(&network.router, "vx0");
        let mut upstream = Capture::new(&network.source, "eth0");
        let text = "interface up0 { upstream }\ninterface vx0 { downstream }\n";
        let daemon = Daemon::start(&network.router, &format!("{FAST}{text}"));
        for group in GROUPS.map(ip) {
            let mut query = |of: IpAddr| {
                let is = |s: &Seen| s.message == Message::Query { newest: true, group: of };
                let asked = wait_for("a query", || leaving.find(is));
                assert!(is_ours(&asked) && asked.ttl == 1 && asked.alert, "{asked:?}");
            };
            query(any(group));
            far.send(&report(group, record::TO_EX));
            wait_for("it is told upstream", || upstream.find(|s| s.has(record::TO_EX, group)));
            let known = || daemon.rows("groups", |row| row["group"] == group.to_string());
            let rows = known();
            assert_eq!(rows.len(), 1, "{rows:?}");
            let peer: IpAddr = if group.is_ipv4() { PEER.into() } else { PEER6.into() };
            let told = [&rows[0]["interface"], &rows[0]["last-reporter"]];
            assert_eq!(told, [&Value::from("vx0"), &Value::from(peer.to_string())]);
            let (_, before) = network.carried(group, "vx0");
            Sender::new(&network.source, "eth0", source(group, 2), group).send(4);
            wait_for("the data leaves", || {
                (network.carried(group, "vx0").1 == before + 4).then_some(())
            });
            far.send(&report(group, record::TO_IN));
            query(group);
            wait_for("the group is forgotten", || known().is_empty().then_some(()));
        }
    });
}
