//! Interfaces by route(4): the whole table from `NET_RT_IFLIST`, then what the route socket tells.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::{abi, os, sysctl};
use crate::kroute::links::{LinkEvent, Links};
use crate::kroute::route_message::{Format, RouteMessage};
use crate::kroute::{Error, Interface, InterfaceChange, Monitor, Options, socket};
use crate::sys::time::Millis;

/// Octets of waiting messages; more of them are lost, and everything is read anew.
const RECEIVE_BUFFER: i32 = 256 << 10;

/// Octets of a message at most: a header and an address of each kind.
const MESSAGE_MAX: usize = 4096;

/// Messages that one call reads at most; the rest waits for the next.
const MESSAGES_MAX: usize = 1024;

/// How long duplicate address detection takes at least (RFC 4862, section 5.1); the kernels say
/// nothing at its end.
const TENTATIVE: Millis = Millis(1000);

struct RouteSocket {
    socket: OwnedFd,
    /// Asks for the state of IPv6 addresses; none where the system has no IPv6.
    ipv6: Option<OwnedFd>,
    format: Format,
    links: Links,
    /// An address is not to be used yet.
    tentative: bool,
}

pub(in crate::kroute) fn monitor(options: &Options) -> Result<Box<dyn Monitor>, Error> {
    let failed = || Error::system("open a route socket");
    let socket = socket::open(libc::PF_ROUTE, libc::SOCK_RAW, 0).map_err(failed())?;
    let domain = os::prepare_route_socket(socket.as_fd(), options.table).map_err(failed())?;
    socket::set(socket.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, &RECEIVE_BUFFER)
        .map_err(Error::system("set the buffer of the route socket"))?;
    let ipv6 = socket::open(libc::AF_INET6, libc::SOCK_DGRAM, 0).ok();
    if let Some(fd) = &ipv6 {
        os::enter_table(fd.as_fd(), options.table).map_err(failed())?;
    }
    let word = size_of::<std::ffi::c_long>();
    let format = Format { origin: os::ORIGIN, word, domain };
    let mut monitor =
        RouteSocket { socket, ipv6, format, links: Links::default(), tentative: false };
    monitor.snapshot()?;
    Ok(Box::new(monitor))
}

impl RouteSocket {
    /// Reads the whole table. Messages that wait are older or will be repeated by later ones; they
    /// are applied on top, and the last one of each kind tells what is.
    fn read_all(&mut self) -> io::Result<()> {
        let name = [libc::CTL_NET, libc::PF_ROUTE, 0, 0, libc::NET_RT_IFLIST, 0];
        let table = sysctl::table(&name)?;
        self.links.restart();
        self.tentative = false;
        self.apply(&table);
        Ok(())
    }

    /// Takes over what messages say; whether all has to be read.
    fn apply(&mut self, messages: &[u8]) -> bool {
        let mut read_all = false;
        let format = self.format;
        for message in format.decode(messages) {
            match message {
                RouteMessage::ReadAll => read_all = true,
                RouteMessage::Event(event) => {
                    let event = self.usable(event);
                    self.links.apply(event);
                }
            }
        }
        read_all
    }

    /// Messages do not tell whether an IPv6 address is tentative or a duplicate.
    fn usable(&mut self, event: LinkEvent) -> LinkEvent {
        let LinkEvent::Address { ifindex, address, .. } = event else { return event };
        let IpAddr::V6(v6) = address.address else { return event };
        let asked = self.links.name(ifindex).and_then(|name| abi::In6Ifreq::new(name, v6));
        let (Some(mut asked), Some(fd)) = (asked, &self.ipv6) else { return event };
        // One that is gone by now will be said to be gone.
        let flags = socket::ioctl(fd.as_fd(), &mut asked).map_or(0, |()| asked.flags());
        self.tentative |= flags & abi::IN6_IFF_TENTATIVE != 0;
        if flags & (abi::IN6_IFF_TENTATIVE | abi::IN6_IFF_DUPLICATED) == 0 {
            return event;
        }
        LinkEvent::AddressGone { ifindex, address }
    }

    fn read_messages(&mut self) -> io::Result<()> {
        let mut read_all = self.tentative;
        let mut message = [0; MESSAGE_MAX];
        for _ in 0..MESSAGES_MAX {
            match recv(self.socket.as_raw_fd(), &mut message, MsgFlags::empty()) {
                Ok(length) => read_all |= self.apply(message.get(..length).unwrap_or_default()),
                Err(Errno::EAGAIN) => break,
                Err(Errno::ENOBUFS) => read_all = true,
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        if read_all { self.read_all() } else { Ok(()) }
    }
}

impl Monitor for RouteSocket {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn snapshot(&mut self) -> Result<Vec<Interface>, Error> {
        self.read_all().map_err(Error::system("read the interfaces"))?;
        Ok(self.links.snapshot())
    }

    fn receive(&mut self, out: &mut Vec<InterfaceChange>) -> Result<(), Error> {
        self.read_messages().map_err(Error::system("follow the interfaces"))?;
        self.links.changes(out);
        Ok(())
    }

    fn look_again(&self) -> Option<Millis> {
        self.tentative.then_some(TENTATIVE)
    }
}
