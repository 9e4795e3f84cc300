//! Records a second, parse and state.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use mcast_proxy::config::model::FastLeave;
use mcast_proxy::engine::core::Input;
use mcast_proxy::wire::{Family, RecordType};

use crate::load::{feed, group, median, processor_time, reports, router, scattered};
use crate::router::Net;

/// Groups on the link.
const SIZES: [u32; 3] = [1_000, 100_000, 1_000_000];
/// Records measured at least in one run: small tables are gone through many times.
const LEAST: u32 = 200_000;
const RUNS: usize = 5;
/// Records in a report, which its size may lower.
const PACKED: usize = 1_000;
/// Packed reports in a millisecond.
const PAUSE: usize = 10;
/// Reports of one record in a millisecond: what a link may send.
const PAUSE_SINGLE: usize = 50;

/// Millions of records a second that a run took in.
fn rate(records: u32, seconds: f64) -> f64 {
    f64::from(records) / seconds / 1e6
}

/// New groups, refreshes or leaves at a table of that size.
fn measure<F: Net>(groups: u32, what: &What) -> f64 {
    let join: Vec<Input> = reports::<F>(0..groups, 2, (RecordType::ToEx, &[]), PACKED);
    let rounds = LEAST.div_ceil(groups);
    median(RUNS, || {
        let mut seconds = 0.0;
        match what {
            What::New => {
                for _ in 0..rounds {
                    let mut router = router(FastLeave::No);
                    seconds += feed(&mut router, &join, PAUSE).0.as_secs_f64();
                }
            }
            What::Refresh { host, records, pause } => {
                let answers =
                    reports::<F>(scattered(groups), *host, (RecordType::IsEx, &[]), *records);
                let mut router = router(FastLeave::No);
                feed(&mut router, &join, PAUSE);
                // The first refresh of a second host is its join.
                feed(&mut router, &answers, *pause);
                for _ in 0..rounds {
                    seconds += feed(&mut router, &answers, *pause).0.as_secs_f64();
                }
            }
            What::Leave(fast_leave) => {
                let leave = reports::<F>(scattered(groups), 2, (RecordType::ToIn, &[]), PACKED);
                for _ in 0..rounds {
                    let mut router = router(*fast_leave);
                    feed(&mut router, &join, PAUSE);
                    seconds += feed(&mut router, &leave, PAUSE).0.as_secs_f64();
                }
            }
        }
        rate(groups * rounds, seconds)
    })
}

enum What {
    New,
    Refresh { host: u8, records: usize, pause: usize },
    Leave(FastLeave),
}

/// A map of addresses and times, refreshed: no parsing, no state but the time.
fn floor<F: Family>(groups: u32) -> f64
where
    F::Addr: std::hash::Hash,
{
    let mut map: HashMap<F::Addr, Instant> = HashMap::new();
    let now = Instant::now();
    (0..groups).for_each(|n| _ = map.insert(group::<F>(n), now));
    let keys: Vec<F::Addr> = scattered(groups).map(group::<F>).collect();
    let rounds = LEAST.div_ceil(groups);
    median(RUNS, || {
        let (start, later) = (processor_time(), Instant::now());
        for key in (0..rounds).flat_map(|_| &keys) {
            if let Some(time) = map.get_mut(black_box(key)) {
                *time = later;
            }
        }
        rate(groups * rounds, (processor_time() - start).as_secs_f64())
    })
}

/// A line for each kind of record whose name has `filter` in it.
pub(crate) fn print<F: Net>(filter: &str) {
    println!("{}: millions of records a second, median of {RUNS} runs", F::AF);
    println!("{:42}{:>8}{:>10}{:>12}", "groups on the link", SIZES[0], SIZES[1], SIZES[2]);
    let line = |name: &str, goal: &str, rate: &dyn Fn(u32) -> f64| {
        if name.contains(filter) {
            let [a, b, c] = SIZES.map(rate);
            let spread = a.max(b).max(c) / a.min(b).min(c);
            println!("{name:42}{a:8.2}{b:10.2}{c:12.2}  fastest/slowest {spread:.1}  {goal}");
        }
    };
    let measured = |what: What| move |groups| measure::<F>(groups, &what);
    let packed = What::Refresh { host: 2, records: PACKED, pause: PAUSE };
    let second = What::Refresh { host: 3, records: PACKED, pause: PAUSE };
    let single = What::Refresh { host: 2, records: 1, pause: PAUSE_SINGLE };
    line("new", "goal 1.00 at 100,000; 3", &measured(What::New));
    line("refresh", "goal 2.00 at 100,000; 3", &measured(packed));
    line("refresh, second host of each group", "goal 3", &measured(second));
    line("refresh, one record a report", "", &measured(single));
    line("leave, fast-leave no", "goal 3", &measured(What::Leave(FastLeave::No)));
    line("leave, fast-leave yes", "goal 3", &measured(What::Leave(FastLeave::Yes)));
    line("floor: HashMap<address, Instant>", "", &floor::<F>);
}
