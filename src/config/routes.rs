//! Static routes among each other: two for the same flows, and loops.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::model::{GroupSet, Mroute, Pattern, SourceMatch};
use super::value::{ROUTABLE_SCOPES, check_family, check_routed, check_source};

/// Pairs of routes that the search for loops compares at most.
const MAX_STEPS: usize = 2_000_000;
/// Interfaces of a loop at most; kernels have 32 or 64 vifs.
const MAX_LOOP: usize = 64;

/// What a second static route cannot share. A route for one (S,G) excludes another whatever the
/// incoming interface is, as the kernel keeps one route for each (S,G); others compete only where
/// they begin at the same interface, and none of two with `except` would be the longer match.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RouteKey<'a> {
    from: Option<&'a Pattern>,
    source: Option<IpNet>,
    has_except: bool,
    group: GroupSet,
}

impl<'a> RouteKey<'a> {
    pub(super) fn of(route: &'a Mroute) -> Self {
        let host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        let one = match (&route.source, &route.group) {
            (SourceMatch::Net(source), GroupSet::Net(group)) => host(source) && host(group),
            (SourceMatch::Any | SourceMatch::Except(_) | SourceMatch::Net(_), _) => false,
        };
        let (source, has_except) = match &route.source {
            SourceMatch::Any => (None, false),
            SourceMatch::Net(net) => (Some(*net), false),
            SourceMatch::Except(_) => (None, true),
        };
        Self { from: (!one).then_some(&route.from), source, has_except, group: route.group }
    }

    /// Whether it is for one source and one group.
    pub(super) const fn is_exact(&self) -> bool {
        self.from.is_none()
    }
}

/// Whether some of the groups may be forwarded.
pub(super) fn check_groups(group: &GroupSet) -> Result<(), String> {
    match group {
        GroupSet::Net(net) => check_routed(*net),
        GroupSet::Scopes(mask) if mask & ROUTABLE_SCOPES == 0 => {
            Err("scopes up to realm-local are never forwarded".to_owned())
        }
        GroupSet::Scopes(_) => Ok(()),
    }
}

/// Whether the route makes sense by itself.
pub(super) fn check_mroute(route: &Mroute) -> Result<(), String> {
    check_groups(&route.group)?;
    let family = route.group.covering();
    match &route.source {
        SourceMatch::Any => {}
        SourceMatch::Net(net) => {
            check_family(family, *net)?;
            check_source(*net)?;
        }
        SourceMatch::Except(nets) => {
            nets.iter().try_for_each(|net| check_family(family, *net))?;
        }
    }
    if route.to.is_empty() {
        return Err("no interface to send to".to_owned());
    }
    if route.to.contains(&route.from) && !route.from.is_wild() {
        return Err(format!("a loop: '{}' is where it comes from and where it goes", route.from.0));
    }
    let mut to: Vec<&str> = route.to.iter().map(|p| p.0.as_str()).collect();
    to.sort_unstable();
    match to.iter().zip(to.iter().skip(1)).find(|(a, b)| a == b) {
        Some((name, _)) => Err(format!("'{name}' is said twice")),
        None => Ok(()),
    }
}

/// What a packet that took some routes in turn can be.
#[derive(Clone)]
struct Flow<'a> {
    group: IpNet,
    scopes: u16,
    source: Option<IpNet>,
    except: Vec<&'a [IpNet]>,
}

impl<'a> Flow<'a> {
    fn of(route: &'a Mroute) -> Self {
        let scopes = match route.group {
            GroupSet::Net(_) => u16::MAX,
            GroupSet::Scopes(mask) => mask,
        };
        let (source, except) = match &route.source {
            SourceMatch::Any => (None, Vec::new()),
            SourceMatch::Net(net) => (Some(*net), Vec::new()),
            SourceMatch::Except(nets) => (None, vec![nets.as_slice()]),
        };
        Self { group: route.group.covering(), scopes, source, except }
    }

    /// What takes the other route as well; `None` when nothing does.
    fn and(&self, route: &'a Mroute) -> Option<Self> {
        let other = Self::of(route);
        let group = smaller(self.group, other.group)?;
        let scopes = self.scopes & other.scopes;
        let source = match (self.source, other.source) {
            (Some(a), Some(b)) => Some(smaller(a, b)?),
            (a, b) => a.or(b),
        };
        let except = [self.except.as_slice(), &other.except].concat();
        let excluded = |s: IpNet| except.iter().copied().flatten().any(|n| n.contains(&s));
        let in_scope = match group.addr() {
            IpAddr::V6(a) if group.prefix_len() >= 16 => {
                scopes & (1 << (a.octets().get(1).copied().unwrap_or_default() & 0x0f)) != 0
            }
            IpAddr::V4(_) | IpAddr::V6(_) => scopes != 0,
        };
        (in_scope && !source.is_some_and(excluded)).then_some(Self {
            group,
            scopes,
            source,
            except,
        })
    }
}

/// The network that is in the other; `None` when they have nothing in common.
fn smaller(a: IpNet, b: IpNet) -> Option<IpNet> {
    if a.contains(&b) {
        return Some(b);
    }
    b.contains(&a).then_some(a)
}

/// Networks of groups, to find those that overlap with one.
struct ByGroup {
    routes: BTreeMap<IpNet, Vec<usize>>,
    /// Prefix lengths that occur.
    lengths: [bool; 129],
}

impl ByGroup {
    fn new() -> Self {
        Self { routes: BTreeMap::new(), lengths: [false; 129] }
    }

    fn insert(&mut self, group: IpNet, route: usize) {
        self.routes.entry(group).or_default().push(route);
        if let Some(length) = self.lengths.get_mut(usize::from(group.prefix_len())) {
            *length = true;
        }
    }

    fn overlapping(&self, group: IpNet) -> impl Iterator<Item = usize> + '_ {
        let last = IpNet::new_assert(group.broadcast(), group.max_prefix_len());
        let inside = self.routes.range(group..=last).map(|(_, routes)| routes);
        let around = (0..group.prefix_len())
            .filter(|n| self.lengths.get(usize::from(*n)).copied().unwrap_or_default())
            .filter_map(move |n| IpNet::new(group.addr(), n).ok())
            .filter_map(|net| self.routes.get(&net.trunc()));
        inside.chain(around).flatten().copied()
    }
}

/// What it takes to look at a route.
fn effort(route: &Mroute) -> usize {
    let except = match &route.source {
        SourceMatch::Except(nets) => nets.len(),
        SourceMatch::Any | SourceMatch::Net(_) => 0,
    };
    1 + route.to.len() + except
}

/// Searches for loops. Patterns are left out: on which interfaces they meet is known only then.
pub(super) struct Loops<'a> {
    routes: Vec<&'a Mroute>,
    by_from: HashMap<&'a str, ByGroup>,
    steps: usize,
}

/// What a search found.
pub(super) enum Search {
    None,
    /// The interfaces in turn.
    Loop(Vec<String>),
    /// There are too many routes to tell.
    Unknown,
}

impl<'a> Loops<'a> {
    pub(super) fn new(routes: &'a [Mroute]) -> Self {
        Self::among(routes.iter().filter(|r| !r.from.is_wild()).collect())
    }

    /// For the search through this one only: a loop is taken by some of its groups all the way.
    pub(super) fn around(route: &Mroute, routes: &'a [Mroute]) -> Self {
        let groups = route.group.covering();
        let meets =
            |r: &&Mroute| !r.from.is_wild() && smaller(groups, r.group.covering()).is_some();
        Self::among(routes.iter().filter(meets).collect())
    }

    fn among(routes: Vec<&'a Mroute>) -> Self {
        let mut by_from: HashMap<&str, ByGroup> = HashMap::new();
        for (n, route) in routes.iter().enumerate() {
            let of = by_from.entry(&route.from.0).or_insert_with(ByGroup::new);
            of.insert(route.group.covering(), n);
        }
        Self { routes, by_from, steps: MAX_STEPS }
    }

    /// Whether packets that take the route can come back to where it begins.
    pub(super) fn through(&mut self, route: &'a Mroute) -> Search {
        if route.from.is_wild() {
            return Search::None;
        }
        let mut path = vec![route.from.0.as_str()];
        match self.walk(route, &Flow::of(route), &mut path) {
            Some(true) => Search::Loop(path.iter().map(|p| (*p).to_owned()).collect()),
            Some(false) => Search::None,
            None => Search::Unknown,
        }
    }

    /// Whether the path, which ends where `route` begins, can be closed; it is, then.
    fn walk(
        &mut self,
        route: &'a Mroute,
        flow: &Flow<'a>,
        path: &mut Vec<&'a str>,
    ) -> Option<bool> {
        for to in route.to.iter().filter(|to| !to.is_wild()).map(|to| to.0.as_str()) {
            let seen = path.contains(&to);
            if path.first() == Some(&to) {
                path.push(to);
                return Some(true);
            }
            let Some(next) = self.by_from.get(to).filter(|_| !seen && path.len() < MAX_LOOP) else {
                continue;
            };
            let candidates: Vec<usize> =
                next.overlapping(flow.group).take(self.steps + 1).collect();
            let work =
                candidates.iter().filter_map(|n| self.routes.get(*n)).map(|r| effort(r)).sum();
            self.steps = self.steps.checked_sub(work)?;
            path.push(to);
            for n in candidates {
                let Some(route) = self.routes.get(n).copied() else { continue };
                let Some(flow) = flow.and(route) else { continue };
                if self.walk(route, &flow, path)? {
                    return Some(true);
                }
            }
            path.pop();
        }
        Some(false)
    }
}
