//! The raw sockets of IGMP and ICMPv6: opened by the parent while it is privileged.
//!
//! The engine receives on its own. A raw socket that can send could send anything to anyone, so
//! that the parent sends what it has checked, wherever the system can take that right away
//! ([`PARENT_SENDS`]).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{setsockopt, sockopt};

use crate::imsg::{Envelope, Packet, Transmit};
use crate::sys::consts as c;
use crate::sys::socket::{self, Control, ControlBuf, Received};
use crate::wire::{Address, Af, GroupScope, router_alert_in_hop_by_hop};

/// Octets that a socket holds for us while we are busy.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Octets of a packet at most.
pub const MAX_PACKET: usize = 65536;

/// Hop-by-Hop header: next header and length (filled by the kernel, and 0), Router Alert with value
/// 0 for MLD, PadN. RFC 2711, section 2.1.
const ROUTER_ALERT_HEADER: [u8; 8] = [0, 0, 5, 2, 0, 0, 1, 0];

/// ICMPv6 types that the engine takes: MLD and multicast router discovery.
const ICMP6_TYPES: [u8; 7] = [130, 131, 132, 143, 151, 152, 153];

/// Whether the parent sends for the engine. FreeBSD's capability mode forbids the engine to.
pub const PARENT_SENDS: bool = cfg!(any(target_os = "linux", target_os = "freebsd"));

/// Opens the raw IGMP socket of the engine with all that needs privilege set on it, or that a
/// sandbox forbids later. `table` is OpenBSD's routing domain, 0 for the one of the process.
pub fn open_igmp(table: u32) -> io::Result<OwnedFd> {
    let fd = socket::open_raw(libc::AF_INET, libc::IPPROTO_IGMP)?;
    select_table(&fd, table)?;
    prepare_ip4(&fd)?;
    // Without it Linux gives a raw socket only what was joined.
    #[cfg(target_os = "linux")]
    socket::set(&fd, c::IPPROTO_IP, libc::IP_ROUTER_ALERT, 1)?;
    socket::set(&fd, c::IPPROTO_IP, c::HERE.receiving_interface, 1)?;
    enlarge(&fd)?;
    #[cfg(target_os = "linux")]
    only_receive(&fd)?;
    Ok(fd)
}

/// Opens the raw ICMPv6 socket of the engine likewise.
pub fn open_icmp6(table: u32) -> io::Result<OwnedFd> {
    let fd = socket::open_raw(libc::AF_INET6, c::IPPROTO_ICMPV6)?;
    select_table(&fd, table)?;
    socket::set(&fd, c::IPPROTO_ICMPV6, c::ICMP6_FILTER, icmp6_filter(c::HERE.filter_blocks))?;
    socket::set(&fd, c::IPPROTO_IPV6, c::IPV6_RECVPKTINFO, 1)?;
    socket::set(&fd, c::IPPROTO_IPV6, c::IPV6_RECVHOPLIMIT, 1)?;
    socket::set(&fd, c::IPPROTO_IPV6, c::IPV6_RECVHOPOPTS, 1)?;
    prepare_ip6(&fd)?;
    enlarge(&fd)?;
    #[cfg(target_os = "linux")]
    {
        // Only where headers come from the caller does Linux look at what was shut down.
        socket::set(&fd, c::IPPROTO_IPV6, libc::IPV6_HDRINCL, 1)?;
        only_receive(&fd)?;
    }
    Ok(fd)
}

/// A raw socket of OpenBSD gets the packets of its own routing domain only: `rip_input`.
#[cfg(target_os = "openbsd")]
fn select_table(fd: &OwnedFd, table: u32) -> io::Result<()> {
    let table = i32::try_from(table).map_err(io::Error::other)?;
    if table == 0 { Ok(()) } else { socket::set(fd, libc::SOL_SOCKET, libc::SO_RTABLE, table) }
}

/// Elsewhere protocol packets have no table.
#[cfg(not(target_os = "openbsd"))]
#[expect(clippy::unnecessary_wraps, reason = "OpenBSD makes a call here")]
const fn select_table(_: &OwnedFd, _: u32) -> io::Result<()> {
    Ok(())
}

/// Opens the socket that the parent sends packets of a family with; nothing is received on it.
pub fn open_sender(family: Af) -> io::Result<OwnedFd> {
    match family {
        Af::Ip4 => {
            let fd = socket::open_raw(libc::AF_INET, libc::IPPROTO_RAW)?;
            prepare_ip4(&fd)?;
            Ok(fd)
        }
        Af::Ip6 => {
            let fd = socket::open_raw(libc::AF_INET6, c::IPPROTO_ICMPV6)?;
            let nothing = if c::HERE.filter_blocks { [u32::MAX; 8] } else { [0; 8] };
            socket::set(&fd, c::IPPROTO_ICMPV6, c::ICMP6_FILTER, nothing)?;
            prepare_ip6(&fd)?;
            Ok(fd)
        }
    }
}

fn prepare_ip4(fd: &OwnedFd) -> io::Result<()> {
    socket::set(fd, c::IPPROTO_IP, c::IP_HDRINCL, 1)?;
    // The BSDs want one octet, which Linux takes too.
    socket::set(fd, c::IPPROTO_IP, c::IP_MULTICAST_LOOP, 0u8)
}

fn prepare_ip6(fd: &OwnedFd) -> io::Result<()> {
    socket::set(fd, c::IPPROTO_IPV6, c::IPV6_HOPOPTS, ROUTER_ALERT_HEADER)?;
    socket::set(fd, c::IPPROTO_IPV6, c::IPV6_MULTICAST_HOPS, 1)?;
    socket::set(fd, c::IPPROTO_IPV6, c::IPV6_MULTICAST_LOOP, 0)
}

/// Takes away the right to send. Linux, net/ipv4/af_inet.c, `inet_shutdown`: it is gone although the
/// call says that the socket is not connected.
#[cfg(target_os = "linux")]
fn only_receive(fd: &OwnedFd) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::sys::socket::{Shutdown, shutdown};
    match shutdown(std::os::fd::AsRawFd::as_raw_fd(fd), Shutdown::Write) {
        Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// `struct icmp6_filter` that lets [`ICMP6_TYPES`] through and nothing else: a bit for each type, in
/// words of 32. RFC 3542, section 3.2, leaves open what a set bit means.
fn icmp6_filter(set_bit_blocks: bool) -> [u32; 8] {
    let mut filter = [if set_bit_blocks { u32::MAX } else { 0 }; 8];
    for kind in ICMP6_TYPES {
        let word = filter.get_mut(usize::from(kind >> 5)).into_iter();
        word.for_each(|word| *word ^= 1 << (kind & 31));
    }
    filter
}

/// Sets the receive buffer: beyond the system's limit where that is allowed, else up to it.
fn enlarge(fd: &OwnedFd) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if setsockopt(fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_ok() {
        return Ok(());
    }
    let mut size = RECEIVE_BUFFER;
    while let Err(e) = setsockopt(fd, sockopt::RcvBuf, &size) {
        size /= 2;
        if size < MAX_PACKET {
            return Err(e.into());
        }
    }
    Ok(())
}

/// The sockets of one engine, by family, with the space that packets are received into.
#[derive(Debug)]
pub struct Sockets {
    sockets: [Option<OwnedFd>; 2],
    space: Vec<u8>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self { sockets: [None, None], space: vec![0; MAX_PACKET] }
    }
}

impl Sockets {
    /// Takes the socket of a family.
    pub fn put(&mut self, family: Af, fd: OwnedFd) {
        match family {
            Af::Ip4 => self.sockets[0] = Some(fd),
            Af::Ip6 => self.sockets[1] = Some(fd),
        }
    }

    /// The socket of a family, where it is in use.
    pub fn get(&self, family: Af) -> Option<BorrowedFd<'_>> {
        self.sockets.get(family.index())?.as_ref().map(AsFd::as_fd)
    }

    /// Receives the next packet of a family into `packet`; `false` when none is there.
    pub fn receive(&mut self, family: Af, packet: &mut Packet) -> io::Result<bool> {
        let Some(fd) = self.sockets.get(family.index()).and_then(Option::as_ref) else {
            return Ok(false);
        };
        loop {
            match socket::receive(fd, &mut self.space) {
                Ok(received) => {
                    let bytes = self.space.get(..received.len).unwrap_or_default();
                    if unpack(family, &received, bytes, packet).is_some() {
                        return Ok(true);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends a packet. An error says why the system did not take it.
    pub fn send(&self, transmit: &Transmit) -> io::Result<()> {
        let fd = self.get(Af::of(transmit.destination)).ok_or(io::ErrorKind::NotConnected)?;
        send(fd, transmit)
    }
}

/// Fills `packet`; `None` when something that always comes is missing or was cut.
fn unpack(family: Af, received: &Received, bytes: &[u8], packet: &mut Packet) -> Option<()> {
    if received.truncated {
        return None;
    }
    (packet.ifindex, packet.envelope) = match family {
        Af::Ip4 => (receiving_interface(received.control())?, Envelope::Ip4),
        Af::Ip6 => ip6(received.source?, received.control())?,
    };
    packet.bytes.clear();
    packet.bytes.extend_from_slice(bytes);
    Some(())
}

/// The index in Linux' `in_pktinfo` or in the BSDs' `sockaddr_dl`.
fn receiving_interface(mut control: Control<'_>) -> Option<u32> {
    let system = control.system();
    let wanted = (c::IPPROTO_IP, system.receiving_interface);
    let (.., data) = control.find(|(level, kind, _)| (*level, *kind) == wanted)?;
    let (place, size) = system.interface_index;
    let data = data.get(place..)?;
    let ifindex = match size {
        2 => u16::from_ne_bytes(*data.first_chunk()?).into(),
        _ => u32::from_ne_bytes(*data.first_chunk()?),
    };
    (ifindex != 0).then_some(ifindex)
}

fn ip6(source: Ipv6Addr, control: Control<'_>) -> Option<(u32, Envelope)> {
    let system = control.system();
    let mut info = None;
    let mut hop_limit = None;
    let mut router_alert = false;
    for (_, kind, data) in control.filter(|item| item.0 == c::IPPROTO_IPV6) {
        if kind == system.IPV6_PKTINFO {
            info = packet_info(data);
        } else if kind == system.IPV6_HOPLIMIT {
            hop_limit = data.first_chunk().map(|b| i32::from_ne_bytes(*b));
        } else if kind == system.IPV6_HOPOPTS {
            router_alert |= router_alert_in_hop_by_hop(data);
        }
    }
    let (destination, ifindex) = info?;
    let envelope = Envelope::Ip6 {
        source,
        destination,
        hop_limit: u8::try_from(hop_limit?).ok()?,
        router_alert,
        // All three systems verify it before they hand the packet to a raw ICMPv6 socket.
        checksum_verified: true,
    };
    Some((ifindex, envelope))
}

/// `struct in6_pktinfo`: an address and an index. RFC 3542, section 6.
fn packet_info(data: &[u8]) -> Option<(Ipv6Addr, u32)> {
    let (address, rest) = data.split_first_chunk::<16>()?;
    Some((Ipv6Addr::from(*address), u32::from_ne_bytes(*rest.first_chunk()?)))
}

/// Sends a packet on a socket of its family.
pub fn send(fd: BorrowedFd<'_>, transmit: &Transmit) -> io::Result<()> {
    let mut control = ControlBuf::default();
    let to = match (transmit.source, transmit.destination) {
        (_, IpAddr::V4(group)) => {
            select_interface(fd, transmit.ifindex, &mut control)?;
            SocketAddr::V4(SocketAddrV4::new(group, 0))
        }
        (source, IpAddr::V6(group)) => {
            let source = Ipv6Addr::from_ip(source).unwrap_or(Ipv6Addr::UNSPECIFIED);
            let mut info = source.octets().to_vec();
            info.extend_from_slice(&transmit.ifindex.to_ne_bytes());
            control.push(c::IPPROTO_IPV6, c::IPV6_PKTINFO, &info);
            let local = group.scope() == GroupScope::LinkLocal;
            let scope = if local { transmit.ifindex } else { 0 };
            SocketAddr::V6(SocketAddrV6::new(group, 0, 0, scope))
        }
    };
    socket::send(fd, to, &transmit.bytes, &control)
}

/// `struct in_pktinfo` with the index and no addresses. ip(7).
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "the other systems make a call here")]
fn select_interface(_: BorrowedFd<'_>, ifindex: u32, control: &mut ControlBuf) -> io::Result<()> {
    let mut info = ifindex.to_ne_bytes().to_vec();
    info.extend_from_slice(&Ipv4Addr::UNSPECIFIED.octets().repeat(2));
    control.push(c::IPPROTO_IP, c::HERE.receiving_interface, &info);
    Ok(())
}

/// IP_MULTICAST_IF by `struct ip_mreqn`: two addresses and the index. ip(4).
#[cfg(not(target_os = "linux"))]
fn select_interface(fd: BorrowedFd<'_>, ifindex: u32, _: &mut ControlBuf) -> io::Result<()> {
    let none = u32::from_ne_bytes(Ipv4Addr::UNSPECIFIED.octets());
    socket::set(fd, c::IPPROTO_IP, c::IP_MULTICAST_IF, [none, none, ifindex])
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn loopback() -> u32 {
        nix::net::if_::if_nametoindex(if cfg!(target_os = "linux") { "lo" } else { "lo0" }).unwrap()
    }

    /// What the kernel tells of a datagram that this host sends to itself.
    fn received(family: Af, options: &[(i32, i32)]) -> Packet {
        let local: IpAddr = match family {
            Af::Ip4 => Ipv4Addr::LOCALHOST.into(),
            Af::Ip6 => Ipv6Addr::LOCALHOST.into(),
        };
        let socket = UdpSocket::bind((local, 0)).unwrap();
        for (level, option) in options {
            socket::set(&socket, *level, *option, 1).unwrap();
        }
        socket.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
        let mut sockets = Sockets::default();
        sockets.put(family, socket.into());
        let mut packet = Packet { ifindex: 0, envelope: Envelope::Ip4, bytes: vec![9; 9] };
        assert!(sockets.receive(family, &mut packet).unwrap());
        let first = packet.clone();
        assert!(!sockets.receive(family, &mut packet).unwrap());
        first
    }

    #[test]
    fn an_ipv4_packet_comes_with_its_interface() {
        let packet = received(Af::Ip4, &[(c::IPPROTO_IP, c::HERE.receiving_interface)]);
        let bytes = b"hello".to_vec();
        assert_eq!(packet, Packet { ifindex: loopback(), envelope: Envelope::Ip4, bytes });
    }

    #[test]
    fn an_ipv6_packet_comes_with_what_validation_needs() {
        let options = [c::IPV6_RECVPKTINFO, c::IPV6_RECVHOPLIMIT, c::IPV6_RECVHOPOPTS];
        let packet = received(Af::Ip6, &options.map(|o| (c::IPPROTO_IPV6, o)));
        let envelope = Envelope::Ip6 {
            source: Ipv6Addr::LOCALHOST,
            destination: Ipv6Addr::LOCALHOST,
            hop_limit: 64,
            router_alert: false,
            checksum_verified: true,
        };
        assert_eq!(packet, Packet { ifindex: loopback(), envelope, bytes: b"hello".to_vec() });
    }

    /// An item of ancillary data as the BSDs lay it out: sys/socket.h, CMSG_LEN and CMSG_SPACE.
    fn item(level: u32, kind: u32, data: &[u8]) -> Vec<u8> {
        let len = u32::try_from(16 + data.len()).unwrap();
        let mut item = [len, level, kind, 0].map(u32::to_ne_bytes).concat();
        item.extend_from_slice(data);
        item.resize(item.len().next_multiple_of(8), 0xee);
        item
    }

    /// A `sockaddr_dl` of net/if_dl.h: length, AF_LINK, index, Ethernet, lengths of name, address and
    /// selector, then the data.
    fn sockaddr_dl(len: u8, ifindex: u16) -> Vec<u8> {
        let [low, high] = ifindex.to_ne_bytes();
        let mut address = vec![len, 18, low, high, 6, 3, 6, 0];
        address.extend_from_slice(b"em0\x00\x11\x22\x33\x44\x55");
        address.resize(len.into(), 0);
        address
    }

    #[test]
    fn the_receiving_interface_of_openbsd_and_freebsd() {
        // IP_RECVIF is 30 and 20; IP_RECVTTL, which nobody asked for, 31 and 65.
        for (system, recvif, recvttl, len) in [(&c::OPENBSD, 30, 31, 32), (&c::FREEBSD, 20, 65, 54)]
        {
            let link = item(0, recvif, &sockaddr_dl(len, 0x1234));
            let ttl = item(0, recvttl, &[1]);
            for octets in [[ttl.clone(), link.clone()].concat(), [link.clone(), ttl].concat()] {
                let index = receiving_interface(Control::new(system, &octets));
                assert_eq!(index, Some(0x1234));
            }
            let short = link.get(..link.len() - 8 - usize::from(len) % 8).unwrap();
            assert_eq!(receiving_interface(Control::new(system, short)), None);
            let other_level = item(41, recvif, &sockaddr_dl(len, 7));
            assert_eq!(receiving_interface(Control::new(system, &other_level)), None);
            // rip_input may not know the interface any more: no index.
            let unknown = item(0, recvif, &sockaddr_dl(8, 0));
            assert_eq!(receiving_interface(Control::new(system, &unknown)), None);
        }
    }

    #[test]
    fn mld_with_the_numbers_of_the_bsds() {
        // ff02::16 on interface 3, hop limit 1, Hop-by-Hop with Router Alert 0 and PadN.
        let mut info = vec![0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16];
        info.extend_from_slice(&3u32.to_ne_bytes());
        let items = [
            item(41, 46, &info),
            item(41, 47, &1u32.to_ne_bytes()),
            item(41, 49, &[58, 0, 5, 2, 0, 0, 1, 0]),
        ];
        let source: Ipv6Addr = "fe80::1".parse().unwrap();
        let envelope = |router_alert| Envelope::Ip6 {
            source,
            destination: "ff02::16".parse().unwrap(),
            hop_limit: 1,
            router_alert,
            checksum_verified: true,
        };
        for system in [&c::OPENBSD, &c::FREEBSD] {
            let decode = |items: &[Vec<u8>]| ip6(source, Control::new(system, &items.concat()));
            assert_eq!(decode(&items), Some((3, envelope(true))));
            let [first, second, third] = items.clone();
            let backwards = [third, second.clone(), first.clone()];
            assert_eq!(decode(&backwards), Some((3, envelope(true))));
            assert_eq!(decode(&[first.clone(), second.clone()]), Some((3, envelope(false))));
            assert_eq!(decode(&[first]), None, "no hop limit");
            assert_eq!(decode(&[second]), None, "no interface");
        }
    }

    #[test]
    fn ancillary_data_that_lies_about_its_length_ends_there() {
        let good = item(0, 30, &sockaddr_dl(32, 5));
        for len in [0u32, 1, 12, 15, 49, u32::MAX] {
            let lying = [len, 0, 30, 0].map(u32::to_ne_bytes).concat();
            let octets = [&lying[..], &good[..]].concat();
            let data = [&octets[..], &octets[..3], &octets[..15]];
            for octets in data {
                let all: Vec<_> = Control::new(&c::OPENBSD, octets).collect();
                assert!(all.len() <= 1, "{len}: {all:?}");
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn any_octets_are_decoded_as_ancillary_data(
            octets in proptest::collection::vec(proptest::num::u8::ANY, 0..128),
        ) {
            for system in [&c::LINUX, &c::OPENBSD, &c::FREEBSD] {
                let control = Control::new(system, &octets);
                assert!(control.count() <= octets.len() / 16);
                receiving_interface(control);
                ip6(Ipv6Addr::LOCALHOST, control);
            }
        }
    }

    #[test]
    fn the_filter_lets_seven_types_through() {
        // Bits of 130..=132, 143 and 151..=153 in the word of 128..=159; the other words are empty.
        let passes = 0b111 << 2 | 1 << 15 | 0b111 << 23;
        assert_eq!(icmp6_filter(false), [0, 0, 0, 0, passes, 0, 0, 0]);
        assert_eq!(
            icmp6_filter(true),
            [u32::MAX, u32::MAX, u32::MAX, u32::MAX, !passes, u32::MAX, u32::MAX, u32::MAX]
        );
    }

    #[test]
    fn router_alert_is_found_at_any_place() {
        // RFC 8200, section 4.2: Pad1 is one octet; RFC 2711: type 5, length 2, value 0 for MLD.
        assert!(router_alert_in_hop_by_hop(&[58, 0, 5, 2, 0, 0, 1, 0]));
        assert!(router_alert_in_hop_by_hop(&[58, 0, 1, 0, 5, 2, 0, 0]));
        assert!(router_alert_in_hop_by_hop(&[58, 1, 0, 1, 3, 0, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0]));
        assert!(!router_alert_in_hop_by_hop(&[58, 0, 5, 2, 0, 1, 1, 0]));
        assert!(!router_alert_in_hop_by_hop(&[58, 0, 1, 4, 5, 2, 0, 0]));
        assert!(!router_alert_in_hop_by_hop(&[58, 0, 5]));
        assert!(!router_alert_in_hop_by_hop(&[]));
    }
}
