//! How fast messages may follow each other.

use crate::sys::time::Tick;

/// A limit of messages over time: each takes up an interval, and as many as `ahead` covers may go
/// before their turn.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::core) struct Pace {
    /// Microseconds that a message takes up.
    interval: u64,
    /// Microseconds that messages may be ahead.
    ahead: u64,
    /// Microseconds since the start up to which time is taken up.
    taken: u64,
}

impl Pace {
    /// One message each `interval` microseconds, `ahead` microseconds of them at once.
    pub(in crate::engine::core) const fn new(interval: u64, ahead: u64) -> Self {
        Self { interval, ahead, taken: 0 }
    }

    /// The moment from which the next message may go.
    pub(in crate::engine::core) const fn ready_at(&self) -> Tick {
        Tick(self.taken.saturating_sub(self.ahead).div_ceil(1000))
    }

    /// Whether a message may go.
    pub(in crate::engine::core) fn ready(&self, now: Tick) -> bool {
        self.ready_at() <= now
    }

    /// Counts messages that go at `now`.
    pub(in crate::engine::core) fn take(&mut self, now: Tick, messages: usize) {
        let taken = self.taken.max(now.0.saturating_mul(1000));
        let messages = u64::try_from(messages).unwrap_or(u64::MAX);
        self.taken = taken.saturating_add(messages.saturating_mul(self.interval));
    }

    /// The same, but a message takes up `interval` at most.
    pub(in crate::engine::core) fn no_slower(self, interval: u64) -> Self {
        Self { interval: self.interval.min(interval), ..self }
    }
}
