//! Received protocol packets.

use std::sync::Arc;

use super::Proxy;
use crate::config::model::{Role, SourceNet};
use crate::engine::core::Action;
use crate::engine::core::groups::{Place, Said, admits};
use crate::engine::core::link::Link;
use crate::engine::core::mrt::World;
use crate::engine::core::slot::Slot;
use crate::imsg::Packet;
use crate::sys::time::Tick;
use crate::wire::{
    Address, Af, Discard, Family, Header, Message, Net, Query, Receiver, Record, RecordType,
    Records,
};

/// Messages that one link may send us in a second.
const MESSAGE_RATE: u32 = 50_000;
/// Messages that one link may send us at once after a pause.
pub(super) const MESSAGE_BURST: u32 = 100_000;

/// What validation goes by on one link, kept ready for each packet.
#[derive(Debug)]
pub(super) struct Reception<F: Family> {
    addresses: Vec<Net<F>>,
    sources: Vec<Net<F>>,
    ssm: Vec<Net<F>>,
    verify_source_subnet: bool,
    require_router_alert: bool,
}

impl<F: Family> Reception<F> {
    /// On an upstream our own kernel's reports are listened to, since a leave of its may name a
    /// group that we still want: there no address counts as ours.
    pub(super) fn new(link: &Link<F>, ssm: &[Net<F>]) -> Self {
        let downstream = link.role() == Role::Downstream;
        Self {
            addresses: if downstream { link.addresses.clone() } else { Vec::new() },
            sources: link
                .settings
                .sources
                .iter()
                .filter_map(|s| match s {
                    SourceNet::Net(net) => F::net(*net),
                    SourceNet::Any => None,
                })
                .chain(link.peers.iter().copied())
                .collect(),
            ssm: ssm.to_vec(),
            verify_source_subnet: downstream
                && link.settings.verify_source_subnet
                && !link.any_source(),
            require_router_alert: link.settings.require_router_alert,
        }
    }

    fn receiver(&self) -> Receiver<'_, F> {
        Receiver {
            addresses: &self.addresses,
            sources: &self.sources,
            verify_source_subnet: self.verify_source_subnet,
            require_router_alert: self.require_router_alert,
            ssm: &self.ssm,
        }
    }
}

impl<F: Family> Proxy<F> {
    /// Takes a packet; one of an interface without a link is none of ours.
    pub fn packet(&mut self, now: Tick, packet: &Packet, out: &mut Vec<Action>) {
        let Some(slot) = self.link_by_index(packet.ifindex).map(|l| l.slot) else { return };
        if let Err(reason) = self.take(now, slot, packet, out) {
            self.discard(now, slot, reason, out);
            if reason == Discard::SourceNotLinkLocal {
                self.warn_of_source(now, slot, packet, out);
            }
        }
    }

    fn take(
        &mut self,
        now: Tick,
        slot: Slot,
        packet: &Packet,
        out: &mut Vec<Action>,
    ) -> Result<(), Discard> {
        let (Some(link), Some(port)) = (self.links.get(slot), self.ports.get_mut(slot)) else {
            return Ok(());
        };
        let refill = (now - port.refilled).0.saturating_mul(MESSAGE_RATE / 1000);
        if refill > 0 {
            port.budget = port.budget.saturating_add(refill).min(MESSAGE_BURST);
            port.refilled = now;
        }
        port.budget = port.budget.checked_sub(1).ok_or(Discard::MessageRate)?;
        let reception = Arc::clone(&port.reception);
        let (header, message) = F::parse(packet, &reception.receiver())?;
        port.counters.received(header.kind);
        port.counters.other_ttl += u64::from(header.ttl != 1);
        let own = link.is_own(header.source);
        self.dispatch(now, slot, own, &header, message, out)
    }

    fn dispatch(
        &mut self,
        now: Tick,
        slot: Slot,
        own: bool,
        header: &Header<F>,
        message: Message<'_, F>,
        out: &mut Vec<Action>,
    ) -> Result<(), Discard> {
        let role = self.links.get(slot).map_or(Role::Disabled, Link::role);
        match (message, role) {
            (Message::Query(_) | Message::Mrdisc(_), _) if own => Err(Discard::Own),
            (Message::Mrdisc(message), _) => {
                if let Some(port) = self.ports.get_mut(slot) {
                    port.mrdisc.on_message(now, header.source, message);
                }
                Ok(())
            }
            (Message::Query(query), Role::Downstream) => {
                self.foreign_query(now, slot, header.source, &query, out)
            }
            (Message::Query(query), Role::Upstream | Role::Static | Role::Disabled) => {
                let host = self.ports.get_mut(slot).and_then(|p| p.host.as_mut());
                host.ok_or(Discard::Role)?.on_query(now, &query);
                Ok(())
            }
            (Message::OldReport { version, group }, Role::Downstream) => {
                let said =
                    if F::AF == Af::Ip4 && version == 1 { Said::ReportV1 } else { Said::ReportV2 };
                self.said(now, slot, header.source, said, Place::new(group), &[])
            }
            (Message::Leave { group }, Role::Downstream) => {
                self.said(now, slot, header.source, Said::Leave, Place::new(group), &[])
            }
            (Message::Report(records), Role::Downstream) => {
                self.records(now, slot, header.source, records, out);
                Ok(())
            }
            (Message::Leave { group }, Role::Upstream | Role::Static | Role::Disabled) if own => {
                self.own_leave(now, slot, group);
                Ok(())
            }
            (Message::Report(records), Role::Upstream | Role::Static | Role::Disabled) if own => {
                for record in records.flatten() {
                    if record.kind == RecordType::ToIn || record.kind == RecordType::Block {
                        self.own_leave(now, slot, record.group);
                    }
                }
                Ok(())
            }
            (
                Message::OldReport { .. } | Message::Leave { .. } | Message::Report(_),
                Role::Upstream | Role::Static | Role::Disabled,
            ) => Err(Discard::Role),
        }
    }

    fn own_leave(&mut self, now: Tick, slot: Slot, group: F::Addr) {
        if let Some(host) = self.ports.get_mut(slot).and_then(|p| p.host.as_mut()) {
            host.on_own_leave(now, group);
        }
    }

    fn foreign_query(
        &mut self,
        now: Tick,
        slot: Slot,
        source: F::Addr,
        query: &Query<'_, F>,
        out: &mut Vec<Action>,
    ) -> Result<(), Discard> {
        if source.is_unspecified() {
            // A snooping switch that asks for itself is no router. RFC 4541, section 2.1.1.
            return Ok(());
        }
        let (Some(link), Some(port)) = (self.links.get_mut(slot), self.ports.get_mut(slot)) else {
            return Ok(());
        };
        if F::AF == Af::Ip4 && link.settings.verify_source_subnet && !link.is_connected(source) {
            return Err(Discard::SourceSubnet);
        }
        let heard = port.querier.on_query(now, link.source_address(), source, query);
        let yields = port.querier.other.is_some();
        let lost = !std::mem::replace(&mut link.yields, yields) && yields;
        if lost {
            self.groups.stop_queries(slot);
        }
        self.compare_version(now, slot, source, query, out);
        if heard.changed {
            self.tell_querier(now, slot, format!("querier is {source}"), out);
        }
        if lost {
            let world = World { links: &self.links, members: &self.groups };
            self.mrt.on_link_changed(now, slot, world);
        }
        if let Some(limit) = heard.lower {
            let mut sources: Vec<F::Addr> = query.sources.iter().collect();
            sources.sort_unstable();
            let named = (!query.sources.is_empty()).then_some(&*sources);
            self.groups.follow_query(now, slot, query.group, named, limit);
        }
        Ok(())
    }

    fn records(
        &mut self,
        now: Tick,
        slot: Slot,
        reporter: F::Addr,
        records: Records<'_, F>,
        out: &mut Vec<Action>,
    ) {
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        places.extend(records.map(|record| match record {
            Ok(record) => Place::new(record.group),
            Err(skipped) => Place::new(skipped.group),
        }));
        self.groups.look_up(slot, reporter, &mut places);
        let mut list = Vec::new();
        for (record, place) in records.zip(&places) {
            let result = match record {
                Ok(record) => self.record(now, slot, reporter, &record, (*place, &mut list)),
                Err(skipped) => Err(skipped.reason),
            };
            if let Err(reason) = result {
                self.discard(now, slot, reason, out);
            }
        }
        self.places = places;
    }

    fn record(
        &mut self,
        now: Tick,
        slot: Slot,
        reporter: F::Addr,
        record: &Record<'_, F>,
        (place, list): (Place<F::Addr>, &mut Vec<F::Addr>),
    ) -> Result<(), Discard> {
        list.clear();
        list.extend(record.sources.iter());
        list.sort_unstable();
        list.dedup();
        let excludes = matches!(record.kind, RecordType::IsEx | RecordType::ToEx);
        if let Some(link) = self.links.get(slot)
            && !excludes
            && !list.is_empty()
            && !link.settings.rules.is_empty()
        {
            list.retain(|s| link.permits(record.group, Some(*s)));
            if list.is_empty() && record.kind != RecordType::ToIn {
                return Err(Discard::Policy);
            }
        }
        self.said(now, slot, reporter, Said::Record(record.kind), place, list)
    }

    fn said(
        &mut self,
        now: Tick,
        slot: Slot,
        reporter: F::Addr,
        said: Said,
        place: Place<F::Addr>,
        list: &[F::Addr],
    ) -> Result<(), Discard> {
        let group = place.group;
        let (Some(link), Some(port)) = (self.links.get(slot), self.ports.get(slot)) else {
            return Ok(());
        };
        admits(link, group)?;
        if link.settings.version(F::AF) < F::LAYOUT.newest && self.is_source_specific(group) {
            return Err(Discard::SsmOlderVersion);
        }
        let rules = port.querier.rules(now);
        self.groups.report(now, slot, &rules, reporter, place, (said, list));
        Ok(())
    }
}
