//! The network of most live tests and of the demo: a source, the router, two receivers.
//!
//! ```text
//! source eth0 --- up0 router down1 --- eth0 receivers[0]
//!                            down2 --- eth0 receivers[1]
//! ```
//!
//! Link N (0, 1, 2) is 10.0.N.0/24 and fd00:0:0:N::/64; the router is host 1 on each, the others
//! are host 2. The source has hosts 3 and 4 as well.

use std::net::IpAddr;

use super::socket::Sender;
use super::{Host, ip, wait_for};

/// The hosts, connected and with addresses.
pub struct Network {
    pub source: Host,
    pub router: Host,
    pub receivers: [Host; 2],
}

/// Router part with short times, so that a test takes seconds. `source` lines follow at
/// the upstream.
pub const FAST: &str = "ipv6 yes
user nobody
query-interval 2
query-response-interval 500ms
last-member-query-interval 200ms
startup-query-interval 300ms
";

impl Network {
    /// A new one, with usable link-local addresses everywhere.
    #[must_use]
    pub fn new() -> Self {
        let network = Self {
            source: Host::new(),
            router: Host::new(),
            receivers: [Host::new(), Host::new()],
        };
        let [one, two] = &network.receivers;
        network.link(0, "up0", &network.source);
        network.link(1, "down1", one);
        network.link(2, "down2", two);
        for host in [3, 4] {
            network.source.address("eth0", &format!("10.0.0.{host}/24"));
            network.source.address("eth0", &format!("fd00::{host}/64"));
        }
        for (host, name) in network.ends() {
            host.settle(name);
        }
        network
    }

    /// Lays the cable of link N from `name` at the router to `eth0` at the peer, with addresses.
    pub fn link(&self, number: u8, name: &str, peer: &Host) {
        self.router.cable(name, peer, "eth0");
        for (host, name, end) in [(&self.router, name, 1), (peer, "eth0", 2)] {
            host.address(name, &format!("10.0.{number}.{end}/24"));
            host.address(name, &format!("fd00:0:0:{number}::{end}/64"));
        }
    }

    /// Packets of the group's family that the kernel's multicast routing took in and sent out on a
    /// link of the router.
    #[must_use]
    pub fn carried(&self, group: IpAddr, interface: &str) -> (u64, u64) {
        let table = self.router.proc_net(if group.is_ipv4() { "ip_mr_vif" } else { "ip6_mr_vif" });
        let row = table.lines().find(|line| line.split_whitespace().nth(1) == Some(interface));
        let row: Vec<&str> = row.map(|r| r.split_whitespace().collect()).unwrap_or_default();
        let number = |column: usize| row.get(column).and_then(|field| field.parse().ok());
        let both = number(3).zip(number(5));
        both.unwrap_or_else(|| panic!("no vif {interface}: {table}"))
    }

    /// Sends as many datagrams and waits until the router has taken them in; how many left on each
    /// downstream.
    #[must_use]
    pub fn forwarded(&self, sender: &mut Sender, group: IpAddr, count: u64) -> [u64; 2] {
        let out = || ["down1", "down2"].map(|name| self.carried(group, name).1);
        let (arrived, _) = self.carried(group, "up0");
        let before = out();
        sender.send(count);
        wait_for("the router takes them in", || {
            (self.carried(group, "up0").0 == arrived + count).then_some(())
        });
        let after = out();
        [after[0] - before[0], after[1] - before[1]]
    }

    /// Waits until the router's interfaces are vifs of both families.
    pub fn wait_vifs(&self, names: &[&str]) {
        for table in ["ip_mr_vif", "ip6_mr_vif"] {
            wait_for(&format!("{names:?} in {table}"), || {
                let text = self.router.proc_net(table);
                let is = |name: &&str| text.split_whitespace().any(|word| word == *name);
                names.iter().all(is).then_some(())
            });
        }
    }

    /// Packets of the group's family that came in elsewhere than their route says.
    #[must_use]
    pub fn strayed(&self, group: IpAddr) -> u64 {
        let table =
            self.router.proc_net(if group.is_ipv4() { "ip_mr_cache" } else { "ip6_mr_cache" });
        let wrong = |line: &str| line.split_whitespace().nth(5)?.parse::<u64>().ok();
        table.lines().skip(1).filter_map(wrong).sum()
    }

    fn ends(&self) -> [(&Host, &str); 6] {
        let [one, two] = &self.receivers;
        [
            (&self.router, "up0"),
            (&self.router, "down1"),
            (&self.router, "down2"),
            (&self.source, "eth0"),
            (one, "eth0"),
            (two, "eth0"),
        ]
    }
}

/// [`FAST`], with what the upstream's block says besides `upstream` (each line ending), and both
/// downstreams.
#[must_use]
pub fn configuration(upstream: &str) -> String {
    format!(
        "{FAST}
interface up0 {{
    upstream
    {upstream}
}}
interface down1 {{ downstream }}
interface down2 {{ downstream }}
"
    )
}

/// A source of the family of `group`: host 2, 3 or 4 of link 0.
#[must_use]
pub fn source(group: IpAddr, host: u8) -> IpAddr {
    match group {
        IpAddr::V4(_) => ip(&format!("10.0.0.{host}")),
        IpAddr::V6(_) => ip(&format!("fd00::{host}")),
    }
}
