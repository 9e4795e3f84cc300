//! Sandbox, spawn, log, time, poll loop: what differs between systems outside kroute.

pub mod abi;
pub mod consts;
pub mod log;
pub mod passing;
pub mod paths;
pub mod poll;
pub mod sandbox;
pub mod service;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod time;
pub mod user;

use std::io;
use std::os::fd::BorrowedFd;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// Makes reads and writes on the descriptor return at once.
pub fn set_nonblocking(descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
