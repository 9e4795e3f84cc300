//! Everything that can happen to a core, over the kernel of a system: the first octet says of which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy_fuzz::sequence::{self, Behaviour, LENGTH};

/// Operations at most.
const OPERATIONS: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let Some((kernel, operations)) = bytes.split_first() else { return };
    let behaviour = match kernel % 3 {
        0 => Behaviour::Linux,
        1 => Behaviour::OpenBsd,
        _ => Behaviour::FreeBsd,
    };
    sequence::run(behaviour, &operations[..operations.len().min(OPERATIONS * LENGTH)]);
});
