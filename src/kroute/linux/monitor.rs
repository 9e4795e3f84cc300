//! Interfaces by rtnetlink(7): two dumps, then what the link and address groups tell.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::socket::{setsockopt, sockopt};

use super::decode::link_event;
use super::netlink::Netlink;
use crate::kroute::links::Links;
use crate::kroute::{Error, Interface, InterfaceChange, Monitor, Options};

const RTMGRP_LINK: u32 = 1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;

/// Octets of waiting events; more of them are lost, and everything is read anew.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Datagrams that one call reads at most; the rest waits for the next.
const DATAGRAMS_MAX: usize = 256;

/// Datagrams that wait at most: each takes more than 64 octets of the buffer, which the kernel
/// doubles.
const QUEUED_MAX: usize = 2 * RECEIVE_BUFFER / 64;

/// Times that a dump is tried while interfaces change beneath.
const DUMP_TRIES: usize = 8;

struct Rtnetlink {
    events: Netlink,
    requests: Netlink,
    links: Links,
}

pub(in crate::kroute) fn monitor(_options: &Options) -> Result<Box<dyn Monitor>, Error> {
    let open = |groups| Netlink::open(groups).map_err(Error::system("open a netlink socket"));
    let events = open(RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR)?;
    setsockopt(&events.socket.as_fd(), sockopt::RcvBuf, &RECEIVE_BUFFER)
        .map_err(|e| Error::System { call: "set the buffer of netlink", source: e.into() })?;
    let mut monitor = Rtnetlink { events, requests: open(0)?, links: Links::default() };
    monitor.snapshot()?;
    Ok(Box::new(monitor))
}

impl Rtnetlink {
    /// Reads the whole table. Events that wait are older or will be repeated by later ones; they are
    /// applied on top, and the last one of each kind tells what is.
    fn read_all(&mut self) -> io::Result<()> {
        for _ in 0..DUMP_TRIES {
            self.links.restart();
            let (requests, links) = (&mut self.requests, &mut self.links);
            let mut each = |kind, body: &[u8]| {
                if let Some(event) = link_event(kind, body) {
                    links.apply(event);
                }
            };
            // `struct ifinfomsg` and `struct ifaddrmsg` of all families and interfaces.
            let whole = requests.dump(libc::RTM_GETLINK, &[0; 16], &mut each)?
                & requests.dump(libc::RTM_GETADDR, &[0; 8], &mut each)?;
            if whole {
                return Ok(());
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy))
    }

    fn read_events(&mut self) -> io::Result<()> {
        let (events, links) = (&mut self.events, &mut self.links);
        let mut each = |kind, body: &[u8]| {
            if let Some(event) = link_event(kind, body) {
                links.apply(event);
            }
        };
        for _ in 0..DATAGRAMS_MAX {
            match events.poll(&mut each) {
                Ok(true) => {}
                Ok(false) => break,
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => return self.overrun(),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Events were lost, the latest: those that wait would undo what the table says. Only an empty
    /// queue tells of the next loss (`netlink_overrun` in `net/netlink/af_netlink.c`).
    fn overrun(&mut self) -> io::Result<()> {
        for _ in 0..QUEUED_MAX {
            match self.events.poll(&mut |_, _| {}) {
                Ok(false) => break,
                Ok(true) => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
                Err(e) => return Err(e),
            }
        }
        self.read_all()
    }
}

impl Monitor for Rtnetlink {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.events.socket.as_fd()
    }

    fn snapshot(&mut self) -> Result<Vec<Interface>, Error> {
        self.read_all().map_err(Error::system("read the interfaces"))?;
        Ok(self.links.snapshot())
    }

    fn receive(&mut self, out: &mut Vec<InterfaceChange>) -> Result<(), Error> {
        self.read_events().map_err(Error::system("follow the interfaces"))?;
        self.links.changes(out);
        Ok(())
    }
}
