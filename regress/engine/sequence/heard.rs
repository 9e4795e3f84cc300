//! What a router upstream knows of us when it tracks each host and no message is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::imsg::ctl::Mode;
use mcast_proxy::wire::{Af, RecordType};

use super::claim::{Claim, after, nothing};
use super::sent::{Says, Sent};

/// How we are on a link: the version that we speak and our address; nothing while it is down.
type Here = Option<(u8, Option<u8>)>;

/// The claims of each link.
#[derive(Default)]
pub(super) struct Heard {
    links: BTreeMap<(Af, u32), (Here, BTreeMap<IpAddr, Claim>)>,
}

impl Heard {
    /// On a link where we are another one than before, all is said again.
    pub(super) fn meet(&mut self, family: Af, ifindex: u32, here: Here) {
        let link = self.links.entry((family, ifindex)).or_default();
        if link.0 != here {
            *link = (here, BTreeMap::new());
        }
    }

    /// Reports of older versions are not repeated for groups that they cannot say any more: they
    /// age out.
    pub(super) fn unsayable(&mut self, which: impl Fn(IpAddr) -> bool) {
        for ((family, _), (here, claims)) in &mut self.links {
            let newest = if *family == Af::Ip4 { 3 } else { 2 };
            if here.is_some_and(|(version, _)| version < newest) {
                claims.retain(|group, _| !which(*group));
            }
        }
    }

    /// The claims on a link.
    pub(super) fn on(&self, family: Af, ifindex: u32) -> BTreeMap<IpAddr, Claim> {
        self.links.get(&(family, ifindex)).map(|(_, claims)| claims.clone()).unwrap_or_default()
    }

    pub(super) fn hear(&mut self, sent: &Sent) {
        let (_, claims) = self.links.entry((sent.family, sent.ifindex)).or_default();
        match &sent.says {
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
