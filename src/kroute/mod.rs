//! Kernel multicast routing and the interface table, one file for each system.
//!
//! Usable as a library by itself: [`open`] takes the kernel's routing sockets, [`monitor`] follows
//! the interfaces, [`Memberships`] joins groups as a host, [`procfs`] reads what Linux shows of
//! other programs. Everything is undone when the values are dropped.
//!
//! ```no_run
//! use mcast_proxy::kroute::{Error, Options, Output, Route, RouteKey, monitor, open};
//! use mcast_proxy::wire::Af;
//!
//! # fn main() -> Result<(), Error> {
//! let options = Options { table: 0, families: [true, false] };
//! let mut kernel = open(&options)?;
//! let mut indices = Vec::new();
//! for interface in monitor(&options)?.snapshot()?.iter().filter(|i| !i.loopback) {
//!     kernel.add_vif(Af::Ip4, interface)?;
//!     indices.push(interface.ifindex);
//! }
//! if let [incoming, outgoing, ..] = indices[..] {
//!     kernel.set_route(&Route {
//!         key: RouteKey { source: None, group: [239, 1, 2, 3].into() },
//!         incoming,
//!         outgoing: vec![Output { ifindex: outgoing, threshold: 1 }],
//!     })?;
//! }
//! // It forwards until `kernel` is dropped.
//! # Ok(())
//! # }
//! ```
//!
//! What makes which kernel call:
//!
//! | function | Linux | OpenBSD, FreeBSD |
//! | --- | --- | --- |
//! | [`open`], [`Kernel::open`] | `MRT_TABLE`, `MRT_INIT`, `MRT_PIM` or `MRT_ASSERT`, `SO_ATTACH_FILTER`, `IP_MULTICAST_ALL`, `IP_PKTINFO`; `MRT6_INIT` and the others of `MRT6_*`, `ICMP6_FILTER`; `SO_RCVBUFFORCE` or `SO_RCVBUF`; a socket of `NETLINK_ROUTE` | `sysctl` of what must be on, `MRT_INIT`, `MRT6_INIT`, `SO_RCVBUF`; OpenBSD: `SO_RTABLE`; FreeBSD: `MRT_ASSERT`, `MRT6_PIM` |
//! | [`Kernel::add_vif`] | `MRT_ADD_VIF` by index, `MRT6_ADD_MIF`; `RTM_GETRULE` dump, `RTM_NEWRULE` for a table | `MRT_ADD_VIF` by address, `MRT6_ADD_MIF` |
//! | [`Kernel::add_register`] | `MRT_ADD_VIF` with `VIFF_REGISTER`, `MRT6_ADD_MIF` with `MIFF_REGISTER`; `RTM_GETLINK` dump; the same for a table | none |
//! | [`Kernel::delete_vif`] | `MRT_DEL_VIF`, `MRT6_DEL_MIF`; `RTM_DELRULE`; as for its routes | `MRT_DEL_VIF`, `MRT6_DEL_MIF`; as for its routes |
//! | [`Kernel::set_route`] | `MRT_ADD_MFC`, `MRT6_ADD_MFC` | the same; OpenBSD: `MRT_DEL_MFC` first when the incoming interface changes |
//! | [`Kernel::delete_route`] | `MRT_DEL_MFC`, `MRT6_DEL_MFC` | the same |
//! | [`Kernel::counters`] | `RTM_GETROUTE` dump of family 128 or 129, else `SIOCGETSGCNT`, `SIOCGETSGCNT_IN6` | `SIOCGETSGCNT`, `SIOCGETSGCNT_IN6` |
//! | [`Kernel::reconcile`] | the same, `SIOCGETVIFCNT`, `SIOCGETMIFCNT_IN6`; for a table `RTM_GETLINK`, `RTM_GETRULE` dumps; what mends | the same ioctls, `SIOCGETVIFCNT`, `SIOCGETMIFCNT_IN6`; what mends |
//! | [`Kernel::receive`] | `recvmsg` | `recvmsg` |
//! | [`Kernel::update_interface`], [`Kernel::routes`], [`Kernel::route_count`], [`Kernel::has_route`], [`Kernel::capabilities`], [`Kernel::descriptor`] | none | none |
//! | [`monitor`], [`Monitor::snapshot`] | `RTM_GETLINK`, `RTM_GETADDR` dumps | `sysctl` `NET_RT_IFLIST`, `SIOCGIFAFLAG_IN6` |
//! | [`Monitor::receive`] | `recv` from the netlink groups of links and addresses; the dumps after a loss | `PF_ROUTE`, `SIOCGIFAFLAG_IN6` |
//! | [`Monitor::descriptor`], [`Monitor::look_again`] | none | none |
//! | [`Memberships::join`] | `MCAST_JOIN_GROUP`, `MCAST_JOIN_SOURCE_GROUP` | the same; OpenBSD: `IP_ADD_MEMBERSHIP`, `IPV6_JOIN_GROUP`, any source only |
//! | [`Memberships::leave`] | `MCAST_LEAVE_GROUP`, `MCAST_LEAVE_SOURCE_GROUP`, `close` | the same; OpenBSD: `IP_DROP_MEMBERSHIP`, `IPV6_LEAVE_GROUP` |
//! | [`Memberships::new`], [`Memberships::in_table`], [`Memberships::len`], [`Memberships::is_empty`] | none | none |
//! | [`enter_table`] | none | OpenBSD: `SO_RTABLE` |
//! | all that open something, when dropped | `close`; `RTM_DELRULE` | `close` |
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abi;
mod error;
pub mod fake;
pub mod links;
mod membership;
pub mod procfs;
pub mod route_message;
mod routing_socket;
mod shadow;
mod socket;
mod system;
mod table;
mod types;
pub mod upcall;

#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
mod bsd;
#[cfg(target_os = "freebsd")]
mod freebsd;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "openbsd")]
mod openbsd;

use std::os::fd::BorrowedFd;

pub use error::{Error, Holder};
pub use membership::Memberships;
pub use system::{Entry, Installed, Received, System};
pub use table::Table;
pub use types::{
    Capabilities, Interface, InterfaceAddress, InterfaceChange, MfcKey, Output, Route, RouteCount,
    RouteKey, Upcall, UpcallKind,
};

use crate::sys::time::Millis;
use crate::wire::Af;

#[cfg(any(target_os = "openbsd", target_os = "freebsd"))]
use bsd as os;
#[cfg(target_os = "linux")]
use linux as os;

/// What the headers of this system must say.
pub const ABI: &[&[crate::sys::abi::Fact]] = abi::ABI;

/// What kernel multicast routing offers to one process.
pub trait Kernel: Send {
    /// Takes the routing of families that are not open yet.
    fn open(&mut self, options: &Options) -> Result<(), Error>;

    /// What the kernel can do in this family.
    fn capabilities(&self, family: Af) -> Capabilities;

    /// Makes the interface one that multicast packets may come in and go out by; returns its vif
    /// number. A second call for the same interface, and one interface too many, are refused.
    fn add_vif(&mut self, family: Af, interface: &Interface) -> Result<u16, Error>;

    /// Makes the vif that a PIM router sends its registers by: of what a route sends out there,
    /// [`receive`](Self::receive) gives whole packets; what the kernel takes out of the registers
    /// that it receives comes in there. Returns the index of the interface that stands for it in
    /// routes and for [`delete_vif`](Self::delete_vif). One in a family, Linux only. RFC 7761,
    /// section 4.4.
    fn add_register(&mut self, family: Af) -> Result<u32, Error>;

    /// Remembers how an interface is now; what is no vif is no error. Systems that make vifs by
    /// address need the new one to restore a vif that the kernel has lost.
    fn update_interface(&mut self, interface: &Interface);

    /// Takes the interface out of multicast routing: routes that come in there are deleted first, and
    /// the others lose that output. Its number is not reused before that is done.
    fn delete_vif(&mut self, family: Af, ifindex: u32) -> Result<(), Error>;

    /// Adds the route or replaces the one with that key. Makes no kernel call when it is installed
    /// as it is, since a packet that passes while an entry is rewritten may be lost.
    fn set_route(&mut self, route: &Route) -> Result<(), Error>;

    /// Deletes the route; none with that key is no error.
    fn delete_route(&mut self, key: &RouteKey) -> Result<(), Error>;

    /// The routes that were installed here, in no order.
    fn routes(&self, family: Af) -> Vec<Route>;

    /// How many [`routes`](Self::routes) there are.
    fn route_count(&self, family: Af) -> usize;

    /// Whether a route with that key is among them.
    fn has_route(&self, key: &RouteKey) -> bool;

    /// Counters of the installed routes. `bytes` is scaled down by the packets that arrived on a
    /// wrong interface, since kernels do not count their octets apart.
    fn counters(&mut self, family: Af) -> Result<Vec<RouteCount>, Error>;

    /// Reads the kernel's table back and mends what differs. Call it after an error and now and then.
    fn reconcile(&mut self, family: Af) -> Result<Drift, Error>;

    /// What to poll for [`receive`](Self::receive); `None` when the family is off.
    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>>;

    /// Appends what the kernel says, at most [`RECEIVE_MAX`] messages; never waits.
    fn receive(&mut self, family: Af, out: &mut Vec<FromKernel>) -> Result<(), Error>;
}

/// Messages that one [`Kernel::receive`] takes at most.
pub const RECEIVE_MAX: usize = 256;

/// Routes in a family at most.
pub const MAX_ROUTES: usize = 1 << 20;

/// What comes out of a routing socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromKernel {
    /// The kernel asks about a packet.
    Upcall(Upcall),
    /// A packet that a route sends out by the vif of [`Kernel::add_register`].
    Register {
        /// The packet from its IP header on.
        bytes: Vec<u8>,
    },
    /// A whole IGMP packet that reaches no other socket: to a routable group, without the Router
    /// Alert option. Linux only.
    Igmp {
        /// Where it arrived.
        ifindex: u32,
        /// The packet from its IPv4 header on, as it came.
        bytes: Vec<u8>,
    },
}

/// What the kernel's table differed in from what was installed, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// Vifs that the kernel had lost and has again.
    pub vifs_restored: Vec<u32>,
    /// Vifs that the kernel has lost for good, with their interface most likely.
    pub vifs_lost: Vec<u32>,
    /// Vifs whose rule to the table was gone and is there again.
    pub rules_restored: Vec<u32>,
    /// Routes that were missing and are installed again.
    pub restored: Vec<RouteKey>,
    /// Routes that looked different and are as they should be again.
    pub corrected: Vec<RouteKey>,
    /// Routes that another program had made its own and that are ours again.
    pub taken: Vec<RouteKey>,
    /// Routes that nobody asked for and that are deleted now.
    pub removed: Vec<RouteKey>,
    /// Routes that the kernel let expire; they are no longer among [`Kernel::routes`].
    pub expired: Vec<RouteKey>,
    /// Routes that could not be mended: the kernel refused.
    pub failed: Vec<RouteKey>,
    /// Static entries of other programs. They are left alone and forward as well.
    pub foreign: Vec<RouteKey>,
}

impl Drift {
    /// Whether nothing of ours differed; entries of other programs are not counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let ours = Self { foreign: Vec::new(), ..self.clone() };
        ours == Self::default()
    }
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Multicast routing table (Linux) or routing domain (OpenBSD); 0 for the system's default.
    pub table: u32,
    /// IPv4 and IPv6, by [`Af::index`].
    pub families: [bool; 2],
}

impl Options {
    /// Whether the family is wanted.
    #[must_use]
    pub const fn has(&self, family: Af) -> bool {
        let [ipv4, ipv6] = self.families;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
    }
}

/// Takes the system's multicast routing.
///
/// [`Error::Busy`] when another program has it, [`Error::Unsupported`] when the kernel lacks it.
pub fn open(options: &Options) -> Result<Box<dyn Kernel>, Error> {
    Ok(Box::new(Table::new(os::open(options)?)))
}

/// Puts a new socket where the table is: OpenBSD's routing domain. Linux's tables are for packets
/// that are forwarded, and FreeBSD has but one in each vnet.
pub fn enter_table(socket: BorrowedFd<'_>, table: u32) -> std::io::Result<()> {
    os::enter_table(socket, table)
}

/// Interfaces as they come, change and go.
pub trait Monitor: Send {
    /// What to poll for [`receive`](Self::receive).
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// All interfaces now, by index. What [`receive`](Self::receive) gives afterwards is relative
    /// to this.
    fn snapshot(&mut self) -> Result<Vec<Interface>, Error>;

    /// Appends what changed; never waits. When the kernel says that messages were lost, all is read
    /// anew and what differs comes out.
    fn receive(&mut self, out: &mut Vec<InterfaceChange>) -> Result<(), Error>;

    /// After how long to call [`receive`](Self::receive) although there is nothing to read: an
    /// address is tentative, and the system does not say when it no longer is.
    fn look_again(&self) -> Option<Millis> {
        None
    }
}

/// Follows the interfaces of the system (OpenBSD: of the routing domain).
pub fn monitor(options: &Options) -> Result<Box<dyn Monitor>, Error> {
    os::monitor(options)
}
