//! What `explain` asks of the routes.

use super::Mrt;
use super::decide::{Reason, Sources, Verdict, View, World};
use super::statics::Rule;
use crate::engine::core::link::Link;
use crate::engine::core::slot::{Slot, Slots};
use crate::imsg::ctl::RouteRow;
use crate::wire::{Address, Family};

impl<F: Family> Mrt<F> {
    /// At most `max` rows of a group, with `source` only those that are for its packets: first what
    /// is in the table, then the `mroute` statements that wait.
    pub fn rows_of(
        &self,
        group: F::Addr,
        source: Option<F::Addr>,
        max: usize,
        world: World<'_, F>,
    ) -> Vec<RouteRow> {
        let table = &self.routes.table;
        let flows = match source {
            Some(source) => table.flow(source, group).into_iter().collect(),
            None => table.flows_of(group),
        };
        let entries = table.shared(group).into_iter().chain(flows);
        let is_meant = |rule: &Rule| match source {
            Some(source) => rule.takes(group, source),
            None => rule.has_group(group),
        };
        let rules = self.statics.iter_from(0).map(|(_, rule)| rule);
        let waiting = rules.filter(|rule| is_meant(rule) && self.waits(rule));
        entries
            .map(|handle| self.entry_row(table.get(handle), world))
            .chain(waiting.map(|rule| self.rule_row(rule, world)))
            .take(max)
            .collect()
    }

    /// What the kernel cannot do that another can, in words.
    pub fn kernel_limits(&self) -> impl Iterator<Item = &'static str> {
        self.routes.capabilities.limits().map(|(_, words)| words)
    }

    /// What would become of packets to a group on an interface: of one source, or of one that all
    /// checks of sources let pass, as a kernel does that looks at none.
    pub fn foresee(
        &self,
        group: F::Addr,
        source: Option<F::Addr>,
        incoming: Slot,
        world: World<'_, F>,
    ) -> Verdict {
        let any = Sources::Merged(F::Addr::UNSPECIFIED);
        let sources = match source {
            Some(source) if self.routes.by_group() => Sources::Merged(source),
            Some(source) => Sources::One(source),
            None => any,
        };
        View::new(&self.statics, world, group).decide(sources, incoming)
    }

    /// Whether a flow that is to be forwarded can have an entry: drop entries give way to it.
    pub fn has_room(&self) -> bool {
        let table = &self.routes.table;
        table.limited() < self.routes.limits.max_routes as usize || table.drops() > 0
    }

    /// Where packets of a source to a group arrive, if its entry tells.
    pub fn incoming(&self, group: F::Addr, source: F::Addr) -> Option<Slot> {
        let table = &self.routes.table;
        let entry = table.flow(source, group).or_else(|| table.shared(group))?;
        Some(table.get(entry).incoming)
    }
}

impl Reason {
    /// What a user can do about it.
    pub fn advice<F: Family>(self, links: &Slots<Link<F>>) -> Option<String> {
        let name = |slot| links.get(slot).map_or("the interface", |l| l.name.as_str());
        Some(match self {
            Self::Varies | Self::Unroutable | Self::Source(_) | Self::NoMember => return None,
            Self::Absent(slot) => format!("bring {} up", name(slot)),
            Self::Disabled(slot) => format!("give {} a role instead of `disabled`", name(slot)),
            Self::Boundary(slot) => format!("remove the boundary from {}", name(slot)),
            Self::Denied(slot) => format!("allow the group on {}", name(slot)),
            Self::Threshold(slot) => format!("lower the threshold of {}", name(slot)),
            Self::OtherUpstream(Some(slot)) => {
                format!("see why the sender is not reached through {}", name(slot))
            }
            Self::OtherUpstream(None) => "bring an upstream interface up".into(),
            Self::NoMroute(slot) => format!("give {} a role, or write an mroute", name(slot)),
            Self::NoOutput => "bring an outgoing interface of the mroute up".into(),
            Self::NotQuerier(slot) => {
                format!("where the querier on {} is no router: forward-non-querier yes", name(slot))
            }
        })
    }
}
