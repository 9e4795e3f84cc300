//! An interface as one family of the core sees it: its settings and what follows from them.

use std::sync::Arc;

use super::slot::Slot;
use crate::config::model::{GroupSet, Role, Settings, SourceNet};
use crate::wire::{Address, Family, Net};

/// What the parent said of the interface's vif.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vif {
    /// Not asked for.
    None,
    /// Asked for.
    Requested,
    /// It has this number.
    Ready(u16),
    /// It cannot be one, for this reason.
    Refused(String),
}

/// An interface that the configuration names, in one family.
#[derive(Clone, Debug)]
pub struct Link<F: Family> {
    /// Its place in the tables of this family.
    pub slot: Slot,
    /// Its index now; a recreated interface gets a new slot.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Octets of an IP packet at most.
    pub mtu: u32,
    /// Up, with a carrier.
    pub up: bool,
    /// Usable addresses with their networks; the primary one (IPv6: the first link-local) first.
    pub addresses: Vec<Net<F>>,
    /// Networks at the other end of a point-to-point link.
    pub peers: Vec<Net<F>>,
    /// What holds for it.
    pub settings: Arc<Settings>,
    /// Its vif.
    pub vif: Vif,
    /// Whether another router is the elected querier (downstream).
    pub yields: bool,
}

impl<F: Family> Link<F> {
    /// The address that protocol packets are sent from. IPv6: link-local only (RFC 9777, 5.1.14).
    pub fn source_address(&self) -> Option<F::Addr> {
        let first = self.addresses.first()?.address;
        (F::AF == crate::wire::Af::Ip4 || first.is_link_local()).then_some(first)
    }

    /// The interface's role.
    pub fn role(&self) -> Role {
        self.settings.role
    }

    /// Whether data can come in and go out: it is up and a vif.
    pub fn forwards(&self) -> bool {
        self.up && matches!(self.vif, Vif::Ready(_))
    }

    /// Whether data that goes to members here is ours to forward: we are the querier, or would be
    /// if we had an address to query from, or the settings lift the rule. RFC 4605, section 4.2.
    pub fn is_forwarder(&self) -> bool {
        !self.yields
            || self.settings.forward_non_querier
            || self.settings.querier == crate::config::model::QuerierMode::Never
    }

    /// Whether traffic from `source` may arrive here: it is in a connected network or in one of the
    /// `source` networks.
    pub fn source_ok(&self, source: F::Addr) -> bool {
        self.is_connected(source)
            || self.settings.sources.iter().any(|s| match s {
                SourceNet::Any => true,
                SourceNet::Net(net) => net.contains(&source.into()),
            })
    }

    /// Whether `source any` holds here.
    pub fn any_source(&self) -> bool {
        self.settings.sources.contains(&SourceNet::Any)
    }

    /// Whether traffic of sources that are in no network of this downstream link may arrive here.
    pub fn takes_from_afar(&self) -> bool {
        self.role() == Role::Downstream
            && self.forwards()
            && self.settings.sources.iter().any(|s| match s {
                SourceNet::Any => true,
                SourceNet::Net(net) => F::net(*net).is_some(),
            })
    }

    /// Whether the address is in a network of this link.
    pub fn is_connected(&self, address: F::Addr) -> bool {
        self.addresses.iter().chain(&self.peers).any(|net| net.contains(address))
    }

    /// Whether the address is our own here.
    pub fn is_own(&self, address: F::Addr) -> bool {
        self.addresses.iter().any(|net| net.address == address)
    }

    /// Whether the group neither enters nor leaves here.
    pub fn is_boundary(&self, group: F::Addr) -> bool {
        self.settings.boundaries.iter().any(|set| set.contains(group.into()))
    }

    /// Whether allow and deny let (source, group) pass: the first match decides; with any allow the
    /// rest is denied. `None` asks for a join without a source, which only a rule without a source
    /// refuses.
    pub fn permits(&self, group: F::Addr, source: Option<F::Addr>) -> bool {
        let rules = &self.settings.rules;
        for rule in rules {
            if !rule.group.contains(&group.into()) {
                continue;
            }
            match (rule.source, source) {
                (None, _) => return rule.allow,
                (Some(net), Some(s)) if net.contains(&s.into()) => return rule.allow,
                (Some(_), None) if rule.allow => return true,
                (Some(_), _) => {}
            }
        }
        !rules.iter().any(|r| r.allow)
    }

    /// Length of the longest `group` range that the group is in; 0 for an upstream of all groups,
    /// `None` when it is not upstream for the group.
    pub fn upstream_match(&self, group: F::Addr) -> Option<u8> {
        if self.settings.role != Role::Upstream {
            return None;
        }
        if self.settings.groups.is_empty() {
            return Some(0);
        }
        self.settings
            .groups
            .iter()
            .filter(|net| net.contains(&group.into()))
            .map(ipnet::IpNet::prefix_len)
            .max()
    }
}

impl GroupSet {
    /// Whether the group is in the set.
    #[must_use]
    pub fn contains(&self, group: std::net::IpAddr) -> bool {
        match (self, group) {
            (Self::Net(net), _) => net.contains(&group),
            (Self::Scopes(mask), std::net::IpAddr::V6(g)) => {
                g.is_multicast() && mask >> (g.octets()[1] & 0x0f) & 1 == 1
            }
            (Self::Scopes(_), std::net::IpAddr::V4(_)) => false,
        }
    }
}
