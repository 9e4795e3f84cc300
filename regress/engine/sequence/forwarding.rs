//! Who gets what, by the rules of RFC 4605, section 4, from what `show` tells and from the
//! configuration, as slowly and obviously as it can be written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use ipnet::IpNet;
use mcast_proxy::config::model::{
    Config, GroupSet, Mroute, Pattern, QuerierMode, Role, Settings, SourceMatch, SourceNet,
};
use mcast_proxy::imsg::ctl::{GroupRow, LinkRow, Mode};
use mcast_proxy::kroute::Interface;
use mcast_proxy::wire::Af;

use super::claim::Claim;
use super::group::Rules;
use super::net::{self, interface};
use super::parent::Parent;

/// An interface that takes part.
pub(super) struct Port {
    pub(super) link: usize,
    pub(super) ifindex: u32,
    interface: Interface,
    pub(super) settings: Rc<Settings>,
    pub(super) row: LinkRow,
}

impl Port {
    pub(super) fn name(&self) -> &str {
        &self.interface.name
    }

    /// What its router part goes by.
    pub(super) fn rules(&self, af: Af) -> Rules {
        Rules::of(af, &self.row, &self.settings)
    }

    /// The groups that the configuration gives it members of.
    pub(super) fn configured(&self, af: Af) -> BTreeSet<IpAddr> {
        let of = self.settings.static_groups.iter().chain(&self.settings.joins);
        of.flat_map(|of| each(of.group)).filter(|group| Af::of(*group) == af).collect()
    }

    fn is_ready(&self) -> bool {
        self.interface.up && self.row.vif.is_some()
    }

    fn is_upstream(&self) -> bool {
        self.settings.role == Role::Upstream
    }

    /// The first rule that matches; with any allow, the rest is denied. A join without a source is
    /// denied by rules without a source only.
    pub(super) fn permits(&self, group: IpAddr, source: Option<IpAddr>) -> bool {
        let rules = &self.settings.rules;
        for rule in rules.iter().filter(|r| r.group.contains(&group)) {
            match (rule.source, source) {
                (None, _) => return rule.allow,
                (Some(net), Some(source)) if net.contains(&source) => return rule.allow,
                (Some(_), None) if rule.allow => return true,
                (Some(_), _) => {}
            }
        }
        rules.iter().all(|r| !r.allow)
    }

    /// Whether hosts may ask for the group.
    pub(super) fn hears(&self, config: &Config, group: IpAddr) -> bool {
        let af = Af::of(group);
        let newest = if af == Af::Ip4 { 3 } else { 2 };
        let is_older = self.settings.version(af) < newest;
        self.admits(group) && !(is_older && net::is_specific(config, group))
    }

    /// Whether the group may be asked for.
    pub(super) fn admits(&self, group: IpAddr) -> bool {
        !self.is_boundary(group) && self.permits(group, None)
    }

    fn is_boundary(&self, group: IpAddr) -> bool {
        self.settings.boundaries.iter().any(|set| match set {
            GroupSet::Net(net) => net.contains(&group),
            GroupSet::Scopes(_) => panic!("no scopes here"),
        })
    }

    pub(super) fn takes_any(&self) -> bool {
        self.settings.sources.contains(&SourceNet::Any)
    }

    fn accepts(&self, source: IpAddr) -> bool {
        self.interface.addresses.iter().any(|a| a.network.contains(&source))
            || self.settings.sources.iter().any(|s| match s {
                SourceNet::Any => true,
                SourceNet::Net(net) => net.contains(&source),
            })
    }

    fn forwards_to_members(&self) -> bool {
        self.settings.role == Role::Downstream
            && (self.row.querier
                // It would be if it could query.
                || self.row.querier_address.is_none()
                || self.settings.forward_non_querier
                || self.settings.querier == QuerierMode::Never)
    }

    /// How long the range is by which it is upstream for the group.
    fn range(&self, group: IpAddr) -> Option<u8> {
        let ranges = &self.settings.groups;
        let of = ranges.iter().filter(|net| net.contains(&group)).map(|net| net.prefix_len());
        match (self.is_upstream(), ranges.is_empty()) {
            (false, _) => None,
            (true, true) => Some(0),
            (true, false) => of.max(),
        }
    }
}

/// The interfaces that take part.
pub(super) fn ports(parent: &Parent, af: Af) -> Vec<Port> {
    let port = |(link, row): (usize, LinkRow)| {
        let at = parent.links[link];
        let ifindex = at.ifindex?;
        let settings = parent.settings[link].clone()?;
        let interface = interface(link, ifindex, at.up, at.own());
        Some(Port { link, ifindex, interface, settings, row })
    };
    parent.link_rows(af).into_iter().filter_map(port).collect()
}

/// Packets of a flow, or of all sources where the kernel does not tell them apart: this one is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Packets {
    Of(IpAddr),
    Merged(IpAddr),
}

impl Packets {
    /// Whose they all are.
    fn source(self) -> Option<IpAddr> {
        match self {
            Self::Of(source) => Some(source),
            Self::Merged(_) => None,
        }
    }

    fn known(self) -> IpAddr {
        match self {
            Self::Of(source) | Self::Merged(source) => source,
        }
    }
}

/// What holds in one family now.
pub(super) struct View {
    pub(super) af: Af,
    pub(super) ports: Vec<Port>,
    pub(super) groups: Vec<GroupRow>,
    mroutes: Vec<Mroute>,
}

impl View {
    pub(super) fn new(parent: &Parent, af: Af) -> Self {
        let mine = |r: &Mroute| match r.group {
            GroupSet::Net(net) => Af::of(net.addr()) == af,
            GroupSet::Scopes(_) => panic!("no scopes here"),
        };
        Self {
            af,
            ports: ports(parent, af),
            groups: parent.groups().into_iter().filter(|row| row.family == af).collect(),
            mroutes: parent.config.mroutes.iter().filter(|r| mine(r)).cloned().collect(),
        }
    }

    pub(super) fn port(&self, ifindex: u32) -> Option<&Port> {
        self.ports.iter().find(|p| p.ifindex == ifindex)
    }

    fn named(&self, patterns: &[Pattern]) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|p| patterns.iter().any(|n| n.matches(p.name())))
    }

    fn state(&self, name: &str, group: IpAddr) -> Option<&GroupRow> {
        self.groups.iter().find(|row| row.interface == name && row.group == group)
    }

    /// Whether the members of a link want it; of no certain source: whether there are any.
    fn wants(&self, port: &Port, group: IpAddr, source: Option<IpAddr>) -> bool {
        let Some(row) = self.state(port.name(), group) else { return false };
        let Some(source) = source else { return true };
        let listed = row.sources.iter().find(|s| s.source == source);
        match (row.filter_mode, listed) {
            (_, Some(listed)) => listed.forwarding,
            (Mode::Include, None) => false,
            (Mode::Exclude, None) => true,
        }
    }

    /// RFC 4605 has one upstream; the longest range, then the preference, then the index choose.
    fn upstream(&self, group: IpAddr) -> Option<&Port> {
        let ready = self.ports.iter().filter(|p| p.is_ready());
        let ranged = ready.filter_map(|p| Some((p, p.range(group)?)));
        ranged
            .min_by_key(|(p, range)| (255 - range, p.settings.preference, p.ifindex))
            .map(|(p, _)| p)
    }

    /// The static route that a packet takes: the longest group, then the longest source.
    fn rule(&self, group: IpAddr, source: IpAddr, on: &Port) -> Option<&Mroute> {
        let length = |r: &&Mroute| {
            let GroupSet::Net(group) = r.group else { panic!("no scopes here") };
            let SourceMatch::Net(source) = r.source else { return (group.prefix_len(), 0) };
            (group.prefix_len(), source.prefix_len())
        };
        let takes = |r: &&Mroute| {
            let GroupSet::Net(groups) = r.group else { panic!("no scopes here") };
            let from = match &r.source {
                SourceMatch::Any => true,
                SourceMatch::Net(net) => net.contains(&source),
                SourceMatch::Except(nets) => !nets.iter().any(|net| net.contains(&source)),
            };
            r.from.matches(on.name()) && groups.contains(&group) && from
        };
        self.mroutes.iter().filter(takes).max_by_key(length)
    }

    /// Where packets that arrive on an interface leave.
    pub(super) fn outputs(&self, group: IpAddr, packets: Packets, on: &Port) -> BTreeSet<u32> {
        let source = packets.source();
        let upstream = self.upstream(group).map(|p| p.ifindex);
        let barred = on.row.vif.is_none()
            || on.is_boundary(group)
            || on.is_upstream() && !on.permits(group, source);
        if barred {
            return BTreeSet::new();
        }
        let enters = match on.settings.role {
            Role::Upstream => {
                upstream == Some(on.ifindex) || upstream.is_none() && on.range(group).is_some()
            }
            Role::Downstream => true,
            Role::Static | Role::Disabled => false,
        };
        let proxied = enters && source.is_none_or(|source| on.accepts(source));
        let fixed: BTreeSet<u32> = self
            .rule(group, packets.known(), on)
            .map(|rule| self.named(&rule.to).map(|p| p.ifindex).collect())
            .unwrap_or_default();
        let leaves = |p: &&Port| {
            let up = on.settings.role == Role::Downstream && upstream == Some(p.ifindex);
            let member = p.forwards_to_members() && self.wants(p, group, source);
            p.ifindex != on.ifindex
                && p.is_ready()
                && !p.is_boundary(group)
                && (p.is_upstream() || p.permits(group, source))
                && (proxied && (up || member) || fixed.contains(&p.ifindex))
        };
        self.ports.iter().filter(leaves).map(|p| p.ifindex).collect()
    }

    /// Where a kernel that looks at groups alone takes one from that it asked about: where it has
    /// members that were asked for upstream, unless a static route is for the packet.
    pub(super) fn incoming<'a>(
        &'a self,
        group: IpAddr,
        source: IpAddr,
        seen: &'a Port,
    ) -> &'a Port {
        let has_members = self.groups.iter().any(|row| row.group == group);
        match self.upstream(group).filter(|p| p.admits(group)) {
            Some(upstream) if has_members && self.rule(group, source, seen).is_none() => upstream,
            Some(_) | None => seen,
        }
    }

    /// What is to be asked for upstream. RFC 4605, section 4.1; RFC 9776, section 3.2.
    pub(super) fn subscriptions(&self) -> BTreeMap<(String, IpAddr), Claim> {
        let mut all = BTreeMap::new();
        let hosts = |p: &&Port| {
            p.is_upstream() || p.settings.role == Role::Static && !p.settings.joins.is_empty()
        };
        for port in self.ports.iter().filter(hosts) {
            let joined = port.settings.joins.iter().flat_map(|j| each(j.group));
            let groups = self.groups.iter().map(|row| row.group).chain(joined);
            let groups: BTreeSet<IpAddr> = groups.filter(|g| Af::of(*g) == self.af).collect();
            for group in groups {
                let claim = self.subscription(port, group);
                if claim != (Mode::Include, BTreeSet::new()) {
                    all.insert((port.name().to_owned(), group), claim);
                }
            }
        }
        all
    }

    fn subscription(&self, port: &Port, group: IpAddr) -> Claim {
        let chosen = self.upstream(group).is_some_and(|p| p.ifindex == port.ifindex);
        let asks = chosen && port.admits(group);
        let rows = self.groups.iter().filter(|row| asks && row.group == group);
        let (mut include, mut exclude) = (BTreeSet::new(), None::<BTreeSet<IpAddr>>);
        for row in rows {
            let listed = |forwarded: bool| {
                let of = row.sources.iter().filter(move |s| s.forwarding == forwarded);
                of.map(|s| s.source).collect::<BTreeSet<_>>()
            };
            match row.filter_mode {
                Mode::Include => include.extend(listed(true)),
                Mode::Exclude => {
                    let not = listed(false);
                    exclude = Some(exclude.map_or(not.clone(), |before| &before & &not));
                }
            }
        }
        for join in port.settings.joins.iter().filter(|j| j.group.contains(&group)) {
            match join.source {
                Some(source) => _ = include.insert(source),
                None => exclude = Some(BTreeSet::new()),
            }
        }
        match exclude {
            Some(exclude) => (Mode::Exclude, &exclude - &include),
            None => {
                include.retain(|source| port.permits(group, Some(*source)));
                (Mode::Include, include)
            }
        }
    }

    /// Static routes of one source, group and incoming interface that is there.
    pub(super) fn fixed(&self) -> Vec<(IpAddr, IpAddr, &Port)> {
        let exact = |r: &Mroute| {
            let (GroupSet::Net(group), SourceMatch::Net(source)) = (r.group, &r.source) else {
                return None;
            };
            let one = |net: ipnet::IpNet| net.prefix_len() == net.max_prefix_len();
            let from = self.named(std::slice::from_ref(&r.from)).next()?;
            (one(group) && one(*source) && !r.from.is_wild())
                .then(|| (source.addr(), group.addr(), from))
        };
        self.mroutes.iter().filter_map(exact).collect()
    }
}

/// The addresses of a range.
fn each(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let all = net.subnets(net.max_prefix_len()).expect("addresses of the range");
    all.map(|one| one.addr())
}
