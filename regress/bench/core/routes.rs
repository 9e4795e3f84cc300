//! Flows decided a second: the kernel asks, and the order for its route comes back.

use mcast_proxy::config::model::FastLeave;
use mcast_proxy::engine::core::Input;
use mcast_proxy::imsg::Notice;
use mcast_proxy::kroute::{Upcall, UpcallKind};
use mcast_proxy::wire::RecordType;

use crate::load::{feed, group, median, reports, router, source};
use crate::router::{Net, UP};

const RUNS: usize = 5;

/// Millions of flows a second until the table has `routes` entries, two flows a group.
fn measure<F: Net>(routes: u32) -> f64 {
    let groups = routes / 2;
    let join = reports::<F>(0..groups, 2, (RecordType::ToEx, &[]), 1_000);
    let upcalls: Vec<Input> = (0..routes)
        .map(|n| {
            Input::Parent(Notice::Upcall(Upcall {
                kind: UpcallKind::NoCache,
                ifindex: UP,
                source: source::<F>(n / groups).into(),
                group: group::<F>(n % groups).into(),
            }))
        })
        .collect();
    median(RUNS, || {
        let mut router = router(FastLeave::No);
        feed(&mut router, &join, 10);
        let (time, orders) = feed(&mut router, &upcalls, 100);
        assert_eq!(orders, upcalls.len(), "each flow gets its route");
        f64::from(routes) / time.as_secs_f64() / 1e6
    })
}

/// A line for each size.
pub(crate) fn print<F: Net>() {
    println!("{}: millions of upcalls a second, each with its order, median of {RUNS} runs", F::AF);
    for routes in [1_000, 100_000] {
        println!("{:42}{:8.2}", format!("{routes} (S,G) routes"), measure::<F>(routes));
    }
}
