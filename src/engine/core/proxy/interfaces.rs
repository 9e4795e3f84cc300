//! Links follow the interface table and the configuration: what should be is compared with what is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::departed::Departed;
use super::packets::{MESSAGE_BURST, Reception};
use super::{Port, Proxy};
use crate::config::model::{Config, QuerierMode, Role, Settings, StaticGroup};
use crate::engine::core::Action;
use crate::engine::core::counters::Counters;
use crate::engine::core::groups::{Fixed, admits};
use crate::engine::core::host::{Endpoint, Host, HostConfig};
use crate::engine::core::link::{Link, Vif};
use crate::engine::core::mrdisc::Mrdisc;
use crate::engine::core::mrt::World;
use crate::engine::core::querier::Querier;
use crate::engine::core::slot::Slot;
use crate::imsg::Order;
use crate::imsg::ctl::EventKind;
use crate::kroute::Interface;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Family, Net, default_ssm};

/// Routers that start together do not query together: the first query waits up to this.
const START_SPREAD: u32 = 1000;
/// Links up to this many query at once when they start.
const FEW_LINKS: usize = 8;

impl<F: Family> Proxy<F> {
    /// Makes the links what the configuration and the interface table say.
    pub fn sync(
        &mut self,
        now: Tick,
        config: &Config,
        table: &BTreeMap<u32, Interface>,
        out: &mut Vec<Action>,
    ) {
        if self.leaving {
            self.follow_leaving(now, table);
            return self.follow_departed(now, config, table);
        }
        let ranges_changed = self.set_ssm(now, config);
        let wanted = |interface: &Interface| {
            let settings = config.resolve(&interface.name)?;
            let enabled = match F::AF {
                Af::Ip4 => settings.ipv4,
                Af::Ip6 => settings.ipv6,
            };
            (enabled && settings.role != Role::Disabled).then_some(settings)
        };
        let gone: Vec<Slot> = self
            .links
            .iter()
            .filter(|l| match table.get(&l.ifindex).map(|i| (i, wanted(i))) {
                Some((interface, Some(settings))) => {
                    interface.name != l.name || settings.role != l.settings.role
                }
                Some((_, None)) | None => true,
            })
            .map(|l| l.slot)
            .collect();
        for slot in gone {
            self.remove_link(now, slot, table, out);
        }
        self.follow_departed(now, config, table);
        for interface in table.values() {
            let Some(settings) = wanted(interface) else { continue };
            match self.link_by_index(interface.ifindex).map(|l| l.slot) {
                Some(slot) => {
                    self.update_link(now, slot, interface, settings, out);
                    if ranges_changed {
                        self.configure_port(now, slot);
                        self.link_changed(now, slot);
                    }
                }
                None => self.add_link(now, interface, settings, out),
            }
        }
    }

    /// Takes over the ranges of source-specific groups; whether they differ from before.
    fn set_ssm(&mut self, now: Tick, config: &Config) -> bool {
        let mut ranges: Vec<Net<F>> = config.ssm_ranges.iter().filter_map(|n| F::net(*n)).collect();
        if ranges.is_empty() {
            ranges.push(default_ssm());
        }
        if ranges == self.ssm {
            return false;
        }
        self.ssm = ranges;
        self.groups.end_exclude(now, |group| self.ssm.iter().any(|net| net.contains(group)));
        true
    }

    /// Whether members of the group have to name their sources. RFC 4604, section 2.
    pub(super) fn is_source_specific(&self, group: F::Addr) -> bool {
        self.ssm.iter().any(|net| net.contains(group))
    }

    fn add_link(
        &mut self,
        now: Tick,
        interface: &Interface,
        settings: Settings,
        out: &mut Vec<Action>,
    ) {
        self.displace(now, interface.ifindex, has_host(&settings), out);
        let settings = Arc::new(settings);
        let made = self.links.insert(|slot| Link {
            slot,
            ifindex: interface.ifindex,
            name: interface.name.clone(),
            mtu: interface.mtu,
            up: false,
            addresses: Vec::new(),
            peers: Vec::new(),
            settings: Arc::clone(&settings),
            vif: Vif::None,
            yields: false,
        });
        let Some(slot) = made else {
            out.push(Action::Log(format!("{}: too many interfaces; left out", interface.name)));
            return;
        };
        let Some(link) = self.links.get(slot) else { return };
        let reception = Arc::new(Reception::new(link, &self.ssm));
        self.ports.insert(|slot| Port {
            slot,
            querier: Querier::new(Arc::clone(&settings)),
            host: None,
            mrdisc: Mrdisc::new(interface.ifindex, [self.chance.bits(), self.chance.bits()]),
            counters: Counters::default(),
            reception: Arc::clone(&reception),
            budget: MESSAGE_BURST,
            refilled: now,
            quiet: BTreeMap::new(),
            refused: None,
        });
        let settings = (*settings).clone();
        self.update_link(now, slot, interface, settings, out);
        self.configure_port(now, slot);
        out.push(Action::Event(self.event(EventKind::Interface, Some(slot), Some("added".into()))));
    }

    fn update_link(
        &mut self,
        now: Tick,
        slot: Slot,
        interface: &Interface,
        settings: Settings,
        out: &mut Vec<Action>,
    ) {
        let (addresses, peers) = (usable::<F>(interface), peers::<F>(interface));
        let Some(link) = self.links.get_mut(slot) else { return };
        let reset = *link.settings != settings;
        let was_up = link.up;
        let same = !reset
            && was_up == interface.up
            && link.mtu == interface.mtu
            && link.addresses == addresses
            && link.peers == peers;
        link.up = interface.up;
        link.mtu = interface.mtu;
        link.addresses = addresses;
        link.peers = peers;
        if reset {
            link.settings = Arc::new(settings);
        }
        let has_address = !link.addresses.is_empty();
        // One that is there from before an engine's death outlives its address.
        let needs_address = self.vif_by_address && F::AF == Af::Ip4 && !self.restarted;
        // One that was refused asks again when it has changed, or when a vif is free again.
        let asks = match link.vif {
            Vif::None => true,
            Vif::Refused(_) => !same,
            Vif::Requested | Vif::Ready(_) => false,
        };
        if asks && (has_address || !needs_address) {
            link.vif = Vif::Requested;
            let ifindex = link.ifindex;
            out.push(Action::Parent(Order::AddVif { family: F::AF, ifindex }));
        }
        if same {
            return;
        }
        if was_up != interface.up {
            let what = if interface.up { "up" } else { "down" };
            out.push(Action::Event(self.event(
                EventKind::Interface,
                Some(slot),
                Some(what.into()),
            )));
        }
        if reset {
            self.configure_port(now, slot);
        }
        self.link_changed(now, slot);
    }

    /// Applies a link's settings to its querier, its host part and its groups.
    pub(super) fn configure_port(&mut self, now: Tick, slot: Slot) {
        let (Some(link), Some(port)) = (self.links.get(slot), self.ports.get_mut(slot)) else {
            return;
        };
        let settings = Arc::clone(&link.settings);
        port.querier.configure(now, Arc::clone(&settings));
        let config = HostConfig {
            ifindex: link.ifindex,
            max_version: settings.version(F::AF),
            ssm: self.ssm.clone(),
        };
        // One that joins nothing any more has to say so, and stays.
        match &mut port.host {
            Some(host) => host.configure(now, config),
            None if has_host(&settings) => port.host = Some(Host::new(config, self.seed)),
            None => {}
        }
        let mut fixed: BTreeMap<F::Addr, Fixed<F::Addr>> = BTreeMap::new();
        if settings.role == Role::Downstream {
            for (group, source) in
                settings.static_groups.iter().chain(&settings.joins).flat_map(each::<F>)
            {
                if source.is_none() && self.is_source_specific(group) {
                    continue;
                }
                let entry = fixed.entry(group).or_insert(Fixed { any: false, sources: Vec::new() });
                match source {
                    Some(source) => entry.sources.push(source),
                    None => entry.any = true,
                }
            }
        }
        for group in self.groups.fixed_on(slot) {
            if !fixed.contains_key(&group) {
                self.groups.set_fixed(now, slot, group, None);
            }
        }
        for (group, mut entry) in fixed {
            entry.sources.sort_unstable();
            entry.sources.dedup();
            self.groups.set_fixed(now, slot, group, Some(entry));
        }
        let ssm = self.ssm.iter().filter(|_| link.settings.version(F::AF) < F::LAYOUT.newest);
        self.groups.clear_link(now, slot, false, |group| {
            admits(link, group).is_err() || ssm.clone().any(|range| range.contains(group))
        });
        self.groups.mark_all();
        self.subscribe_joins(now, slot);
    }

    /// What follows from any change of a link: who queries, where reports come from, the routes.
    pub(super) fn link_changed(&mut self, now: Tick, slot: Slot) {
        // After an engine's death they started long ago.
        let many = self.links.iter().count() > FEW_LINKS && !self.restarted;
        let (Some(link), Some(port)) = (self.links.get_mut(slot), self.ports.get_mut(slot)) else {
            return;
        };
        port.reception = Arc::new(Reception::new(link, &self.ssm));
        let ready = link.forwards() && link.source_address().is_some();
        if ready && link.role() == Role::Downstream {
            let delay = if many { Millis(self.chance.below(START_SPREAD)) } else { Millis(0) };
            port.querier.start(now, delay, self.restarted);
        } else {
            port.querier.stop(link.up);
        }
        link.yields = port.querier.other.is_some();
        if !port.querier.is_querier() {
            self.groups.stop_queries(slot);
        }
        let endpoint = link
            .source_address()
            .filter(|_| link.forwards())
            .map(|source| Endpoint { source, mtu: link.mtu });
        if let Some(host) = &mut port.host {
            host.set_endpoint(now, endpoint);
        }
        port.announce();
        match endpoint {
            _ if !link.settings.mrdisc => port.mrdisc.stop(),
            Some(endpoint) => port.mrdisc.start(now, endpoint),
            None => port.mrdisc.down(),
        }
        if !link.up && link.role() == Role::Downstream {
            self.groups.clear_link(now, slot, false, |_| true);
        }
        if link.role() == Role::Upstream {
            self.groups.mark_all();
        }
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_link_changed(now, slot, world);
    }

    fn remove_link(
        &mut self,
        now: Tick,
        slot: Slot,
        table: &BTreeMap<u32, Interface>,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Event(self.event(
            EventKind::Interface,
            Some(slot),
            Some("removed".into()),
        )));
        self.groups.clear_link(now, slot, true, |_| true);
        let Some(link) = self.links.get_mut(slot) else { return };
        let had_vif = matches!(link.vif, Vif::Ready(_) | Vif::Requested);
        let (ifindex, name) = (link.ifindex, link.name.clone());
        link.up = false;
        link.vif = Vif::None;
        if let Some(port) = self.ports.get_mut(slot) {
            port.leave(now);
        }
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_link_changed(now, slot, world);
        self.groups.mark_all();
        self.finish(now, out);
        let host = self.ports.remove(slot).and_then(|port| port.host);
        self.links.remove(slot);
        // Static routes name it no more; what went before could still be told with its name.
        let world = World { links: &self.links, members: &self.groups };
        self.mrt.on_link_changed(now, slot, world);
        match host.filter(|h| table.contains_key(&ifindex) && h.next_deadline().is_some()) {
            Some(host) => self.departed.push(Departed { name, ifindex, host, has_vif: had_vif }),
            None if had_vif => self.delete_vif(ifindex, out),
            None => {}
        }
    }

    /// A vif is free: whoever was refused one, or asked and may be refused for want of this one,
    /// asks again.
    pub(super) fn ask_again(&mut self, out: &mut Vec<Action>) {
        for link in self.links.iter_mut() {
            if matches!(link.vif, Vif::Requested | Vif::Refused(_)) {
                link.vif = Vif::Requested;
                let ifindex = link.ifindex;
                out.push(Action::Parent(Order::AddVif { family: F::AF, ifindex }));
            }
        }
    }

    /// The parent's answer to a wish for a vif.
    pub fn vif(
        &mut self,
        now: Tick,
        ifindex: u32,
        result: &Result<u16, String>,
        out: &mut Vec<Action>,
    ) {
        let Some(slot) = self.link_by_index(ifindex).map(|l| l.slot) else { return };
        let Some(link) = self.links.get_mut(slot).filter(|_| !self.leaving) else { return };
        link.vif = match result {
            Ok(number) => Vif::Ready(*number),
            Err(reason) => {
                let told = self.ports.get_mut(slot).map(|port| &mut port.refused);
                if told.is_none_or(|told| told.replace(reason.clone()).as_ref() != Some(reason)) {
                    out.push(Action::Log(format!("{}: no {} vif: {reason}", link.name, F::AF)));
                }
                Vif::Refused(reason.clone())
            }
        };
        self.link_changed(now, slot);
    }

    /// Whether a link of the settings takes part in elections at all.
    #[must_use]
    pub fn queries(settings: &Settings) -> bool {
        settings.role == Role::Downstream && settings.querier != QuerierMode::Never
    }
}

/// Whether a link of the settings has a host part from the start.
fn has_host(settings: &Settings) -> bool {
    settings.role == Role::Upstream || (settings.role == Role::Static && !settings.joins.is_empty())
}

/// The addresses of an interface that this family can use: in IPv6 the link-local ones first.
fn usable<F: Family>(interface: &Interface) -> Vec<Net<F>> {
    let mut nets: Vec<Net<F>> =
        interface.addresses.iter().filter_map(|a| F::net(a.own())).collect();
    if F::AF == Af::Ip6 {
        nets.sort_by_key(|n| !n.address.is_link_local());
    }
    nets
}

/// The networks of peers.
fn peers<F: Family>(interface: &Interface) -> Vec<Net<F>> {
    let of_peer = interface.addresses.iter().filter(|a| a.own() != a.network);
    of_peer.filter_map(|a| F::net(a.network)).collect()
}

/// The (group, source) pairs of a statement, where they are of this family.
pub(super) fn each<F: Family>(
    statement: &StaticGroup,
) -> impl Iterator<Item = (F::Addr, Option<F::Addr>)> + use<F> {
    let source = statement.source.map(F::Addr::from_ip);
    let groups: Box<dyn Iterator<Item = IpAddr>> = match statement.group {
        IpNet::V4(net) => Box::new(
            std::iter::successors(Some(net.network()), move |a| {
                a.to_bits().checked_add(1).map(Into::into).filter(|next| net.contains(next))
            })
            .map(IpAddr::V4),
        ),
        IpNet::V6(net) => Box::new(
            std::iter::successors(Some(net.network()), move |a| {
                a.to_bits().checked_add(1).map(Into::into).filter(|next| net.contains(next))
            })
            .map(IpAddr::V6),
        ),
    };
    groups
        .take(crate::config::model::MAX_JOIN_RANGE as usize)
        .filter_map(F::Addr::from_ip)
        .filter(move |_| source != Some(None))
        .map(move |group| (group, source.flatten()))
}
