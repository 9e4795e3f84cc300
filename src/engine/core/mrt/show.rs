//! The rows of `show routes`.

use super::Mrt;
use super::decide::{Sources, View, World};
use super::report;
use super::statics::Rule;
use super::table::{Entry, Kind};
use crate::config::model::{Pattern, SourceMatch};
use crate::imsg::ctl::{Origin, OutputRow, RouteRow, RouteState};
use crate::kroute::Output;
use crate::wire::Family;

/// Where the rows of statements begin among the places of a walk.
const RULES: u64 = 1 << 32;

impl<F: Family> Mrt<F> {
    /// Rows from the place `cursor` on (0 at first), at most `max`, and the place where to go on.
    ///
    /// First what is in the table, then the `mroute` statements that wait for their interfaces or
    /// for packets. Counts are those of the last reading.
    pub fn rows(
        &self,
        cursor: u64,
        max: usize,
        world: World<'_, F>,
    ) -> (Vec<RouteRow>, Option<u64>) {
        let place = |at: u64| u32::try_from(at).unwrap_or(u32::MAX);
        let entries = self
            .routes
            .table
            .iter_from(place(cursor))
            .map(|(handle, entry)| (u64::from(handle), self.entry_row(entry, world)));
        let rules = self.statics.iter_from(place(cursor.saturating_sub(RULES)));
        let waiting = rules
            .filter(|(_, rule)| self.waits(rule))
            .map(|(at, rule)| (RULES + u64::from(at), self.rule_row(rule, world)));
        let mut rows: Vec<(u64, RouteRow)> = entries.chain(waiting).take(max + 1).collect();
        let next = rows.get(max).map(|(at, _)| *at);
        rows.truncate(max);
        (rows.into_iter().map(|(_, row)| row).collect(), next)
    }

    /// Whether a statement has no entry of its own.
    pub(super) fn waits(&self, rule: &Rule) -> bool {
        let table = &self.routes.table;
        let own = match (rule.exact::<F>(), rule.group::<F>()) {
            (Some(_), Some(group)) if self.routes.by_group() => table.shared(group),
            (Some((source, group)), _) => table.flow(source, group),
            (None, Some(group)) if rule.mroute.source == SourceMatch::Any => {
                table.shared(group).filter(|h| rule.from.contains(table.get(*h).incoming))
            }
            (None, _) => None,
        };
        own.is_none_or(|handle| table.get(handle).outputs.is_empty())
    }

    pub(super) fn entry_row(&self, entry: &Entry<F>, world: World<'_, F>) -> RouteRow {
        let view = View::new(&self.statics, world, entry.group);
        let name = |slot| world.links.get(slot).map_or_else(String::new, |l| l.name.clone());
        let route = report::route(entry, world.links);
        let output = |(slot, out): (_, &Output)| OutputRow {
            interface: name(slot),
            threshold: out.threshold,
        };
        let sources = match (route.key.source, self.routes.by_group()) {
            (None, _) => Sources::Every,
            (Some(_), true) => Sources::Merged(entry.source),
            (Some(_), false) => Sources::One(entry.source),
        };
        let is_static = match entry.kind {
            Kind::Fixed => true,
            Kind::Learned | Kind::Shared | Kind::Free => view.has_static(sources, entry.incoming),
        };
        let drops = entry.outputs.is_empty();
        let reason = drops.then(|| view.decide(sources, entry.incoming).reason).flatten();
        let [packets, bytes, wrong_interface] = entry.counts;
        RouteRow {
            family: F::AF,
            source: route.key.source.map(|s| s.to_string()),
            group: entry.group.to_string(),
            incoming_interface: name(entry.incoming),
            outgoing_interfaces: entry.outputs.iter().zip(&route.outgoing).map(output).collect(),
            origin: if is_static { Origin::Static } else { Origin::Proxy },
            state: if drops { RouteState::Dropping } else { RouteState::Forwarding },
            reason: reason.map(|r| r.text(world.links, Some(entry.source))),
            packets,
            bytes,
            wrong_interface,
        }
    }

    pub(super) fn rule_row(&self, rule: &Rule, world: World<'_, F>) -> RouteRow {
        let mroute = &rule.mroute;
        let here = |p: &&Pattern| world.links.iter().any(|l| l.forwards() && p.matches(&l.name));
        let absent = std::iter::once(&mroute.from)
            .filter(|p| !here(p))
            .chain(mroute.to.iter().filter(|_| !mroute.to.iter().any(|p| here(&p))));
        let absent: Vec<&str> = absent.map(|p| p.0.as_str()).collect();
        let barred = rule.exact::<F>().zip(rule.from.only()).map(|((source, group), incoming)| {
            let verdict =
                View::new(&self.statics, world, group).decide(Sources::One(source), incoming);
            verdict.reason.map(|reason| reason.text(world.links, Some(source)))
        });
        let reason = match (absent.is_empty(), barred.flatten(), &mroute.source) {
            (false, _, _) => format!("absent or down: {}", absent.join(", ")),
            (true, Some(why), _) => why,
            (true, None, SourceMatch::Except(nets)) => {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                format!("until packets come, except from {}", nets.join(", "))
            }
            (true, None, SourceMatch::Any | SourceMatch::Net(_)) => "until packets come".into(),
        };
        let output = |p: &Pattern| OutputRow {
            interface: p.0.clone(),
            threshold: world
                .links
                .iter()
                .find(|l| p.matches(&l.name))
                .map_or(1, |l| l.settings.threshold),
        };
        RouteRow {
            family: F::AF,
            source: match mroute.source {
                SourceMatch::Net(net) => Some(network(net)),
                SourceMatch::Any | SourceMatch::Except(_) => None,
            },
            group: mroute.group.to_string(),
            incoming_interface: mroute.from.0.clone(),
            outgoing_interfaces: mroute.to.iter().map(output).collect(),
            origin: Origin::Static,
            state: RouteState::Waiting,
            reason: Some(reason),
            packets: 0,
            bytes: 0,
            wrong_interface: 0,
        }
    }
}

/// An address, or a network with its prefix length.
fn network(net: ipnet::IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}
