//! Numbers and structures of `linux/mroute.h` and `linux/mroute6.h`, which libc lacks.

use std::ffi::{c_int, c_ulong};
use std::net::Ipv4Addr;

use crate::kroute::abi::ttls;
use crate::sys::abi::{Fact, constants, layout};
use crate::wire::Af;

// The `MRT6_*` numbers are those of `MRT_*`.
constants! { NUMBERS:
    pub(in crate::kroute) MRT_INIT: c_int = 200;
    pub(in crate::kroute) MRT6_INIT: c_int = MRT_INIT;
    pub(super) MRT_ADD_VIF: c_int = 202;
    pub(super) MRT_DEL_VIF: c_int = 203;
    pub(super) MRT_ADD_MFC: c_int = 204;
    pub(super) MRT_DEL_MFC: c_int = 205;
    pub(super) MRT_ASSERT: c_int = 207;
    pub(super) MRT_PIM: c_int = 208;
    pub(super) MRT_TABLE: c_int = 209;
    MRT6_ADD_MIF: c_int = MRT_ADD_VIF;
    MRT6_DEL_MIF: c_int = MRT_DEL_VIF;
    MRT6_ADD_MFC: c_int = MRT_ADD_MFC;
    MRT6_DEL_MFC: c_int = MRT_DEL_MFC;
    MRT6_ASSERT: c_int = MRT_ASSERT;
    MRT6_PIM: c_int = MRT_PIM;
    MRT6_TABLE: c_int = MRT_TABLE;
    /// The same in both families.
    pub(super) MAXVIFS: u8 = 32;
    MAXMIFS: u8 = MAXVIFS;
    VIFF_REGISTER: u8 = 4;
    VIFF_USE_IFINDEX: u8 = 8;
    MIFF_REGISTER: u8 = 1;
    pub(in crate::kroute) SIOCGETVIFCNT: c_ulong = 0x89e0;
    pub(in crate::kroute) SIOCGETSGCNT: c_ulong = 0x89e1;
    pub(in crate::kroute) SIOCGETMIFCNT_IN6: c_ulong = SIOCGETVIFCNT;
    pub(in crate::kroute) SIOCGETSGCNT_IN6: c_ulong = SIOCGETSGCNT;
}
/// What counts packets of an IPv6 entry.
pub(in crate::kroute) type Count6 = c_ulong;

/// The kernel options of a family.
pub(super) struct KernelOptions {
    pub(super) stack: &'static str,
    pub(super) routing: &'static str,
    pub(super) tables: &'static str,
}

pub(super) const fn kernel_options(family: Af) -> KernelOptions {
    match family {
        Af::Ip4 => KernelOptions {
            stack: "IPv4 (CONFIG_INET)",
            routing: "multicast routing (CONFIG_IP_MROUTE)",
            tables: "multicast routing tables (CONFIG_IP_MROUTE_MULTIPLE_TABLES)",
        },
        Af::Ip6 => KernelOptions {
            stack: "IPv6 (CONFIG_IPV6)",
            routing: "multicast routing (CONFIG_IPV6_MROUTE)",
            tables: "multicast routing tables (CONFIG_IPV6_MROUTE_MULTIPLE_TABLES)",
        },
    }
}

/// The table of who chooses none: `RT_TABLE_DEFAULT`, and for IPv6 `RT6_TABLE_DFLT`.
pub(super) const fn default_table(family: Af) -> u32 {
    match family {
        Af::Ip4 => 253,
        Af::Ip6 => 254,
    }
}

const fn bpf(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    // The opcodes that are used here are below 256.
    libc::sock_filter { code: (code & 0xff) as u16, jt, jf, k }
}

/// Passes upcalls (IP protocol 0) and packets whose header has no options; the packets with Router
/// Alert come to other sockets too.
pub(super) const UPCALL_OR_NO_OPTIONS: [libc::sock_filter; 7] = [
    bpf(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 9),
    bpf(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 3, 0, 0),
    bpf(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
    bpf(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x0f),
    bpf(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 5),
    bpf(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    bpf(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
];

#[repr(C)]
pub(super) struct Vifctl {
    vifi: u16,
    flags: u8,
    threshold: u8,
    rate_limit: u32,
    ifindex: u32,
    remote: [u8; 4],
}

impl Vifctl {
    pub(super) const fn new(vifi: u16, ifindex: u32) -> Self {
        let (flags, threshold) = (VIFF_USE_IFINDEX, 1);
        Self { vifi, flags, threshold, rate_limit: 0, ifindex, remote: [0; 4] }
    }

    pub(super) const fn register(vifi: u16) -> Self {
        Self { flags: VIFF_REGISTER, ..Self::new(vifi, 0) }
    }
}

#[repr(C)]
pub(in crate::kroute) struct Mfcctl {
    origin: [u8; 4],
    group: [u8; 4],
    parent: u16,
    ttls: [u8; MAXVIFS as usize],
    pad: u16,
    packets: u32,
    bytes: u32,
    wrong_if: u32,
    expire: i32,
}

impl Mfcctl {
    pub(in crate::kroute) fn new(
        source: Ipv4Addr,
        group: Ipv4Addr,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> Self {
        let ttls = ttls(outputs);
        let (origin, group) = (source.octets(), group.octets());
        let (packets, bytes, wrong_if) = (0, 0, 0);
        Self { origin, group, parent, ttls, pad: 0, packets, bytes, wrong_if, expire: 0 }
    }
}

#[repr(C)]
pub(super) struct Mif6ctl {
    mifi: u16,
    flags: u8,
    threshold: u8,
    pifi: u16,
    pad: u16,
    rate_limit: u32,
}

impl Mif6ctl {
    pub(super) const fn new(mifi: u16, pifi: u16) -> Self {
        Self { mifi, flags: 0, threshold: 1, pifi, pad: 0, rate_limit: 0 }
    }

    pub(super) const fn register(mifi: u16) -> Self {
        Self { flags: MIFF_REGISTER, ..Self::new(mifi, 0) }
    }
}

layout!(VIFCTL: Vifctl = "vifctl" {
    vifi = "vifc_vifi", flags = "vifc_flags", threshold = "vifc_threshold",
    rate_limit = "vifc_rate_limit", ifindex = "vifc_lcl_ifindex", remote = "vifc_rmt_addr",
});
layout!(MFCCTL: Mfcctl = "mfcctl" {
    origin = "mfcc_origin", group = "mfcc_mcastgrp", parent = "mfcc_parent", ttls = "mfcc_ttls",
    packets = "mfcc_pkt_cnt", bytes = "mfcc_byte_cnt", wrong_if = "mfcc_wrong_if",
    expire = "mfcc_expire";
    pad,
});
layout!(MIF6CTL: Mif6ctl = "mif6ctl" {
    mifi = "mif6c_mifi", flags = "mif6c_flags", threshold = "vifc_threshold",
    pifi = "mif6c_pifi", rate_limit = "vifc_rate_limit";
    pad,
});

/// What else the headers must say.
pub(in crate::kroute) const OTHERS: &[Fact] = &[];
