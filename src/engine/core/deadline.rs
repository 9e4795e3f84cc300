//! Deadlines in four octets, for records that exist a million times.

use std::num::NonZeroU32;

use crate::sys::time::{Millis, Tick};

/// A moment at most [`Deadline::HORIZON`] away from the time it is compared with, to the
/// millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(NonZeroU32);

impl Deadline {
    /// Farthest that a deadline may lie ahead or behind: 24 days.
    pub const HORIZON: Millis = Millis(i32::MAX as u32);

    /// The moment `wait` after `now`.
    #[must_use]
    pub fn after(now: Tick, wait: Millis) -> Self {
        let at = low(now).wrapping_add(wait.min(Self::HORIZON).0);
        Self(NonZeroU32::new(at).unwrap_or(NonZeroU32::MIN))
    }

    /// What is left of it; zero once it has come.
    #[must_use]
    pub fn left(self, now: Tick) -> Millis {
        let left = self.0.get().wrapping_sub(low(now));
        if left > Self::HORIZON.0 { Millis(0) } else { Millis(left) }
    }

    /// Whether it has come.
    #[must_use]
    pub fn due(self, now: Tick) -> bool {
        self.left(now).0 == 0
    }

    /// The same as a tick; not before `now`.
    #[must_use]
    pub fn tick(self, now: Tick) -> Tick {
        now + self.left(now)
    }
}

/// The low half: comparisons are modulo 2^32.
#[expect(clippy::cast_possible_truncation, reason = "deadlines are compared modulo 2^32")]
const fn low(now: Tick) -> u32 {
    now.0 as u32
}

/// Seconds since the start, for ages.
#[must_use]
pub fn seconds(now: Tick) -> u32 {
    u32::try_from(now.0 / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_survives_the_wrap_of_its_clock() {
        let now = Tick(u64::from(u32::MAX) - 10);
        let deadline = Deadline::after(now, Millis(100));
        assert_eq!(deadline.left(now), Millis(100));
        assert!(!deadline.due(now + Millis(99)));
        assert!(deadline.due(now + Millis(100)));
        assert!(deadline.due(now + Millis(5000)));
        assert_eq!(deadline.tick(now), now + Millis(100));
    }
}
