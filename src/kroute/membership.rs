//! Groups that the host itself joins, in any number: kernels allow few on one socket.

#[cfg(not(target_os = "openbsd"))]
mod group_req;
#[cfg(target_os = "openbsd")]
mod mreq;

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

#[cfg(not(target_os = "openbsd"))]
use self::group_req as requests;
#[cfg(target_os = "openbsd")]
use self::mreq as requests;
use super::{Error, enter_table, socket};
use crate::wire::Af;
pub(super) use requests::ABI;
use requests::change;

/// Sockets at most: Linux allows 20 IPv4 groups on each unless `net.ipv4.igmp_max_memberships` says
/// otherwise.
const SOCKETS_MAX: usize = 1024;

/// Memberships of the host. Dropping them leaves all groups.
#[derive(Debug, Default)]
pub struct Memberships {
    table: u32,
    /// By slot; a slot without members has no socket.
    sockets: Vec<Option<Member>>,
    /// Which socket has which.
    joined: HashMap<(u32, IpAddr, Option<IpAddr>), usize>,
}

#[derive(Debug)]
struct Member {
    fd: OwnedFd,
    family: Af,
    memberships: usize,
    /// The kernel took no more; one that is left makes room.
    full: bool,
}

impl Memberships {
    /// No memberships.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// No memberships yet, of a host in this routing domain (OpenBSD).
    #[must_use]
    pub fn in_table(table: u32) -> Self {
        Self { table, ..Self::default() }
    }

    /// Joins the group on the interface, from any source or from one, which OpenBSD cannot. What is
    /// joined already is no error.
    pub fn join(
        &mut self,
        ifindex: u32,
        group: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<(), Error> {
        let key = (ifindex, group, source);
        if self.joined.contains_key(&key) {
            return Ok(());
        }
        let failed = Error::system("join a group");
        match self.join_somewhere(ifindex, group, source) {
            Ok(slot) => drop(self.joined.insert(key, slot)),
            Err(e) => return Err(failed(e)),
        }
        Ok(())
    }

    /// Leaves it; what is not joined is no error.
    pub fn leave(
        &mut self,
        ifindex: u32,
        group: IpAddr,
        source: Option<IpAddr>,
    ) -> Result<(), Error> {
        let Some(slot) = self.joined.remove(&(ifindex, group, source)) else { return Ok(()) };
        let Some(place) = self.sockets.get_mut(slot) else { return Ok(()) };
        let Some(member) = place else { return Ok(()) };
        member.memberships -= 1;
        member.full = false;
        if member.memberships == 0 {
            *place = None;
            return Ok(());
        }
        match change(member.fd.as_fd(), false, ifindex, group, source) {
            // The interface is gone, and its memberships with it.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENODEV | libc::EADDRNOTAVAIL)) => {
                Ok(())
            }
            other => other.map_err(Error::system("leave a group")),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.joined.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty()
    }

    /// Joins on the first socket that takes it; returns its slot.
    fn join_somewhere(
        &mut self,
        ifindex: u32,
        group: IpAddr,
        source: Option<IpAddr>,
    ) -> io::Result<usize> {
        let family = Af::of(group);
        for (slot, member) in self.sockets.iter_mut().enumerate() {
            let Some(member) = member.as_mut().filter(|m| m.family == family && !m.full) else {
                continue;
            };
            match change(member.fd.as_fd(), true, ifindex, group, source) {
                Ok(()) => {
                    member.memberships += 1;
                    return Ok(slot);
                }
                Err(e) if is_full(&e) => member.full = true,
                // Joined there in the other way, for any source or for some.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINVAL | libc::EADDRINUSE)) => {}
                Err(e) => return Err(e),
            }
        }
        let fd = open(family, self.table)?;
        change(fd.as_fd(), true, ifindex, group, source)?;
        let member = Member { fd, family, memberships: 1, full: false };
        let free = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
        if free >= SOCKETS_MAX {
            return Err(io::Error::other("too many memberships"));
        }
        if free == self.sockets.len() {
            self.sockets.push(None);
        }
        if let Some(place) = self.sockets.get_mut(free) {
            *place = Some(member);
        }
        Ok(free)
    }
}

/// A socket that receives nothing: it has no port.
fn open(family: Af, table: u32) -> io::Result<OwnedFd> {
    let domain = match family {
        Af::Ip4 => libc::AF_INET,
        Af::Ip6 => libc::AF_INET6,
    };
    let fd = socket::open(domain, libc::SOCK_DGRAM, 0)?;
    enter_table(fd.as_fd(), table)?;
    Ok(fd)
}

/// What a kernel says when a socket has all the memberships that it may have.
fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM | libc::ETOOMANYREFS))
}
