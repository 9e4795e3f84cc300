//! A router in a namespace, with nothing but kroute.

use std::net::IpAddr;

use mcast_proxy::kroute::{
    FromKernel, Interface, Kernel, Options, Output, Route, RouteKey, Upcall, monitor, open,
};
use mcast_proxy::wire::Af;

use crate::net::socket::Receiver;
use crate::net::topology::Network;
use crate::net::{Host, ip, wait_for};

pub(crate) const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:2:3"];
pub(crate) const BOTH: Options = Options { table: 0, families: [true, true] };

/// A router with a vif on each of its links.
pub(crate) struct Router<'a> {
    pub(crate) network: &'a Network,
    pub(crate) kernel: Box<dyn Kernel>,
}

impl<'a> Router<'a> {
    pub(crate) fn new(network: &'a Network, options: Options) -> Self {
        let mut router = Self { network, kernel: network.router.run(|| open(&options)).unwrap() };
        for family in Af::ALL {
            for (number, name) in (0..).zip(["up0", "down1", "down2"]) {
                let interface = interface(&network.router, name);
                assert_eq!(router.kernel.add_vif(family, &interface).unwrap(), number);
            }
        }
        router
    }

    pub(crate) fn index(&self, name: &str) -> u32 {
        self.network.router.index(name)
    }

    pub(crate) fn route(
        &self,
        source: Option<IpAddr>,
        group: IpAddr,
        from: &str,
        to: &[&str],
    ) -> Route {
        let output = |name: &&str| Output { ifindex: self.index(name), threshold: 1 };
        Route {
            key: RouteKey { source, group },
            incoming: self.index(from),
            outgoing: to.iter().map(output).collect(),
        }
    }

    pub(crate) fn set(
        &mut self,
        source: Option<IpAddr>,
        group: IpAddr,
        from: &str,
        to: &[&str],
    ) -> Route {
        let route = self.route(source, group, from, to);
        self.kernel.set_route(&route).unwrap();
        route
    }

    /// What the kernel says until it says something about this group.
    pub(crate) fn upcalls(&mut self, group: IpAddr) -> Vec<Upcall> {
        wait_for("an upcall", || {
            let found = self.heard(group);
            (!found.is_empty()).then_some(found)
        })
    }

    /// What the kernel has said about this group.
    pub(crate) fn heard(&mut self, group: IpAddr) -> Vec<Upcall> {
        let mut out = Vec::new();
        self.kernel.receive(Af::of(group), &mut out).unwrap();
        let upcall = |m| match m {
            FromKernel::Upcall(upcall) if upcall.group == group => Some(upcall),
            FromKernel::Upcall(_) | FromKernel::Register { .. } | FromKernel::Igmp { .. } => None,
        };
        out.into_iter().filter_map(upcall).collect()
    }
}

/// The interface as the monitor shows it.
pub(crate) fn interface(host: &Host, name: &str) -> Interface {
    let all = host.run(|| monitor(&BOTH).unwrap().snapshot()).unwrap();
    all.into_iter().find(|i| i.name == name).unwrap_or_else(|| panic!("no interface {name}"))
}

pub(crate) fn wait_got(receiver: &mut Receiver, count: usize) {
    wait_for("the datagrams arrive", || (receiver.got().len() >= count).then_some(()));
    assert_eq!(receiver.got().len(), count);
}

/// The address of the host on a receiver's link.
pub(crate) fn link_address(group: IpAddr, link: u8) -> IpAddr {
    ip(&match group {
        IpAddr::V4(_) => format!("10.0.{link}.2"),
        IpAddr::V6(_) => format!("fd00:0:0:{link}::2"),
    })
}
