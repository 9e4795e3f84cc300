//! What OpenBSD does its own way: groups without sources, routing domains, `mforwarding`.

use std::ffi::c_int;
use std::io;
use std::os::fd::BorrowedFd;

use super::bsd::{Switch, abi, sysctl};
use super::route_message::Origin;
use super::{Capabilities, Error, MfcKey, socket};
use crate::sys::abi::constants;
use crate::wire::Af;

/// Whose messages the route socket gives.
pub(super) const ORIGIN: Origin = Origin::OpenBsd;

constants! { NUMBERS:
    IPCTL_MFORWARDING: c_int = 31;
    IPV6CTL_FORWARDING: c_int = 1;
    IPV6CTL_MFORWARDING: c_int = 42;
    NET_RT_TABLE: c_int = 5;
    ROUTE_MSGFILTER: c_int = 1;
    ROUTE_TABLEFILTER: c_int = 2;
}

/// Types of messages that say something of interfaces: `RTM_NEWADDR`, `RTM_DELADDR`, `RTM_IFINFO`,
/// `RTM_IFANNOUNCE`, `RTM_DESYNC`, `RTM_CHGADDRATTR`.
const MESSAGES: [u8; 6] = [0xc, 0xd, 0xe, 0xf, 0x10, 0x14];

/// What has to be on: `ip_input` and `ip6_input` look for a route only then, and accept MLD with
/// Router Alert only where IPv6 is forwarded.
pub(super) const fn switches(family: Af) -> &'static [Switch] {
    const IPV4: &[Switch] = &[Switch {
        name: [libc::CTL_NET, libc::PF_INET, libc::IPPROTO_IP, IPCTL_MFORWARDING],
        setting: "net.inet.ip.mforwarding=1",
    }];
    const IPV6: &[Switch] = &[
        Switch {
            name: [libc::CTL_NET, libc::PF_INET6, libc::IPPROTO_IPV6, IPV6CTL_MFORWARDING],
            setting: "net.inet6.ip6.mforwarding=1",
        },
        Switch {
            name: [libc::CTL_NET, libc::PF_INET6, libc::IPPROTO_IPV6, IPV6CTL_FORWARDING],
            setting: "net.inet6.ip6.forwarding=1",
        },
    ];
    match family {
        Af::Ip4 => IPV4,
        Af::Ip6 => IPV6,
    }
}

/// What a kernel lacks that knows no `MRT_INIT`.
pub(super) const fn kernel_option(_family: Af) -> &'static str {
    "multicast routing (options MROUTING)"
}

pub(super) const fn capabilities(family: Af) -> Capabilities {
    Capabilities {
        key: MfcKey::Group,
        entries_expire: true,
        queues_unresolved: false,
        wrongvif_upcalls: false,
        star_g: false,
        vif_by_address: matches!(family, Af::Ip4),
        max_vifs: abi::max_vifs(family),
    }
}

/// The routing domain of every socket; 0 for that of the process.
pub(super) fn enter_table(fd: BorrowedFd<'_>, table: u32) -> io::Result<()> {
    if table == 0 {
        return Ok(());
    }
    match socket::set(fd, libc::SOL_SOCKET, libc::SO_RTABLE, &table) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no table {table}")))
        }
        other => other,
    }
}

/// Refuses a table that is no routing domain: `if_lookupbyvif` finds no vif there.
pub(super) fn check_table(fd: BorrowedFd<'_>) -> Result<(), Error> {
    let failed = || Error::system("read the routing table of a socket");
    let table = socket::routing_table(fd).map_err(failed())?;
    let number = c_int::try_from(table).unwrap_or_default();
    let name = [libc::CTL_NET, libc::PF_ROUTE, 0, 0, NET_RT_TABLE, number];
    // `struct rt_tableinfo`: the number of the table, and of its domain.
    let [_, domain] = sysctl::shorts(&name).map_err(failed())?;
    if u32::from(domain) == table { Ok(()) } else { Err(Error::NoDomain { table, domain }) }
}

/// The kernel tells of no packet on a wrong interface.
#[expect(clippy::unnecessary_wraps, reason = "FreeBSD's can fail")]
pub(super) const fn ask_for_wrong_vifs(_fd: BorrowedFd<'_>, _family: Af) -> Result<(), Error> {
    Ok(())
}

/// The kernel counts each packet at the route of the parent and at those of the outputs
/// (`ip_mdq`), and adds these up (`get_sg_cnt`).
pub(super) fn counted_times(outputs: usize) -> u64 {
    u64::try_from(outputs).unwrap_or_default().saturating_add(1)
}

/// Confines the route socket to a routing domain, and returns which.
pub(super) fn prepare_route_socket(fd: BorrowedFd<'_>, table: u32) -> io::Result<Option<u16>> {
    let domain = match table {
        0 => socket::routing_table(fd)?,
        _ => table,
    };
    socket::set(fd, libc::AF_ROUTE, ROUTE_TABLEFILTER, &domain)?;
    let wanted = MESSAGES.iter().fold(0u32, |all, kind| all | 1 << kind);
    socket::set(fd, libc::AF_ROUTE, ROUTE_MSGFILTER, &wanted)?;
    u16::try_from(domain).map(Some).map_err(io::Error::other)
}
