//! Interfaces that were upstreams: the host part stays until it has left all groups there, and the
//! vif with it, without which nothing may be sent.

use std::collections::BTreeMap;

use super::Proxy;
use crate::config::model::Config;
use crate::engine::core::Action;
use crate::engine::core::host::{Endpoint, Host};
use crate::imsg::Order;
use crate::kroute::Interface;
use crate::sys::time::Tick;
use crate::wire::Family;

/// What is left of a link.
#[derive(Debug)]
pub(super) struct Departed<F: Family> {
    pub(super) name: String,
    pub(super) ifindex: u32,
    pub(super) host: Host<F>,
    /// Whether its vif is still there for it.
    pub(super) has_vif: bool,
}

impl<F: Family> Proxy<F> {
    /// The interface is a link again, with its vif; a host part of the link speaks alone.
    pub(super) fn displace(
        &mut self,
        now: Tick,
        ifindex: u32,
        has_host: bool,
        out: &mut Vec<Action>,
    ) {
        let mut frees = false;
        for departed in self.departed.iter_mut().filter(|d| d.ifindex == ifindex) {
            frees |= std::mem::take(&mut departed.has_vif);
            if has_host {
                departed.host.set_endpoint(now, None);
            }
        }
        if frees {
            self.delete_vif(ifindex, out);
        }
    }

    /// Those whose interface is deleted, or has their address no more, say no more. Of one that the
    /// configuration does not name it is not told.
    pub(super) fn follow_departed(
        &mut self,
        now: Tick,
        config: &Config,
        table: &BTreeMap<u32, Interface>,
    ) {
        for departed in &mut self.departed {
            let there = table.get(&departed.ifindex);
            if there.is_some() || config.resolve(&departed.name).is_some() {
                follow(now, &mut departed.host, there);
            }
        }
    }

    /// The same of all links, while the daemon ends.
    pub(super) fn follow_leaving(&mut self, now: Tick, table: &BTreeMap<u32, Interface>) {
        for port in self.ports.iter_mut() {
            if let (Some(host), Some(link)) = (&mut port.host, self.links.get(port.slot)) {
                follow(now, host, table.get(&link.ifindex));
            }
        }
    }

    /// Sends what is left to say, and forgets those that have said all.
    pub(super) fn say_departed(&mut self, out: &mut Vec<Action>) {
        for departed in &mut self.departed {
            while let Some(transmit) = departed.host.poll_transmit() {
                out.push(Action::Transmit(transmit));
            }
        }
        let is_done = |d: &mut Departed<F>| d.host.next_deadline().is_none();
        let done: Vec<Departed<F>> = self.departed.extract_if(.., is_done).collect();
        for departed in done.iter().filter(|d| d.has_vif) {
            self.delete_vif(departed.ifindex, out);
        }
    }

    /// Whoever was refused a vif, or asked and may be refused for want of this one, asks again.
    pub(super) fn delete_vif(&mut self, ifindex: u32, out: &mut Vec<Action>) {
        out.push(Action::Parent(Order::DeleteVif { family: F::AF, ifindex }));
        self.ask_again(out);
    }
}

/// A host part that leaves everything goes on while its interface has its address.
fn follow<F: Family>(now: Tick, host: &mut Host<F>, interface: Option<&Interface>) {
    let from = host.endpoint().zip(interface).and_then(|(from, interface)| {
        let has = interface.addresses.iter().any(|a| a.address == from.source.into());
        has.then_some(Endpoint { mtu: interface.mtu, ..from })
    });
    host.set_endpoint(now, from);
}
