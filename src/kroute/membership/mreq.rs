//! Memberships of OpenBSD: from any source, by `struct ip_mreqn` and `struct ipv6_mreq`.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::kroute::socket;

/// `struct ip_mreqn`.
#[repr(C)]
struct IpMreqn {
    group: [u8; 4],
    address: [u8; 4],
    interface: u32,
}

/// `struct ipv6_mreq`.
#[repr(C, align(4))]
struct Ipv6Mreq {
    group: [u8; 16],
    interface: u32,
}

const _: () = {
    assert!(size_of::<IpMreqn>() == size_of::<libc::ip_mreqn>());
    assert!(size_of::<Ipv6Mreq>() == size_of::<libc::ipv6_mreq>());
};

/// Joins or leaves.
pub(super) fn change(
    fd: BorrowedFd<'_>,
    join: bool,
    interface: u32,
    group: IpAddr,
    source: Option<IpAddr>,
) -> io::Result<()> {
    if source.is_some() {
        let why = "OpenBSD has no memberships from one source";
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    match group {
        IpAddr::V4(group) => {
            let name = if join { libc::IP_ADD_MEMBERSHIP } else { libc::IP_DROP_MEMBERSHIP };
            let request = IpMreqn { group: group.octets(), address: [0; 4], interface };
            socket::set(fd, libc::IPPROTO_IP, name, &request)
        }
        IpAddr::V6(group) => {
            let name = if join { libc::IPV6_JOIN_GROUP } else { libc::IPV6_LEAVE_GROUP };
            let request = Ipv6Mreq { group: group.octets(), interface };
            socket::set(fd, libc::IPPROTO_IPV6, name, &request)
        }
    }
}
