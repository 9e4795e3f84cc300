//! Numbers and structures of `linux/mroute.h` and `linux/mroute6.h`, which libc lacks.
#![expect(unsafe_code, reason = "ioctl(2) has no safe form")]

use std::ffi::{c_int, c_ulong};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use crate::wire::Af;

pub(super) const MRT_INIT: c_int = 200;
pub(super) const MRT_ADD_VIF: c_int = 202;
pub(super) const MRT_DEL_VIF: c_int = 203;
pub(super) const MRT_ADD_MFC: c_int = 204;
pub(super) const MRT_DEL_MFC: c_int = 205;
pub(super) const MRT_ASSERT: c_int = 207;
pub(super) const MRT_PIM: c_int = 208;
pub(super) const MRT_TABLE: c_int = 209;
/// The same in both families.
pub(super) const MAXVIFS: u8 = 32;
pub(super) const ICMP6_FILTER: c_int = 1;
const AF_INET6: u16 = 10;
const VIFF_USE_IFINDEX: u8 = 8;
const SIOCGETVIFCNT: c_ulong = 0x89e0;
const SIOCGETSGCNT: c_ulong = 0x89e1;

/// What differs between the families in the calls; the `MRT6_*` numbers are those of `MRT_*`.
pub(super) struct Numbers {
    pub(super) domain: c_int,
    pub(super) protocol: c_int,
    pub(super) level: c_int,
    pub(super) stack_option: &'static str,
    pub(super) option: &'static str,
    pub(super) tables_option: &'static str,
}

pub(super) const fn numbers(family: Af) -> Numbers {
    match family {
        Af::Ip4 => Numbers {
            domain: libc::AF_INET,
            protocol: libc::IPPROTO_IGMP,
            level: libc::IPPROTO_IP,
            stack_option: "IPv4 (CONFIG_INET)",
            option: "multicast routing (CONFIG_IP_MROUTE)",
            tables_option: "multicast routing tables (CONFIG_IP_MROUTE_MULTIPLE_TABLES)",
        },
        Af::Ip6 => Numbers {
            domain: libc::AF_INET6,
            protocol: libc::IPPROTO_ICMPV6,
            level: libc::IPPROTO_IPV6,
            stack_option: "IPv6 (CONFIG_IPV6)",
            option: "multicast routing (CONFIG_IPV6_MROUTE)",
            tables_option: "multicast routing tables (CONFIG_IPV6_MROUTE_MULTIPLE_TABLES)",
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
}

#[repr(C)]
pub(super) struct Mfcctl {
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
    pub(super) fn new(
        source: Ipv4Addr,
        group: Ipv4Addr,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> Self {
        let mut ttls = [0; MAXVIFS as usize];
        for (vif, threshold) in outputs {
            ttls.get_mut(usize::from(*vif)).into_iter().for_each(|ttl| *ttl = *threshold);
        }
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
    /// None when the index is more than the 16 bits that the structure has for it.
    pub(super) fn new(mifi: u16, ifindex: u32) -> Option<Self> {
        let pifi = u16::try_from(ifindex).ok()?;
        Some(Self { mifi, flags: 0, threshold: 1, pifi, pad: 0, rate_limit: 0 })
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct SockaddrIn6 {
    family: u16,
    port: u16,
    flowinfo: u32,
    address: [u8; 16],
    scope_id: u32,
}

impl SockaddrIn6 {
    const fn new(address: Ipv6Addr) -> Self {
        Self { family: AF_INET6, port: 0, flowinfo: 0, address: address.octets(), scope_id: 0 }
    }
}

#[repr(C)]
pub(super) struct Mf6cctl {
    origin: SockaddrIn6,
    group: SockaddrIn6,
    parent: u16,
    pad: u16,
    outputs: [u32; 8],
}

impl Mf6cctl {
    pub(super) fn new(
        source: Ipv6Addr,
        group: Ipv6Addr,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> Self {
        let mut bits = [0; 8];
        for (mif, _) in outputs {
            let word = bits.get_mut(usize::from(mif / 32)).into_iter();
            word.for_each(|word| *word |= 1 << (mif % 32));
        }
        let (origin, group) = (SockaddrIn6::new(source), SockaddrIn6::new(group));
        Self { origin, group, parent, pad: 0, outputs: bits }
    }
}

#[repr(C)]
struct SgReq {
    source: [u8; 4],
    group: [u8; 4],
    packets: usize,
    bytes: usize,
    wrong_if: usize,
}

#[repr(C)]
struct SgReq6 {
    source: SockaddrIn6,
    group: SockaddrIn6,
    packets: usize,
    bytes: usize,
    wrong_if: usize,
}

/// `sioc_vif_req`, and `sioc_mif_req6` alike.
#[repr(C)]
#[derive(Default)]
struct VifReq {
    vifi: u16,
    packets_in: usize,
    packets_out: usize,
    bytes_in: usize,
    bytes_out: usize,
}

// A `c_ulong` of the kernel's structures is a `usize` here.
const _: () = {
    assert!(size_of::<c_ulong>() == size_of::<usize>());
    assert!(AF_INET6 as c_int == libc::AF_INET6);
    assert!(size_of::<Vifctl>() == 16);
    assert!(size_of::<Mfcctl>() == 60);
    assert!(size_of::<Mif6ctl>() == 12);
    assert!(size_of::<Mf6cctl>() == 92);
    assert!(size_of::<SgReq>() == 8 + 3 * size_of::<usize>());
    assert!(size_of::<SgReq6>() == 56 + 3 * size_of::<usize>());
    assert!(size_of::<VifReq>() == 5 * size_of::<usize>());
};

nix::ioctl_readwrite_bad!(get_vif_count, SIOCGETVIFCNT, VifReq);
nix::ioctl_readwrite_bad!(get_sg_count, SIOCGETSGCNT, SgReq);
nix::ioctl_readwrite_bad!(get_sg_count_in6, SIOCGETSGCNT, SgReq6);

/// Fails with `EADDRNOTAVAIL` where there is no such vif.
/// `SIOCGETMIFCNT_IN6` has the same number and structure.
pub(super) fn vif_counts(fd: RawFd, vifi: u16) -> io::Result<()> {
    let mut request = VifReq { vifi, ..VifReq::default() };
    // SAFETY: the kernel reads and fills one `VifReq`, which `request` is.
    unsafe { get_vif_count(fd, &raw mut request) }?;
    Ok(())
}

/// Packets, octets and wrong-interface packets; `EADDRNOTAVAIL` where there is no such entry.
pub(super) fn sg_counts(fd: RawFd, source: IpAddr, group: IpAddr) -> io::Result<(u64, u64, u64)> {
    let (packets, bytes, wrong_if) = (0, 0, 0);
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let (source, group) = (source.octets(), group.octets());
            let mut request = SgReq { source, group, packets, bytes, wrong_if };
            // SAFETY: the kernel reads and fills one `SgReq`, which `request` is.
            unsafe { get_sg_count(fd, &raw mut request) }?;
            Ok((request.packets as u64, request.bytes as u64, request.wrong_if as u64))
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let (source, group) = (SockaddrIn6::new(source), SockaddrIn6::new(group));
            let mut request = SgReq6 { source, group, packets, bytes, wrong_if };
            // SAFETY: the kernel reads and fills one `SgReq6`, which `request` is.
            unsafe { get_sg_count_in6(fd, &raw mut request) }?;
            Ok((request.packets as u64, request.bytes as u64, request.wrong_if as u64))
        }
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}
