//! The checked configuration: types that cannot hold nonsense.
//!
//! [`Config`] is what the file says, kept statement by statement, so that it can be printed and
//! compared. [`Config::resolve`] tells what holds for one interface by its name.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::value::ALL_V6;
use crate::sys::time::Millis;
use crate::wire::Af;

/// Routes of each family where nothing is said.
pub const MAX_ROUTES: u32 = 131_072;
/// Idle time of a learned route where nothing is said.
pub const ROUTE_TIMEOUT: Millis = Millis::from_secs(210);
/// The user that the engine runs as where nothing is said.
pub const USER: &str = "_mcastproxy";

/// A whole configuration, as parsed and checked, run-time additions included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Global values of the words that interface blocks may set too.
    pub defaults: Overrides,
    /// Routes of each family at most, learned and drop entries.
    pub max_routes: Option<u32>,
    /// Idle time after which a learned route is removed.
    pub route_timeout: Option<Millis>,
    /// Ranges of source-specific groups, in place of 232.0.0.0/8 and ff3x::/32.
    pub ssm_ranges: Vec<IpNet>,
    /// The user that the engine runs as.
    pub user: Option<String>,
    /// The directory that the engine is confined to.
    pub chroot: Option<String>,
    /// Interface blocks, in the order of the file.
    pub interfaces: Vec<InterfaceBlock>,
    /// Memberships that the host part holds.
    pub mgroups: Vec<Mgroup>,
    /// Static routes.
    pub mroutes: Vec<Mroute>,
}

/// The words that can stand globally and in an interface block; `None` where not said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is the keyword of the same name in the manual")]
pub struct Overrides {
    pub ipv4: Option<bool>,
    pub ipv6: Option<bool>,
    pub igmp_version: Option<u8>,
    pub mld_version: Option<u8>,
    pub query_interval: Option<Millis>,
    pub query_response_interval: Option<Millis>,
    pub last_member_query_interval: Option<Millis>,
    pub last_member_query_count: Option<u8>,
    pub startup_query_interval: Option<Millis>,
    pub startup_query_count: Option<u8>,
    pub robustness: Option<u8>,
    pub querier: Option<QuerierMode>,
    pub forward_non_querier: Option<bool>,
    pub fast_leave: Option<FastLeave>,
    pub require_router_alert: Option<bool>,
    pub verify_source_subnet: Option<bool>,
    pub max_groups: Option<u32>,
    pub max_sources: Option<u32>,
    pub wrongvif: Option<WrongVif>,
    pub mrdisc: Option<bool>,
    pub mrdisc_interval: Option<Millis>,
}

/// How an interface takes part in querier election.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum QuerierMode {
    /// By election.
    #[default]
    Auto,
    /// Never yields.
    Always,
    /// Never queries.
    Never,
}

/// What a leave does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FastLeave {
    /// Last-member queries.
    #[default]
    No,
    /// At once when tracking shows no other host.
    Yes,
    /// At once.
    Immediate,
}

/// What a packet of a known flow on another interface does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WrongVif {
    /// Only the kernel counts it.
    Ignore,
    /// Counted and logged, rate-limited.
    #[default]
    Log,
    /// The route follows, with hold-down.
    Follow,
}

/// What an interface is to the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Towards the sources: host part.
    Upstream,
    /// Towards the receivers: router part.
    Downstream,
    /// A vif for static routes; neither part.
    Static,
    /// Excluded.
    Disabled,
}

/// An interface name, or a pattern (`vlan*`, `vlan+`) that later interfaces match too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pattern(pub String);

/// `interface NAME { ... }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceBlock {
    /// Its name or pattern.
    pub name: Pattern,
    /// Its role; `Static` where the block names none.
    pub role: Role,
    /// Words that differ from the global ones here.
    pub overrides: Overrides,
    /// Least TTL that leaves, minus one; IPv4.
    pub threshold: Option<u8>,
    /// Where traffic that arrives here may come from besides connected networks.
    pub sources: Vec<SourceNet>,
    /// `allow` and `deny`, in order; the first match decides.
    pub rules: Vec<Rule>,
    /// Groups that neither enter nor leave here.
    pub boundaries: Vec<GroupSet>,
    /// Memberships that hold without a host's report; on a downstream.
    pub static_groups: Vec<StaticGroup>,
    /// Upstream for these groups only; empty means all.
    pub groups: Vec<IpNet>,
    /// Lower wins among upstreams; default 1.
    pub preference: Option<u8>,
}

/// `source NET` or `source any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourceNet {
    /// Any source.
    Any,
    /// Sources in this network.
    Net(IpNet),
}

/// `allow` or `deny`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `allow`.
    pub allow: bool,
    /// Groups it is for.
    pub group: IpNet,
    /// Sources it is for; `None` means any.
    pub source: Option<IpNet>,
}

/// A set of groups: a network or IPv6 scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum GroupSet {
    /// Groups in a network.
    Net(IpNet),
    /// IPv6 groups whose scope's bit is set (bit n for scope n). RFC 7346.
    Scopes(u16),
}

/// `static-group GROUP [source SOURCE]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StaticGroup {
    /// The groups: one, or a range of at most [`MAX_JOIN_RANGE`].
    pub group: IpNet,
    /// The source, or any.
    pub source: Option<IpAddr>,
}

/// `mgroup from IF group GROUP[/LEN] [source SOURCE]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mgroup {
    /// Where the host part joins; any interface but a downstream.
    pub from: Pattern,
    /// What it joins.
    pub group: StaticGroup,
}

/// `mroute from IF [source ...] group ... to IF ...`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mroute {
    /// Incoming interface.
    pub from: Pattern,
    /// Sources.
    pub source: SourceMatch,
    /// Groups.
    pub group: GroupSet,
    /// Outgoing interfaces.
    pub to: Vec<Pattern>,
}

/// Which sources a static route is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SourceMatch {
    /// Any.
    Any,
    /// Those in a network.
    Net(IpNet),
    /// All but those in these networks.
    Except(Vec<IpNet>),
}

/// A statement that mcast-proxyctl can add and remove at run time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// `mroute`.
    Mroute(Mroute),
    /// `mgroup`, or `static-group` where the interface is a downstream.
    Join(Mgroup),
}

/// Groups that one `mgroup` or `static-group` may join.
pub const MAX_JOIN_RANGE: u32 = 4096;

/// What holds for one interface: the block that matches its name over the global words over the
/// defaults.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each field is the keyword of the same name in the manual")]
pub struct Settings {
    pub role: Role,
    pub ipv4: bool,
    pub ipv6: bool,
    pub igmp_version: u8,
    pub mld_version: u8,
    pub query_interval: Millis,
    pub query_response_interval: Millis,
    pub last_member_query_interval: Millis,
    pub last_member_query_count: u8,
    /// Whether it was said, or follows an adopted robustness.
    pub last_member_query_count_set: bool,
    pub startup_query_interval: Millis,
    pub startup_query_count: u8,
    pub robustness: u8,
    pub querier: QuerierMode,
    pub forward_non_querier: bool,
    pub fast_leave: FastLeave,
    pub require_router_alert: bool,
    pub verify_source_subnet: bool,
    pub max_groups: u32,
    pub max_sources: u32,
    pub wrongvif: WrongVif,
    pub mrdisc: bool,
    pub mrdisc_interval: Millis,
    pub threshold: u8,
    pub sources: Vec<SourceNet>,
    pub rules: Vec<Rule>,
    pub boundaries: Vec<GroupSet>,
    pub static_groups: Vec<StaticGroup>,
    pub groups: Vec<IpNet>,
    pub preference: u8,
    /// What `mgroup` statements join here.
    pub joins: Vec<StaticGroup>,
}

impl GroupSet {
    /// The smallest network that has all of them.
    #[must_use]
    pub const fn covering(&self) -> IpNet {
        match self {
            Self::Net(net) => *net,
            Self::Scopes(_) => ALL_V6,
        }
    }
}

impl Settings {
    /// The configured version of IGMP or MLD.
    #[must_use]
    pub const fn version(&self, family: Af) -> u8 {
        match family {
            Af::Ip4 => self.igmp_version,
            Af::Ip6 => self.mld_version,
        }
    }
}

impl SourceMatch {
    /// Of a network, or any: the whole address space is any source.
    #[must_use]
    pub fn of(net: Option<IpNet>) -> Self {
        net.filter(|net| net.prefix_len() > 0).map_or(Self::Any, Self::Net)
    }
}

impl Pattern {
    /// Whether it names more than one interface: it ends in `*` or `+`.
    #[must_use]
    pub fn is_wild(&self) -> bool {
        self.0.ends_with(['*', '+'])
    }

    /// Whether the interface is one that it names: `*` stands for any ending, also none, `+` for
    /// one of at least one character.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(stem) => name.starts_with(stem),
            None => match self.0.strip_suffix('+') {
                Some(stem) => name.len() > stem.len() && name.starts_with(stem),
                None => self.0 == name,
            },
        }
    }
}

impl Config {
    /// What holds for the interface `name`; `None` when nothing names it.
    ///
    /// An exact name beats a pattern, an earlier pattern beats a later one.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<Settings> {
        let exact = self.interfaces.iter().find(|b| b.name.0 == name);
        let block = exact.or_else(|| self.interfaces.iter().find(|b| b.name.matches(name)));
        let joins: Vec<StaticGroup> =
            self.mgroups.iter().filter(|m| m.from.matches(name)).map(|m| m.group).collect();
        let routed = || {
            self.mroutes
                .iter()
                .any(|r| r.from.matches(name) || r.to.iter().any(|p| p.matches(name)))
        };
        if block.is_none() && joins.is_empty() && !routed() {
            return None;
        }
        Some(Settings::merge(&self.defaults, block, joins))
    }

    /// Every interface that it names, once.
    #[must_use]
    pub fn names(&self) -> Vec<Pattern> {
        let blocks = self.interfaces.iter().map(|b| &b.name);
        let joins = self.mgroups.iter().map(|m| &m.from);
        let routes = self.mroutes.iter().flat_map(|r| std::iter::once(&r.from).chain(&r.to));
        let all: BTreeSet<&str> = blocks.chain(joins).chain(routes).map(|p| p.0.as_str()).collect();
        all.into_iter().map(|name| Pattern(name.to_owned())).collect()
    }

    /// Whether some interface uses IPv4, and whether one uses IPv6.
    #[must_use]
    pub fn families(&self) -> [bool; 2] {
        let settings = self.names().into_iter().filter_map(|p| self.resolve(&p.0));
        let used: Vec<Settings> = settings.filter(|s| s.role != Role::Disabled).collect();
        [used.iter().any(|s| s.ipv4), used.iter().any(|s| s.ipv6)]
    }
}

impl Settings {
    fn merge(global: &Overrides, block: Option<&InterfaceBlock>, joins: Vec<StaticGroup>) -> Self {
        let none = Overrides::default();
        let own = block.map_or(&none, |b| &b.overrides);
        macro_rules! word {
            ($field:ident, $default:expr) => {
                own.$field.or(global.$field).unwrap_or($default)
            };
        }
        let robustness = word!(robustness, 2);
        let query_interval = word!(query_interval, Millis::from_secs(125));
        Self {
            role: block.map_or(Role::Static, |b| b.role),
            ipv4: word!(ipv4, true),
            ipv6: word!(ipv6, false),
            igmp_version: word!(igmp_version, 3),
            mld_version: word!(mld_version, 2),
            query_interval,
            query_response_interval: word!(query_response_interval, Millis::from_secs(10)),
            last_member_query_interval: word!(last_member_query_interval, Millis::from_secs(1)),
            last_member_query_count: word!(last_member_query_count, robustness),
            last_member_query_count_set: own
                .last_member_query_count
                .or(global.last_member_query_count)
                .is_some(),
            startup_query_interval: word!(startup_query_interval, Millis(query_interval.0 / 4)),
            startup_query_count: word!(startup_query_count, robustness),
            robustness,
            querier: word!(querier, QuerierMode::Auto),
            forward_non_querier: word!(forward_non_querier, false),
            fast_leave: word!(fast_leave, FastLeave::No),
            require_router_alert: word!(require_router_alert, false),
            verify_source_subnet: word!(verify_source_subnet, true),
            max_groups: word!(max_groups, 65536),
            max_sources: word!(max_sources, 1024),
            wrongvif: word!(wrongvif, WrongVif::Log),
            mrdisc: word!(mrdisc, false),
            mrdisc_interval: word!(mrdisc_interval, Millis::from_secs(20)),
            threshold: block.and_then(|b| b.threshold).unwrap_or(1),
            sources: block.map(|b| b.sources.clone()).unwrap_or_default(),
            rules: block.map(|b| b.rules.clone()).unwrap_or_default(),
            boundaries: block.map(|b| b.boundaries.clone()).unwrap_or_default(),
            static_groups: block.map(|b| b.static_groups.clone()).unwrap_or_default(),
            groups: block.map(|b| b.groups.clone()).unwrap_or_default(),
            preference: block.and_then(|b| b.preference).unwrap_or(1),
            joins,
        }
    }
}
