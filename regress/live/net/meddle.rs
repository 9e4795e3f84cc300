//! What another program with CAP_NET_ADMIN may do to the kernel's multicast routing: IPv4 by
//! rtnetlink(7), IPv6 by any raw socket and `linux/mroute6.h`.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use nix::sys::socket::{
    AddressFamily, SetSockOpt, SockFlag, SockProtocol, SockType, setsockopt, socket,
};
use nix::{setsockopt_impl, sockopt_impl};

use super::Host;
use super::link::request;

/// `linux/rtnetlink.h`.
const RTNL_FAMILY_IPMR: u8 = 128;
const MRT6_DEL_MIF: libc::c_int = 203;
const MRT6_ADD_MFC: libc::c_int = 204;
const MRT6_DEL_MFC: libc::c_int = 205;
sockopt_impl!(AddMfc6, SetOnly, libc::IPPROTO_IPV6, MRT6_ADD_MFC, [u8; 92]);
sockopt_impl!(DelMfc6, SetOnly, libc::IPPROTO_IPV6, MRT6_DEL_MFC, [u8; 92]);
sockopt_impl!(DelMif, SetOnly, libc::IPPROTO_IPV6, MRT6_DEL_MIF, u16);

/// A static IPv4 route from `up0` to nowhere.
fn message4(host: &Host, source: IpAddr, group: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: RTNL_FAMILY_IPMR.into(),
        destination_prefix_length: 32,
        source_prefix_length: 32,
        protocol: RouteProtocol::Static,
        scope: RouteScope::Universe,
        kind: RouteType::Multicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![
        RouteAttribute::Source(source.into()),
        RouteAttribute::Destination(group.into()),
        RouteAttribute::Iif(host.index("up0")),
    ];
    message
}

/// A `struct mf6cctl` with these addresses, from mif 0 to nowhere.
fn mf6cctl(source: IpAddr, group: IpAddr) -> [u8; 92] {
    let mut mfc = [0; 92];
    for (at, address) in [(0, source), (28, group)] {
        let IpAddr::V6(address) = address else { panic!("{source} to {group}") };
        let family = u16::try_from(libc::AF_INET6).expect("a small number");
        mfc[at..at + 2].copy_from_slice(&family.to_ne_bytes());
        mfc[at + 8..at + 24].copy_from_slice(&address.octets());
    }
    mfc
}

fn set6<O: SetSockOpt + Send>(host: &Host, option: O, value: &O::Val) -> io::Result<()>
where
    O::Val: Sync,
{
    host.run(|| {
        let (flags, protocol) = (SockFlag::SOCK_CLOEXEC, SockProtocol::IcmpV6);
        let raw = socket(AddressFamily::Inet6, SockType::Raw, flags, protocol)?;
        Ok(setsockopt(&raw, option, value)?)
    })
}

/// Adds a route of another program's, from the first interface, which drops; one that is there
/// becomes it.
pub fn add_route(host: &Host, source: IpAddr, group: IpAddr) {
    match group {
        IpAddr::V4(_) => {
            let message = RouteNetlinkMessage::NewRoute(message4(host, source, group));
            host.run(|| request(message, NLM_F_CREATE | NLM_F_REPLACE))
        }
        IpAddr::V6(_) => set6(host, AddMfc6, &mf6cctl(source, group)),
    }
    .unwrap_or_else(|e| panic!("({source}, {group}): {e}"));
}

/// Deletes a route, whoever made it.
pub fn delete_route(host: &Host, source: IpAddr, group: IpAddr) {
    match group {
        IpAddr::V4(_) => {
            let message = RouteNetlinkMessage::DelRoute(message4(host, source, group));
            host.run(|| request(message, 0))
        }
        IpAddr::V6(_) => set6(host, DelMfc6, &mf6cctl(source, group)),
    }
    .unwrap_or_else(|e| panic!("({source}, {group}): {e}"));
}

/// Deletes an IPv6 vif, whoever made it.
pub fn delete_mif(host: &Host, mif: u16) {
    set6(host, DelMif, &mif).unwrap_or_else(|e| panic!("mif {mif}: {e}"));
}
