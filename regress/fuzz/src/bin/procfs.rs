//! What Linux shows of multicast in /proc/net: every parser on every text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::kroute::procfs;
use mcast_proxy::wire::Af;

fuzz_target!(|bytes: &[u8]| {
    let text = &String::from_utf8_lossy(bytes);
    let lines = text.lines().count();
    assert!(procfs::vifs(text).len() <= lines);
    for family in Af::ALL {
        for line in procfs::cache(family, text) {
            assert!(Af::of(line.group) == family && Af::of(line.source) == family);
            assert!(line.outputs.len() <= text.len() && line.vif != Some(u16::MAX));
        }
        for line in procfs::filters(family, text) {
            assert!(Af::of(line.group) == family && Af::of(line.source) == family);
        }
    }
    for (family, members) in Af::ALL.into_iter().zip([procfs::igmp(text), procfs::igmp6(text)]) {
        assert!(members.len() <= lines);
        assert!(members.iter().all(|m| Af::of(m.group) == family && !m.interface.is_empty()));
    }
});
