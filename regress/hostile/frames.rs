//! Octets that are no orders.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use mcast_proxy::imsg::Order;
use mcast_proxy::imsg::frame::{MAX_FRAME_FROM_ENGINE, write_frame};
use mcast_proxy::kroute::fake::Call;
use mcast_proxy::wire::Af;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::side::Daemon;
use super::{DOWN, ONLY_IP4, SECRET, UP};

/// Writes the octets as engine, closes its side, and waits until the parent has closed its own.
fn send(engine: std::os::fd::OwnedFd, octets: &[u8]) {
    let mut stream = UnixStream::from(engine);
    // The parent may close at the first bad frame.
    let _ = stream.write_all(octets);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

fn frame(order: &Order) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(order, &mut out).unwrap();
    out
}

/// No interface became a vif that is not configured.
fn check(daemon: &Daemon) {
    for call in daemon.kernel.calls() {
        if let Call::AddVif { ifindex, .. } = call {
            assert!([UP, DOWN, ONLY_IP4].contains(&ifindex));
        }
    }
}

#[test]
fn bad_frames_end_the_engine() {
    let long = u32::try_from(MAX_FRAME_FROM_ENGINE + 1).unwrap();
    let trailing = [0, 0, 0, 2, 0, 0];
    let cases: [&[u8]; 6] = [
        &long.to_be_bytes(),
        &[0xff; 64],
        &[0, 0, 0, 0],
        &trailing,
        &[0, 0, 0, 1, 200],
        // A statement whose list claims 2^64-1 elements. bincode: 253 begins a u64.
        &[0, 0, 0, 12, 6, 0, 0, 253, 255, 255, 255, 255, 255, 255, 255, 255],
    ];
    for case in cases {
        let daemon = Daemon::start();
        send(daemon.raw_engine(), &[&frame(&Order::Ready)[..], case].concat());
        let next = daemon.engine();
        daemon.stop(next);
    }
}

/// Parents that get random octets and orders.
pub(crate) struct Attack<K> {
    pub(crate) cases: u32,
    pub(crate) start: fn() -> Daemon<K>,
    /// What must hold after each.
    pub(crate) check: fn(&Daemon<K>),
}

impl<K> Attack<K> {
    pub(crate) fn run(&self) {
        let order = prop_oneof![
            any::<u32>().prop_map(Order::Pong),
            any::<bool>().prop_map(Order::Members),
            Just(Order::AddVif { family: Af::Ip4, ifindex: UP }),
            Just(Order::AddVif { family: Af::Ip4, ifindex: DOWN }),
            Just(Order::AddVif { family: Af::Ip4, ifindex: SECRET }),
            Just(Order::ReadCounters(Af::Ip6)),
        ];
        let piece = prop_oneof![
            order.prop_map(|o| frame(&o)),
            proptest::collection::vec(any::<u8>(), 0..64),
            // The length is right, the rest is not.
            proptest::collection::vec(any::<u8>(), 0..250).prop_map(|octets| {
                let mut out = vec![0, 0, 0, u8::try_from(octets.len()).unwrap()];
                out.extend(octets);
                out
            }),
        ];
        let pieces = proptest::collection::vec(piece, 1..20);
        let cases = self.cases;
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let attack = |pieces: Vec<Vec<u8>>| {
            let daemon = (self.start)();
            send(daemon.raw_engine(), &[frame(&Order::Ready), pieces.concat()].concat());
            (self.check)(&daemon);
            let next = daemon.engine();
            daemon.stop(next);
            Ok(())
        };
        TestRunner::new(config).run(&pieces, attack).unwrap();
    }
}

#[test]
fn random_octets_and_orders_harm_nobody() {
    Attack { cases: 100, start: Daemon::start, check }.run();
}
