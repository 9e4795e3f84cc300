//! What the parent tells the engine.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::imsg::Notice;
use mcast_proxy_fuzz::frames;

fuzz_target!(|bytes: &[u8]| {
    frames::check::<Notice>(bytes);
});
