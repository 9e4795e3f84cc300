//! Multicast routing and interfaces of Linux: `linux/mroute.h`, `linux/mroute6.h`, rtnetlink(7).

pub(super) mod abi;
mod decode;
mod holder;
mod monitor;
mod netlink;
mod rules;

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg};

pub(super) use monitor::monitor;

use self::decode::{link_event, right_ones};
use self::netlink::Netlink;
use self::rules::Rules;
use super::links::LinkEvent;
use super::routing_socket::{
    self, RoutingSockets, become_router, lacks, numbers, set_receive_buffer, short_index, unless,
};
use super::upcall::{Ipv4Message, VifWidth, decode_ipv4, decode_ipv6};
use super::{
    Capabilities, Entry, Error, Installed, Interface, MfcKey, Options, Received, RouteKey, System,
    socket,
};
use crate::sys::consts::ICMP6_FILTER;
use crate::wire::Af;

/// Octets of a packet that are read. An IGMP packet without Router Alert is a report or leave of
/// version 1 or 2; anything longer than this is no message that a router acts on.
const PACKET_MAX: usize = 9216;

/// The routing sockets of both families.
pub(super) struct Linux {
    sockets: RoutingSockets,
    /// 0 for the default one.
    table: u32,
    rules: Option<Rules>,
    netlink: Netlink,
    packet: Vec<u8>,
}

pub(super) fn open(options: &Options) -> Result<Linux, Error> {
    let netlink = || Netlink::open(0).map_err(Error::system("open a netlink socket"));
    let table = options.table;
    let rules = (table != 0).then(|| Ok::<_, Error>(Rules::new(table, netlink()?))).transpose()?;
    let mut sockets = RoutingSockets::default();
    sockets.open(options, open_routing)?;
    Ok(Linux { sockets, table, rules, netlink: netlink()?, packet: vec![0; PACKET_MAX] })
}

/// A table is no place for sockets here.
#[expect(clippy::unnecessary_wraps, reason = "a routing domain may not exist")]
pub(super) const fn enter_table(_fd: BorrowedFd<'_>, _table: u32) -> io::Result<()> {
    Ok(())
}

/// A socket that routes multicast of this family in this table.
fn open_routing(family: Af, table: u32) -> Result<OwnedFd, Error> {
    let (numbers, options) = (numbers(family), abi::kernel_options(family));
    let fd = match socket::open(numbers.domain, libc::SOCK_RAW, numbers.protocol) {
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
            return Err(Error::Unsupported { family, option: options.stack });
        }
        other => other.map_err(Error::system("open a raw socket, which takes CAP_NET_RAW"))?,
    };
    set_receive_buffer(fd.as_fd())?;
    filter(fd.as_fd(), family)?;
    if table != 0 {
        socket::set(fd.as_fd(), numbers.level, abi::MRT_TABLE, &table).map_err(lacks(
            family,
            options.tables,
            "choose the multicast routing table",
        ))?;
    }
    let holders = || holder::holders(family);
    let fd = become_router(fd, family, table, options.routing, holders)?;
    // With MRT_PIM, a packet on any wrong interface is told; with MRT_ASSERT alone, only one that is
    // an output of the route.
    let set = |name| socket::set(fd.as_fd(), numbers.level, name, &1i32);
    set(abi::MRT_PIM)
        .or_else(|_| set(abi::MRT_ASSERT))
        .map_err(Error::system("ask for wrong-interface upcalls (MRT_ASSERT)"))?;
    Ok(fd)
}

/// Lets in nothing but upcalls and what reaches no other socket.
fn filter(fd: BorrowedFd<'_>, family: Af) -> Result<(), Error> {
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
        Af::Ip6 => socket::set(fd, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &[u32::MAX; 8])
            .map_err(Error::system("set ICMP6_FILTER")),
    }
}

impl Linux {
    /// The interface that stands for the vif for registers.
    fn register_interface(&mut self, family: Af) -> io::Result<Interface> {
        let stem = match family {
            Af::Ip4 => "pimreg",
            Af::Ip6 => "pim6reg",
        };
        let name = match self.table {
            table if table == 0 || table == abi::default_table(family) => stem.to_owned(),
            table => format!("{stem}{table}"),
        };
        let mut found = None;
        self.netlink.dump(libc::RTM_GETLINK, &[0; 16], |kind, body| {
            if let Some(LinkEvent::Link(link)) = link_event(kind, body)
                && link.name == name
            {
                found = Some(link);
            }
        })?;
        found.ok_or_else(|| io::Error::other(format!("no interface {name}")))
    }
}

impl System for Linux {
    fn open(&mut self, options: &Options) -> Result<(), Error> {
        self.sockets.open(options, open_routing)
    }

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
            Af::Ip4 => self.sockets.set(family, abi::MRT_ADD_VIF, &abi::Vifctl::new(vif, ifindex)),
            Af::Ip6 => short_index(ifindex).and_then(|index| {
                self.sockets.set(family, abi::MRT_ADD_VIF, &abi::Mif6ctl::new(vif, index))
            }),
        };
        if let (Err(_), Some(rules)) = (&added, &mut self.rules) {
            rules.remove(family, ifindex);
        }
        added
    }

    /// The kernel makes an interface for it, whose name is in `net/ipv4/ipmr.c`, `ipmr_reg_vif`, and
    /// `net/ipv6/ip6mr.c`, `ip6mr_reg_vif`.
    fn add_register(&mut self, family: Af, vif: u16) -> io::Result<Interface> {
        let added = match family {
            Af::Ip4 => self.sockets.set(family, abi::MRT_ADD_VIF, &abi::Vifctl::register(vif)),
            Af::Ip6 => self.sockets.set(family, abi::MRT_ADD_VIF, &abi::Mif6ctl::register(vif)),
        };
        added.map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => io::ErrorKind::Unsupported.into(),
            _ => e,
        })?;
        let result = self.register_interface(family).and_then(|interface| {
            if let Some(rules) = &mut self.rules {
                rules.add(family, interface.ifindex, &interface.name)?;
            }
            Ok(interface)
        });
        if result.is_err() {
            self.delete_vif(family, vif, 0)?;
        }
        result
    }

    fn delete_vif(&mut self, family: Af, vif: u16, ifindex: u32) -> io::Result<()> {
        if let Some(rules) = &mut self.rules {
            rules.remove(family, ifindex);
        }
        let result = match family {
            Af::Ip4 => self.sockets.set(family, abi::MRT_DEL_VIF, &abi::Vifctl::new(vif, 0)),
            Af::Ip6 => self.sockets.set(family, abi::MRT_DEL_VIF, &vif),
        };
        unless(result, &[libc::EADDRNOTAVAIL])
    }

    fn has_vif(&mut self, family: Af, vif: u16) -> io::Result<bool> {
        self.sockets.has_vif(family, vif)
    }

    /// In a (*,G) entry the incoming interface is an output as well: the kernel finds the entry by
    /// its outputs, and sends no packet back (`mr_mfc_find_any`, `ip_mr_forward`). So it needs no
    /// (*,*) entry, which would swallow the upcalls of all other groups.
    fn set_entry(&mut self, entry: &Entry) -> io::Result<()> {
        let mut outputs = entry.outputs.clone();
        if entry.key.source.is_none() {
            outputs.push((entry.parent, 1));
        }
        self.sockets.set_mfc(abi::MRT_ADD_MFC, &entry.key, entry.parent, &outputs)
    }

    fn delete_entry(&mut self, key: &RouteKey, parent: u16) -> io::Result<()> {
        unless(self.sockets.set_mfc(abi::MRT_DEL_MFC, key, parent, &[]), &[libc::ENOENT])
    }

    fn entries(
        &mut self,
        family: Af,
        known: &mut dyn Iterator<Item = (RouteKey, usize)>,
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
        for (key, _) in known {
            if let Some(counts) = self.sockets.counts(&key)? {
                let [packets, bytes, wrong_interface] = right_ones(counts);
                let (path, foreign) = (None, false);
                each(Installed { key, path, foreign, packets, bytes, wrong_interface });
            }
        }
        Ok(())
    }

    fn refresh(&mut self, family: Af, ifindices: &[u32]) -> io::Result<Vec<u32>> {
        self.rules.as_mut().map_or(Ok(Vec::new()), |rules| rules.refresh(family, ifindices))
    }

    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>> {
        self.sockets.get(family)
    }

    fn receive(&mut self, family: Af, limit: &mut usize) -> io::Result<Option<Received>> {
        let fd = self.sockets.require(family)?;
        let packet = &mut self.packet;
        routing_socket::receive(limit, || read(fd, family, packet))
    }
}

/// One message, if it means something.
fn read(fd: BorrowedFd<'_>, family: Af, packet: &mut [u8]) -> Result<Option<Received>, Errno> {
    let mut control = cmsg_space!(libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(packet)];
    let flags = MsgFlags::empty();
    let message =
        recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let ifindex = message.cmsgs()?.find_map(|c| {
        let ControlMessageOwned::Ipv4PacketInfo(info) = c else { return None };
        u32::try_from(info.ipi_ifindex).ok()
    });
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Ok(None);
    }
    let length = message.bytes;
    let bytes = packet.get(..length).unwrap_or_default();
    Ok(match family {
        Af::Ip4 => match decode_ipv4(bytes, VifWidth::LowHigh) {
            Ipv4Message::Upcall(upcall) => Some(upcall),
            Ipv4Message::Igmp => {
                ifindex.map(|ifindex| Received::Igmp { ifindex, bytes: bytes.to_vec() })
            }
            Ipv4Message::Other => None,
        },
        Af::Ip6 => decode_ipv6(bytes),
    })
}
