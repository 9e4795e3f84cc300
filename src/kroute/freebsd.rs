//! What FreeBSD does its own way: modules, and one table for each vnet.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::bsd::{Switch, abi};
use super::route_message::Origin;
use super::routing_socket::numbers;
use super::{Capabilities, Error, MfcKey, socket};
use crate::sys::abi::constants;
use crate::wire::Af;

/// Whose messages the route socket gives.
pub(super) const ORIGIN: Origin = Origin::FreeBsd;

constants! { NUMBERS:
    IPV6CTL_FORWARDING: c_int = 1;
    /// Lost messages are an error at the next read; since FreeBSD 13.
    SO_RERROR: c_int = 0x0002_0000;
}

/// What has to be on: `ip6_input` accepts MLD with Router Alert only where IPv6 is forwarded.
pub(super) const fn switches(family: Af) -> &'static [Switch] {
    const IPV6: &[Switch] = &[Switch {
        name: [libc::CTL_NET, libc::PF_INET6, libc::IPPROTO_IPV6, IPV6CTL_FORWARDING],
        setting: "net.inet6.ip6.forwarding=1",
    }];
    match family {
        Af::Ip4 => &[],
        Af::Ip6 => IPV6,
    }
}

/// What a kernel lacks that knows no `MRT_INIT`.
pub(super) const fn kernel_option(family: Af) -> &'static str {
    match family {
        Af::Ip4 => "multicast routing (kldload ip_mroute)",
        Af::Ip6 => "multicast routing (kldload ip6_mroute)",
    }
}

pub(super) const fn capabilities(family: Af) -> Capabilities {
    Capabilities {
        key: MfcKey::SourceGroup,
        entries_expire: false,
        queues_unresolved: true,
        wrongvif_upcalls: true,
        star_g: false,
        vif_by_address: matches!(family, Af::Ip4),
        max_vifs: abi::max_vifs(family),
    }
}

/// Each vnet has a table of its own, and no other can be named.
pub(super) fn enter_table(_fd: BorrowedFd<'_>, table: u32) -> io::Result<()> {
    if table == 0 {
        return Ok(());
    }
    let why = "FreeBSD has one multicast routing table in each vnet: run in a vnet jail instead";
    Err(io::Error::new(io::ErrorKind::Unsupported, why))
}

/// The only one is a good one.
#[expect(clippy::unnecessary_wraps, reason = "OpenBSD's can be a bad one")]
pub(super) const fn check_table(_fd: BorrowedFd<'_>) -> Result<(), Error> {
    Ok(())
}

/// What follows `MRT_INIT`; IPv6 calls it `MRT6_PIM`.
pub(super) fn ask_for_wrong_vifs(fd: BorrowedFd<'_>, family: Af) -> Result<(), Error> {
    socket::set(fd, numbers(family).level, abi::MRT_ASSERT, &1i32)
        .map_err(Error::system("ask for wrong-interface upcalls (MRT_ASSERT)"))
}

/// The kernel counts each packet once.
pub(super) const fn counted_times(_outputs: usize) -> u64 {
    1
}

/// Makes the route socket say that messages were lost; older systems do not.
pub(super) fn prepare_route_socket(fd: BorrowedFd<'_>, _table: u32) -> io::Result<Option<u16>> {
    if let Err(e) = socket::set(fd.as_fd(), libc::SOL_SOCKET, SO_RERROR, &1i32) {
        log::debug!("SO_RERROR: {e}");
    }
    Ok(None)
}
