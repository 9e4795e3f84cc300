//! Memberships by RFC 3678: `struct group_req`, `struct group_source_req`.

use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use crate::kroute::abi::sockaddr_head;
use crate::kroute::socket;
use crate::sys::abi::{Fact, layout};

/// `struct group_source_req`, whose beginning is laid out like `struct group_req`.
#[repr(C)]
struct GroupSourceReq {
    interface: u32,
    group: Storage,
    source: Storage,
}

/// `struct group_req`.
#[repr(C)]
struct GroupReq {
    interface: u32,
    group: Storage,
}

layout!(GROUP_REQ: GroupReq = "group_req" { interface = "gr_interface", group = "gr_group" });
layout!(GROUP_SOURCE_REQ: GroupSourceReq = "group_source_req" {
    interface = "gsr_interface", group = "gsr_group", source = "gsr_source",
});

/// What the headers of this system must say.
pub(in crate::kroute) const ABI: [&[Fact]; 3] = [
    GROUP_REQ,
    GROUP_SOURCE_REQ,
    &[
        ("MCAST_JOIN_GROUP", libc::MCAST_JOIN_GROUP as i64),
        ("MCAST_LEAVE_GROUP", libc::MCAST_LEAVE_GROUP as i64),
        ("MCAST_JOIN_SOURCE_GROUP", libc::MCAST_JOIN_SOURCE_GROUP as i64),
        ("MCAST_LEAVE_SOURCE_GROUP", libc::MCAST_LEAVE_SOURCE_GROUP as i64),
    ],
];

/// `struct sockaddr_storage` with an address and no port.
#[repr(C, align(8))]
struct Storage([u8; 128]);

fn storage(address: IpAddr) -> Storage {
    let (head, at, octets) = match address {
        IpAddr::V4(a) => (sockaddr_head(16, libc::AF_INET), 4, a.octets().to_vec()),
        IpAddr::V6(a) => (sockaddr_head(28, libc::AF_INET6), 8, a.octets().to_vec()),
    };
    let mut storage = [0; 128];
    storage.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    storage.iter_mut().skip(at).zip(octets).for_each(|(to, from)| *to = from);
    Storage(storage)
}

/// Joins or leaves.
pub(super) fn change(
    fd: BorrowedFd<'_>,
    join: bool,
    interface: u32,
    group: IpAddr,
    source: Option<IpAddr>,
) -> io::Result<()> {
    let level = match group {
        IpAddr::V4(_) => libc::IPPROTO_IP,
        IpAddr::V6(_) => libc::IPPROTO_IPV6,
    };
    let group = storage(group);
    match source {
        None => {
            let name = if join { libc::MCAST_JOIN_GROUP } else { libc::MCAST_LEAVE_GROUP };
            socket::set(fd, level, name, &GroupReq { interface, group })
        }
        Some(source) => {
            let name =
                if join { libc::MCAST_JOIN_SOURCE_GROUP } else { libc::MCAST_LEAVE_SOURCE_GROUP };
            let request = GroupSourceReq { interface, group, source: storage(source) };
            socket::set(fd, level, name, &request)
        }
    }
}
