//! Octets of heap that state takes, by an allocator that counts.

use mcast_proxy::config::model::FastLeave;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{Af, RecordType};

use crate::counting::{held, made};
use crate::load::{feed, pass, reports, router, source};
use crate::router::{Net, Router};

const GROUPS: u32 = 100_000;
/// Groups with sources: fewer, so that their reports upstream are sent in time.
const WITH_SOURCES: u32 = 10_000;
/// Sources of a group beyond the first, in the second of two loads.
const SOURCES: u32 = 8;
/// Until all groups are reported upstream, twice; no group expires before.
const SETTLE: Millis = Millis::from_secs(60);

/// Octets a group once a host has said this of so many groups and all is settled.
fn growth<F: Net>(
    router: &mut Router,
    groups: u32,
    host: u8,
    (kind, sources): (RecordType, &[F::Addr]),
) -> f64 {
    let inputs = reports::<F>(0..groups, host, (kind, sources), 1_000);
    let before = held();
    feed(router, &inputs, 10);
    pass(router, SETTLE);
    let grown = held().saturating_sub(before);
    f64::from(u32::try_from(grown).unwrap_or(u32::MAX)) / f64::from(groups)
}

/// What a group, a tracked host and a source take.
pub(crate) fn print<F: Net>() {
    let mut plain = router(FastLeave::No);
    let [first, host] =
        [2, 3].map(|host| growth::<F>(&mut plain, GROUPS, host, (RecordType::ToEx, &[])));
    let answers = reports::<F>(0..GROUPS, 2, (RecordType::IsEx, &[]), 1);
    let before = made();
    feed(&mut plain, &answers, 50);
    let allocations = made() - before;
    drop(plain);
    let sources: Vec<F::Addr> = (0..=SOURCES).map(source::<F>).collect();
    let [one, many] = [&sources[..1], &sources].map(|sources| {
        growth::<F>(&mut router(FastLeave::No), WITH_SOURCES, 2, (RecordType::ToIn, sources))
    });
    let goals = match F::AF {
        Af::Ip4 => [160, 32, 64],
        Af::Ip6 => [224, 48, 64],
    };
    let figures = [
        ("group, its host, timer index, upstream", first),
        ("tracked host beyond the first", host),
        ("source", (many - one) / f64::from(SOURCES)),
    ];
    println!("{}: octets of heap at {GROUPS} groups; of sources at {WITH_SOURCES}", F::AF);
    for ((name, octets), goal) in figures.into_iter().zip(goals) {
        println!("{name:42}{octets:8.1}  goal {goal}");
    }
    println!("{:42}{one:8.1}", "group with one source, host included");
    println!("allocations for {} refreshing reports: {allocations}, goal 0", answers.len());
}
