//! The end of a turn: what changed becomes routes, reports, queries and events, routes first.

use super::interfaces::each;
use super::tell::LINE_GAP;
use super::{Port, Proxy};
use crate::config::model::Role;
use crate::engine::core::Action;
use crate::engine::core::groups::{Merge, SpecificQuery};
use crate::engine::core::host::{Host, Subscription};
use crate::engine::core::mrt::set::SlotSet;
use crate::engine::core::mrt::{MrtEvent, World, upstream_for};
use crate::engine::core::slot::Slot;
use crate::imsg::Transmit;
use crate::imsg::ctl::{EventKind, Mode};
use crate::sys::time::Tick;
use crate::wire::{Address, Family, Kind, QuerySpec, Sender, query};

/// Groups whose subscriptions are changed together.
const BATCH: usize = 256;

impl<F: Family> Proxy<F> {
    /// Turns what this turn changed into actions.
    pub fn finish(&mut self, now: Tick, out: &mut Vec<Action>) {
        let dirty = self.groups.take_dirty();
        let world = World { links: &self.links, members: &self.groups };
        for &group in &dirty {
            self.mrt.on_group_changed(now, group, world);
        }
        while let Some(order) = self.mrt.poll_order() {
            out.push(Action::Parent(order));
        }
        while let Some(event) = self.mrt.poll_event() {
            out.push(match event {
                MrtEvent::Event(event) => Action::Event(event),
                MrtEvent::Log(line) => Action::Log(line),
            });
        }
        let mut joins = SlotSet::EMPTY;
        for groups in dirty.chunks(BATCH) {
            joins |= self.subscribe(now, groups);
        }
        for asked in self.groups.take_queries() {
            self.send_query(now, &asked, out);
        }
        // A group is asked for at its new upstream before it is left at the old one.
        self.say(|slot| joins.contains(slot), out);
        self.say(|slot| !joins.contains(slot), out);
        self.say_departed(out);
        for change in self.groups.take_changes() {
            let kind = if change.joined { EventKind::Join } else { EventKind::Leave };
            let mut event = self.event(kind, Some(change.slot), None);
            event.group = Some(change.group.into());
            out.push(Action::Event(event));
        }
        for (slot, reason) in self.groups.take_refused() {
            self.discard(now, slot, reason, out);
        }
    }

    /// Sends what host parts and multicast router discovery have to say on some of the links.
    fn say(&mut self, which: impl Fn(Slot) -> bool, out: &mut Vec<Action>) {
        for port in self.ports.iter_mut().filter(|p| which(p.slot)) {
            if let Some(host) = &mut port.host
                && let Some(group) = host.take_unsayable()
                && let Some(link) = self.links.get(port.slot)
            {
                let name = &link.name;
                out.push(Action::Log(format!(
                    "{name}: {group} and its like are not asked for: the version spoken there, {}, \
                     has no sources",
                    host.version()
                )));
            }
            let next = |host: &mut Host<F>| Some((host.version(), host.poll_transmit()?));
            while let Some((version, transmit)) = port.host.as_mut().and_then(next) {
                port.counters.sent(kind_of::<F>(version, &transmit));
                out.push(Action::Transmit(transmit));
            }
            while let Some((kind, transmit)) = port.mrdisc.poll_transmit() {
                port.counters.sent(kind);
                out.push(Action::Transmit(transmit));
            }
        }
    }

    /// Tells each host part what it is to have of the groups; where it had nothing of one before.
    fn subscribe(&mut self, now: Tick, groups: &[F::Addr]) -> SlotSet {
        let asked: Vec<(F::Addr, Option<Slot>, bool)> = groups
            .iter()
            .map(|&g| (g, upstream_for(&self.links, g), self.is_source_specific(g)))
            .collect();
        let mut joins = SlotSet::EMPTY;
        for port in self.ports.iter_mut() {
            let (Some(host), Some(link)) = (&mut port.host, self.links.get(port.slot)) else {
                continue;
            };
            let wanted = asked.iter().map(|&(group, chosen, specific)| {
                let mut merge = Merge::default();
                if chosen == Some(port.slot)
                    && !link.is_boundary(group)
                    && link.permits(group, None)
                {
                    self.groups.merge(group, &mut merge);
                }
                for join in link.settings.joins.iter().filter(|j| j.group.contains(&group.into())) {
                    match join.source.map(F::Addr::from_ip) {
                        None if specific => {}
                        None => merge.exclude(Vec::new()),
                        Some(source) => merge.include(source),
                    }
                }
                let (mode, mut sources) = merge.finish();
                if mode == Mode::Include && !link.settings.rules.is_empty() {
                    sources.retain(|s| link.permits(group, Some(*s)));
                }
                (group, Subscription { mode, sources })
            });
            joins.set(port.slot, host.subscribe(now, wanted.collect()));
        }
        joins
    }

    /// Subscribes the host part of a link to what `mgroup` joins there, and forgets what it no
    /// longer does.
    pub(super) fn subscribe_joins(&mut self, now: Tick, slot: Slot) {
        let Some(link) = self.links.get(slot).filter(|l| l.role() != Role::Downstream) else {
            return;
        };
        let mut groups: Vec<F::Addr> =
            link.settings.joins.iter().flat_map(each::<F>).map(|(group, _)| group).collect();
        if let Some(host) = self.ports.get(slot).and_then(|p| p.host.as_ref()) {
            groups.extend(host.iter_from(0, usize::MAX).map(|(_, view)| view.group));
        }
        groups.sort_unstable();
        groups.dedup();
        for groups in groups.chunks(BATCH) {
            self.subscribe(now, groups);
        }
    }

    /// Sends the General Query of a link whose time has come; notes a change of querier.
    pub(super) fn query_on_time(&mut self, now: Tick, slot: Slot, out: &mut Vec<Action>) {
        let (Some(link), Some(port)) = (self.links.get_mut(slot), self.ports.get_mut(slot)) else {
            return;
        };
        if self.leaving {
            return;
        }
        let (response, took_over) = port.querier.on_time(now);
        link.yields = port.querier.other.is_some();
        if let (Some(response), Some(source)) = (response, link.source_address()) {
            let version = port.querier.version(now);
            let spec = QuerySpec::<F> {
                version,
                group: F::Addr::UNSPECIFIED,
                max_response: response,
                suppress: false,
                robustness: port.querier.robustness(),
                query_interval: port.querier.interval(),
                sources: &[],
            };
            let to = Sender { ifindex: link.ifindex, source, mtu: link.mtu };
            send(query(&to, &spec), Kind::query(version), port, out);
        }
        if took_over {
            let who = match port.querier.is_querier() {
                true => "querier is this router",
                false => "no querier is heard",
            };
            self.tell_querier(now, slot, who.to_owned(), out);
            let world = World { links: &self.links, members: &self.groups };
            self.mrt.on_link_changed(now, slot, world);
        }
    }

    /// Tells that another router of the link is the querier than before.
    pub(super) fn tell_querier(
        &mut self,
        now: Tick,
        slot: Slot,
        reason: String,
        out: &mut Vec<Action>,
    ) {
        self.tell(now, slot, ("querier", LINE_GAP), || reason.clone(), out);
        out.push(Action::Event(self.event(EventKind::Interface, Some(slot), Some(reason))));
    }

    fn send_query(&mut self, now: Tick, asked: &SpecificQuery<F::Addr>, out: &mut Vec<Action>) {
        let (Some(link), Some(port)) = (self.links.get(asked.slot), self.ports.get_mut(asked.slot))
        else {
            return;
        };
        let Some(source) = link.source_address() else { return };
        let version = port.querier.version(now);
        let spec = QuerySpec::<F> {
            version,
            group: asked.group,
            max_response: port.querier.rules(now).lmqi,
            suppress: asked.suppress,
            robustness: port.querier.robustness(),
            query_interval: port.querier.interval(),
            sources: &asked.sources,
        };
        let to = Sender { ifindex: link.ifindex, source, mtu: link.mtu };
        send(query(&to, &spec), Kind::query(version), port, out);
    }
}

fn send<F: Family>(messages: Vec<Transmit>, kind: Kind, port: &mut Port<F>, out: &mut Vec<Action>) {
    for message in messages {
        port.counters.sent(kind);
        out.push(Action::Transmit(message));
    }
}

/// What a host part sends: by the destination and, for reports to their group, by its version.
fn kind_of<F: Family>(version: u8, transmit: &Transmit) -> Kind {
    match F::Addr::from_ip(transmit.destination) {
        Some(group) if group == F::REPORTS => Kind::report(F::LAYOUT.newest),
        Some(group) if group == F::ALL_ROUTERS => Kind::Leave,
        Some(_) | None => Kind::report(version.min(F::LAYOUT.newest - 1)),
    }
}
