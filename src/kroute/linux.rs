//! Multicast routing and interfaces of Linux: `linux/mroute.h`, `linux/mroute6.h`, rtnetlink(7).

mod abi;
mod decode;
mod holder;
mod monitor;
mod netlink;
mod rules;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

pub(super) use monitor::monitor;

use self::netlink::Netlink;
use self::rules::Rules;
use super::upcall::{Ipv4Message, VifWidth, decode_ipv4, decode_ipv6};
use super::{
    Capabilities, Entry, Error, Installed, Interface, MfcKey, Options, Received, RouteKey, System,
    socket,
};
use crate::wire::Af;

/// Octets of the receive buffers: 10,000 unresolved packets (832 octets each) can ask at once.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Octets of a packet that are read. An IGMP packet without Router Alert is a report or leave of
/// version 1 or 2; anything longer than this is no message that a router acts on.
const PACKET_MAX: usize = 9216;

/// The routing sockets of both families.
pub(super) struct Linux {
    sockets: [Option<OwnedFd>; 2],
    /// 0 for the default one.
    table: u32,
    rules: Option<Rules>,
    netlink: Netlink,
    packet: Vec<u8>,
}

pub(super) fn open(options: &Options) -> Result<Linux, Error> {
    let netlink = || Netlink::open(0).map_err(Error::system("open a netlink socket"));
    let routing =
        |family| options.has(family).then(|| open_routing(family, options.table)).transpose();
    let table = options.table;
    let rules = (table != 0).then(|| Ok::<_, Error>(Rules::new(table, netlink()?))).transpose()?;
    Ok(Linux {
        sockets: [routing(Af::Ip4)?, routing(Af::Ip6)?],
        table,
        rules,
        netlink: netlink()?,
        packet: vec![0; PACKET_MAX],
    })
}

/// A socket that routes multicast of this family in this table.
fn open_routing(family: Af, table: u32) -> Result<OwnedFd, Error> {
    let numbers = abi::numbers(family);
    let fd = match socket::open(numbers.domain, libc::SOCK_RAW, numbers.protocol) {
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            return Err(Error::Unsupported { family, option: numbers.stack_option });
        }
        other => other.map_err(Error::system("open a raw socket, which takes CAP_NET_RAW"))?,
    };
    filter(fd.as_fd(), family)?;
    let set = |name, value: i32| socket::set(fd.as_fd(), numbers.level, name, &value);
    if table != 0 {
        socket::set(fd.as_fd(), numbers.level, abi::MRT_TABLE, &table).map_err(lacks(
            family,
            numbers.tables_option,
            "choose the multicast routing table",
        ))?;
    }
    match set(abi::MRT_INIT, 1) {
        Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => {
            drop(fd);
            let table = if table == 0 { "default".to_owned() } else { table.to_string() };
            return Err(Error::Busy { family, table, holders: holder::holders(family) });
        }
        other => other.map_err(lacks(
            family,
            numbers.option,
            "become the multicast router (MRT_INIT), which takes CAP_NET_ADMIN",
        ))?,
    }
    // With MRT_PIM, a packet on any wrong interface is told; with MRT_ASSERT alone, only one that is
    // an output of the route.
    set(abi::MRT_PIM, 1)
        .or_else(|_| set(abi::MRT_ASSERT, 1))
        .map_err(Error::system("ask for wrong-interface upcalls (MRT_ASSERT)"))?;
    Ok(fd)
}

/// For `map_err` of the calls that a kernel without the option knows nothing of.
fn lacks(family: Af, option: &'static str, call: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |e| match e.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Error::Unsupported { family, option },
        _ => Error::System { call, source: e },
    }
}

/// Lets in nothing but upcalls and what reaches no other socket.
fn filter(fd: BorrowedFd<'_>, family: Af) -> Result<(), Error> {
    let size = i32::try_from(RECEIVE_BUFFER).unwrap_or(i32::MAX);
    socket::set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &size)
        .or_else(|_| socket::set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &size))
        .map_err(Error::system("set the receive buffer"))?;
    match family {
        Af::Ip4 => {
            let mut code = abi::UPCALL_OR_NO_OPTIONS;
            let program = libc::sock_fprog {
                len: u16::try_from(code.len()).unwrap_or_default(),
                filter: code.as_mut_ptr(),
            };
            socket::set(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
                .map_err(Error::system("attach the filter of the routing socket"))?;
            socket::set(fd, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, &0i32)
                .map_err(Error::system("set IP_MULTICAST_ALL"))?;
            socket::set(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, &1i32)
                .map_err(Error::system("set IP_PKTINFO"))
        }
        Af::Ip6 => socket::set(fd, libc::IPPROTO_ICMPV6, abi::ICMP6_FILTER, &[u32::MAX; 8])
            .map_err(Error::system("set ICMP6_FILTER")),
    }
}

/// Turns errors that say "there is none" into success.
fn unless(result: io::Result<()>, gone: &[i32]) -> io::Result<()> {
    result.or_else(|e| match e.raw_os_error() {
        Some(number) if gone.contains(&number) => Ok(()),
        _ => Err(e),
    })
}

impl Linux {
    fn socket(&self, family: Af) -> io::Result<BorrowedFd<'_>> {
        let off = || io::Error::other(format!("{family} multicast routing is off"));
        self.descriptor(family).ok_or_else(off)
    }

    fn set<T>(&self, family: Af, name: i32, value: &T) -> io::Result<()> {
        socket::set(self.socket(family)?, abi::numbers(family).level, name, value)
    }

    fn set_mfc(
        &self,
        name: i32,
        key: &RouteKey,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> io::Result<()> {
        match (key.source.unwrap_or(unspecified(key.group)), key.group) {
            (IpAddr::V4(source), IpAddr::V4(group)) => {
                self.set(Af::Ip4, name, &abi::Mfcctl::new(source, group, parent, outputs))
            }
            (IpAddr::V6(source), IpAddr::V6(group)) => {
                self.set(Af::Ip6, name, &abi::Mf6cctl::new(source, group, parent, outputs))
            }
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    /// One ioctl an entry, for kernels that list none.
    fn ask(&self, key: &RouteKey) -> io::Result<Option<Installed>> {
        let fd = self.socket(key.family())?.as_raw_fd();
        let source = key.source.unwrap_or(unspecified(key.group));
        let counts = abi::sg_counts(fd, source, key.group);
        match counts {
            Ok((packets, bytes, wrong_interface)) => Ok(Some(Installed {
                key: *key,
                path: None,
                foreign: false,
                packets,
                bytes,
                wrong_interface,
            })),
            Err(e) if e.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

const fn unspecified(group: IpAddr) -> IpAddr {
    match group {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

impl System for Linux {
    fn capabilities(&self, _family: Af) -> Capabilities {
        Capabilities {
            key: MfcKey::SourceGroup,
            entries_expire: false,
            queues_unresolved: true,
            wrongvif_upcalls: true,
            star_g: true,
            vif_by_address: false,
            max_vifs: abi::MAXVIFS,
        }
    }

    fn add_vif(&mut self, family: Af, vif: u16, interface: &Interface) -> io::Result<()> {
        let ifindex = interface.ifindex;
        if let Some(rules) = &mut self.rules {
            rules.add(family, ifindex, &interface.name)?;
        }
        let added = match family {
            Af::Ip4 => self.set(family, abi::MRT_ADD_VIF, &abi::Vifctl::new(vif, ifindex)),
            Af::Ip6 => abi::Mif6ctl::new(vif, ifindex)
                .ok_or_else(|| io::Error::other("IPv6 multicast takes no index above 65535"))
                .and_then(|mif| self.set(family, abi::MRT_ADD_VIF, &mif)),
        };
        if let (Err(_), Some(rules)) = (&added, &mut self.rules) {
            rules.remove(family, ifindex);
        }
        added
    }

    fn delete_vif(&mut self, family: Af, vif: u16, ifindex: u32) -> io::Result<()> {
        if let Some(rules) = &mut self.rules {
            rules.remove(family, ifindex);
        }
        let result = match family {
            Af::Ip4 => self.set(family, abi::MRT_DEL_VIF, &abi::Vifctl::new(vif, 0)),
            Af::Ip6 => self.set(family, abi::MRT_DEL_VIF, &vif),
        };
        unless(result, &[libc::EADDRNOTAVAIL])
    }

    fn has_vif(&mut self, family: Af, vif: u16) -> io::Result<bool> {
        match abi::vif_counts(self.socket(family)?.as_raw_fd(), vif) {
            Ok(()) => Ok(true),
            // EINVAL: above the highest number in use.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EINVAL)) => {
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// In a (*,G) entry the incoming interface is an output as well: the kernel finds the entry by
    /// its outputs, and sends no packet back (`mr_mfc_find_any`, `ip_mr_forward`). So no (*,*) entry
    /// is needed, which would swallow the upcalls of all other groups.
    fn set_entry(&mut self, entry: &Entry, _replaces: Option<u16>) -> io::Result<()> {
        let mut outputs = entry.outputs.clone();
        if entry.key.source.is_none() {
            outputs.push((entry.parent, 1));
        }
        self.set_mfc(abi::MRT_ADD_MFC, &entry.key, entry.parent, &outputs)
    }

    fn delete_entry(&mut self, key: &RouteKey, parent: u16) -> io::Result<()> {
        unless(self.set_mfc(abi::MRT_DEL_MFC, key, parent, &[]), &[libc::ENOENT])
    }

    fn entries(
        &mut self,
        family: Af,
        known: &mut dyn Iterator<Item = RouteKey>,
        each: &mut dyn FnMut(Installed),
    ) -> io::Result<()> {
        let table = if self.table == 0 { abi::default_table(family) } else { self.table };
        let dumped =
            self.netlink.dump(libc::RTM_GETROUTE, &decode::route_request(family), |_, body| {
                if let Some((of, entry)) = decode::route(family, body)
                    && of == table
                {
                    each(entry);
                }
            });
        match dumped {
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            other => return other.map(drop),
        }
        for key in known {
            if let Some(entry) = self.ask(&key)? {
                each(entry);
            }
        }
        Ok(())
    }

    fn refresh(&mut self, family: Af, ifindices: &[u32]) -> io::Result<()> {
        self.rules.as_mut().map_or(Ok(()), |rules| rules.refresh(family, ifindices))
    }

    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>> {
        let [ipv4, ipv6] = &self.sockets;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
        .as_ref()
        .map(AsFd::as_fd)
    }

    fn receive(&mut self, family: Af, limit: &mut usize) -> io::Result<Option<Received>> {
        let mut packet = std::mem::take(&mut self.packet);
        let received = self.socket(family).and_then(|fd| receive(fd, family, &mut packet, limit));
        self.packet = packet;
        received
    }
}

fn receive(
    fd: BorrowedFd<'_>,
    family: Af,
    packet: &mut [u8],
    limit: &mut usize,
) -> io::Result<Option<Received>> {
    let mut control = cmsg_space!(libc::in_pktinfo);
    while *limit > 0 {
        *limit -= 1;
        let mut parts = [IoSliceMut::new(packet)];
        let flags = MsgFlags::empty();
        let message =
            match recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)
            {
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => continue,
                other => other?,
            };
        let ifindex = message.cmsgs()?.find_map(|c| {
            let ControlMessageOwned::Ipv4PacketInfo(info) = c else { return None };
            u32::try_from(info.ipi_ifindex).ok()
        });
        let length = message.bytes;
        let bytes = packet.get(..length).unwrap_or_default();
        let received = match family {
            Af::Ip4 => match decode_ipv4(bytes, VifWidth::LowHigh) {
                Ipv4Message::Upcall(upcall) => Some(upcall),
                Ipv4Message::Igmp => {
                    ifindex.map(|ifindex| Received::Igmp { ifindex, bytes: bytes.to_vec() })
                }
                Ipv4Message::Other => None,
            },
            Af::Ip6 => decode_ipv6(bytes),
        };
        if received.is_some() {
            return Ok(received);
        }
    }
    Ok(None)
}
