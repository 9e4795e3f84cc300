//! Bytes and descriptors over a unix socket.
#![allow(unsafe_code)]

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

/// Sends `bytes`, the descriptor with the first of them; returns how many the socket took.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<usize> {
    let raw = descriptor.map(|d| [d.as_raw_fd()]);
    let rights = raw.as_ref().map(|r| [ControlMessage::ScmRights(r)]);
    let control = rights.as_ref().map_or(&[][..], |r| &r[..]);
    let iov = [IoSlice::new(bytes)];
    Ok(sendmsg::<UnixAddr>(socket.as_raw_fd(), &iov, control, MsgFlags::MSG_NOSIGNAL, None)?)
}

/// Receives into `buffer`; returns how many octets, 0 at the end of the stream.
///
/// Descriptors that came along are appended to `descriptors`. Where that is `None` the kernel
/// discards them; that, and more than fit, is an error of kind `InvalidData`.
pub fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    descriptors: Option<&mut Vec<OwnedFd>>,
) -> io::Result<usize> {
    let mut space = nix::cmsg_space!(RawFd);
    let mut iov = [IoSliceMut::new(buffer)];
    let control = descriptors.is_some().then_some(&mut space[..]);
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut iov, control, MsgFlags::MSG_CMSG_CLOEXEC)?;
    let Ok(received) = message.cmsgs() else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors"));
    };
    if let Some(descriptors) = descriptors {
        for raw in received.filter_map(rights).flatten() {
            // SAFETY: the kernel has just made this descriptor for us; nothing else knows it.
            descriptors.push(unsafe { OwnedFd::from_raw_fd(raw) });
        }
    }
    Ok(message.bytes)
}

fn rights(message: ControlMessageOwned) -> Option<Vec<RawFd>> {
    if let ControlMessageOwned::ScmRights(raw) = message { Some(raw) } else { None }
}

/// Whether the error only means that nothing can be done now.
#[must_use]
pub fn would_block(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|e| matches!(Errno::from_raw(e), Errno::EAGAIN | Errno::EINTR))
}
