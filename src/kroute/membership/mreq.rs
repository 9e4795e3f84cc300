//! Memberships of OpenBSD: from any source, by `struct ip_mreqn` and `struct ipv6_mreq`.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::kroute::socket;
use crate::sys::abi::{Fact, layout};

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

layout!(IP_MREQN: IpMreqn = "ip_mreqn" {
    group = "imr_multiaddr", address = "imr_address", interface = "imr_ifindex",
});
layout!(IPV6_MREQ: Ipv6Mreq = "ipv6_mreq" {
    group = "ipv6mr_multiaddr", interface = "ipv6mr_interface",
});

/// What the headers of this system must say.
pub(in crate::kroute) const ABI: [&[Fact]; 3] = [
    IP_MREQN,
    IPV6_MREQ,
    &[
        ("IP_ADD_MEMBERSHIP", libc::IP_ADD_MEMBERSHIP as i64),
        ("IP_DROP_MEMBERSHIP", libc::IP_DROP_MEMBERSHIP as i64),
        ("IPV6_JOIN_GROUP", libc::IPV6_JOIN_GROUP as i64),
        ("IPV6_LEAVE_GROUP", libc::IPV6_LEAVE_GROUP as i64),
    ],
];

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
