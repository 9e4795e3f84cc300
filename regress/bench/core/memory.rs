//! Octets of heap that state takes, by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use mcast_proxy::config::model::FastLeave;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{Af, RecordType};

use crate::load::{feed, reports, router, source};
use crate::router::{Net, Router};

const GROUPS: u32 = 100_000;
/// Sources of a group beyond the first, in the second of two loads.
const SOURCES: u32 = 8;
/// Until all groups are reported upstream, twice; no group expires before.
const SETTLE: Millis = Millis::from_secs(60);

/// Octets allocated now.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same here.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the pointer came from `System` by `alloc`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Octets a group once a host has said this of all groups and all is settled.
fn growth<F: Net>(router: &mut Router, host: u8, kind: RecordType, sources: &[F::Addr]) -> f64 {
    let inputs = reports::<F>(0..GROUPS, host, (kind, sources), 1_000);
    router.pass(Millis(1));
    router.sent = Vec::new();
    let before = HELD.load(Ordering::Relaxed);
    feed(router, &inputs, 10);
    router.pass(SETTLE);
    router.sent = Vec::new();
    let grown = HELD.load(Ordering::Relaxed).saturating_sub(before);
    f64::from(u32::try_from(grown).unwrap_or(u32::MAX)) / f64::from(GROUPS)
}

/// What a group, a tracked host and a source take.
pub(crate) fn print<F: Net>() {
    let mut plain = router(FastLeave::No);
    let first = growth::<F>(&mut plain, 2, RecordType::ToEx, &[]);
    let host = growth::<F>(&mut plain, 3, RecordType::ToEx, &[]);
    drop(plain);
    let sources: Vec<F::Addr> = (0..=SOURCES).map(source::<F>).collect();
    let [one, many] = [1, sources.len()].map(|count| {
        growth::<F>(&mut router(FastLeave::No), 2, RecordType::ToIn, &sources[..count])
    });
    let goals = match F::AF {
        Af::Ip4 => [160, 32, 64],
        Af::Ip6 => [224, 48, 64],
    };
    let figures = [
        ("group, timer index and upstream entry", first - host),
        ("tracked host", host),
        ("source", (many - one) / f64::from(SOURCES)),
    ];
    println!("{}: octets of heap at {GROUPS} groups", F::AF);
    for ((name, octets), goal) in figures.into_iter().zip(goals) {
        println!("{name:42}{octets:8.1}  goal {goal}");
    }
    println!("{:42}{one:8.1}", "group with one source, host included");
}
