//! Whether a configuration makes sense as a whole.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::model::{Config, InterfaceBlock, Mroute, Overrides, Pattern, Role, Rule, StaticGroup};
use super::parse::{BlockPlaces, Places};
use super::routes::{Loops, RouteKey, Search};
use super::source::{Loc, Report};
use super::value::{ALL_V4, ALL_V6, never_forwarded, show_net, show_time};
use crate::sys::time::Millis;
use crate::wire::{V4, V6, default_ssm};

/// Rules of an interface that are compared with those before them.
const MAX_COMPARED: usize = 4096;

/// Tells all that does not fit together.
pub(super) fn check(config: &Config, places: &Places, report: &mut Report) {
    let blocks = Blocks::new(config);
    check_times(&config.defaults, &places.settings, &config.defaults, report);
    check_duplicates(&config.ssm_ranges, &places.ssm_ranges, "range", report);
    for (block, at) in config.interfaces.iter().zip(&places.blocks) {
        check_block(config, block, at, report);
    }
    check_upstreams(config, places, report);
    check_joins(config, places, &blocks, report);
    check_routes(config, places, &blocks, report);
}

/// The blocks by name.
pub(super) struct Blocks<'a> {
    exact: HashMap<&'a str, &'a InterfaceBlock>,
    patterns: Vec<&'a InterfaceBlock>,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        let exact = config.interfaces.iter().map(|b| (b.name.0.as_str(), b)).collect();
        Self { exact, patterns: config.interfaces.iter().filter(|b| b.name.is_wild()).collect() }
    }

    /// The block that holds for the interface, or for the pattern as it is written.
    pub(super) fn of(&self, name: &Pattern) -> Option<&'a InterfaceBlock> {
        let pattern = || self.patterns.iter().find(|b| !name.is_wild() && b.name.matches(&name.0));
        self.exact.get(name.0.as_str()).or_else(pattern).copied()
    }
}

/// Whether the family of the network is on, by the block or globally.
fn is_on(config: &Config, block: Option<&InterfaceBlock>, net: IpNet) -> bool {
    let own = block.map(|b| &b.overrides);
    match net {
        IpNet::V4(_) => own.and_then(|o| o.ipv4).or(config.defaults.ipv4).unwrap_or(true),
        IpNet::V6(_) => own.and_then(|o| o.ipv6).or(config.defaults.ipv6).unwrap_or(false),
    }
}

/// A warning where the family of the network is off.
fn warn_off(
    config: &Config,
    block: Option<&InterfaceBlock>,
    name: &Pattern,
    net: IpNet,
    (at, report): (Loc, &mut Report),
) {
    if !is_on(config, block, net) {
        let family = if net.max_prefix_len() == 32 { "ipv4" } else { "ipv6" };
        report.warn(at, format!("no effect: '{family}' is off on '{}'", name.0));
    }
}

/// Warnings of a membership that brings nothing.
fn warn_of_join(
    config: &Config,
    block: Option<&InterfaceBlock>,
    name: &Pattern,
    join: &StaticGroup,
    (at, report): (Loc, &mut Report),
) {
    warn_off(config, block, name, join.group, (at, report));
    if lacks_source(config, join) {
        let group = show_net(join.group);
        report.warn(at, format!("no effect: {group} is source-specific, and needs a 'source'"));
    }
}

/// Whether memberships in the groups have to name their sources, and this one does not. RFC 4604,
/// section 2.
pub(super) fn lacks_source(config: &Config, join: &StaticGroup) -> bool {
    let groups = join.group;
    if join.source.is_some() {
        return false;
    }
    let same = |range: &&IpNet| range.max_prefix_len() == groups.max_prefix_len();
    let mut own = config.ssm_ranges.iter().filter(same).peekable();
    if own.peek().is_some() {
        return own.any(|range| range.contains(&groups));
    }
    match groups.addr() {
        IpAddr::V4(group) => default_ssm::<V4>().contains(group),
        IpAddr::V6(group) => default_ssm::<V6>().contains(group),
    }
}

/// A query's response time fits into its interval. RFC 9776, section 8.3.
fn check_times(
    own: &Overrides,
    at: &HashMap<&'static str, Loc>,
    global: &Overrides,
    report: &mut Report,
) {
    let Some(at) = at.get("query-response-interval").or_else(|| at.get("query-interval")) else {
        return;
    };
    let interval = own.query_interval.or(global.query_interval).unwrap_or(Millis::from_secs(125));
    let response = own.query_response_interval.or(global.query_response_interval);
    let response = response.unwrap_or(Millis::from_secs(10));
    if response >= interval {
        let (response, interval) = (show_time(response), show_time(interval));
        report.error(
            *at,
            format!(
                "query-response-interval ({response}) must be less than query-interval ({interval})"
            ),
        );
    }
}

fn check_duplicates<T: Eq + std::hash::Hash>(
    items: &[T],
    places: &[Loc],
    what: &str,
    report: &mut Report,
) {
    let mut seen = HashMap::new();
    for (item, at) in items.iter().zip(places) {
        if let Some(first) = seen.insert(item, *at) {
            let first = report.place(first);
            report.error(*at, format!("this {what} is said already, at {first}"));
        }
    }
}

fn check_block(config: &Config, block: &InterfaceBlock, at: &BlockPlaces, report: &mut Report) {
    check_times(&block.overrides, &at.settings, &config.defaults, report);
    check_duplicates(&block.static_groups, &at.static_groups, "group", report);
    check_duplicates(&block.groups, &at.groups, "group", report);
    check_rules(&block.rules, &at.rules, report);
    if !at.bad && block.role != Role::Downstream {
        for at in &at.static_groups {
            report.error(*at, "'static-group' is for a downstream; elsewhere use 'mgroup'");
        }
    }
    if !at.bad && block.role != Role::Upstream {
        for at in at.groups.iter().chain(at.settings.get("preference")) {
            report.error(*at, format!("this is for an upstream, which '{}' is not", block.name.0));
        }
    }
    for (join, at) in block.static_groups.iter().zip(&at.static_groups) {
        warn_of_join(config, Some(block), &block.name, join, (*at, report));
    }
    let without_effect = block.threshold > Some(1) && is_on(config, Some(block), ALL_V6);
    if let Some(at) = at.settings.get("threshold").filter(|_| without_effect) {
        report.warn(*at, "kernels enforce a threshold for IPv4 only");
    }
}

/// Warns of rules that an earlier one leaves nothing to.
fn check_rules(rules: &[Rule], places: &[Loc], report: &mut Report) {
    let mut seen: HashSet<(IpNet, Option<IpNet>)> = HashSet::new();
    let (mut groups, mut sources) = (HashSet::new(), HashSet::new());
    for (rule, at) in rules.iter().zip(places).take(MAX_COMPARED) {
        if never_forwarded(rule.group) {
            report.warn(*at, format!("{} is never forwarded anyway", show_net(rule.group)));
        }
        let group_around = || around(rule.group, &groups);
        let source_around = || rule.source.into_iter().flat_map(|s| around(s, &sources));
        let covered = group_around().find_map(|g| {
            let wider = source_around().map(Some).chain([None]);
            wider.map(|s| (g, s)).find(|key| seen.contains(key))
        });
        if let Some((group, source)) = covered {
            let source = source.map_or_else(String::new, |s| format!(" source {}", show_net(s)));
            let group = show_net(group);
            report
                .warn(*at, format!("never reached: 'group {group}{source}' before it matches all"));
        }
        seen.insert((rule.group, rule.source));
        groups.insert(rule.group.prefix_len());
        sources.extend(rule.source.map(|s| s.prefix_len()));
    }
}

/// The network and those around it that have one of the prefix lengths.
fn around(net: IpNet, lengths: &HashSet<u8>) -> impl Iterator<Item = IpNet> + '_ {
    (0..=net.prefix_len())
        .filter(|n| lengths.contains(n))
        .filter_map(move |n| IpNet::new(net.addr(), n).ok().map(|n| n.trunc()))
}

/// Of two upstreams for the same groups, one is preferred.
fn check_upstreams(config: &Config, places: &Places, report: &mut Report) {
    let mut seen: HashMap<(IpNet, u8), (&str, Loc)> = HashMap::new();
    for (block, at) in config.interfaces.iter().zip(&places.blocks) {
        if block.role != Role::Upstream || at.bad {
            continue;
        }
        let everything = [ALL_V4, ALL_V6];
        let groups = if block.groups.is_empty() { &everything[..] } else { &block.groups };
        let preference = block.preference.unwrap_or(1);
        for group in groups.iter().filter(|g| is_on(config, Some(block), **g)) {
            let here = (block.name.0.as_str(), at.role.unwrap_or(at.name));
            let other = seen.insert((*group, preference), here);
            if let Some((name, first)) = other.filter(|(name, _)| *name != here.0) {
                let first = report.place(first);
                report.error(here.1, format!(
                    "'{name}' ({first}) is an upstream for {group} of preference {preference} too: \
                     give one a 'preference' or 'group'"
                ));
                break;
            }
        }
    }
}

fn check_joins(config: &Config, places: &Places, blocks: &Blocks<'_>, report: &mut Report) {
    check_duplicates(&config.mgroups, &places.mgroups, "membership", report);
    for (join, at) in config.mgroups.iter().zip(&places.mgroups) {
        let block = blocks.of(&join.from);
        if let Err(message) = can_join(&join.from, block) {
            report.error(*at, message);
        }
        warn_of_join(config, block, &join.from, &join.group, (*at, report));
    }
}

/// Whether an `mgroup` can join there.
pub(super) fn can_join(name: &Pattern, block: Option<&InterfaceBlock>) -> Result<(), String> {
    let name = &name.0;
    match block.map(|b| b.role) {
        Some(Role::Downstream) => {
            Err(format!("'{name}' is a downstream: use 'static-group' in its block"))
        }
        Some(Role::Disabled) => Err(format!("'{name}' is disabled")),
        Some(Role::Upstream | Role::Static) | None => Ok(()),
    }
}

fn check_routes(config: &Config, places: &Places, blocks: &Blocks<'_>, report: &mut Report) {
    let mut seen: HashMap<RouteKey<'_>, (&Mroute, Loc)> = HashMap::new();
    let mut loops = Loops::new(&config.mroutes);
    let (mut told, mut unknown) = (BTreeSet::new(), false);
    for (route, at) in config.mroutes.iter().zip(&places.mroutes) {
        let key = RouteKey::of(route);
        let exact = key.is_exact();
        if let Some((other, first)) = seen.insert(key, (route, *at)) {
            let first = report.place(first);
            if exact || other.source != route.source || !same_interfaces(other, route) {
                let message = format!("a static route for the same source and group is at {first}");
                report.error(*at, message);
            } else {
                report.warn(*at, format!("this static route is said already, at {first}"));
            }
        }
        for name in std::iter::once(&route.from).chain(&route.to) {
            let block = blocks.of(name);
            if block.is_some_and(|b| b.role == Role::Disabled) {
                report.error(*at, format!("'{}' is disabled", name.0));
            }
            warn_off(config, block, name, route.group.covering(), (*at, report));
        }
        match loops.through(route) {
            Search::None => {}
            Search::Loop(path) => {
                let interfaces: BTreeSet<String> = path.iter().cloned().collect();
                if told.insert(interfaces) {
                    report.error(*at, loop_message(&path));
                }
            }
            Search::Unknown => unknown = true,
        }
        if unknown || report.is_full() {
            break;
        }
    }
    if let Some(at) = places.mroutes.last().filter(|_| unknown) {
        report.warn(*at, "too many static routes between the same interfaces to rule out loops");
    }
}

fn same_interfaces(a: &Mroute, b: &Mroute) -> bool {
    a.to.len() == b.to.len() && a.to.iter().all(|name| b.to.contains(name))
}

/// Names a loop by its interfaces.
pub(super) fn loop_message(path: &[String]) -> String {
    format!("a loop among static routes: {}", path.join(" -> "))
}
