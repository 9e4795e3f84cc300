//! What a router upstream knows of us when it tracks each host and no message is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::imsg::ctl::Mode;
use mcast_proxy::wire::{Af, RecordType};

use super::claim::{Claim, after, nothing};
use super::sent::{Says, Sent};

/// How we are on a link: the version that we speak and our address; nothing while it is down.
type Here = Option<(u8, Option<u8>)>;

#[derive(Default)]
struct Link {
    here: Here,
    /// It is since the last input.
    is_new: bool,
    claims: BTreeMap<IpAddr, Claim>,
}

/// The claims of each link.
#[derive(Default)]
pub(super) struct Heard {
    links: BTreeMap<(Af, u32), Link>,
}

/// Whether that version of the family is not its newest.
fn is_older(family: Af, version: u8) -> bool {
    version < if family == Af::Ip4 { 3 } else { 2 }
}

impl Heard {
    /// On a link where we are another one than before, all is said again.
    pub(super) fn meet(&mut self, family: Af, ifindex: u32, here: Here) {
        let link = self.links.entry((family, ifindex)).or_default();
        link.is_new = link.here != here;
        if link.is_new {
            *link = Link { here, is_new: true, claims: BTreeMap::new() };
        }
    }

    /// Reports of older versions are not repeated for groups that they cannot say any more: they
    /// age out.
    pub(super) fn unsayable(&mut self, which: impl Fn(IpAddr) -> bool) {
        for ((family, _), link) in &mut self.links {
            if link.here.is_some_and(|(version, _)| is_older(*family, version)) {
                link.claims.retain(|group, _| !which(*group));
            }
        }
    }

    /// The claims on a link.
    pub(super) fn on(&self, family: Af, ifindex: u32) -> BTreeMap<IpAddr, Claim> {
        self.links.get(&(family, ifindex)).map(|link| link.claims.clone()).unwrap_or_default()
    }

    pub(super) fn hear(&mut self, sent: &Sent) {
        let Link { here, is_new, claims } =
            self.links.entry((sent.family, sent.ifindex)).or_default();
        let older = here.is_some_and(|(version, _)| is_older(sent.family, version));
        let is_before = matches!(sent.says, Says::Report(_)) == older;
        match &sent.says {
            // In the version of before, in the same turn.
            Says::Report(_) | Says::OldReport(_) | Says::Leave(_) if *is_new && is_before => {}
            Says::Query { .. } => {}
            Says::OldReport(group) => _ = claims.insert(*group, (Mode::Exclude, BTreeSet::new())),
            Says::Leave(group) => _ = claims.remove(group),
            Says::Report(records) => {
                for (group, kind, list) in records {
                    let claim = claims.remove(group).unwrap_or(nothing());
                    assert!(
                        claim.0 == Mode::Include
                            || *kind != RecordType::IsIn
                            || claim.1.is_disjoint(list),
                        "an answer for what is excluded"
                    );
                    let claim = after(claim, *kind, list);
                    if claim != nothing() {
                        claims.insert(*group, claim);
                    }
                }
            }
        }
    }
}
