//! Multicast routing and interfaces of OpenBSD and FreeBSD: `netinet/ip_mroute.h`,
//! `netinet6/ip6_mroute.h`, route(4).

pub(super) mod abi;
mod monitor;
pub(super) mod sysctl;

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

pub(super) use monitor::monitor;

#[cfg(target_os = "freebsd")]
use super::freebsd as os;
#[cfg(target_os = "openbsd")]
use super::openbsd as os;
use super::routing_socket::{
    self, RoutingSockets, become_router, numbers, set_receive_buffer, short_index, unless,
};
use super::upcall::{Ipv4Message, VifWidth, decode_ipv4, decode_ipv6};
use super::{
    Capabilities, Entry, Error, Installed, Interface, Options, Received, RouteKey, System, socket,
};
use crate::sys::consts::ICMP6_FILTER;
use crate::wire::Af;

pub(super) use os::{NUMBERS, enter_table};

/// Octets of a message that are read: an upcall is 20 or 40, the rest of it and of others is of no
/// interest.
const MESSAGE_MAX: usize = 64;

/// A number of the kernel that must be 1.
pub(super) struct Switch {
    /// Where it is.
    pub(super) name: [c_int; 4],
    /// What a user types after `sysctl`.
    pub(super) setting: &'static str,
}

/// The routing sockets of both families.
pub(super) struct Bsd {
    sockets: RoutingSockets,
}

pub(super) fn open(options: &Options) -> Result<Bsd, Error> {
    let mut sockets = RoutingSockets::default();
    sockets.open(options, open_routing)?;
    Ok(Bsd { sockets })
}

/// A socket that routes multicast of this family.
fn open_routing(family: Af, table: u32) -> Result<OwnedFd, Error> {
    let numbers = numbers(family);
    let fd = socket::open(numbers.domain, libc::SOCK_RAW, numbers.protocol)
        .map_err(Error::system("open a raw socket, which takes root"))?;
    enter_table(fd.as_fd(), table).map_err(Error::system("choose the multicast routing table"))?;
    os::check_table(fd.as_fd())?;
    set_receive_buffer(fd.as_fd())?;
    if family == Af::Ip6 {
        // Passes nothing: upcalls bypass it.
        socket::set(fd.as_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, &[0u32; 8])
            .map_err(Error::system("set ICMP6_FILTER"))?;
    }
    for switch in os::switches(family) {
        if sysctl::integer(&switch.name).map_err(Error::system("read a sysctl"))? == 0 {
            return Err(Error::SwitchedOff { family, setting: switch.setting });
        }
    }
    let fd = become_router(fd, family, table, os::kernel_option(family), Vec::new)?;
    os::ask_for_wrong_vifs(fd.as_fd(), family)?;
    Ok(fd)
}

/// The address that makes the interface a vif.
fn primary(interface: &Interface) -> Option<Ipv4Addr> {
    interface.addresses.iter().find_map(|a| match a.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    })
}

impl System for Bsd {
    fn open(&mut self, options: &Options) -> Result<(), Error> {
        self.sockets.open(options, open_routing)
    }

    fn capabilities(&self, family: Af) -> Capabilities {
        os::capabilities(family)
    }

    fn add_vif(&mut self, family: Af, vif: u16, interface: &Interface) -> io::Result<()> {
        match family {
            Af::Ip4 => {
                let none = || io::Error::from_raw_os_error(libc::EADDRNOTAVAIL);
                let address = primary(interface).ok_or_else(none)?;
                self.sockets.set(family, abi::MRT_ADD_VIF, &abi::Vifctl::new(vif, address))
            }
            Af::Ip6 => {
                let mif = abi::Mif6ctl::new(vif, short_index(interface.ifindex)?);
                self.sockets.set(family, abi::MRT_ADD_VIF, &mif)
            }
        }
    }

    fn delete_vif(&mut self, family: Af, vif: u16, _ifindex: u32) -> io::Result<()> {
        let result = self.sockets.set(family, abi::MRT_DEL_VIF, &vif);
        // EINVAL: above the highest number in use.
        unless(result, &[libc::EADDRNOTAVAIL, libc::EINVAL])
    }

    fn has_vif(&mut self, family: Af, vif: u16) -> io::Result<bool> {
        self.sockets.has_vif(family, vif)
    }

    fn set_entry(&mut self, entry: &Entry) -> io::Result<()> {
        self.sockets.set_mfc(abi::MRT_ADD_MFC, &entry.key, entry.parent, &entry.outputs)
    }

    fn delete_entry(&mut self, key: &RouteKey, parent: u16) -> io::Result<()> {
        let result = self.sockets.set_mfc(abi::MRT_DEL_MFC, key, parent, &[]);
        unless(result, &[libc::EADDRNOTAVAIL, libc::ENOENT])
    }

    /// One ioctl an entry; the kernel does not tell who made it and where it leads.
    fn entries(
        &mut self,
        _family: Af,
        known: &mut dyn Iterator<Item = (RouteKey, usize)>,
        each: &mut dyn FnMut(Installed),
    ) -> io::Result<()> {
        for (key, outputs) in known {
            if let Some([packets, bytes, wrong_interface]) = self.sockets.counts(&key)? {
                let times = os::counted_times(outputs);
                let (packets, bytes) = (packets / times, bytes / times);
                let (path, foreign) = (None, false);
                each(Installed { key, path, foreign, packets, bytes, wrong_interface });
            }
        }
        Ok(())
    }

    fn refresh(&mut self, _family: Af, _ifindices: &[u32]) -> io::Result<Vec<u32>> {
        Ok(Vec::new())
    }

    fn descriptor(&self, family: Af) -> Option<BorrowedFd<'_>> {
        self.sockets.get(family)
    }

    fn receive(&mut self, family: Af, limit: &mut usize) -> io::Result<Option<Received>> {
        let fd = self.sockets.require(family)?;
        routing_socket::receive(limit, || read(fd, family))
    }
}

/// One message, if it is an upcall: every raw socket hears all IGMP besides.
fn read(fd: BorrowedFd<'_>, family: Af) -> Result<Option<Received>, Errno> {
    let mut message = [0; MESSAGE_MAX];
    let length = recv(fd.as_raw_fd(), &mut message, MsgFlags::empty())?;
    let bytes = message.get(..length).unwrap_or_default();
    Ok(match family {
        Af::Ip4 => match decode_ipv4(bytes, VifWidth::Low) {
            Ipv4Message::Upcall(upcall) => Some(upcall),
            Ipv4Message::Igmp | Ipv4Message::Other => None,
        },
        Af::Ip6 => decode_ipv6(bytes),
    })
}
