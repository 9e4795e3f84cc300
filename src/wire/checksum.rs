//! The Internet checksum. RFC 1071.

/// A running sum; parts other than the last have a multiple of four octets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Adds the octets, zeros after the last of them.
    ///
    /// The sum does not depend on the order of octets in a word (RFC 1071, section 2), so that it is
    /// taken of native words and turned round at the end; 64 bits hold that of 2^32 words.
    pub(super) fn add(self, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let word = |w: &[u8; 4]| u64::from(u32::from_ne_bytes(*w));
        Self(words.iter().chain([&last]).fold(self.0, |sum, w| sum.wrapping_add(word(w))))
    }

    /// The checksum: 0 of octets that hold a right one.
    pub(super) fn checksum(self) -> u16 {
        let mut sum = self.0;
        while let high @ 1.. = sum >> 16 {
            sum = (sum & 0xffff).wrapping_add(high);
        }
        !u16::from_be(u16::try_from(sum).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Sum;

    #[test]
    fn rfc_1071_section_3_example() {
        let sum = Sum::default().add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.checksum(), !0xddf2);
    }

    #[test]
    fn an_odd_octet_is_followed_by_zeros() {
        // 0x0102 + 0x0300, by hand.
        assert_eq!(Sum::default().add(&[1, 2, 3]).checksum(), !0x0402);
    }

    #[test]
    fn carries_are_folded_until_none_is_left() {
        // 0xffff + 0xffff + 0x0001 = 0x1ffff -> 0x10000 -> 1, by hand.
        let sum = Sum::default().add(&[0xff; 4]).add(&[0, 1]);
        assert_eq!(sum.checksum(), !0x0001);
    }
}
