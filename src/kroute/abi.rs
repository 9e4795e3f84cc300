//! Structures of multicast routing that every system has alike: `linux/mroute.h`,
//! `linux/mroute6.h`, `netinet/ip_mroute.h`, `netinet6/ip6_mroute.h`.

use std::ffi::{c_int, c_ulong};
use std::net::Ipv6Addr;

use super::os::abi as os;
use crate::sys::abi::{Fact, layout};

/// What a structure for ioctl(2) is for.
pub(super) trait Request {
    /// The request whose argument the structure is.
    const NUMBER: c_ulong;
}

/// The first two octets of every `struct sockaddr`.
pub(super) const fn sockaddr_head(length: u8, family: c_int) -> [u8; 2] {
    // The families that are used here are below 256.
    let [family, ..] = family.to_le_bytes();
    if cfg!(target_os = "linux") { (family as u16).to_ne_bytes() } else { [length, family] }
}

/// `struct sockaddr_in6`, whose first two octets differ between the systems.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub(super) struct SockaddrIn6 {
    pub(super) head: [u8; 2],
    pub(super) port: u16,
    pub(super) flowinfo: u32,
    pub(super) address: [u8; 16],
    pub(super) scope_id: u32,
}

impl SockaddrIn6 {
    /// The address alone.
    pub(super) const fn new(address: Ipv6Addr) -> Self {
        let head = sockaddr_head(28, libc::AF_INET6);
        Self { head, port: 0, flowinfo: 0, address: address.octets(), scope_id: 0 }
    }
}

/// The outputs of `struct mfcctl`: a threshold by vif, 0 for none.
pub(super) fn ttls<const MAXVIFS: usize>(outputs: &[(u16, u8)]) -> [u8; MAXVIFS] {
    let mut ttls = [0; MAXVIFS];
    for (vif, threshold) in outputs {
        ttls.get_mut(usize::from(*vif)).into_iter().for_each(|ttl| *ttl = *threshold);
    }
    ttls
}

/// `struct mf6cctl`.
#[repr(C)]
pub(super) struct Mf6cctl {
    pub(super) origin: SockaddrIn6,
    pub(super) group: SockaddrIn6,
    pub(super) parent: u16,
    pub(super) pad: u16,
    pub(super) ifset: [u32; 8],
}

impl Mf6cctl {
    /// An entry with the mifs that packets leave by.
    pub(super) fn new(
        source: Ipv6Addr,
        group: Ipv6Addr,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> Self {
        let mut ifset = [0; 8];
        for (mif, _) in outputs {
            let word = ifset.get_mut(usize::from(mif / 32)).into_iter();
            word.for_each(|word| *word |= 1 << (mif % 32));
        }
        let (origin, group) = (SockaddrIn6::new(source), SockaddrIn6::new(group));
        Self { origin, group, parent, pad: 0, ifset }
    }
}

/// `struct sioc_sg_req`.
#[repr(C)]
pub(super) struct SgReq {
    pub(super) src: [u8; 4],
    pub(super) grp: [u8; 4],
    pub(super) pktcnt: c_ulong,
    pub(super) bytecnt: c_ulong,
    pub(super) wrong_if: c_ulong,
}

/// `struct sioc_sg_req6`.
#[repr(C)]
pub(super) struct SgReq6 {
    pub(super) src: SockaddrIn6,
    pub(super) grp: SockaddrIn6,
    pub(super) pktcnt: os::Count6,
    pub(super) bytecnt: os::Count6,
    pub(super) wrong_if: os::Count6,
}

/// `struct sioc_vif_req`.
#[repr(C)]
#[derive(Default)]
pub(super) struct VifReq {
    pub(super) vifi: u16,
    pub(super) icount: c_ulong,
    pub(super) ocount: c_ulong,
    pub(super) ibytes: c_ulong,
    pub(super) obytes: c_ulong,
}

/// `struct sioc_mif_req6`.
#[repr(C)]
#[derive(Default)]
pub(super) struct MifReq6 {
    pub(super) mifi: u16,
    pub(super) icount: os::Count6,
    pub(super) ocount: os::Count6,
    pub(super) ibytes: os::Count6,
    pub(super) obytes: os::Count6,
}

impl Request for SgReq {
    const NUMBER: c_ulong = os::SIOCGETSGCNT;
}

impl Request for SgReq6 {
    const NUMBER: c_ulong = os::SIOCGETSGCNT_IN6;
}

impl Request for VifReq {
    const NUMBER: c_ulong = os::SIOCGETVIFCNT;
}

impl Request for MifReq6 {
    const NUMBER: c_ulong = os::SIOCGETMIFCNT_IN6;
}

layout!(SG_REQ: SgReq = "sioc_sg_req" {
    src = "src", grp = "grp", pktcnt = "pktcnt", bytecnt = "bytecnt", wrong_if = "wrong_if",
});
layout!(SG_REQ6: SgReq6 = "sioc_sg_req6" {
    src = "src", grp = "grp", pktcnt = "pktcnt", bytecnt = "bytecnt", wrong_if = "wrong_if",
});
layout!(VIF_REQ: VifReq = "sioc_vif_req" {
    vifi = "vifi", icount = "icount", ocount = "ocount", ibytes = "ibytes", obytes = "obytes",
});
layout!(MIF_REQ6: MifReq6 = "sioc_mif_req6" {
    mifi = "mifi", icount = "icount", ocount = "ocount", ibytes = "ibytes", obytes = "obytes",
});
layout!(MF6CCTL: Mf6cctl = "mf6cctl" {
    origin = "mf6cc_origin", group = "mf6cc_mcastgrp", parent = "mf6cc_parent",
    ifset = "mf6cc_ifset";
    pad,
});
layout!(SOCKADDR_IN6: SockaddrIn6 = "sockaddr_in6" {
    port = "sin6_port", flowinfo = "sin6_flowinfo", address = "sin6_addr",
    scope_id = "sin6_scope_id";
    head,
});

/// What the headers of this system must say.
pub(super) const ABI: &[&[Fact]] = &[
    os::NUMBERS,
    os::VIFCTL,
    os::MFCCTL,
    os::MIF6CTL,
    os::OTHERS,
    SG_REQ,
    SG_REQ6,
    VIF_REQ,
    MIF_REQ6,
    MF6CCTL,
    SOCKADDR_IN6,
    super::upcall::ABI,
    super::membership::ABI[0],
    super::membership::ABI[1],
    super::membership::ABI[2],
    #[cfg(not(target_os = "linux"))]
    super::route_message::ABI,
    #[cfg(not(target_os = "linux"))]
    super::bsd::NUMBERS,
];
