//! What the hosts of a link say, made before the clock runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mcast_proxy::config::model::{FastLeave, SourceNet};
use mcast_proxy::engine::core::{Action, Input};
use mcast_proxy::imsg::{Order, Packet};
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{Address, Af, Family, RecordType, ReportBuilder, Sender};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::router::{DOWN, Net, Router, config};

/// Groups on the link at most: more than the greatest load.
const MAX_GROUPS: u32 = 1 << 21;

/// A prime, so that steps of it visit all numbers below one that is no multiple of it.
const STRIDE: u64 = 7_368_787;

/// A router without groups.
pub(crate) fn router(fast_leave: FastLeave) -> Router {
    let sources: IpAddr = Ipv4Addr::new(198, 51, 100, 0).into();
    let network = ipnet::IpNet::new(sources, 24).expect("a network");
    let mut config = config(SourceNet::Net(network));
    config.defaults.max_groups = Some(MAX_GROUPS);
    config.defaults.fast_leave = Some(fast_leave);
    Router::new(config)
}

fn address<F: Family>(v4: Ipv4Addr, v6: Ipv6Addr) -> F::Addr {
    let ip = match F::AF {
        Af::Ip4 => v4.into(),
        Af::Ip6 => v6.into(),
    };
    F::Addr::from_ip(ip).expect("an address of the family")
}

/// Group number `n`: 225.0.0.0 onward, or ff0e:: onward.
pub(crate) fn group<F: Family>(n: u32) -> F::Addr {
    address::<F>((0xe100_0000 + n).into(), (0xff0e_u128 << 112 | u128::from(n)).into())
}

/// Source number `n`.
pub(crate) fn source<F: Family>(n: u32) -> F::Addr {
    address::<F>((0xc633_6401 + n).into(), (0x2001_0db8_u128 << 96 | u128::from(n + 1)).into())
}

/// Numbers below `count`, each once, far from each other.
pub(crate) fn scattered(count: u32) -> impl Iterator<Item = u32> {
    let number = move |n| u32::try_from(n * STRIDE % u64::from(count)).expect("below `count`");
    (0..count.into()).map(number)
}

/// What host number `host` of the downstream says of the groups, `records` a report at most.
pub(crate) fn reports<F: Net>(
    groups: impl Iterator<Item = u32>,
    host: u8,
    (kind, sources): (RecordType, &[F::Addr]),
    records: usize,
) -> Vec<Input> {
    let from = F::address(DOWN, host);
    let numbers: Vec<u32> = groups.collect();
    let pack = |numbers: &[u32]| {
        let mut builder =
            ReportBuilder::<F>::new(Sender { ifindex: DOWN, source: from, mtu: 1500 });
        numbers.iter().for_each(|n| builder.push(kind, group::<F>(*n), sources));
        builder.finish()
    };
    numbers
        .chunks(records)
        .flat_map(pack)
        .map(|message| {
            let to = F::Addr::from_ip(message.destination).expect("an address of the family");
            let envelope = F::envelope(from, to);
            Input::Packet(Packet { ifindex: DOWN, envelope, bytes: message.bytes })
        })
        .collect()
}

/// Processor time of this process: other programs on the machine hardly change it.
pub(crate) fn processor_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process has its usage");
    let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let sum = micros(usage.user_time()) + micros(usage.system_time());
    Duration::from_micros(u64::try_from(sum).expect("a time since the start"))
}

/// Takes what the core wants done; how many orders for routes are among it.
fn drain(router: &mut Router) -> usize {
    let mut orders = 0;
    while let Some(action) = router.core.poll_action() {
        orders += usize::from(matches!(action, Action::Parent(Order::SetRoute(_))));
    }
    orders
}

/// Hands the inputs to the core as the engine does, and tells the time that took and the orders for
/// routes that came of it. One in `pause` inputs is followed by a millisecond.
pub(crate) fn feed(router: &mut Router, inputs: &[Input], pause: usize) -> (Duration, usize) {
    let (start, mut orders) = (processor_time(), 0);
    for some in inputs.chunks(pause) {
        for input in some {
            router.core.handle(router.now, input);
            orders += drain(router);
        }
        router.now.0 += 1;
    }
    (processor_time() - start, orders)
}

/// Lets time pass; what is due on the way is done.
pub(crate) fn pass(router: &mut Router, time: Millis) {
    let end = router.now + time;
    while let Some(due) = router.core.next_deadline().filter(|due| *due <= end) {
        router.now = router.now.max(due);
        router.core.handle(router.now, &Input::Time);
        drain(router);
    }
    router.now = end;
}

/// The middle one of some runs.
pub(crate) fn median(runs: usize, mut run: impl FnMut() -> f64) -> f64 {
    let mut figures: Vec<f64> = (0..runs).map(|_| run()).collect();
    figures.sort_by(f64::total_cmp);
    figures[runs / 2]
}
