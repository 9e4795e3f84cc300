//! What `show` tells of one family.

use super::Proxy;
use crate::config::model::Role;
use crate::engine::core::link::Vif;
use crate::engine::core::mrt::World;
use crate::engine::core::slot::Slot;
use crate::imsg::ctl::{CounterRow, LinkRow, Rows, Status, Table, UpstreamRow};
use crate::sys::time::Tick;
use crate::wire::{Af, Discard, Family};

impl<F: Family> Proxy<F> {
    fn name(&self, slot: Slot) -> &str {
        self.links.get(slot).map_or("-", |l| l.name.as_str())
    }

    /// Rows of a table that grows with the network, from `cursor` on, and where to go on.
    pub fn rows(&self, now: Tick, table: Table, cursor: u64, max: usize) -> (Rows, Option<u64>) {
        match table {
            Table::Groups => {
                let (rows, next) = self.groups.group_rows(now, cursor, max, |s| self.name(s));
                (Rows::Groups(rows), next)
            }
            Table::Hosts => {
                let (rows, next) = self.groups.host_rows(now, cursor, max, |s| self.name(s));
                (Rows::Hosts(rows), next)
            }
            Table::Upstream => self.upstream_rows(cursor, max),
            Table::Routes => {
                let world = World { links: &self.links, members: &self.groups };
                let (rows, next) = self.mrt.rows(cursor, max, world);
                (Rows::Routes(rows), next)
            }
            Table::Counters => (Rows::Counters(self.counter_rows()), None),
            Table::Status | Table::Interfaces | Table::Events | Table::Config => {
                (Rows::Events(Vec::new()), None)
            }
        }
    }

    /// The cursor's high octet is the slot of the host part.
    fn upstream_rows(&self, cursor: u64, max: usize) -> (Rows, Option<u64>) {
        let (from, mut at) = (cursor >> 56, cursor & ((1 << 56) - 1));
        let mut rows = Vec::new();
        for port in self.ports.iter().filter(|p| u64::from(p.slot.0) >= from) {
            let (Some(host), Some(link)) = (&port.host, self.links.get(port.slot)) else {
                continue;
            };
            for (next, view) in host.iter_from(at, max - rows.len()) {
                rows.push(UpstreamRow {
                    interface: link.name.clone(),
                    family: F::AF,
                    group: view.group.into(),
                    filter_mode: view.mode,
                    sources: view.sources.iter().map(|&s| s.into()).collect(),
                    is_static: link
                        .settings
                        .joins
                        .iter()
                        .any(|j| j.group.contains(&view.group.into())),
                });
                if rows.len() >= max {
                    return (Rows::Upstream(rows), Some(u64::from(port.slot.0) << 56 | next));
                }
            }
            at = 0;
        }
        (Rows::Upstream(rows), None)
    }

    fn counter_rows(&self) -> Vec<CounterRow> {
        self.ports
            .iter()
            .map(|port| {
                let [received, sent, discarded] = port.counters.columns();
                CounterRow {
                    interface: self.name(port.slot).to_owned(),
                    family: F::AF,
                    received,
                    sent,
                    discarded,
                    other_ttl: port.counters.other_ttl,
                }
            })
            .collect()
    }

    /// This family's part of a row of `show interfaces`.
    pub fn link_row(&self, now: Tick, ifindex: u32) -> Option<LinkRow> {
        let link = self.link_by_index(ifindex)?;
        let port = self.ports.get(link.slot)?;
        let other = port.querier.other;
        let version = match (&port.host, F::AF) {
            (Some(host), _) => host.version(),
            (None, _) => port.querier.version(now),
        };
        Some(LinkRow {
            vif: match link.vif {
                Vif::Ready(number) => Some(number),
                Vif::None | Vif::Requested | Vif::Refused(_) => None,
            },
            reason: match &link.vif {
                Vif::Refused(reason) => Some(reason.clone()),
                Vif::None => Some("waits for an address".into()),
                Vif::Requested | Vif::Ready(_) => None,
            },
            version,
            querier: port.querier.is_querier(),
            querier_address: match other {
                Some(other) => Some(other.address.into()),
                None => link.source_address().filter(|_| port.querier.is_querier()).map(Into::into),
            },
            groups: u64::from(self.groups.on_link(link.slot)),
            querier_version: other.map(|o| o.version),
            querier_expire: other.map(|o| u64::from((o.expires - now).0 / 1000)),
            query_interval: port.querier.interval().0 / 1000,
            query_max_response_time: link.settings.query_response_interval.0 / 1000,
            last_member_query_interval: link.settings.last_member_query_interval.0 / 1000,
            robustness_variable: port.querier.robustness(),
            mrdisc_neighbors: port.mrdisc.neighbors(now).map(Into::into).collect(),
        })
    }

    /// Adds this family to `show status`.
    pub fn add_to_status(&self, status: &mut Status) {
        status.groups += u64::from(self.groups.count());
        status.hosts += u64::from(self.groups.host_count());
        status.routes += self.mrt.len() as u64;
        let mrt = self.mrt.counters();
        let routes = [
            ("route-limit", mrt.limit),
            ("routes-evicted", mrt.evicted),
            ("routes-refused", mrt.failed),
        ];
        let limits = Discard::ALL.iter().filter(|reason| reason.is_limit()).map(|reason| {
            (reason.name(), self.ports.iter().map(|p| p.counters.discards(*reason)).sum())
        });
        for (name, count) in limits.chain(routes).filter(|(_, count)| *count > 0) {
            *status.limits.entry(name.into()).or_default() += count;
        }
        let ready = self.links.iter().filter(|l| matches!(l.vif, Vif::Ready(_))).count();
        let ready = u32::try_from(ready).unwrap_or(u32::MAX);
        match F::AF {
            Af::Ip4 => status.vifs = ready,
            Af::Ip6 => status.mifs = ready,
        }
        for link in self.links.iter() {
            let names = match link.role() {
                Role::Upstream => &mut status.upstream,
                Role::Downstream => &mut status.downstream,
                Role::Static | Role::Disabled => continue,
            };
            if !names.contains(&link.name) {
                names.push(link.name.clone());
            }
        }
    }
}
