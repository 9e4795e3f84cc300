//! Socket options, recvmsg(2) and sendmsg(2) with ancillary data that nix does not name everywhere.
//!
//! Ancillary data is read and written as bytes: only the system calls are unsafe.
#![allow(unsafe_code, reason = "system calls with our own buffers")]

use std::io::{self, IoSlice};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use libc::c_int;
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

use super::consts::{HERE, Numbers, align};

/// Octets of ancillary data taken with one packet: several times what the options in use bring.
const CONTROL_LEN: u16 = 512;

/// Octets of a `sockaddr_in6`, the longest name that is taken.
const NAME_LEN: u8 = 28;

/// A value that a socket option can have: plain data without padding.
pub trait Plain: Copy {}
impl Plain for c_int {}
impl Plain for u8 {}
impl<const N: usize> Plain for [u8; N] {}
impl<const N: usize> Plain for [u32; N] {}

/// Opens a non-blocking raw socket; needs privilege.
pub fn open_raw(domain: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(domain, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nothing else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// setsockopt(2).
pub fn set<T: Plain>(fd: impl AsFd, level: c_int, option: c_int, value: T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `value` outlives the call, has no padding (`Plain`) and `len` is its size.
    let result = unsafe {
        libc::setsockopt(fd.as_fd().as_raw_fd(), level, option, (&raw const value).cast(), len)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What one recvmsg(2) brought besides the payload.
#[derive(Debug)]
pub struct Received {
    /// Octets of payload.
    pub len: usize,
    /// The sender, where it is an IPv6 address.
    pub source: Option<Ipv6Addr>,
    /// Whether the packet or its ancillary data was cut.
    pub truncated: bool,
    control: [u8; CONTROL_LEN as usize],
    control_len: usize,
}

impl Received {
    /// The ancillary data: level, type and octets of each item.
    pub fn control(&self) -> Control<'_> {
        Control::new(&HERE, self.control.get(..self.control_len).unwrap_or_default())
    }
}

/// Receives one packet without waiting.
pub fn receive(fd: impl AsFd, payload: &mut [u8]) -> io::Result<Received> {
    let mut name = [0u8; NAME_LEN as usize];
    let mut control = [0u8; CONTROL_LEN as usize];
    let mut iov = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    let mut header = empty_header();
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = NAME_LEN.into();
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN.into();
    // SAFETY: the header names buffers that outlive the call, with their own lengths.
    let len = unsafe { libc::recvmsg(fd.as_fd().as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    // A sockaddr_in6 has its address at octet 8 on every system.
    let source = (header.msg_namelen == u32::from(NAME_LEN))
        .then(|| name.get(8..).and_then(|b| b.first_chunk::<16>()).map(|b| Ipv6Addr::from(*b)))
        .flatten();
    #[allow(clippy::unnecessary_cast, reason = "narrower on other systems")]
    let control_len = header.msg_controllen as usize;
    Ok(Received {
        len,
        source,
        truncated: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        control,
        control_len,
    })
}

/// Sends one packet with ancillary data.
pub fn send(fd: impl AsFd, to: SocketAddr, payload: &[u8], control: &ControlBuf) -> io::Result<()> {
    let to = SockaddrStorage::from(to);
    let slice = IoSlice::new(payload);
    let mut header = empty_header();
    header.msg_name = to.as_ptr().cast_mut().cast();
    header.msg_namelen = to.len();
    header.msg_iov = (&raw const slice).cast_mut().cast();
    header.msg_iovlen = 1;
    if !control.0.is_empty() {
        header.msg_control = control.0.as_ptr().cast_mut().cast();
        let len = u16::try_from(control.0.len()).map_err(io::Error::other)?;
        header.msg_controllen = len.into();
    }
    // SAFETY: the header names buffers that outlive the call, with their own lengths; IoSlice has
    // the layout of iovec; sendmsg writes to none of them.
    let sent =
        unsafe { libc::sendmsg(fd.as_fd().as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn empty_header() -> libc::msghdr {
    // SAFETY: msghdr holds integers and pointers only, for which zero is a value. It has private
    // padding on some systems, so that it cannot be written out.
    unsafe { std::mem::zeroed() }
}

/// Walks over ancillary data as a system writes it: level, type and octets of each item.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    system: &'static Numbers,
    octets: &'a [u8],
}

impl<'a> Control<'a> {
    /// Over what recvmsg(2) of the system gave.
    #[must_use]
    pub const fn new(system: &'static Numbers, octets: &'a [u8]) -> Self {
        Self { system, octets }
    }

    /// Whose numbers the items have.
    #[must_use]
    pub const fn system(&self) -> &'static Numbers {
        self.system
    }
}

impl<'a> Iterator for Control<'a> {
    type Item = (c_int, c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (len, rest) = match self.system.cmsg_len {
            4 => self.octets.split_first_chunk().map(|(l, r)| (u32::from_ne_bytes(*l).into(), r)),
            _ => self.octets.split_first_chunk().map(|(l, r)| (u64::from_ne_bytes(*l), r)),
        }?;
        let len = usize::try_from(len).ok()?;
        let (level, rest) = rest.split_first_chunk()?;
        let kind = rest.first_chunk()?;
        let data = self.octets.get(self.system.cmsg_header()..len)?;
        self.octets = self.octets.get(align(len)..).unwrap_or_default();
        Some((c_int::from_ne_bytes(*level), c_int::from_ne_bytes(*kind), data))
    }
}

/// Ancillary data to send.
#[derive(Clone, Debug, Default)]
pub struct ControlBuf(Vec<u8>);

impl ControlBuf {
    /// Appends an item.
    pub fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let (start, header) = (self.0.len(), HERE.cmsg_header());
        let len = header + data.len();
        match HERE.cmsg_len {
            4 => self.0.extend(u32::try_from(len).unwrap_or_default().to_ne_bytes()),
            _ => self.0.extend(len.to_ne_bytes()),
        }
        self.0.extend_from_slice(&level.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.resize(start + header, 0);
        self.0.extend_from_slice(data);
        self.0.resize(start + align(len), 0);
    }
}
