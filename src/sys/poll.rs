//! Waiting for descriptors and the time.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Descriptors to wait for, in an order that the caller knows.
#[derive(Debug, Default)]
pub struct Poll<'fd>(Vec<PollFd<'fd>>);

impl<'fd> Poll<'fd> {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the descriptor can be read, or also written when `write`; returns its place.
    pub fn add(&mut self, descriptor: BorrowedFd<'fd>, write: bool) -> usize {
        let flags = if write { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        self.0.push(PollFd::new(descriptor, flags));
        self.0.len().saturating_sub(1)
    }

    /// Sleeps until one is ready, a signal comes, or the time (rounded up to milliseconds) is over;
    /// `None` sleeps without end.
    ///
    /// # Errors
    /// What poll(2) returns, apart from an interruption.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map_or(PollTimeout::NONE, |t| {
            let millis = t.as_nanos().div_ceil(1_000_000);
            i32::try_from(millis).ok().and_then(|m| m.try_into().ok()).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut self.0, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether the descriptor at this place can be read, or is closed or broken, which reading tells.
    #[must_use]
    pub fn readable(&self, place: usize) -> bool {
        self.has(place, PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR)
    }

    /// Whether the descriptor at this place can be written to.
    #[must_use]
    pub fn writable(&self, place: usize) -> bool {
        self.has(place, PollFlags::POLLOUT)
    }

    fn has(&self, place: usize, flags: PollFlags) -> bool {
        self.0.get(place).and_then(PollFd::revents).is_some_and(|r| r.intersects(flags))
    }
}
