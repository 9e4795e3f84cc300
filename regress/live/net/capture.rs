//! What a link carries: IGMP and MLD as heard by a packet socket, and packets made by hand.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{BindToDevice, RcvBuf};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, recvfrom,
    sendto, setsockopt, socket,
};
use nix::{setsockopt_impl, sockopt_impl};

use super::{Host, packet};

sockopt_impl!(IgnoreOutgoing, SetOnly, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, libc::c_int);

/// Record types of IGMPv3 and MLDv2. RFC 9776, section 4.2.13.
pub mod record {
    pub const IS_IN: u8 = 1;
    pub const IS_EX: u8 = 2;
    pub const TO_IN: u8 = 3;
    pub const TO_EX: u8 = 4;
    pub const ALLOW: u8 = 5;
    pub const BLOCK: u8 = 6;
}

/// A group record of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: u8,
    pub group: IpAddr,
    pub sources: Vec<IpAddr>,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A query; of version 3 (MLD: 2) or an older one.
    Query { newest: bool, group: IpAddr },
    /// An IGMPv1, IGMPv2 or MLDv1 report.
    Report(IpAddr),
    /// An IGMPv2 leave or MLDv1 done.
    Leave(IpAddr),
    /// An IGMPv3 or MLDv2 report.
    Records(Vec<Record>),
    /// Another type.
    Other(u8),
}

/// A message that came in from the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub ttl: u8,
    pub alert: bool,
    pub message: Message,
}

impl Seen {
    /// Whether it is a record of this kind for the group.
    #[must_use]
    pub fn has(&self, kind: u8, group: IpAddr) -> bool {
        match &self.message {
            Message::Records(records) => records.iter().any(|r| r.kind == kind && r.group == group),
            Message::Query { .. } | Message::Report(_) | Message::Leave(_) | Message::Other(_) => {
                false
            }
        }
    }

    /// Whether it tells that the group is wanted no more: a leave, or TO_IN({}).
    #[must_use]
    pub fn leaves(&self, group: IpAddr) -> bool {
        match &self.message {
            Message::Leave(left) => *left == group,
            Message::Records(records) => records
                .iter()
                .any(|r| r.kind == record::TO_IN && r.group == group && r.sources.is_empty()),
            Message::Query { .. } | Message::Report(_) | Message::Other(_) => false,
        }
    }
}

/// A packet socket on one link.
pub struct Capture {
    socket: OwnedFd,
    interface: usize,
    /// What the host sends is heard, and nothing else.
    leaving: bool,
    seen: Vec<Seen>,
}

impl Capture {
    /// Hears what arrives on the interface from now on.
    #[must_use]
    pub fn new(host: &Host, interface: &str) -> Self {
        let capture = Self::open(host, interface, false);
        // What the host sends itself would fill it.
        setsockopt(&capture.socket, IgnoreOutgoing, &1).expect("PACKET_IGNORE_OUTGOING");
        capture
    }

    /// Hears what the host sends on the interface from now on.
    #[must_use]
    pub fn leaving(host: &Host, interface: &str) -> Self {
        Self::open(host, interface, true)
    }

    fn open(host: &Host, interface: &str, leaving: bool) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let all = SockProtocol::EthAll;
        let socket = host
            .run(|| socket(AddressFamily::Packet, SockType::Datagram, flags, all))
            .expect("a packet socket");
        setsockopt(&socket, RcvBuf, &(4 << 20)).expect("a receive buffer");
        let interface = usize::try_from(host.index(interface)).expect("a small interface index");
        Self { socket, interface, leaving, seen: Vec::new() }
    }

    /// All IGMP and MLD messages heard so far.
    pub fn seen(&mut self) -> &[Seen] {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes) {
            let is = |from: LinkAddr| {
                let leaving = from.pkttype() == libc::PACKET_OUTGOING;
                from.ifindex() == self.interface && leaving == self.leaving
            };
            if from.is_some_and(is) {
                self.seen.extend(parse(&bytes[..length]));
            }
        }
        &self.seen
    }

    /// Forgets what was heard so far.
    pub fn clear(&mut self) {
        self.seen();
        self.seen.clear();
    }

    /// The first message heard so far of which `is` is true.
    pub fn find(&mut self, is: impl Fn(&Seen) -> bool) -> Option<Seen> {
        self.seen().iter().find(|s| is(s)).cloned()
    }
}

/// An IGMP or MLD message in an IP packet; `None` for any other packet.
fn parse(packet: &[u8]) -> Option<Seen> {
    match packet.first()? >> 4 {
        4 if packet.get(9)? == &2 => {
            let header = usize::from(packet[0] & 15) * 4;
            let at = |i: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[i..i + 4]).unwrap());
            Some(Seen {
                source: at(12),
                destination: at(16),
                ttl: packet[8],
                alert: packet.get(20..header)?.starts_with(&[0x94, 4]),
                message: igmp(packet.get(header..)?)?,
            })
        }
        6 if packet.get(6)? == &0 && packet.get(40)? == &58 => {
            let header = 48 + usize::from(*packet.get(41)?) * 8;
            Some(Seen {
                source: address6(packet, 8)?,
                destination: address6(packet, 24)?,
                ttl: packet[7],
                alert: packet.get(42..header)?.windows(4).any(|w| w == [5, 2, 0, 0]),
                message: mld(packet.get(header..)?)?,
            })
        }
        _ => None,
    }
}

fn address4(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?.into())
}

fn address6(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?.into())
}

fn igmp(message: &[u8]) -> Option<Message> {
    let group = address4(message, 4);
    Some(match *message.first()? {
        0x11 => Message::Query { newest: message.len() >= 12, group: group? },
        0x12 | 0x16 => Message::Report(group?),
        0x17 => Message::Leave(group?),
        0x22 => Message::Records(records(message, 4, address4)?),
        other => Message::Other(other),
    })
}

fn mld(message: &[u8]) -> Option<Message> {
    let group = address6(message, 8);
    Some(match *message.first()? {
        130 => Message::Query { newest: message.len() >= 28, group: group? },
        131 => Message::Report(group?),
        132 => Message::Leave(group?),
        143 => Message::Records(records(message, 16, address6)?),
        other => Message::Other(other),
    })
}

/// The records of a report whose addresses have `size` octets.
fn records(
    message: &[u8],
    size: usize,
    address: fn(&[u8], usize) -> Option<IpAddr>,
) -> Option<Vec<Record>> {
    let count = |at: usize| {
        let octets = message.get(at..at + 2)?.try_into().ok()?;
        Some(usize::from(u16::from_be_bytes(octets)))
    };
    let mut at = 8;
    let mut found = Vec::new();
    for _ in 0..count(6)? {
        let sources = count(at + 2)?;
        let first = at + 4 + size;
        found.push(Record {
            kind: *message.get(at)?,
            group: address(message, at + 4)?,
            sources: (0..sources)
                .map(|i| address(message, first + i * size))
                .collect::<Option<_>>()?,
        });
        at = first + sources * size + usize::from(*message.get(at + 1)?) * 4;
    }
    Some(found)
}

/// Sends an IGMP message, its checksum still zero, in an IP packet without any option.
pub fn send_igmp(
    host: &Host,
    interface: &str,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    message: &[u8],
) {
    let packet = packet::igmp(source, destination, message);
    send_raw(host, interface, AddressFamily::Inet, destination.into(), &packet);
}

/// Sends an MLD message, its checksum still zero, with Router Alert and a hop limit of 1.
pub fn send_mld(
    host: &Host,
    interface: &str,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: &[u8],
) {
    let packet = packet::mld(source, destination, message);
    send_raw(host, interface, AddressFamily::Inet6, destination.into(), &packet);
}

fn send_raw(host: &Host, interface: &str, family: AddressFamily, to: IpAddr, packet: &[u8]) {
    host.run(|| {
        let socket = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        setsockopt(&socket, BindToDevice, &interface.into())?;
        let to = SockaddrStorage::from(SocketAddr::new(to, 0));
        sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty())
    })
    .unwrap_or_else(|e| panic!("sending to {to} on {interface}: {e}"));
}
