//! A netlink socket: requests, dumps, and the pieces that messages are made of.

use std::io;
use std::os::fd::AsFd;

use netlink_packet_core::{
    NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NlasIterator,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeVal;

const NLM_F_DUMP_INTR: u16 = 0x10;

/// Octets of one datagram: the kernel makes dumps of 32 KiB at most.
const DATAGRAM: usize = 32 << 10;

/// Seconds that an answer is waited for; the kernel gives it at once.
const ANSWER_WAIT: i64 = 5;

/// A socket of `NETLINK_ROUTE`.
pub(super) struct Netlink {
    pub(super) socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket that hears these groups (a mask of `RTMGRP_*`).
    pub(super) fn open(groups: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        socket.connect(&SocketAddr::new(0, 0))?;
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &TimeVal::new(ANSWER_WAIT, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; DATAGRAM] })
    }

    /// Makes a change and waits until the kernel has made it.
    pub(super) fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.send(kind, flags | NLM_F_ACK, body)?;
        while !self.answers(&mut |_, _| {})?.0 {}
        Ok(())
    }

    /// Calls `each` with the type and body of every message of a dump. False when the table changed
    /// meanwhile, so that something may be missing or come twice.
    pub(super) fn dump(
        &mut self,
        kind: u16,
        body: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<bool> {
        self.send(kind, NLM_F_DUMP, body)?;
        let mut torn = false;
        loop {
            let (done, interrupted) = self.answers(&mut each)?;
            torn |= interrupted;
            if done {
                return Ok(!torn);
            }
        }
    }

    /// Reads one datagram if one waits, and gives its messages; false when none waits.
    pub(super) fn poll(&mut self, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<bool> {
        let mut rest = match self.receive(libc::MSG_DONTWAIT) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            other => other?,
        };
        while let Some((message, after)) = split(rest) {
            each(message.message_type(), message.payload());
            rest = after;
        }
        Ok(true)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let length = u32::try_from(16 + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(16 + body.len());
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0u32.to_ne_bytes());
        message.extend_from_slice(body);
        self.socket.send(&message, 0).map(drop)
    }

    fn receive(&mut self, flags: i32) -> io::Result<&[u8]> {
        let length = loop {
            match self.socket.recv(&mut self.buffer.as_mut_slice(), flags) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        Ok(self.buffer.get(..length).unwrap_or_default())
    }

    /// Reads one datagram of the answer: whether it is the last, and whether it is inconsistent.
    fn answers(&mut self, each: &mut dyn FnMut(u16, &[u8])) -> io::Result<(bool, bool)> {
        let sequence = self.sequence;
        let mut rest = self.receive(0)?;
        let mut torn = false;
        while let Some((message, after)) = split(rest) {
            rest = after;
            if message.sequence_number() != sequence {
                continue;
            }
            torn |= message.flags() & NLM_F_DUMP_INTR != 0;
            match message.message_type() {
                NLMSG_DONE => return Ok((true, torn)),
                NLMSG_ERROR => {
                    let code =
                        message.payload().first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
                    let result = io::Error::from_raw_os_error(code.saturating_neg());
                    return if code == 0 { Ok((true, torn)) } else { Err(result) };
                }
                kind => each(kind, message.payload()),
            }
        }
        Ok((false, torn))
    }
}

/// The first message of a datagram, and what follows it; lengths are those of `linux/netlink.h`,
/// rounded up to four.
fn split(bytes: &[u8]) -> Option<(NetlinkBuffer<&[u8]>, &[u8])> {
    let message = NetlinkBuffer::new_checked(bytes).ok()?;
    let length = usize::try_from(message.length()).ok()?.next_multiple_of(4);
    Some((message, bytes.get(length..).unwrap_or_default()))
}

/// The attributes of a message, up to the first that is malformed.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(Result::ok).map(|a| {
        let length = usize::from(a.length());
        (a.kind(), a.into_inner().get(NLA_HEADER_SIZE..length).unwrap_or_default())
    })
}
