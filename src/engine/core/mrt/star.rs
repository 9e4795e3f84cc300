//! (*,G) entries, and what moves flows from one interface to another.

use super::decide::{Sources, View};
use super::report::{Cause, LogKind};
use super::routes::{Room, Routes};
use super::set::SlotSet;
use super::table::{Entry, Kind, Rival};
use crate::config::model::{Role, WrongVif};
use crate::engine::core::slot::Slot;
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Family};

/// A flow moves by `wrongvif follow` at most once in this time.
pub const HOLD_DOWN: Millis = Millis::from_secs(10);

/// A flow that had no packet on its interface for this long may move to another one.
pub const LOST_AFTER: Millis = Millis::from_secs(3);

impl<F: Family> Routes<F> {
    /// Installs the (*,G) entry where it has the same effect as the decisions for each source, and
    /// tells where it takes packets from.
    pub(super) fn raise_star(
        &mut self,
        now: Tick,
        view: &View<'_, F>,
        cause: Cause,
    ) -> Option<Slot> {
        let group = self.table.group(view.group);
        if !self.capabilities.star_g || group.is_some_and(|g| g.starless) {
            return None;
        }
        let (incoming, mut outputs) = view.star()?;
        if self.has_other_senders(view, incoming) {
            return None;
        }
        let found = self.table.shared(view.group);
        let any = F::Addr::UNSPECIFIED;
        let entry = Entry::new(now, Kind::Shared, any, view.group, incoming);
        let enter = || self.enter(now, entry, Room::Learned);
        let handle = found.or_else(enter)?;
        outputs |= self.table.get(handle).kept(incoming, view.world.links);
        self.put(now, handle, incoming, outputs, view.world.links, cause);
        Some(incoming)
    }

    /// Takes the (*,G) entry away, after those of its flows were installed. One of an engine before
    /// us stays, and members that came meanwhile have it, too, unless a rule asks for the source.
    pub(super) fn lower_star(&mut self, now: Tick, view: &View<'_, F>, cause: Cause) {
        let links = view.world.links;
        let Some(handle) = self.table.shared(view.group) else { return };
        let entry = self.table.get(handle);
        let incoming = entry.incoming;
        if !entry.adopted || !entry.can_arrive(incoming, links) {
            return self.withdraw(handle, links, cause);
        }
        let open = links.iter().filter(|l| l.settings.rules.is_empty()).map(|l| l.slot);
        let open = open.fold(SlotSet::EMPTY, |set, slot| set | SlotSet::one(slot));
        let sources = Sources::Merged(F::Addr::UNSPECIFIED);
        let outputs = entry.kept(incoming, links) | view.decide(sources, incoming).outputs & open;
        self.put(now, handle, incoming, outputs, links, cause);
    }

    /// Whether a flow is forwarded from another interface, where its packets would be no match for
    /// (*,G), or is not judged yet.
    fn has_other_senders(&self, view: &View<'_, F>, incoming: Slot) -> bool {
        self.table.flows_of(view.group).into_iter().any(|handle| {
            let entry = self.table.get(handle);
            let elsewhere = || {
                entry.kind == Kind::Learned
                    && entry.incoming != incoming
                    && !view.decide(Sources::One(entry.source), entry.incoming).outputs.is_empty()
            };
            entry.adopted || elsewhere()
        })
    }

    /// Moves flows along when their group has another upstream now.
    pub(super) fn reparent(&mut self, now: Tick, view: &View<'_, F>) {
        let Some(upstream) = view.upstream else { return };
        let Some(group) = self.table.group_mut(view.group) else { return };
        let Some(before) = group.upstream.replace(upstream).filter(|u| *u != upstream) else {
            return;
        };
        let link = view.world.links.get(before).filter(|l| l.role() != Role::Upstream);
        for handle in self.table.flows_of(view.group) {
            if !self.table.is_live(handle) {
                continue;
            }
            let entry = self.table.get(handle);
            let stays = link.is_some_and(|l| l.is_connected(entry.source));
            if entry.kind == Kind::Learned && entry.incoming == before && !stays {
                let verdict = view.decide(Sources::One(entry.source), upstream);
                if verdict.accepted {
                    let links = view.world.links;
                    self.put(now, handle, upstream, verdict.outputs, links, "upstream changed");
                }
            }
        }
    }

    /// A packet of a known flow arrived on another interface. True when counters have to be read to
    /// tell whether the flow moved there. RFC 4605, section 4.2, leaves the policy open.
    pub(super) fn on_wrong_interface(
        &mut self,
        now: Tick,
        view: &View<'_, F>,
        source: F::Addr,
        slot: Slot,
    ) -> bool {
        self.counters.wrong_interface += 1;
        let Some(handle) = self.table.flow(source, view.group) else {
            // The (*,G) entry drops what may not come in there; one for the flow would take it from
            // the interface where it may.
            if self.table.shared(view.group).is_some()
                && view.decide(Sources::One(source), slot).accepted
            {
                self.on_unknown(now, view, source, slot);
            }
            return false;
        };
        let entry = self.table.get(handle);
        let sources = Sources::One(source);
        if entry.incoming == slot
            || entry.kind == Kind::Fixed
            || !view.decide(sources, slot).accepted
        {
            return false;
        }
        let incoming = entry.incoming;
        if !view.decide(sources, incoming).accepted {
            // What may not come in there does not pin the flow.
            self.move_to(now, handle, view, slot, "not accepted where it was seen first");
            return false;
        }
        let links = view.world.links;
        let Some(link) = links.get(slot) else { return false };
        match link.settings.wrongvif {
            WrongVif::Ignore => false,
            WrongVif::Log => {
                let (group, name) = (view.group, &link.name);
                self.log(now, LogKind::WrongInterface, || {
                    let right = links.get(incoming).map_or("?", |l| l.name.as_str());
                    format!("{source} to {group} arrived on {name}, its route is from {right}")
                });
                false
            }
            WrongVif::Follow if now < entry.hold => false,
            WrongVif::Follow => {
                let connected = |s| links.get(s).is_some_and(|l| l.is_connected(source));
                if connected(slot) && !connected(incoming) {
                    self.follow(now, handle, view, slot);
                    return false;
                }
                let rival = Rival { slot, counted: None };
                self.table.get_mut(handle).rival.get_or_insert_with(|| Box::new(rival));
                true
            }
        }
    }

    /// The flow's packets were counted: moves it to where copies arrive, when it had none for
    /// [`LOST_AFTER`] on its own interface. True when they have to be counted again.
    pub(super) fn judge_rival(
        &mut self,
        now: Tick,
        handle: u32,
        view: &View<'_, F>,
        packets: u64,
    ) -> bool {
        let Some(mut rival) = self.table.get_mut(handle).rival.take() else { return false };
        let (since, before) = *rival.counted.get_or_insert((now, packets));
        if before == packets && now < since + LOST_AFTER {
            self.table.get_mut(handle).rival = Some(rival);
            return true;
        }
        let source = Sources::One(self.table.get(handle).source);
        if before == packets && view.decide(source, rival.slot).accepted {
            self.follow(now, handle, view, rival.slot);
        }
        false
    }

    fn follow(&mut self, now: Tick, handle: u32, view: &View<'_, F>, slot: Slot) {
        self.table.get_mut(handle).hold = now + HOLD_DOWN;
        self.move_to(now, handle, view, slot, "the source moved");
    }

    /// Moves a flow to another interface, with what is decided for it there.
    fn move_to(&mut self, now: Tick, handle: u32, view: &View<'_, F>, slot: Slot, cause: Cause) {
        let links = view.world.links;
        let star = self.table.shared(view.group).map(|h| self.table.get(h).incoming);
        let source = self.table.get(handle).source;
        let outputs = view.decide(Sources::One(source), slot).outputs;
        self.table.change(handle, |e| (e.active, e.pinned) = (now, true));
        self.put(now, handle, slot, outputs, links, cause);
        // Where (*,G) takes its packets from as well, an entry of its own pins the flow: without it
        // the next copy elsewhere would be asked about, and dropped there with all others.
        if star.is_some_and(|incoming| incoming != slot) && !outputs.is_empty() {
            self.refresh(now, view, cause);
        }
    }
}
