//! Socket calls that nix has no safe form of.
#![expect(unsafe_code, reason = "socket options and protocols that libc alone offers")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::abi::Request;

/// A socket that does not block and that no other program inherits.
pub(super) fn open(domain: c_int, kind: c_int, protocol: c_int) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: socket(2) takes three numbers and touches no memory of ours.
    let fd = unsafe { libc::socket(domain, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets a socket option to a value of the option's own C type.
pub(super) fn set<T>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    let value = std::ptr::from_ref(value).cast();
    // SAFETY: `value` points to `length` octets that live through the call; the kernel only reads.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value, length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// ioctl(2) with the structure that the request takes.
pub(super) fn ioctl<T: Request>(fd: BorrowedFd<'_>, argument: &mut T) -> io::Result<()> {
    let argument = std::ptr::from_mut(argument);
    // SAFETY: `T` is what the kernel reads and fills for this request, and `argument` is one.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), T::NUMBER, argument) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The routing table that a socket is in.
#[cfg(target_os = "openbsd")]
pub(super) fn routing_table(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut table = 0u32;
    let mut length: libc::socklen_t = 4;
    let (value, room) = ((&raw mut table).cast(), &raw mut length);
    // SAFETY: `value` has room for `length` octets, and both live through the call.
    let result =
        unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RTABLE, value, room) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(table) }
}
