//! Chance from a seed: the delays of the protocols, the same again for the same seed. No secrets.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// A generator of 64 bits a step: SplitMix (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
/// Generators, OOPSLA 2014), its increment seeded too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chance {
    state: u64,
    /// Odd, so that the state takes every value.
    gamma: u64,
}

impl Chance {
    /// Starts from a seed, which may key hashes too: what is sent shows the delays, and they must not
    /// show the seed.
    #[must_use]
    pub fn new(seed: [u64; 2]) -> Self {
        let one_way = |n| SipHasher13::new_with_keys(seed[0], seed[1]).hash(&[n]);
        Self { state: one_way(0), gamma: one_way(1) | 1 }
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(self.gamma);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 for 0. No number is favoured by more than n in 2^32.
    pub fn below(&mut self, n: u32) -> u32 {
        let high = self.bits() >> 32;
        u32::try_from((high * u64::from(n)) >> 32).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outputs that the SplitMix64 of the Java library and of Vigna's splitmix64.c give for
    /// seed 1234567; their increment is the golden gamma.
    #[test]
    fn the_steps_are_those_of_splitmix64() {
        let mut chance = Chance { state: 1_234_567, gamma: 0x9e37_79b9_7f4a_7c15 };
        let steps = [chance.bits(), chance.bits(), chance.bits()];
        assert_eq!(steps, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }

    #[test]
    fn a_number_below_n_takes_each_value_about_as_often() {
        let mut chance = Chance::new([7, 8]);
        let mut seen = [0_u32; 10];
        for _ in 0..10_000 {
            seen[chance.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (900..1100).contains(n)), "{seen:?}");
        assert_eq!((chance.below(0), chance.below(1)), (0, 0));
    }
}
