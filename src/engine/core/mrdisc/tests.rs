//! Scenarios with virtual time, in both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;
use crate::wire::{Address, Af, V4, V6};

const ANNOUNCED: Announced =
    Announced { interval: Millis(20_000), query_interval: Millis(125_000), robustness: 2 };

fn address<F: Family>(n: u8) -> F::Addr {
    let address = match F::AF {
        Af::Ip4 => IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)),
        Af::Ip6 => IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n.into())),
    };
    F::Addr::from_ip(address).unwrap()
}

struct Bench<F: Family> {
    mrdisc: Mrdisc<F>,
    now: Tick,
}

impl<F: Family> Bench<F> {
    fn new(seed: u64) -> Self {
        let mut mrdisc = Mrdisc::new(7, [seed, 3]);
        mrdisc.announce(ANNOUNCED);
        Self { mrdisc, now: Tick(0) }
    }

    fn started(seed: u64) -> Self {
        let mut bench = Self::new(seed);
        bench.mrdisc.start(Tick(0), Endpoint { source: address::<F>(1), mtu: 1500 });
        bench
    }

    /// When advertisements go out within the time, each checked.
    fn run(&mut self, wait: Millis) -> Vec<Tick> {
        let end = self.now + wait;
        let mut sent = Vec::new();
        while let Some(deadline) = self.mrdisc.next_deadline().filter(|d| *d <= end) {
            assert!(deadline > self.now, "it spins");
            self.now = deadline;
            self.mrdisc.on_time(self.now);
            while let Some((kind, transmit)) = self.mrdisc.poll_transmit() {
                assert_eq!(kind, Kind::Advertisement);
                assert_eq!(transmit, expected::<F>(self.mrdisc.advertisement()));
                sent.push(self.now);
            }
        }
        self.now = end;
        sent
    }

    fn neighbors(&self) -> Vec<F::Addr> {
        self.mrdisc.neighbors(self.now).collect()
    }

    fn hear(&mut self, from: u8, interval: u8) {
        let message = wire::Mrdisc::Advertisement { interval, query_interval: 0, robustness: 0 };
        self.mrdisc.on_message(self.now, address::<F>(from), message);
    }
}

fn expected<F: Family>(message: wire::Mrdisc) -> Transmit {
    wire::mrdisc(&Sender::<F> { ifindex: 7, source: address::<F>(1), mtu: 1500 }, message)
}

/// Section 4: three advertisements at most 2 s apart, then each 20 s, 0.5 s more or less.
fn the_first_advertisements_come_soon_and_then_one_an_interval<F: Family>() {
    let mut waits = Vec::new();
    for seed in 0..50 {
        let mut last = Tick(0);
        let sent = Bench::<F>::started(seed).run(Millis(200_000));
        for (n, at) in sent.into_iter().enumerate() {
            let wait = (at - last).0;
            let allowed = if n < 3 { 1..=2000 } else { 19_500..=20_500 };
            assert!(allowed.contains(&wait), "advertisement {n} after {wait}");
            waits.push(wait);
            last = at;
        }
        assert!(last > Tick(180_000));
    }
    let spread = |from, to| waits.iter().filter(|w| (from..to).contains(*w)).count();
    assert!(spread(0, 1000) > 0 && spread(1000, 2000) > 0, "{waits:?}");
    assert!(spread(19_500, 19_700) > 0 && spread(20_300, 20_501) > 0, "{waits:?}");
}

fn what_is_announced_follows_the_link<F: Family>() {
    let mut bench = Bench::<F>::started(1);
    let advertisement =
        wire::Mrdisc::Advertisement { interval: 20, query_interval: 125, robustness: 2 };
    assert_eq!(bench.mrdisc.advertisement(), advertisement);
    let none = Announced { query_interval: Millis(0), robustness: 0, ..ANNOUNCED };
    bench.mrdisc.announce(none);
    let advertisement =
        wire::Mrdisc::Advertisement { interval: 20, query_interval: 0, robustness: 0 };
    assert_eq!(bench.mrdisc.advertisement(), advertisement);
    let most = Announced { interval: Millis(180_000), query_interval: Millis(u32::MAX), ..none };
    bench.mrdisc.announce(most);
    let advertisement =
        wire::Mrdisc::Advertisement { interval: 180, query_interval: u16::MAX, robustness: 0 };
    assert_eq!(bench.mrdisc.advertisement(), advertisement);
}

/// Ten who ask at once get one answer within half a second; whoever asks all the time gets at most
/// ten answers a second.
fn solicitations_are_answered_together<F: Family>() {
    let mut bench = Bench::<F>::started(1);
    bench.run(Millis(10_000));
    let asked = bench.now;
    for _ in 0..10 {
        bench.mrdisc.on_message(bench.now, address::<F>(9), wire::Mrdisc::Solicitation);
    }
    let sent = bench.run(Millis(5000));
    assert_eq!(sent.len(), 1);
    assert!(sent[0] > asked && sent[0] <= asked + Millis(500));
    let mut sent = Vec::new();
    for _ in 0..60_000 {
        bench.mrdisc.on_solicitation(bench.now);
        sent.extend(bench.run(Millis(1)));
    }
    assert!(sent.len() > 100, "{sent:?}");
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= Millis(100)), "{sent:?}");
}

fn the_end_of_forwarding_is_said_once<F: Family>() {
    let mut bench = Bench::<F>::started(1);
    bench.run(Millis(10_000));
    bench.mrdisc.stop();
    bench.mrdisc.stop();
    let termination = expected::<F>(wire::Mrdisc::Termination);
    assert_eq!(bench.mrdisc.poll_transmit(), Some((Kind::Termination, termination)));
    bench.mrdisc.on_solicitation(bench.now);
    assert_eq!((bench.mrdisc.poll_transmit(), bench.mrdisc.next_deadline()), (None, None));
}

fn an_interface_that_is_down_says_nothing_and_starts_anew<F: Family>() {
    let mut bench = Bench::<F>::started(1);
    bench.run(Millis(10_000));
    bench.mrdisc.on_solicitation(bench.now);
    bench.mrdisc.down();
    assert_eq!((bench.mrdisc.poll_transmit(), bench.mrdisc.next_deadline()), (None, None));
    let endpoint = Endpoint { source: address::<F>(1), mtu: 1500 };
    bench.mrdisc.start(bench.now, endpoint);
    assert_eq!(bench.run(Millis(6000)).len(), 3);
    bench.mrdisc.start(bench.now, endpoint);
    assert_eq!(bench.run(Millis(6000)).len(), 0, "the same again changes nothing");
}

/// Section 3.1.5: a neighbor is given up after three of its intervals.
fn neighbors_are_listed_until_they_are_silent_or_gone<F: Family>() {
    let mut bench = Bench::<F>::new(1);
    bench.hear(3, 20);
    bench.hear(2, 4);
    assert_eq!(bench.neighbors(), [address::<F>(2), address::<F>(3)]);
    bench.now += Millis(11_999);
    assert_eq!(bench.neighbors().len(), 2);
    bench.now += Millis(1);
    assert_eq!(bench.neighbors(), [address::<F>(3)]);
    bench.hear(3, 20);
    bench.now += Millis(59_999);
    assert_eq!(bench.neighbors(), [address::<F>(3)]);
    bench.mrdisc.on_message(bench.now, address::<F>(3), wire::Mrdisc::Termination);
    assert_eq!(bench.neighbors(), []);
}

fn neighbors_are_bounded<F: Family>() {
    let mut bench = Bench::<F>::new(1);
    for n in 0..=200 {
        bench.hear(n, 20);
    }
    assert_eq!(bench.neighbors().len(), MAX_NEIGHBORS);
    bench.hear(0, 180);
    bench.now += Millis(60_000);
    assert_eq!(bench.neighbors(), [address::<F>(0)], "those that are there are refreshed");
    bench.hear(200, 20);
    assert_eq!(bench.neighbors().len(), 2, "and make room once they are silent");
}

macro_rules! both {
    ($($name:ident)*) => {
        mod ip4 {
            $(#[test] fn $name() { super::$name::<super::V4>(); })*
        }
        mod ip6 {
            $(#[test] fn $name() { super::$name::<super::V6>(); })*
        }
    };
}

both! {
    the_first_advertisements_come_soon_and_then_one_an_interval
    what_is_announced_follows_the_link
    solicitations_are_answered_together
    the_end_of_forwarding_is_said_once
    an_interface_that_is_down_says_nothing_and_starts_anew
    neighbors_are_listed_until_they_are_silent_or_gone
    neighbors_are_bounded
}
