//! Time codes: a code is the greatest whose value is not above the one encoded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::wire::{decode8, decode16, encode8, encode16};

fuzz_target!(|bytes: &[u8]| {
    let Some(octets) = bytes.first_chunk::<4>() else { return };
    let value = u32::from_be_bytes(*octets);
    // From an even spread over the lengths of a number, not over its values.
    for value in [value, value >> (value & 31)] {
        let code = encode8(value);
        assert!(decode8(code) <= value);
        assert!(code == u8::MAX || decode8(code + 1) > value);
        let code = encode16(value);
        assert!(decode16(code) <= value);
        assert!(code == u16::MAX || decode16(code + 1) > value);
    }
});
