//! What another program may do to the kernel's IPv6 multicast routes, by `linux/mroute6.h`: any raw
//! socket with CAP_NET_ADMIN can.

use std::net::IpAddr;

use nix::sys::socket::{
    AddressFamily, SetSockOpt, SockFlag, SockProtocol, SockType, setsockopt, socket,
};
use nix::{setsockopt_impl, sockopt_impl};

use super::Host;

const MRT6_ADD_MFC: libc::c_int = 204;
const MRT6_DEL_MFC: libc::c_int = 205;
sockopt_impl!(AddMfc6, SetOnly, libc::IPPROTO_IPV6, MRT6_ADD_MFC, [u8; 92]);
sockopt_impl!(DelMfc6, SetOnly, libc::IPPROTO_IPV6, MRT6_DEL_MFC, [u8; 92]);

/// Hands the kernel a `struct mf6cctl` with these addresses, from mif 0 to nowhere.
fn change(
    host: &Host,
    option: impl SetSockOpt<Val = [u8; 92]> + Send,
    source: IpAddr,
    group: IpAddr,
) {
    let mut mfc = [0; 92];
    for (at, address) in [(0, source), (28, group)] {
        let IpAddr::V6(address) = address else { panic!("{source} to {group}") };
        let family = u16::try_from(libc::AF_INET6).expect("a small number");
        mfc[at..at + 2].copy_from_slice(&family.to_ne_bytes());
        mfc[at + 8..at + 24].copy_from_slice(&address.octets());
    }
    host.run(|| {
        let (flags, protocol) = (SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6);
        let raw = socket(AddressFamily::Inet6, SockType::Raw, flags, protocol)?;
        setsockopt(&raw, option, &mfc)
    })
    .unwrap_or_else(|e| panic!("({source}, {group}): {e}"));
}

/// Adds a route of another program's, which drops.
pub fn add_route(host: &Host, source: IpAddr, group: IpAddr) {
    change(host, AddMfc6, source, group);
}

/// Deletes a route, whoever made it.
pub fn delete_route(host: &Host, source: IpAddr, group: IpAddr) {
    change(host, DelMfc6, source, group);
}
