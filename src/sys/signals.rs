//! Signals as descriptors for the poll loop.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::libc::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::low_level::pipe;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP.
    Reload,
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGUSR1.
    Dump,
}

/// The signals that a daemon listens to.
#[derive(Debug)]
pub struct Signals([(Request, UnixStream); 3]);

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// What socketpair(2) or sigaction(2) returns.
    pub fn new() -> io::Result<Self> {
        Ok(Self([
            (Request::Reload, catch(&[SIGHUP])?),
            (Request::Stop, catch(&[SIGTERM, SIGINT])?),
            (Request::Dump, catch(&[SIGUSR1])?),
        ]))
    }

    /// What to poll for [`Self::pending`], in the order of its answers.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|(_, stream)| stream.as_fd())
    }

    /// What was asked for since the last call; a signal that came twice counts once.
    pub fn pending(&mut self) -> Vec<Request> {
        let asked = |(_, stream): &mut &mut (Request, UnixStream)| {
            let mut any = false;
            while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {
                any = true;
            }
            any
        };
        self.0.iter_mut().filter_map(|mut s| asked(&mut s).then_some(s.0)).collect()
    }
}

fn catch(signals: &[i32]) -> io::Result<UnixStream> {
    let (read, write) = UnixStream::pair()?;
    read.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, write.try_clone()?)?;
    }
    Ok(read)
}
