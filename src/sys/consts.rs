//! Socket options that libc does not name on every system: the values of each system's
//! netinet/in.h, netinet6/in6.h and netinet/icmp6.h.

#![expect(missing_docs, reason = "the names of the headers")]

use libc::c_int;

#[cfg(target_os = "linux")]
mod system {
    use libc::c_int;

    pub const IP_HDRINCL: c_int = 3;
    pub const IP_MULTICAST_LOOP: c_int = 34;
    pub const IPV6_MULTICAST_HOPS: c_int = 18;
    pub const IPV6_MULTICAST_LOOP: c_int = 19;
    pub const IPV6_RECVPKTINFO: c_int = 49;
    pub const IPV6_PKTINFO: c_int = 50;
    pub const IPV6_RECVHOPLIMIT: c_int = 51;
    pub const IPV6_HOPLIMIT: c_int = 52;
    pub const IPV6_RECVHOPOPTS: c_int = 53;
    pub const IPV6_HOPOPTS: c_int = 54;
    pub const ICMP6_FILTER: c_int = 1;
    pub const ICMP6_FILTER_SET_BLOCKS: bool = true;
    /// Asks for the receiving interface of IPv4 packets, and is the type of the answer.
    pub const IP_RECEIVING_INTERFACE: c_int = 8;
}

#[cfg(not(target_os = "linux"))]
mod system {
    use libc::c_int;

    pub const IP_HDRINCL: c_int = 2;
    pub const IP_MULTICAST_LOOP: c_int = 11;
    pub const IPV6_MULTICAST_HOPS: c_int = 10;
    pub const IPV6_MULTICAST_LOOP: c_int = 11;
    pub const IPV6_RECVPKTINFO: c_int = 36;
    pub const IPV6_PKTINFO: c_int = 46;
    pub const IPV6_RECVHOPLIMIT: c_int = 37;
    pub const IPV6_HOPLIMIT: c_int = 47;
    pub const IPV6_RECVHOPOPTS: c_int = 39;
    pub const IPV6_HOPOPTS: c_int = 49;
    pub const ICMP6_FILTER: c_int = 18;
    pub const ICMP6_FILTER_SET_BLOCKS: bool = false;
    pub const IP_MULTICAST_IF: c_int = 9;
    /// Asks for the receiving interface of IPv4 packets (IP_RECVIF), and is the type of the answer.
    pub const IP_RECEIVING_INTERFACE: c_int = if cfg!(target_os = "openbsd") { 30 } else { 20 };
}

pub use system::*;

/// Level of the IPv4 options.
pub const IPPROTO_IP: c_int = libc::IPPROTO_IP;
/// Level of the IPv6 options.
pub const IPPROTO_IPV6: c_int = libc::IPPROTO_IPV6;
/// Level of [`ICMP6_FILTER`].
pub const IPPROTO_ICMPV6: c_int = libc::IPPROTO_ICMPV6;
