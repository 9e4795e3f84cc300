//! What others ask of the membership state: forwarding, the upstream merge, `show`.

use super::{Groups, Member};
use crate::engine::core::deadline::{Deadline, seconds};
use crate::engine::core::members::{Filter, Members};
use crate::engine::core::slot::Slot;
use crate::imsg::ctl::{GroupRow, HostRow, Mode, SourceRow};
use crate::sys::time::Tick;
use crate::wire::{Address, Af, Family};

impl<A: Address> Member<A> {
    fn wants(&self, source: A) -> bool {
        let listed = self.sources().binary_search_by_key(&source, |s| s.address).ok();
        let excluded = || listed.is_some_and(|at| self.sources()[at].expires.is_none());
        let dynamic = match self.mode {
            Mode::Include => listed.is_some(),
            Mode::Exclude => !excluded(),
        };
        dynamic || self.fixed().is_some_and(|f| f.any || f.sources.binary_search(&source).is_ok())
    }

    fn filter(&self) -> Filter {
        let excludes = self.sources().iter().any(|s| s.expires.is_none());
        if self.fixed().is_some_and(|f| f.any) || (self.mode == Mode::Exclude && !excludes) {
            Filter::All
        } else {
            Filter::Some
        }
    }
}

impl<F: Family> Members<F> for Groups<F> {
    fn links(&self, group: F::Addr, visit: &mut dyn FnMut(Slot, Filter)) {
        let Some(head) = self.head(group) else { return };
        for member in self.chain(head) {
            visit(self.members[member].slot, self.members[member].filter());
        }
    }

    fn groups(&self, visit: &mut dyn FnMut(F::Addr)) {
        self.index.iter().for_each(|g| visit(self.members[g].group));
    }

    fn wants(&self, slot: Slot, group: F::Addr, source: F::Addr) -> bool {
        self.find(slot, group).is_some_and(|m| self.members[m].wants(source))
    }
}

/// The sum of many contributions to one group, as one host with many sockets has it. RFC 9776,
/// section 3.2.
#[derive(Clone, Debug)]
pub struct Merge<A> {
    include: Vec<A>,
    exclude: Option<Vec<A>>,
}

impl<A> Default for Merge<A> {
    fn default() -> Self {
        Self { include: Vec::new(), exclude: None }
    }
}

impl<A: Copy + Ord> Merge<A> {
    /// Adds INCLUDE(sources).
    pub fn include(&mut self, sources: impl IntoIterator<Item = A>) {
        self.include.extend(sources);
    }

    /// Adds EXCLUDE(sources); they are sorted.
    pub fn exclude(&mut self, sources: Vec<A>) {
        match &mut self.exclude {
            Some(all) => all.retain(|s| sources.binary_search(s).is_ok()),
            None => self.exclude = Some(sources),
        }
    }

    /// The sum: mode, and sources in order.
    #[must_use]
    pub fn finish(mut self) -> (Mode, Vec<A>) {
        self.include.sort_unstable();
        self.include.dedup();
        match self.exclude {
            None => (Mode::Include, self.include),
            Some(mut all) => {
                all.retain(|s| self.include.binary_search(s).is_err());
                (Mode::Exclude, all)
            }
        }
    }
}

impl<F: Family> Groups<F> {
    /// Adds what the downstream links want of the group.
    pub fn merge(&self, group: F::Addr, into: &mut Merge<F::Addr>) {
        let Some(head) = self.head(group) else { return };
        for member in self.chain(head) {
            let member = &self.members[member];
            match member.mode {
                Mode::Include => into.include(member.sources().iter().map(|s| s.address)),
                Mode::Exclude => into.exclude(
                    member
                        .sources()
                        .iter()
                        .filter(|s| s.expires.is_none())
                        .map(|s| s.address)
                        .collect(),
                ),
            }
            match member.fixed() {
                Some(fixed) if fixed.any => into.exclude(Vec::new()),
                Some(fixed) => into.include(fixed.sources.iter().copied()),
                None => {}
            }
        }
    }

    /// Walks the members from `cursor` on, up to `max` of them, and tells where to go on.
    fn walk(
        &self,
        cursor: u64,
        max: usize,
        mut visit: impl FnMut(u32, &Member<F::Addr>) -> usize,
    ) -> Option<u64> {
        let mut count = 0;
        for at in u32::try_from(cursor).ok()?..self.members.extent() {
            if count >= max {
                return Some(u64::from(at));
            }
            let member = &self.members[at];
            if !member.is_free() {
                count += visit(at, member);
            }
        }
        None
    }

    /// Rows of `show groups`.
    pub fn group_rows<'a>(
        &self,
        now: Tick,
        cursor: u64,
        max: usize,
        name: impl Fn(Slot) -> &'a str,
    ) -> (Vec<GroupRow>, Option<u64>) {
        let mut rows = Vec::new();
        let left = |d: Deadline| u64::from(d.left(now).0.div_ceil(1000));
        let next = self.walk(cursor, max, |at, member| {
            let fixed = member.fixed();
            let mode = if fixed.is_some_and(|f| f.any) { Mode::Exclude } else { member.mode };
            let mut sources: Vec<SourceRow> = member
                .sources()
                .iter()
                .map(|s| SourceRow {
                    source: s.address.into(),
                    expire: s.expires.map(left),
                    forwarding: member.wants(s.address),
                })
                .collect();
            let listed =
                |s: &F::Addr| member.sources().binary_search_by_key(s, |x| x.address).is_err();
            sources.extend(
                fixed.iter().flat_map(|f| &f.sources).filter(|s| listed(s)).map(|&s| SourceRow {
                    source: s.into(),
                    expire: None,
                    forwarding: true,
                }),
            );
            let version = self.version(now, at);
            rows.push(GroupRow {
                interface: name(member.slot).to_owned(),
                family: F::AF,
                group: member.group.into(),
                filter_mode: mode,
                version: if F::AF == Af::Ip6 { version - 1 } else { version },
                expire: member.group_timer.map(left),
                up_time: u64::from(seconds(now).saturating_sub(member.created)),
                last_reporter: self
                    .live_hosts(member, now)
                    .max_by_key(|h| h.expires.map(|e| e.left(now)))
                    .map(|h| h.address.into()),
                is_static: fixed.is_some(),
                sources,
            });
            1
        });
        (rows, next)
    }

    /// Rows of `show hosts`.
    pub fn host_rows<'a>(
        &self,
        now: Tick,
        cursor: u64,
        max: usize,
        name: impl Fn(Slot) -> &'a str,
    ) -> (Vec<HostRow>, Option<u64>) {
        let mut rows = Vec::new();
        let next = self.walk(cursor, max, |_, member| {
            let before = rows.len();
            rows.extend(self.live_hosts(member, now).map(|host| HostRow {
                interface: name(member.slot).to_owned(),
                family: F::AF,
                group: member.group.into(),
                host: host.address.into(),
                filter_mode: host.mode,
                sources: host.sources().iter().map(|&s| s.into()).collect(),
                expire: host.expires.map(|e| u64::from(e.left(now).0.div_ceil(1000))),
            }));
            rows.len() - before
        });
        (rows, next)
    }
}
