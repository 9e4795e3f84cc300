//! Times as floating-point codes. RFC 9776, sections 4.1.1 and 4.1.7; RFC 9777, section 5.1.3.

/// Bits of the exponent of every code.
const EXPONENT: u32 = 3;

/// The value of a Max Resp Code or QQIC.
#[must_use]
pub fn decode8(code: u8) -> u32 {
    decode(code.into(), 4)
}

/// The value of an MLDv2 Maximum Response Code.
#[must_use]
pub fn decode16(code: u16) -> u32 {
    decode(code.into(), 12)
}

/// The code of the greatest value that is representable and not above `value`.
#[must_use]
pub fn encode8(value: u32) -> u8 {
    u8::try_from(encode(value, 4)).unwrap_or(u8::MAX)
}

/// The code of the greatest value that is representable and not above `value`.
#[must_use]
pub fn encode16(value: u32) -> u16 {
    u16::try_from(encode(value, 12)).unwrap_or(u16::MAX)
}

#[expect(clippy::arithmetic_side_effects, reason = "no code exceeds 16 bits, no value 23")]
fn decode(code: u32, mantissa: u32) -> u32 {
    let linear = 1 << (mantissa + EXPONENT);
    if code < linear {
        return code;
    }
    let implied = 1 << mantissa;
    (code & (implied - 1) | implied) << ((code >> mantissa & 7) + EXPONENT)
}

#[expect(clippy::arithmetic_side_effects, reason = "a value of b > mantissa + 3 bits has a code")]
fn encode(value: u32, mantissa: u32) -> u32 {
    let linear = 1 << (mantissa + EXPONENT);
    if value < linear {
        return value;
    }
    let greatest = 2 * linear - 1;
    if value >= decode(greatest, mantissa) {
        return greatest;
    }
    let exponent = u32::BITS - value.leading_zeros() - (mantissa + EXPONENT + 1);
    linear | exponent << mantissa | value >> (exponent + EXPONENT) & ((1 << mantissa) - 1)
}

#[cfg(test)]
mod tests {
    use super::{decode8, decode16, encode8, encode16};

    /// Worked by hand from the formulas of RFC 9776, section 4.1.1.
    #[test]
    fn codes_of_8_bits() {
        for (value, code, back) in [
            (0, 0, 0),
            (100, 0x64, 100),
            (127, 0x7f, 127),
            (128, 0x80, 128),
            (135, 0x80, 128),
            (200, 0x89, 200),
            (255, 0x8f, 248),
            (300, 0x92, 288),
            (1023, 0xaf, 992),
            (31743, 0xfe, 30720),
            (31744, 0xff, 31744),
            (u32::MAX, 0xff, 31744),
        ] {
            assert_eq!((encode8(value), decode8(code)), (code, back), "{value}");
        }
    }

    /// Worked by hand from the formulas of RFC 9777, section 5.1.3.
    #[test]
    fn codes_of_16_bits() {
        for (value, code, back) in [
            (10_000, 0x2710, 10_000),
            (32_767, 0x7fff, 32_767),
            (32_768, 0x8000, 32_768),
            (32_775, 0x8000, 32_768),
            (40_000, 0x8388, 40_000),
            (65_535, 0x8fff, 65_528),
            (65_536, 0x9000, 65_536),
            (100_000, 0x986a, 100_000),
            (8_387_583, 0xfffe, 8_386_560),
            (8_387_584, 0xffff, 8_387_584),
            (u32::MAX, 0xffff, 8_387_584),
        ] {
            assert_eq!((encode16(value), decode16(code)), (code, back), "{value}");
        }
    }

    #[test]
    fn every_code_is_the_code_of_its_value_and_of_all_up_to_the_next() {
        for code in 0..u8::MAX {
            assert_eq!(encode8(decode8(code)), code);
            assert_eq!(encode8(decode8(code + 1) - 1), code);
        }
        for code in 0..u16::MAX {
            assert_eq!(encode16(decode16(code)), code);
            assert_eq!(encode16(decode16(code + 1) - 1), code);
        }
    }
}
