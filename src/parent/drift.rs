//! At the start, once a minute, after an error and at a reload: the kernel's tables are held against
//! ours.

use std::collections::BTreeSet;

use log::{debug, warn};

use super::Parent;
use crate::imsg::Notice;
use crate::kroute::{Drift, RouteKey};
use crate::sys::time::{Millis, Tick};
use crate::wire::Af;

/// Between two comparisons.
pub(super) const RECONCILE_INTERVAL: Millis = Millis(60_000);
/// From an error to the next one.
const AFTER_ERROR: Millis = Millis(1000);
/// Entries of other programs that a line of the log names.
const NAMED: usize = 4;

/// What other programs did to the kernel's tables.
#[derive(Default)]
pub(super) struct Drifts {
    /// Vifs and routes that were put right.
    mended: u64,
    /// Static entries of others, by [`Af::index`].
    foreign: [BTreeSet<RouteKey>; 2],
}

impl Drifts {
    /// What an engine is told, if there is anything to tell.
    pub(super) fn notice(&self) -> Option<Notice> {
        let foreign = self.foreign.iter().map(|keys| keys.len() as u64).sum();
        (self.mended > 0 || foreign > 0).then_some(Notice::Drift { mended: self.mended, foreign })
    }

    /// Takes over what a comparison found, and logs what is new in it.
    fn take(&mut self, family: Af, drift: &Drift) {
        let Drift { vifs_restored, rules_restored, restored, corrected, taken, removed, .. } =
            drift;
        let routes = [restored, corrected, taken, removed].map(Vec::len).iter().sum::<usize>();
        let vifs = vifs_restored.len() + rules_restored.len();
        if routes + vifs > 0 {
            self.mended = self.mended.saturating_add((routes + vifs) as u64);
            warn!(
                "{family}: another program changed the kernel's multicast routing; put right: \
                 {vifs} interfaces, {routes} routes"
            );
        }
        let Some(known) = self.foreign.get_mut(family.index()) else { return };
        let found: BTreeSet<RouteKey> = drift.foreign.iter().copied().collect();
        if !found.is_subset(known) {
            let names: Vec<String> = found.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if found.len() > NAMED { ", ..." } else { "" };
            warn!(
                "{family}: static routes of another program are in the kernel and forward as well: \
                 {}{more}",
                names.join(", ")
            );
        }
        *known = found;
    }
}

impl Parent {
    /// Compares soon: something went wrong.
    pub(super) fn suspect(&mut self, now: Tick) {
        self.next_reconcile = self.next_reconcile.min(now + AFTER_ERROR);
    }

    /// Compares the kernel's tables with ours and mends what differs.
    pub(super) fn reconcile(&mut self) {
        let before = self.drifts.notice();
        for family in Af::ALL {
            if !self.world.has(family) {
                continue;
            }
            let drift = match self.setup.kernel.reconcile(family) {
                Ok(drift) => drift,
                Err(e) => {
                    warn!("{family}: cannot read the kernel's table: {e}");
                    continue;
                }
            };
            if !drift.is_empty() {
                debug!("{family}: the kernel's table differed: {drift:?}");
            }
            self.drifts.take(family, &drift);
            // Another device may have the index by now, which has joined nothing.
            drift.vifs_restored.iter().for_each(|ifindex| self.leave_control_groups(*ifindex));
            for key in drift.failed {
                let reason = "the kernel lost it and does not take it back".to_owned();
                self.tell(&Notice::RouteFailed { key, reason });
            }
        }
        self.join_control_groups();
        match self.drifts.notice() {
            Some(notice) if before.as_ref() != Some(&notice) => self.tell(&notice),
            Some(_) | None => {}
        }
    }
}
