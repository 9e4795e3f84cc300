//! The only place that asks the clock.

use std::ops::{Add, AddAssign, Sub};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// A moment, in milliseconds since the process's clock was made; never negative, never wraps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Tick(pub u64);

/// A length of time, in milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Millis(pub u32);

impl Millis {
    /// From whole seconds, saturating.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        Self(secs.saturating_mul(1000))
    }
}

impl Add<Millis> for Tick {
    type Output = Self;
    fn add(self, rhs: Millis) -> Self {
        Self(self.0.saturating_add(u64::from(rhs.0)))
    }
}

impl AddAssign<Millis> for Tick {
    fn add_assign(&mut self, rhs: Millis) {
        *self = *self + rhs;
    }
}

/// The time from `rhs` to `self`; zero when `rhs` is later.
impl Sub for Tick {
    type Output = Millis;
    fn sub(self, rhs: Self) -> Millis {
        Millis(u32::try_from(self.0.saturating_sub(rhs.0)).unwrap_or(u32::MAX))
    }
}

/// A monotonic clock whose first tick is 0.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts the clock.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "starting a clock is an act, not a default")]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Tick {
        Tick(u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// How long a poll may sleep to wake at `deadline`: rounded up, so that it never spins.
    #[must_use]
    pub fn until(&self, deadline: Tick) -> Duration {
        let elapsed = self.0.elapsed();
        Duration::from_millis(deadline.0.saturating_add(1)).saturating_sub(elapsed)
    }
}

/// Seconds since 1970; 0 where the system's clock is before that.
#[must_use]
pub fn since_epoch() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
