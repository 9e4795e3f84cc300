//! The control socket's language: a request, then replies up to [`Reply::Done`] or
//! [`Reply::Refused`]. The rows are the objects that `mcast-proxyctl -j` prints.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::model::{Role, Statement};
use crate::kroute::MfcKey;
use crate::wire::Af;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// A table.
    Show(Table),
    /// Add a statement to the configuration in force.
    Add(Statement),
    /// Take a statement out of the configuration in force.
    Remove(Statement),
    /// Forget learned routes: all, those of a group, or one.
    Flush {
        /// Only this group's.
        group: Option<IpAddr>,
        /// Only this source's.
        source: Option<IpAddr>,
    },
    /// Read the configuration file again.
    Reload,
    /// Log more or less.
    Log {
        /// Whether debug messages are logged.
        verbose: bool,
    },
    /// Stop the daemon.
    Stop,
    /// Send each event as it happens.
    Monitor,
    /// Tell why a group is or is not forwarded.
    Explain {
        /// The group.
        group: IpAddr,
        /// Only packets of this source.
        source: Option<IpAddr>,
    },
}

impl Request {
    /// Whether it only reads: allowed to the group of the control socket.
    #[must_use]
    pub const fn reads_only(&self) -> bool {
        match self {
            Self::Show(_) | Self::Monitor | Self::Explain { .. } => true,
            Self::Add(_)
            | Self::Remove(_)
            | Self::Flush { .. }
            | Self::Reload
            | Self::Log { .. }
            | Self::Stop => false,
        }
    }
}

/// A table of `show`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the word after show in the manual")]
pub enum Table {
    Status,
    Interfaces,
    Groups,
    Hosts,
    Upstream,
    Routes,
    Counters,
    Events,
    Config,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Some rows of a table; more may follow.
    Rows(Rows),
    /// Lines for the user, as they are.
    Text(Vec<String>),
    /// An event.
    Event(Event),
    /// All is said, all is done.
    Done,
    /// Refused, and why.
    Refused(Vec<String>),
}

/// Rows in one reply at most; a table of more comes in several.
pub const MAX_ROWS: usize = 128;

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the word after show in the manual")]
pub enum Rows {
    Status(Box<Status>),
    Interfaces(Vec<InterfaceRow>),
    Groups(Vec<GroupRow>),
    Hosts(Vec<HostRow>),
    Upstream(Vec<UpstreamRow>),
    Routes(Vec<RouteRow>),
    Counters(Vec<CounterRow>),
    Events(Vec<Event>),
    Checks(Vec<CheckRow>),
}

impl Rows {
    /// Takes out the later half; `None` when there is one row at most.
    pub fn split_off_half(&mut self) -> Option<Self> {
        macro_rules! half {
            ($kind:ident, $rows:ident) => {
                ($rows.len() > 1).then(|| Self::$kind($rows.split_off($rows.len() / 2)))
            };
        }
        match self {
            Self::Status(_) => None,
            Self::Interfaces(rows) => half!(Interfaces, rows),
            Self::Groups(rows) => half!(Groups, rows),
            Self::Hosts(rows) => half!(Hosts, rows),
            Self::Upstream(rows) => half!(Upstream, rows),
            Self::Routes(rows) => half!(Routes, rows),
            Self::Counters(rows) => half!(Counters, rows),
            Self::Events(rows) => half!(Events, rows),
            Self::Checks(rows) => half!(Checks, rows),
        }
    }
}

/// `show status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct Status {
    pub version: String,
    pub pid: u32,
    pub engine_pid: u32,
    pub engine_restarts: u32,
    pub engine_ended: Option<String>,
    pub up_time: u64,
    pub table: u32,
    pub ipv4: bool,
    pub ipv6: bool,
    pub route_key: MfcKey,
    /// What the kernel cannot do that another can.
    pub kernel_limits: Vec<String>,
    pub upstream: Vec<String>,
    pub downstream: Vec<String>,
    pub groups: u64,
    pub routes: u64,
    pub hosts: u64,
    /// Vifs in use, by family.
    pub vifs: u32,
    pub max_vifs: u32,
    pub mifs: u32,
    pub max_mifs: u32,
    /// Limits that were hit, and how often.
    pub limits: BTreeMap<String, u64>,
}

/// Filter mode of a group's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words of RFC 9776")]
pub enum Mode {
    Include,
    Exclude,
}

/// A row of `show groups`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct GroupRow {
    pub interface: String,
    pub family: Af,
    pub group: IpAddr,
    pub filter_mode: Mode,
    pub version: u8,
    pub expire: Option<u64>,
    pub up_time: u64,
    pub last_reporter: Option<IpAddr>,
    #[serde(rename = "static")]
    pub is_static: bool,
    pub sources: Vec<SourceRow>,
}

/// A source of a [`GroupRow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct SourceRow {
    pub source: IpAddr,
    pub expire: Option<u64>,
    pub forwarding: bool,
}

/// A row of `show hosts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct HostRow {
    pub interface: String,
    pub family: Af,
    pub group: IpAddr,
    pub host: IpAddr,
    pub filter_mode: Mode,
    pub sources: Vec<IpAddr>,
    pub expire: Option<u64>,
}

/// A row of `show upstream`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct UpstreamRow {
    pub interface: String,
    pub family: Af,
    pub group: IpAddr,
    pub filter_mode: Mode,
    pub sources: Vec<IpAddr>,
    #[serde(rename = "static")]
    pub is_static: bool,
}

/// A row of `show routes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct RouteRow {
    pub family: Af,
    /// An address; a network with its prefix length where a waiting route has one.
    pub source: Option<String>,
    pub group: String,
    pub incoming_interface: String,
    pub outgoing_interfaces: Vec<OutputRow>,
    pub origin: Origin,
    pub state: RouteState,
    pub reason: Option<String>,
    pub packets: u64,
    pub bytes: u64,
    pub wrong_interface: u64,
}

/// An outgoing interface of a [`RouteRow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct OutputRow {
    pub interface: String,
    pub threshold: u8,
}

/// Where a route comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Learned by the proxy.
    Proxy,
    /// From an `mroute` statement.
    Static,
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteState {
    /// Has outputs.
    Forwarding,
    /// A drop entry.
    Dropping,
    /// Not installed yet.
    Waiting,
}

/// A row of `show interfaces`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct InterfaceRow {
    pub interface: String,
    pub role: Role,
    pub index: Option<u32>,
    pub oper_status: OperStatus,
    pub addresses: Vec<IpNet>,
    pub ipv4: Option<LinkRow>,
    pub ipv6: Option<LinkRow>,
}

/// Whether an interface can carry packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the words of RFC 8343, and absent")]
pub enum OperStatus {
    Up,
    Down,
    Absent,
}

/// One family of an [`InterfaceRow`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct LinkRow {
    pub vif: Option<u16>,
    /// Why it is no vif.
    pub reason: Option<String>,
    pub version: u8,
    pub querier: bool,
    pub querier_address: Option<IpAddr>,
    pub groups: u64,
    #[serde(rename = "x-querier-version")]
    pub querier_version: Option<u8>,
    #[serde(rename = "x-querier-expire")]
    pub querier_expire: Option<u64>,
    pub query_interval: u32,
    pub query_max_response_time: u32,
    pub last_member_query_interval: u32,
    pub robustness_variable: u8,
    pub mrdisc_neighbors: Vec<IpAddr>,
}

/// A row of `show counters`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct CounterRow {
    pub interface: String,
    pub family: Af,
    pub received: BTreeMap<String, u64>,
    pub sent: BTreeMap<String, u64>,
    pub discarded: BTreeMap<String, u64>,
    /// IGMP with a TTL other than 1, taken all the same.
    #[serde(rename = "x-other-ttl")]
    pub other_ttl: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct Event {
    /// Seconds since 1970; filled in by the engine's shell, the core leaves it 0.
    pub time: u64,
    pub event: EventKind,
    pub interface: Option<String>,
    pub family: Option<Af>,
    pub group: Option<IpAddr>,
    pub source: Option<IpAddr>,
    pub outgoing_interfaces: Vec<String>,
    pub reason: Option<String>,
}

/// A check of `explain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is a JSON member described in the manual")]
pub struct CheckRow {
    pub check: Check,
    pub result: Outcome,
    pub interface: Option<String>,
    pub detail: String,
    pub advice: Option<String>,
}

macro_rules! words {
    ($(#[$enum_doc:meta])* $enum:ident: $($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $enum { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl $enum {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in tables, JSON and the manual.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

words! {
    /// Kinds of events; the names are the first argument of `monitor -e`.
    EventKind:
    /// A route was installed or its outputs changed.
    Install "install",
    /// A route was removed.
    Remove "remove",
    /// A route moved to another incoming interface.
    Move "move",
    /// A group got its first member on a downstream.
    Join "join",
    /// A group lost its last member on a downstream.
    Leave "leave",
    /// An interface came, went or changed; the querier changed.
    Interface "interface",
    /// The configuration was reloaded.
    Reload "reload",
    /// An engine started.
    Start "start",
}

words! {
    /// What a check of `explain` looks at.
    Check:
    /// Whether the family is on.
    Family "family",
    /// Whether such packets may be forwarded at all.
    Group "group",
    /// Which interface is upstream for the group.
    Upstream "upstream",
    /// Whether a downstream has members.
    Member "member",
    /// Whether the upstream is asked for the group.
    Report "report",
    /// What the kernel was told.
    Route "route",
    /// What the kernel cannot do that another can.
    Kernel "kernel",
    /// What comes of it all.
    Forwarding "forwarding",
}

words! {
    /// What a check found.
    Outcome:
    /// As it should be.
    Ok "ok",
    /// It explains something, and need not be wrong.
    Note "note",
    /// It prevents forwarding.
    Fail "fail",
}
