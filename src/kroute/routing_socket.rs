//! The routing sockets of both families: what every system does with them alike.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::abi::{Mf6cctl, MifReq6, SgReq, SgReq6, SockaddrIn6, VifReq};
use super::os::abi::{MRT_INIT, MRT6_INIT, Mfcctl};
use super::{Error, Holder, Options, Received, RouteKey, socket};
use crate::wire::Af;

/// Octets of the receive buffers: 10,000 unresolved packets (832 octets each, in Linux) can ask at
/// once.
const RECEIVE_BUFFER: c_int = 8 << 20;

/// A kernel that grants a buffer no larger than this has none.
const RECEIVE_BUFFER_LEAST: c_int = 32 << 10;

/// What differs between the families in the calls.
pub(super) struct Numbers {
    pub(super) domain: c_int,
    pub(super) protocol: c_int,
    pub(super) level: c_int,
}

pub(super) const fn numbers(family: Af) -> Numbers {
    match family {
        Af::Ip4 => {
            Numbers { domain: libc::AF_INET, protocol: libc::IPPROTO_IGMP, level: libc::IPPROTO_IP }
        }
        Af::Ip6 => Numbers {
            domain: libc::AF_INET6,
            protocol: libc::IPPROTO_ICMPV6,
            level: libc::IPPROTO_IPV6,
        },
    }
}

/// The routing sockets; a family that is off has none.
#[derive(Default)]
pub(super) struct RoutingSockets([Option<OwnedFd>; 2]);

impl RoutingSockets {
    /// Opens those that are wanted and not open yet.
    pub(super) fn open(
        &mut self,
        options: &Options,
        open: impl Fn(Af, u32) -> Result<OwnedFd, Error>,
    ) -> Result<(), Error> {
        for (family, socket) in Af::ALL.into_iter().zip(&mut self.0) {
            if options.has(family) && socket.is_none() {
                *socket = Some(open(family, options.table)?);
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, family: Af) -> Option<BorrowedFd<'_>> {
        let Self([ipv4, ipv6]) = self;
        match family {
            Af::Ip4 => ipv4,
            Af::Ip6 => ipv6,
        }
        .as_ref()
        .map(AsFd::as_fd)
    }

    pub(super) fn require(&self, family: Af) -> io::Result<BorrowedFd<'_>> {
        let off = || io::Error::other(format!("{family} multicast routing is off"));
        self.get(family).ok_or_else(off)
    }

    pub(super) fn set<T>(&self, family: Af, name: c_int, value: &T) -> io::Result<()> {
        socket::set(self.require(family)?, numbers(family).level, name, value)
    }

    /// `MRT_ADD_MFC` or `MRT_DEL_MFC`, or their namesakes of IPv6.
    pub(super) fn set_mfc(
        &self,
        name: c_int,
        key: &RouteKey,
        parent: u16,
        outputs: &[(u16, u8)],
    ) -> io::Result<()> {
        match (source_of(key), key.group) {
            (IpAddr::V4(source), IpAddr::V4(group)) => {
                self.set(Af::Ip4, name, &Mfcctl::new(source, group, parent, outputs))
            }
            (IpAddr::V6(source), IpAddr::V6(group)) => {
                self.set(Af::Ip6, name, &Mf6cctl::new(source, group, parent, outputs))
            }
            _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
        }
    }

    /// Whether there is such a vif. FreeBSD says so of every number below the highest in use.
    pub(super) fn has_vif(&self, family: Af, vif: u16) -> io::Result<bool> {
        let fd = self.require(family)?;
        let found = match family {
            Af::Ip4 => socket::ioctl(fd, &mut VifReq { vifi: vif, ..VifReq::default() }),
            Af::Ip6 => socket::ioctl(fd, &mut MifReq6 { mifi: vif, ..MifReq6::default() }),
        };
        match found {
            Ok(()) => Ok(true),
            // EINVAL: above the highest number in use; OpenBSD: not in use.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EINVAL)) => {
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// The kernel's packets, octets and packets on a wrong interface of an entry, if it has that.
    pub(super) fn counts(&self, key: &RouteKey) -> io::Result<Option<[u64; 3]>> {
        let fd = self.require(key.family())?;
        let (pktcnt, bytecnt, wrong_if) = (0, 0, 0);
        let counted = match (source_of(key), key.group) {
            (IpAddr::V4(source), IpAddr::V4(group)) => {
                let (src, grp) = (source.octets(), group.octets());
                let mut asked = SgReq { src, grp, pktcnt, bytecnt, wrong_if };
                let result = socket::ioctl(fd, &mut asked);
                result.map(|()| widen([asked.pktcnt, asked.bytecnt, asked.wrong_if]))
            }
            (IpAddr::V6(source), IpAddr::V6(group)) => {
                let (src, grp) = (SockaddrIn6::new(source), SockaddrIn6::new(group));
                let mut asked = SgReq6 { src, grp, pktcnt, bytecnt, wrong_if };
                let result = socket::ioctl(fd, &mut asked);
                result.map(|()| widen([asked.pktcnt, asked.bytecnt, asked.wrong_if]))
            }
            _ => return Err(io::Error::from(io::ErrorKind::InvalidInput)),
        };
        match counted {
            Ok(counts) => Ok(Some(counts)),
            // ESRCH: FreeBSD, IPv6.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::ESRCH)) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }
}

fn widen<T: Into<u64>>(counts: [T; 3]) -> [u64; 3] {
    counts.map(Into::into)
}

fn source_of(key: &RouteKey) -> IpAddr {
    key.source.unwrap_or(match key.group {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    })
}

/// Makes room for questions: as much as the kernel grants.
pub(super) fn set_receive_buffer(fd: BorrowedFd<'_>) -> Result<(), Error> {
    #[cfg(target_os = "linux")]
    if socket::set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &RECEIVE_BUFFER).is_ok() {
        return Ok(());
    }
    let mut size = RECEIVE_BUFFER;
    loop {
        match socket::set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, &size) {
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) && size > RECEIVE_BUFFER_LEAST => {
                size /= 2;
            }
            other => return other.map_err(Error::system("set the receive buffer")),
        }
    }
}

/// `MRT_INIT`; `table` is what messages call it, `option` what a kernel may lack.
pub(super) fn become_router(
    fd: OwnedFd,
    family: Af,
    table: u32,
    option: &'static str,
    holders: impl FnOnce() -> Vec<Holder>,
) -> Result<OwnedFd, Error> {
    match socket::set(fd.as_fd(), numbers(family).level, mrt_init(family), &1i32) {
        Err(e) if e.raw_os_error() == Some(libc::EADDRINUSE) => {
            drop(fd);
            let table = if table == 0 { "default".to_owned() } else { table.to_string() };
            Err(Error::Busy { family, table, holders: holders() })
        }
        Err(e) => Err(lacks(family, option, "become the multicast router (MRT_INIT)")(e)),
        Ok(()) => Ok(fd),
    }
}

const fn mrt_init(family: Af) -> c_int {
    match family {
        Af::Ip4 => MRT_INIT,
        Af::Ip6 => MRT6_INIT,
    }
}

/// The index of an interface as `MRT6_ADD_MIF` takes it.
pub(super) fn short_index(ifindex: u32) -> io::Result<u16> {
    u16::try_from(ifindex)
        .map_err(|_| io::Error::other("IPv6 multicast takes no index above 65535"))
}

/// For `map_err` of the calls that a kernel without the option knows nothing of.
pub(super) fn lacks(
    family: Af,
    option: &'static str,
    call: &'static str,
) -> impl FnOnce(io::Error) -> Error {
    move |e| match e.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => Error::Unsupported { family, option },
        _ => Error::System { call, source: e },
    }
}

/// Turns errors that say "there is none" into success.
pub(super) fn unless(result: io::Result<()>, gone: &[i32]) -> io::Result<()> {
    result.or_else(|e| match e.raw_os_error() {
        Some(number) if gone.contains(&number) => Ok(()),
        _ => Err(e),
    })
}

/// Reads until a message means something; at most `limit` of them, each counted down.
pub(super) fn receive(
    limit: &mut usize,
    mut read: impl FnMut() -> Result<Option<Received>, Errno>,
) -> io::Result<Option<Received>> {
    while *limit > 0 {
        *limit -= 1;
        match read() {
            Ok(None) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Ok(None),
            other => return Ok(other?),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `setsockopt` on a kernel without the option: ip(7); a refusal for another reason keeps its
    /// call.
    #[test]
    fn what_the_kernel_lacks_is_named() {
        let option = "multicast routing (CONFIG_IPV6_MROUTE)";
        let told = |number| {
            lacks(Af::Ip6, option, "route multicast")(io::Error::from_raw_os_error(number))
        };
        let missing = "ipv6: the kernel lacks multicast routing (CONFIG_IPV6_MROUTE)";
        assert_eq!(told(libc::ENOPROTOOPT).to_string(), missing);
        assert_eq!(told(libc::EOPNOTSUPP).to_string(), missing);
        assert!(matches!(told(libc::EPERM), Error::System { call: "route multicast", .. }));
    }
}
