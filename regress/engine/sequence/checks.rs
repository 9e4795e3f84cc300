//! What holds after each operation.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mcast_proxy::config::model::{Role, SourceMatch};
use mcast_proxy::imsg::ctl::{Mode, UpstreamRow};
use mcast_proxy::kroute::{MfcKey, Route, RouteKey};
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::Af;

use super::Follows;
use super::claim::Claim;
use super::file::BOUNDED;
use super::forwarding::{Packets, Port, View};
use super::group::Asked;
use super::members::{Key, Members};
use super::net::{self, LINKS};
use super::parent::Parent;
use super::sent::{Says, Sent};

/// Rounding of timers.
const GRAIN: Millis = Millis(8);

/// A look at everything.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) parent: &'a Parent,
    pub(super) members: &'a Members,
    pub(super) follows: Follows,
}

impl Look<'_> {
    /// All that holds at any time.
    pub(super) fn check(self) {
        assert_eq!(*self.parent.core.config(), self.parent.config);
        let views = Af::ALL.map(|af| View::new(self.parent, af));
        for view in &views {
            self.check_upstream(view);
            self.check_routes(view);
            if self.follows.members {
                self.check_members(view);
            }
        }
        self.check_deadline(&views);
        if self.follows.alike {
            self.check_alike();
        }
        let kept = Af::ALL.map(|af| self.parent.kernel.route_count(af)).iter().sum::<usize>();
        if !self.by_group() {
            assert_eq!(self.parent.status().routes, kept as u64, "routes shown");
        }
    }

    pub(super) fn by_group(self) -> bool {
        self.parent.behaviour.capabilities(Af::Ip4).key == MfcKey::Group
    }

    /// What is subscribed to upstream is the sum of what the links want.
    fn check_upstream(self, view: &View) {
        let rows = self.parent.upstream().into_iter().filter(|row| row.family == view.af);
        let claim = |r: UpstreamRow| {
            ((r.interface, r.group), (r.filter_mode, r.sources.into_iter().collect()))
        };
        let shown: BTreeMap<(String, IpAddr), Claim> = rows.map(claim).collect();
        assert_eq!(shown, view.subscriptions(), "upstream");
    }

    /// What the routers upstream have heard is what is subscribed to, once all was said.
    pub(super) fn check_heard(self) {
        for view in Af::ALL.map(|af| View::new(self.parent, af)) {
            let wanted = view.subscriptions();
            for port in &view.ports {
                let up = self.parent.links.iter().find(|l| l.ifindex == Some(port.ifindex));
                let speaks = up.is_some_and(|l| l.up && l.addressed) && port.row.vif.is_some();
                if port.settings.role == Role::Downstream || !speaks {
                    continue;
                }
                let newest = if view.af == Af::Ip4 { 3 } else { 2 };
                let older = port.row.version < newest;
                let said = |(name, group): &(String, IpAddr), claim: &Claim| {
                    let sayable = name == port.name()
                        && !(older && net::is_specific(&self.parent.config, *group));
                    let all = (Mode::Exclude, BTreeSet::new());
                    sayable.then(|| (*group, if older { all } else { claim.clone() }))
                };
                let wanted: BTreeMap<IpAddr, Claim> =
                    wanted.iter().filter_map(|(key, claim)| said(key, claim)).collect();
                assert_eq!(
                    self.parent.heard.on(view.af, port.ifindex),
                    wanted,
                    "heard on {}",
                    port.name()
                );
            }
        }
    }

    /// Each route of the kernel is what is decided for its packets now.
    fn check_routes(self, view: &View) {
        let routes = self.parent.kernel.routes(view.af);
        if self.by_group() {
            return self.check_merged(view, &routes);
        }
        for route in &routes {
            if let Some(source) = route.key.source {
                self.check_route(view, route, Packets::Of(source));
                continue;
            }
            let apart = |source: &IpAddr| {
                let key = RouteKey { source: Some(*source), group: route.key.group };
                routes.iter().any(|r| r.key == key)
            };
            let others = net::senders(view.af).filter(|source| !apart(source));
            others.for_each(|source| self.check_route(view, route, Packets::Of(source)));
        }
        let bounded = self.parent.points >> BOUNDED & 1 == 1;
        if bounded || !self.follows.kernel {
            return;
        }
        for (source, group, port) in view.fixed() {
            let key = RouteKey { source: Some(source), group };
            let waits = view.outputs(group, Packets::Of(source), port).is_empty();
            let there = routes.iter().any(|r| r.key == key && r.incoming == port.ifindex);
            assert!(waits || there, "not installed: {key:?}");
        }
    }

    /// A new engine keeps the outputs of the one before until members had time to answer.
    pub(super) fn is_settled(self) -> bool {
        self.parent.settles.is_none_or(|at| self.parent.now > at)
    }

    pub(super) fn check_route(self, view: &View, route: &Route, packets: Packets) {
        let Some(port) = view.port(route.incoming) else { panic!("from nowhere: {route:?}") };
        let expected = view.outputs(route.key.group, packets, port);
        let outputs: BTreeSet<u32> = route.outgoing.iter().map(|o| o.ifindex).collect();
        if self.is_settled() {
            assert_eq!(outputs, expected, "{packets:?}: {route:?}");
        } else {
            // A rule or an mroute may ask for the source, which the old (*,G) cannot.
            let is_star = route.key.source.is_none() && !self.by_group();
            let mroutes = &self.parent.config.mroutes;
            let asks = is_star && mroutes.iter().any(|m| m.source != SourceMatch::Any);
            let is_open = |index: &u32| {
                let port = view.port(*index);
                !asks && port.is_some_and(|p| !is_star || p.settings.rules.is_empty())
            };
            let expected: BTreeSet<u32> = expected.into_iter().filter(is_open).collect();
            assert!(outputs.is_superset(&expected), "{packets:?}: {route:?}, not {expected:?}");
        }
    }

    /// A second packet of a flow left where it should, unless its route is from elsewhere.
    pub(super) fn check_flow(
        self,
        af: Af,
        ifindex: u32,
        (source, group): (IpAddr, IpAddr),
        left: &BTreeSet<u32>,
    ) {
        if !self.follows.kernel || !self.is_settled() {
            return;
        }
        let view = View::new(self.parent, af);
        let Some(port) = view.port(ifindex).filter(|p| p.row.vif.is_some()) else {
            assert!(left.is_empty(), "not through us: {left:?}");
            return;
        };
        if self.by_group() {
            return self.check_merged_flow(&view, (group, ifindex), left);
        }
        let routes = self.parent.kernel.routes(af);
        let of = |source| routes.iter().find(|r| r.key == RouteKey { source, group });
        let route = of(Some(source)).or_else(|| of(None));
        let bounded = self.parent.points >> BOUNDED & 1 == 1;
        assert!(route.is_some() || bounded, "no entry for {source} to {group}");
        if route.is_some_and(|r| r.incoming == ifindex) {
            let expected = view.outputs(group, Packets::Of(source), port);
            assert_eq!(*left, expected, "{source} to {group}");
        }
    }

    /// The membership is the model's.
    fn check_members(self, view: &View) {
        let now = self.parent.now;
        let left = |end: Tick| u64::from((end - now).0.div_ceil(1000));
        let hosts = self.parent.hosts();
        let mut shown = BTreeSet::new();
        for row in &view.groups {
            let link = place(&row.interface);
            let key = (view.af, link, row.group);
            shown.insert(key);
            if row.is_static {
                continue;
            }
            let group = self.members.groups.get(&key).expect("members that nobody is");
            let ((exclude, sources), known) = (group.shown(), group.known(now));
            assert_eq!(row.filter_mode == Mode::Exclude, exclude.is_some(), "{row:?}");
            assert_eq!(row.expire, exclude.map(left), "{row:?}");
            let listed: BTreeMap<IpAddr, Option<u64>> =
                row.sources.iter().map(|s| (s.source, s.expire)).collect();
            let expected = sources.iter().map(|(s, end)| (*s, end.map(left)));
            assert_eq!(listed, expected.collect(), "{row:?}");
            assert!(row.sources.iter().all(|s| s.forwarding == s.expire.is_some()), "{row:?}");
            let here =
                hosts.iter().filter(|h| (&h.interface, h.group) == (&row.interface, row.group));
            let tracked: BTreeMap<IpAddr, (Claim, Option<u64>)> = here
                .map(|h| {
                    let claim = (h.filter_mode, h.sources.iter().copied().collect());
                    (h.host, (claim, h.expire))
                })
                .collect();
            let expected = known.into_iter().map(|(h, (claim, end))| (h, (claim, Some(left(end)))));
            assert_eq!(tracked, expected.collect(), "hosts of {row:?}");
        }
        let lost = self.members.groups.keys().find(|k| k.0 == view.af && !shown.contains(k));
        assert_eq!(lost, None, "forgotten");
    }

    /// The specific queries that went out are the model's.
    pub(super) fn check_asked(self) {
        if !self.follows.members {
            return;
        }
        let place = |sent: &Sent| self.parent.place(sent.ifindex);
        let asks = |sent: &Sent| match &sent.says {
            Says::Query { group: Some(group), sources, suppress, .. } => {
                let key = (sent.family, place(sent)?, *group);
                Some((key, (sent.at, *suppress, sources.clone())))
            }
            Says::Query { group: None, .. }
            | Says::Report(_)
            | Says::OldReport(_)
            | Says::Leave(_) => None,
        };
        let mut sent: Vec<(Key, Asked)> = self.parent.sent.iter().filter_map(asks).collect();
        let mut asked = self.members.asked.clone();
        sent.sort();
        asked.sort();
        assert_eq!(sent, asked, "specific queries");
    }

    /// What is to happen is woken up for, and nothing is overdue.
    fn check_deadline(self, views: &[View]) {
        let (parent, now) = (self.parent, self.parent.now);
        let due = parent.core.next_deadline();
        assert!(due.is_none_or(|due| due > now), "overdue: {due:?}");
        let members = self.members.next().filter(|_| self.follows.members);
        let ports = || views.iter().flat_map(|v| v.ports.iter().map(|p| (v.af, p)));
        let seconds = |s: u64| Millis(u32::try_from(s).expect("a time") * 1000);
        // The last query may have been another index's.
        let asks = |(af, port): (Af, &Port)| {
            let last = parent.asked_all.get(&(af, port.ifindex)).copied().unwrap_or(now);
            port.row.querier.then(|| last + seconds(port.row.query_interval.into()))
        };
        let yields =
            |(_, port): (Af, &Port)| Some(now + seconds(port.row.querier_expire?) + Millis(1000));
        let others = ports().filter_map(asks).chain(ports().filter_map(yields));
        if let Some(first) = others.chain(members).min() {
            assert!(due.is_some_and(|due| due <= first + GRAIN), "{due:?} is later than {first:?}");
        }
    }

    /// Nobody wants or sends anything any more: nothing is left.
    pub(super) fn check_nothing(self) {
        let parent = self.parent;
        assert_eq!(parent.groups(), []);
        assert_eq!(parent.hosts(), []);
        assert_eq!(parent.upstream(), []);
        assert_eq!(parent.routes(), []);
        for af in Af::ALL {
            assert_eq!(parent.kernel.routes(af), []);
        }
        let status = parent.status();
        assert_eq!((status.groups, status.hosts, status.routes), (0, 0, 0));
    }

    /// All is left upstream.
    pub(super) fn check_left(self) {
        for view in Af::ALL.map(|af| View::new(self.parent, af)) {
            for port in &view.ports {
                let claims = self.parent.heard.on(view.af, port.ifindex);
                assert!(claims.is_empty(), "not left on {}: {claims:?}", port.name());
            }
        }
    }
}

fn place(name: &str) -> usize {
    LINKS.iter().position(|link| *link == name).expect("one of ours")
}
