//! Everything that crosses a process boundary.
//!
//! [`Order`] is all that the engine can ask of the parent, [`Notice`] all that the parent tells the
//! engine; [`ctl`] is the control socket's language.

#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod channel;
pub mod ctl;
pub mod frame;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::model::{Config, Statement};
use crate::kroute::{Capabilities, InterfaceChange, Route, RouteCount, RouteKey, Upcall};
use crate::sys::sandbox::Use;
use crate::wire::Af;

/// Engine to parent. The parent checks every field for meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Order {
    /// In its sandbox, with the control socket served.
    Ready,
    /// Make the interface a vif of the family, with the control groups joined on it. Answered by
    /// [`Notice::Vif`].
    AddVif {
        /// The family.
        family: Af,
        /// A configured interface.
        ifindex: u32,
    },
    /// The interface is no vif any more; its routes were deleted before.
    DeleteVif {
        /// The family.
        family: Af,
        /// The interface.
        ifindex: u32,
    },
    /// Install the route, or replace the one of the same key.
    SetRoute(Route),
    /// Remove the route.
    DeleteRoute(RouteKey),
    /// Answered by [`Notice::Counters`].
    ReadCounters(Af),
    /// Add the statement to the configuration in force. Answered by [`Notice::Statement`].
    Add {
        /// Who asked, for the answer.
        client: u32,
        /// What.
        statement: Statement,
    },
    /// Take the statement out of the configuration in force. Answered by [`Notice::Statement`].
    Remove {
        /// Who asked, for the answer.
        client: u32,
        /// What.
        statement: Statement,
    },
    /// Read the configuration file again. Answered by [`Notice::Reloaded`].
    Reload {
        /// Who asked, for the answer.
        client: u32,
    },
    /// Log more or less.
    Log {
        /// Whether debug messages are logged.
        verbose: bool,
    },
    /// Stop the daemon in an orderly way.
    Stop,
    /// The answer to [`Notice::Ping`].
    Pong(u32),
    /// Members exist, so that the engine is to be pinged; or none do any more.
    Members(bool),
    /// Send a protocol packet: only where the engine's sandbox forbids it to send itself.
    Transmit(Transmit),
    /// The answer to [`Notice::Shutdown`]: everything is left and terminated.
    Finished,
}

/// Parent to engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Notice {
    /// The first frame.
    Start(Box<Start>),
    /// The descriptor that comes with this frame.
    Descriptor(DescriptorKind),
    /// The interface table changed.
    Interface(InterfaceChange),
    /// A route that was installed before this engine started.
    Installed(Route),
    /// The descriptors, interfaces and routes are told; begin.
    Begin,
    /// Whether an interface became a vif, with its number.
    Vif {
        /// The family.
        family: Af,
        /// The interface.
        ifindex: u32,
        /// The vif or mif number, or why not.
        result: Result<u16, String>,
    },
    /// The kernel asks.
    Upcall(Upcall),
    /// IGMP that reached the routing socket only (no Router Alert), unread.
    Igmp(Packet),
    /// The kernel refused a route; it is not installed.
    RouteFailed {
        /// Which.
        key: RouteKey,
        /// Why.
        reason: String,
    },
    /// What other programs did to the kernel's tables, in all so far.
    Drift {
        /// Vifs and routes that were put right.
        mended: u64,
        /// Static routes of others that are there now.
        foreign: u64,
    },
    /// Counters of a family's routes, in parts.
    Counters {
        /// The family.
        family: Af,
        /// At most [`MAX_COUNTERS`].
        entries: Vec<RouteCount>,
        /// Whether all were told.
        last: bool,
    },
    /// The configuration was reloaded: this is in force now.
    Config(Box<Config>),
    /// What came of [`Order::Reload`]: what changed, or what is wrong with the file.
    Reloaded {
        /// Who asked.
        client: u32,
        /// A line each.
        result: Result<Vec<String>, Vec<String>>,
    },
    /// What came of [`Order::Add`] or [`Order::Remove`]; when `Ok` it is in force.
    Statement {
        /// Who asked.
        client: u32,
        /// Added, or removed.
        add: bool,
        /// What.
        statement: Statement,
        /// Why it was refused.
        result: Result<(), String>,
    },
    /// Log debug messages, or not.
    Log {
        /// Whether they are logged.
        verbose: bool,
    },
    /// Answer with [`Order::Pong`].
    Ping(u32),
    /// The system did not take the packet of an [`Order::Transmit`].
    Unsent,
    /// Dump the state to the log (SIGUSR1).
    Dump,
    /// Leave everything upstream, terminate MRDISC, then [`Order::Finished`].
    Shutdown,
}

/// Counters in one [`Notice::Counters`] at most.
pub const MAX_COUNTERS: usize = 512;

/// What an engine is started with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Must equal the engine's own: both come from one executable.
    pub version: String,
    /// The parent's process id.
    pub parent_pid: u32,
    /// Seconds of the daemon's up-time so far.
    pub up_time: u64,
    /// Engines that were started before this one.
    pub restarts: u32,
    /// Why the engine before this one ended.
    pub ended: Option<String>,
    /// Routing table, or rdomain.
    pub table: u32,
    /// Key of the hashes and the source of chance.
    pub seed: [u64; 2],
    /// Whether debug messages are logged.
    pub verbose: bool,
    /// Log to stderr, not to syslog.
    pub foreground: bool,
    /// syslog's ident and the name of the default paths.
    pub identity: String,
    /// The user to become: uid and gid.
    pub user: (u32, u32),
    /// The directory to be confined to.
    pub chroot: String,
    /// The configuration in force.
    pub config: Box<Config>,
    /// What the kernel can do, by [`Af::index`].
    pub capabilities: [Capabilities; 2],
}

/// What a descriptor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DescriptorKind {
    /// Raw IGMP.
    Igmp,
    /// Raw ICMPv6.
    Icmp6,
    /// The listening control socket.
    Control,
    /// The connected syslog socket.
    Syslog,
}

impl DescriptorKind {
    /// What both processes do with it, where its rights can be limited.
    #[must_use]
    pub const fn what_for(self) -> Use {
        match self {
            Self::Igmp | Self::Icmp6 => Use::Reading,
            Self::Control => Use::Listening,
            Self::Syslog => Use::Logging,
        }
    }
}

/// A received protocol packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Index of the interface that it arrived on.
    pub ifindex: u32,
    /// What the bytes begin with.
    pub envelope: Envelope,
    /// The datagram from there on.
    pub bytes: Vec<u8>,
}

/// What came with a packet's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Envelope {
    /// The bytes begin with the IPv4 header.
    Ip4,
    /// The bytes begin with the ICMPv6 header.
    Ip6 {
        /// Source address.
        source: std::net::Ipv6Addr,
        /// Destination address.
        destination: std::net::Ipv6Addr,
        /// Hop limit.
        hop_limit: u8,
        /// Whether a Hop-by-Hop header carried Router Alert with value 0.
        router_alert: bool,
        /// Whether the kernel has verified the checksum.
        checksum_verified: bool,
    },
}

/// A protocol packet to send, with Router Alert and a TTL or hop limit of 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transmit {
    /// The interface to send on.
    pub ifindex: u32,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IPv4: the whole packet from its header on. IPv6: the ICMPv6 message, its checksum zero (the
    /// kernel fills it).
    pub bytes: Vec<u8>,
}
