//! Numbers and structures of `netinet/ip_mroute.h`, `netinet6/ip6_mroute.h`, `netinet6/in6_var.h`
//! and `netinet/icmp6.h` of OpenBSD and FreeBSD, which libc lacks.

use std::ffi::{c_int, c_ulong};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::kroute::abi::{MifReq6, Request, SgReq, SgReq6, SockaddrIn6, VifReq};
use crate::sys::abi::{Fact, constants, layout};
use crate::wire::Af;

constants! { NUMBERS:
    pub(in crate::kroute) MRT_INIT: c_int = 100;
    pub(in crate::kroute) MRT_ADD_VIF: c_int = 102;
    pub(in crate::kroute) MRT_DEL_VIF: c_int = 103;
    pub(in crate::kroute) MRT_ADD_MFC: c_int = 104;
    pub(in crate::kroute) MRT_DEL_MFC: c_int = 105;
    pub(in crate::kroute) MRT_ASSERT: c_int = 107;
    pub(in crate::kroute) MRT6_INIT: c_int = 108;
    MRT6_ADD_MIF: c_int = MRT_ADD_VIF;
    MRT6_DEL_MIF: c_int = MRT_DEL_VIF;
    MRT6_ADD_MFC: c_int = MRT_ADD_MFC;
    MRT6_DEL_MFC: c_int = MRT_DEL_MFC;
    pub(super) IN6_IFF_TENTATIVE: c_int = 0x02;
    pub(super) IN6_IFF_DUPLICATED: c_int = 0x04;
    MAXVIFS: u8 = 32;
    MAXMIFS: u8 = 64;
    pub(in crate::kroute) SIOCGETVIFCNT: c_ulong = iowr::<VifReq>(counters::GROUP, counters::VIF);
    pub(in crate::kroute) SIOCGETSGCNT: c_ulong = iowr::<SgReq>(counters::GROUP, counters::SG);
    pub(in crate::kroute) SIOCGETSGCNT_IN6: c_ulong = iowr::<SgReq6>(b'u', 106);
    pub(in crate::kroute) SIOCGETMIFCNT_IN6: c_ulong = iowr::<MifReq6>(b'u', 107);
    SIOCGIFAFLAG_IN6: c_ulong = iowr::<In6Ifreq>(b'i', 73);
}

/// What counts packets of an IPv6 entry.
pub(in crate::kroute) type Count6 = u64;

pub(in crate::kroute) const fn max_vifs(family: Af) -> u8 {
    match family {
        Af::Ip4 => MAXVIFS,
        Af::Ip6 => MAXMIFS,
    }
}

/// `_IOWR` of `sys/ioccom.h`.
const fn iowr<T>(group: u8, number: u8) -> c_ulong {
    0xc000_0000 | (size_of::<T>() as c_ulong) << 16 | (group as c_ulong) << 8 | number as c_ulong
}

#[cfg(target_os = "openbsd")]
mod counters {
    pub(super) const GROUP: u8 = b'u';
    pub(super) const VIF: u8 = 51;
    pub(super) const SG: u8 = 52;
}

#[cfg(target_os = "freebsd")]
mod counters {
    pub(super) const GROUP: u8 = b'r';
    pub(super) const VIF: u8 = 15;
    pub(super) const SG: u8 = 16;
}

/// `struct vifctl`.
#[repr(C)]
pub(in crate::kroute) struct Vifctl {
    pub(in crate::kroute) vifi: u16,
    pub(in crate::kroute) flags: u8,
    pub(in crate::kroute) threshold: u8,
    pub(in crate::kroute) rate_limit: u32,
    pub(in crate::kroute) lcl_addr: [u8; 4],
    pub(in crate::kroute) rmt_addr: [u8; 4],
}

impl Vifctl {
    pub(in crate::kroute) const fn new(vifi: u16, address: Ipv4Addr) -> Self {
        let (lcl_addr, rmt_addr) = (address.octets(), [0; 4]);
        Self { vifi, flags: 0, threshold: 1, rate_limit: 0, lcl_addr, rmt_addr }
    }
}

/// `struct mfcctl`.
#[repr(C, align(4))]
pub(in crate::kroute) struct Mfcctl {
    pub(in crate::kroute) origin: [u8; 4],
    pub(in crate::kroute) group: [u8; 4],
    pub(in crate::kroute) parent: u16,
    pub(in crate::kroute) ttls: [u8; MAXVIFS as usize],
    pad: u16,
}

impl Mfcctl {
    /// An entry with the vifs that packets leave by and their thresholds.
    pub(in crate::kroute) fn new(
        source: Ipv4Addr,
        group: Ipv4Addr,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> Self {
        let ttls = crate::kroute::abi::ttls(outputs);
        Self { origin: source.octets(), group: group.octets(), parent, ttls, pad: 0 }
    }
}

/// `struct mif6ctl`.
#[repr(C)]
pub(in crate::kroute) struct Mif6ctl {
    pub(in crate::kroute) mifi: u16,
    pub(in crate::kroute) flags: u8,
    pad: u8,
    pub(in crate::kroute) pifi: u16,
}

impl Mif6ctl {
    pub(in crate::kroute) const fn new(mifi: u16, pifi: u16) -> Self {
        Self { mifi, flags: 0, pad: 0, pifi }
    }
}

/// `struct in6_ifreq`, whose union holds an address or, in return, its flags.
#[repr(C, align(8))]
pub(in crate::kroute) struct In6Ifreq {
    pub(in crate::kroute) name: [u8; libc::IFNAMSIZ],
    pub(in crate::kroute) address: SockaddrIn6,
    rest: [u8; 244],
}

impl In6Ifreq {
    /// Asks about an address of the interface; `None` when the name is too long.
    pub(in crate::kroute) fn new(interface: &str, address: Ipv6Addr) -> Option<Self> {
        let mut name = [0; libc::IFNAMSIZ];
        name.get_mut(..interface.len())
            .filter(|_| interface.len() < libc::IFNAMSIZ)?
            .copy_from_slice(interface.as_bytes());
        Some(Self { name, address: SockaddrIn6::new(address), rest: [0; 244] })
    }

    /// The flags of the answer: an `int` in place of the address.
    pub(in crate::kroute) const fn flags(&self) -> c_int {
        let ([a, b], [c, d]) = (self.address.head, self.address.port.to_ne_bytes());
        c_int::from_ne_bytes([a, b, c, d])
    }
}

impl Request for In6Ifreq {
    const NUMBER: c_ulong = SIOCGIFAFLAG_IN6;
}

layout!(VIFCTL: Vifctl = "vifctl" {
    vifi = "vifc_vifi", flags = "vifc_flags", threshold = "vifc_threshold",
    rate_limit = "vifc_rate_limit", lcl_addr = "vifc_lcl_addr", rmt_addr = "vifc_rmt_addr",
});
layout!(MFCCTL: Mfcctl = "mfcctl" {
    origin = "mfcc_origin", group = "mfcc_mcastgrp", parent = "mfcc_parent", ttls = "mfcc_ttls";
    pad,
});
layout!(MIF6CTL: Mif6ctl = "mif6ctl" {
    mifi = "mif6c_mifi", flags = "mif6c_flags", pifi = "mif6c_pifi";
    pad,
});
layout!(IN6_IFREQ: In6Ifreq = "in6_ifreq" {
    name = "ifr_name", address = "ifr_ifru.ifru_addr";
    rest,
});

/// What else the headers must say.
pub(in crate::kroute) const OTHERS: &[Fact] = IN6_IFREQ;
