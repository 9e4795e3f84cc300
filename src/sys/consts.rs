//! Socket options and ancillary data, in which the systems differ and which libc does not name on
//! every one: netinet/in.h, netinet6/in6.h, netinet/icmp6.h, and linux/in6.h, linux/icmpv6.h.
//!
//! The numbers of every system are known on every system, so that what the others' kernels say can
//! be decoded in tests.

#![expect(missing_docs, reason = "the names of the headers")]

use libc::{c_int, c_long};

use super::abi::Fact;

macro_rules! numbers {
    ($($name:ident: $linux:literal, $openbsd:literal, $freebsd:literal;)*) => {
        /// What one system's headers say.
        #[expect(non_snake_case, reason = "the names of the headers")]
        #[derive(Debug)]
        pub struct Numbers {
            $(pub $name: c_int,)*
            /// Asks for the receiving interface of IPv4 packets, and is the type of the answer:
            /// IP_PKTINFO or IP_RECVIF.
            pub receiving_interface: c_int,
            /// Where the answer has the interface's index, and in how many octets.
            pub interface_index: (usize, usize),
            /// Octets of `cmsg_len`.
            pub cmsg_len: usize,
            /// A set bit of the ICMPv6 filter blocks its type.
            pub filter_blocks: bool,
        }

        pub const LINUX: Numbers = Numbers {
            $($name: $linux,)*
            receiving_interface: 8,
            interface_index: (0, 4), // struct in_pktinfo, ipi_ifindex
            cmsg_len: size_of::<usize>(),
            filter_blocks: true,
        };
        pub const OPENBSD: Numbers = Numbers {
            $($name: $openbsd,)*
            receiving_interface: 30,
            interface_index: (2, 2), // struct sockaddr_dl, sdl_index
            cmsg_len: 4,
            filter_blocks: false,
        };
        pub const FREEBSD: Numbers =
            Numbers { $($name: $freebsd,)* receiving_interface: 20, ..OPENBSD };

        $(pub const $name: c_int = HERE.$name;)*

        /// What the headers of this system must say.
        pub const ABI: &[Fact] = &[
            $((stringify!($name), $name as i64),)*
            ("CMSG_LEN(0)", HERE.cmsg_header() as i64),
            ("CMSG_SPACE(1) - CMSG_LEN(0)", align(1) as i64),
            ("sizeof(((struct cmsghdr *)0)->cmsg_len)", HERE.cmsg_len as i64),
            ("offsetof(struct cmsghdr, cmsg_level)", HERE.cmsg_len as i64),
            ("offsetof(struct cmsghdr, cmsg_type)", HERE.cmsg_len as i64 + 4),
            (names::RECEIVING, HERE.receiving_interface as i64),
            (names::INDEX, HERE.interface_index.0 as i64),
            (names::INDEX_SIZE, HERE.interface_index.1 as i64),
            ("offsetof(struct in6_pktinfo, ipi6_ifindex)", 16),
            ("sizeof(struct in6_pktinfo)", 20),
            ("offsetof(struct sockaddr_in6, sin6_addr)", 8),
            ("sizeof(struct sockaddr_in6)", 28),
            ("sizeof(struct icmp6_filter)", 32),
        ];
    };
}

numbers! {
    //                     Linux, OpenBSD, FreeBSD
    IP_HDRINCL:                3,  2,  2;
    IP_MULTICAST_IF:          32,  9,  9;
    IP_MULTICAST_LOOP:        34, 11, 11;
    IPV6_MULTICAST_HOPS:      18, 10, 10;
    IPV6_MULTICAST_LOOP:      19, 11, 11;
    IPV6_RECVPKTINFO:         49, 36, 36;
    IPV6_PKTINFO:             50, 46, 46;
    IPV6_RECVHOPLIMIT:        51, 37, 37;
    IPV6_HOPLIMIT:            52, 47, 47;
    IPV6_RECVHOPOPTS:         53, 39, 39;
    IPV6_HOPOPTS:             54, 49, 49;
    ICMP6_FILTER:              1, 18, 18;
}

/// The numbers of the system that this is compiled for.
pub const HERE: Numbers = if cfg!(target_os = "linux") {
    LINUX
} else if cfg!(target_os = "openbsd") {
    OPENBSD
} else {
    FREEBSD
};

#[cfg(target_os = "linux")]
mod names {
    pub(super) const RECEIVING: &str = "IP_PKTINFO";
    pub(super) const INDEX: &str = "offsetof(struct in_pktinfo, ipi_ifindex)";
    pub(super) const INDEX_SIZE: &str = "sizeof(((struct in_pktinfo *)0)->ipi_ifindex)";
}

#[cfg(not(target_os = "linux"))]
mod names {
    pub(super) const RECEIVING: &str = "IP_RECVIF";
    pub(super) const INDEX: &str = "offsetof(struct sockaddr_dl, sdl_index)";
    pub(super) const INDEX_SIZE: &str = "sizeof(((struct sockaddr_dl *)0)->sdl_index)";
}

impl Numbers {
    /// Octets of the header of an item of ancillary data: length, level and type.
    #[must_use]
    pub const fn cmsg_header(&self) -> usize {
        align(self.cmsg_len + 2 * size_of::<c_int>())
    }
}

/// Ancillary data begins at multiples of this. Linux CMSG_ALIGN, BSD _ALIGN.
#[must_use]
pub const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<c_long>())
}

/// Level of the IPv4 options.
pub const IPPROTO_IP: c_int = libc::IPPROTO_IP;
/// Level of the IPv6 options.
pub const IPPROTO_IPV6: c_int = libc::IPPROTO_IPV6;
/// Level of [`ICMP6_FILTER`].
pub const IPPROTO_ICMPV6: c_int = libc::IPPROTO_ICMPV6;
