//! The interface monitor of Linux, on links that come, change and go.

use mcast_proxy::kroute::{Interface, InterfaceChange, Monitor, Options, monitor};

use crate::net::{Host, ip, live, wait_for};

const OPTIONS: Options = Options { table: 0, families: [true, true] };

/// A monitor with what it has told so far.
struct Watch<'a> {
    host: &'a Host,
    monitor: Box<dyn Monitor>,
    now: Vec<Interface>,
}

impl<'a> Watch<'a> {
    fn new(host: &'a Host) -> Self {
        let mut monitor = host.run(|| monitor(&OPTIONS)).unwrap();
        let now = monitor.snapshot().unwrap();
        Self { host, monitor, now }
    }

    /// Takes what is new; how many changes there were.
    fn read(&mut self) -> usize {
        let mut changes = Vec::new();
        self.monitor.receive(&mut changes).unwrap();
        let count = changes.len();
        for change in changes {
            let (InterfaceChange::Present(Interface { ifindex, .. })
            | InterfaceChange::Gone { ifindex }) = &change;
            let known = self.now.iter().position(|i| i.ifindex == *ifindex);
            if let Some(known) = known {
                let old = self.now.remove(known);
                assert_ne!(change, InterfaceChange::Present(old), "nothing changed");
            }
            if let InterfaceChange::Present(interface) = change {
                self.now.push(interface);
            }
        }
        count
    }

    fn get(&self, name: &str) -> Option<&Interface> {
        self.now.iter().find(|i| i.name == name)
    }

    /// Reads until the interface is as wanted; what the kernel shows anew agrees.
    fn wait(&mut self, what: &str, name: &str, is: impl Fn(Option<&Interface>) -> bool) {
        wait_for(what, || {
            self.read();
            self.now.sort_by_key(|i| i.ifindex);
            let fresh = self.host.run(|| monitor(&OPTIONS).unwrap().snapshot()).unwrap();
            (is(self.get(name)) && self.now == fresh).then_some(())
        });
    }
}

fn has(interface: Option<&Interface>, address: &str) -> bool {
    interface.is_some_and(|i| i.addresses.iter().any(|a| a.address == ip(address)))
}

#[test]
fn links_come_change_and_go() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        let mut watch = Watch::new(&host);
        assert!(watch.get("lo").is_some_and(|lo| lo.loopback && lo.up));
        assert_eq!(watch.read(), 0);

        host.cable("eth0", &peer, "eth0");
        watch.wait("it comes", "eth0", |i| i.is_some_and(|i| i.up && i.mtu == 1500 && !i.loopback));
        let first = watch.get("eth0").unwrap().ifindex;

        peer.down("eth0");
        watch.wait("its carrier goes", "eth0", |i| i.is_some_and(|i| !i.up));
        peer.up("eth0");
        watch.wait("its carrier comes", "eth0", |i| i.is_some_and(|i| i.up));

        host.down("eth0");
        watch.wait("it is down", "eth0", |i| i.is_some_and(|i| !i.up));
        host.rename("eth0", "lan0");
        watch.wait("it has another name", "lan0", |i| i.is_some_and(|i| i.ifindex == first));
        assert!(watch.get("eth0").is_none());
        host.up("lan0");
        watch.wait("it is up", "lan0", |i| i.is_some_and(|i| i.up));

        host.delete("lan0");
        watch.wait("it goes", "lan0", |i| i.is_none());
        host.cable("lan0", &peer, "eth0");
        watch.wait("another comes", "lan0", |i| i.is_some_and(|i| i.up && i.ifindex != first));
    });
}

#[test]
fn addresses_come_and_go_in_order() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("eth0", &peer, "eth0");
        let mut watch = Watch::new(&host);
        host.address("eth0", "fd00::1/64");
        host.address("eth0", "10.0.0.1/24");
        host.address("eth0", "10.0.0.2/24");
        host.address("eth0", "10.1.0.1/24");
        host.settle("eth0");
        watch.wait("addresses", "eth0", |i| {
            has(i, "10.1.0.1") && i.is_some_and(|i| i.addresses.len() == 5)
        });
        let addresses = &watch.get("eth0").unwrap().addresses;
        let ipv4: Vec<_> = addresses.iter().filter(|a| a.address.is_ipv4()).collect();
        // 10.0.0.2 is the second in its network, so it comes last.
        let order: Vec<_> = ipv4.iter().map(|a| a.address.to_string()).collect();
        assert_eq!(order, ["10.0.0.1", "10.1.0.1", "10.0.0.2"]);
        assert_eq!(ipv4[0].network.to_string(), "10.0.0.1/24");
        let first = addresses.iter().find(|a| a.address.is_ipv6()).unwrap();
        assert!(first.address.to_string().starts_with("fe80"));

        host.remove_address("eth0", "10.1.0.1/24");
        watch.wait("one goes", "eth0", |i| !has(i, "10.1.0.1"));
    });
}

/// An IPv6 address is not there before its duplicate address detection is through, nor when that
/// fails.
#[test]
fn tentative_addresses_are_left_out() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("eth0", &peer, "eth0");
        host.settle("eth0");
        peer.settle("eth0");
        peer.address("eth0", "fd00::5/64");
        host.sysctl("net/ipv6/conf/eth0/accept_dad", 1);
        host.sysctl("net/ipv6/conf/eth0/dad_transmits", 2);
        let mut watch = Watch::new(&host);
        for address in ["fd00::5/64", "fd00::6/64"] {
            let add = ["-6", "address", "add", address, "dev", "eth0"];
            assert!(
                host.run(|| std::process::Command::new("ip").args(add).status()).unwrap().success()
            );
        }
        watch.read();
        assert!(!has(watch.get("eth0"), "fd00::6"), "still tentative");
        watch.wait("it is valid", "eth0", |i| has(i, "fd00::6"));
        assert!(!has(watch.get("eth0"), "fd00::5"), "a duplicate");
    });
}

#[test]
fn peers_of_point_to_point_links() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("eth0", &peer, "eth0");
        let mut watch = Watch::new(&host);
        let add = ["address", "add", "10.0.0.1", "peer", "10.0.0.2/32", "dev", "eth0"];
        assert!(
            host.run(|| std::process::Command::new("ip").args(add).status()).unwrap().success()
        );
        watch.wait("the address", "eth0", |i| has(i, "10.0.0.1"));
        let addresses = &watch.get("eth0").unwrap().addresses;
        let ours = addresses.iter().find(|a| a.address.is_ipv4()).unwrap();
        assert_eq!(ours.network.to_string(), "10.0.0.2/32");
    });
}

/// A port that leaves its bridge is told by a message that looks like a deletion.
#[test]
fn bridge_ports_stay() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("eth0", &peer, "eth0");
        host.bridge("br0", Vec::new());
        let mut watch = Watch::new(&host);
        let port = watch.get("eth0").unwrap().ifindex;
        host.plug("eth0", "br0");
        watch.wait("the bridge has a carrier", "br0", |i| i.is_some_and(|i| i.up));
        host.delete("br0");
        watch.wait("the bridge goes", "br0", |i| i.is_none());
        assert_eq!(watch.get("eth0").unwrap().ifindex, port);
    });
}

/// More happens than the socket holds: everything is read anew, and nothing is missed.
#[test]
fn overrun_loses_nothing() {
    live(|| {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("eth0", &peer, "eth0");
        let mut watch = Watch::new(&host);
        let flood = "for n in $(seq 4000); do echo address add 10.9.0.1/32 dev eth0; \
                     echo address del 10.9.0.1/32 dev eth0; done; echo address add 10.9.0.9/24 dev eth0";
        let run = format!("({flood}) | ip -batch -");
        let shell = ["-c", &run];
        assert!(
            host.run(|| std::process::Command::new("sh").args(shell).status()).unwrap().success()
        );
        watch.wait("the last", "eth0", |i| has(i, "10.9.0.9"));
        assert!(!has(watch.get("eth0"), "10.9.0.1"));
    });
}
