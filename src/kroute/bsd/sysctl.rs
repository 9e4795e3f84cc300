//! sysctl(3) by numbers.
#![expect(unsafe_code, reason = "sysctl(3) has no safe form")]

use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::ptr;

/// Times that a table is read while it grows.
const TRIES: usize = 8;

/// A number that the kernel keeps.
pub(super) fn integer(name: &[c_int]) -> io::Result<c_int> {
    let mut value = [0; size_of::<c_int>()];
    sysctl(name, Some(&mut value))?;
    Ok(c_int::from_ne_bytes(value))
}

/// Two numbers that the kernel keeps.
#[cfg(target_os = "openbsd")]
pub(in crate::kroute) fn shorts(name: &[c_int]) -> io::Result<[u16; 2]> {
    let mut value = [0; 4];
    sysctl(name, Some(&mut value))?;
    let [a, b, c, d] = value;
    Ok([u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d])])
}

/// A table that the kernel keeps, as long as that may be.
pub(super) fn table(name: &[c_int]) -> io::Result<Vec<u8>> {
    for _ in 0..TRIES {
        // It may grow before it is read.
        let mut table = vec![0; sysctl(name, None)?.saturating_mul(2)];
        match sysctl(name, Some(&mut table)) {
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) => {}
            Err(e) => return Err(e),
            Ok(length) => {
                table.truncate(length);
                return Ok(table);
            }
        }
    }
    Err(io::Error::from(io::ErrorKind::ResourceBusy))
}

/// Reads into the buffer, or asks how long that has to be; returns the length.
fn sysctl(name: &[c_int], buffer: Option<&mut [u8]>) -> io::Result<usize> {
    let count = c_uint::try_from(name.len()).map_err(io::Error::other)?;
    let (old, mut length) = buffer.map_or((ptr::null_mut::<c_void>(), 0), |buffer| {
        (buffer.as_mut_ptr().cast(), buffer.len())
    });
    // SAFETY: `name` has `count` numbers, `old` is null or has room for `length` octets, all of them
    // live through the call; a null new value changes nothing.
    let result =
        unsafe { libc::sysctl(name.as_ptr(), count, old, &raw mut length, ptr::null_mut(), 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(length) }
}
