//! Kernels that look up entries by group alone (OpenBSD): one entry stands for all sources.
//!
//! The kernel makes an entry without outputs itself when it asks, and does not ask again while that
//! one lives. So what was seen is remembered without being installed, for the members that come
//! later, and there are no drop entries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::decide::{Sources, View};
use super::report::{self, Cause};
use super::routes::{Room, Routes};
use super::table::{Entry, Kind};
use crate::engine::core::slot::Slot;
use crate::imsg::Order;
use crate::imsg::ctl::EventKind;
use crate::kroute::RouteKey;
use crate::sys::time::Tick;
use crate::wire::Family;

/// A source for orders about a group of which none was seen: the kernel looks at the group alone, but
/// wants an address.
pub(super) fn any_source(group: IpAddr) -> IpAddr {
    match group {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

impl<F: Family> Routes<F> {
    /// A packet to the group that no entry is for: the kernel wants the entry anew.
    pub(super) fn on_unknown_group(
        &mut self,
        now: Tick,
        view: &View<'_, F>,
        source: F::Addr,
        seen: Slot,
    ) {
        let found = self.table.shared(view.group);
        let is_exact = view.statics.exact::<F>(view.group, source).is_some();
        let room = if is_exact { Room::Statics } else { Room::Learned };
        let entry = Entry::new(now, Kind::Shared, source, view.group, seen);
        let enter = || self.enter(now, entry, room);
        let Some(handle) = found.or_else(enter) else { return };
        let was = self.table.get(handle).clone();
        self.table.change(handle, |e| {
            // One that the kernel dropped unasked was idle: it is where it would be a new one.
            e.lost &= !e.installed;
            (e.source, e.seen, e.active, e.installed) = (source, seen, now, false);
        });
        self.refresh(now, view, "new flow");
        let is_installed = |h| self.table.get(h).installed;
        if was.installed && !self.table.shared(view.group).is_some_and(is_installed) {
            self.orders.push_back(Order::DeleteRoute(report::key(&was)));
            self.tell(EventKind::Remove, &was, view.world.links, "seen where nobody gets it");
        }
    }

    /// Brings the group's entry to what is decided for it now.
    pub(super) fn refresh_merged(&mut self, now: Tick, view: &View<'_, F>, cause: Cause) {
        let links = view.world.links;
        let Some(handle) = self.table.shared(view.group) else {
            if !self.adopts && !view.member_links().is_empty() {
                // The kernel may hold an entry of its own making, and would never ask.
                let source = Some(any_source(view.group.into()));
                let key = RouteKey { source, group: view.group.into() };
                self.orders.push_back(Order::DeleteRoute(key));
            }
            return;
        };
        let entry = self.table.get(handle);
        if !entry.can_arrive(entry.seen, links) {
            let cause = "its incoming interface is gone";
            return match self.adopts {
                true => self.withdraw(handle, links, cause),
                false => self.forget(handle, links, cause),
            };
        }
        let (source, seen) = (entry.source, entry.seen);
        let parent = match entry.lost {
            true => seen,
            // An engine before us knew why.
            false if entry.adopted && entry.installed => entry.incoming,
            false => view.parent(source, seen),
        };
        let decided = view.decide(Sources::Merged(source), parent).outputs;
        let outputs = decided | entry.kept(parent, links);
        if !outputs.is_empty() {
            self.put(now, handle, parent, outputs, links, cause);
        } else if entry.adopted {
            // Its interfaces are gone; others may get their slots.
            self.table.change(handle, |e| e.outputs = outputs);
        } else if entry.installed {
            let was = entry.clone();
            self.orders.push_back(Order::DeleteRoute(report::key(&was)));
            self.table.change(handle, |e| {
                (e.outputs, e.installed, e.active) = (outputs, false, now);
            });
            self.tell(EventKind::Remove, &was, links, cause);
        }
    }

    /// An `mroute` says where the group comes from before a packet does.
    pub(super) fn remember(&mut self, now: Tick, source: F::Addr, group: F::Addr, seen: Slot) {
        if self.table.shared(group).is_none() {
            let entry = Entry::new(now, Kind::Shared, source, group, seen);
            self.enter(now, Entry { seen, ..entry }, Room::Statics);
        }
    }

    /// The group's packets come on another interface than its entry's: lets the kernel ask again,
    /// and believes it.
    pub(super) fn lose(&mut self, handle: u32) {
        let entry = self.table.get_mut(handle);
        (entry.lost, entry.installed) = (true, false);
        let key = report::key(entry);
        self.orders.push_back(Order::DeleteRoute(key));
    }
}
