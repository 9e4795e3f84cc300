//! Engines that die, hang and flood.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use mcast_proxy::imsg::{Notice, Order};
use mcast_proxy::kroute::fake::{Call, Packet};
use mcast_proxy::kroute::{InterfaceChange, Output, Route, RouteKey};
use mcast_proxy::wire::Af;

use super::side::{Daemon, Engine};
use super::{DISABLED, DOWN, ONLY_IP4, UP, mroute};

fn route() -> Route {
    Route {
        key: RouteKey { source: Some([10, 0, 11, 9].into()), group: [239, 1, 1, 1].into() },
        incoming: UP,
        outgoing: vec![Output { ifindex: DOWN, threshold: 1 }],
    }
}

#[test]
fn a_new_engine_is_told_everything_and_the_routes_stay() {
    let daemon = Daemon::start();
    let mut engine = daemon.engine();
    engine.add_vif(Af::Ip4, UP).unwrap();
    engine.add_vif(Af::Ip4, DOWN).unwrap();
    engine.send(&Order::SetRoute(route()));
    engine.send(&Order::Add { client: 1, statement: mroute("up0", "down0") });
    engine.sync();
    let calls = daemon.kernel.calls();
    assert!(calls.iter().any(|c| matches!(c, Call::SetEntry(_))), "{calls:?}");
    drop(engine);

    let mut next = daemon.engine();
    let mut told = std::mem::take(&mut next.told).into_iter();
    let Some(Notice::Start(start)) = told.next() else { panic!("the first is Start") };
    assert_eq!(start.restarts, 1);
    assert_eq!(start.config.mroutes.len(), 1, "run-time additions are in force");
    assert!(matches!(told.next(), Some(Notice::Descriptor(_))));
    for ifindex in [UP, DOWN, DISABLED, ONLY_IP4] {
        let Some(Notice::Interface(InterfaceChange::Present(interface))) = told.next() else {
            panic!("interface {ifindex}")
        };
        assert_eq!(interface.ifindex, ifindex);
    }
    assert_eq!(told.next(), Some(Notice::Installed(route())));
    assert_eq!(told.next(), Some(Notice::Begin));
    assert_eq!(next.given.len(), 1);
    // Vifs are there still, and are not made anew.
    let again = next.add_vif(Af::Ip4, UP);
    assert!(again.is_ok());
    assert_eq!(daemon.kernel.calls(), []);
    daemon.stop(next);
}

/// The kernel asks about a flow once, and the engine that heard it may be gone.
#[test]
fn a_new_engine_hears_open_questions() {
    let daemon = Daemon::start();
    let mut engine = daemon.engine();
    engine.add_vif(Af::Ip4, UP).unwrap();
    let packet = |last| Packet {
        ifindex: UP,
        source: [10, 0, 11, 9].into(),
        group: [239, 1, 1, last].into(),
        ttl: 8,
        length: 100,
    };
    for last in [1, 2] {
        assert!(daemon.kernel.packet(packet(last)).is_empty(), "it waits");
    }
    let asked = |engine: &mut Engine| {
        engine.until(|n| if let Notice::Upcall(upcall) = n { Some(upcall.group) } else { None })
    };
    assert_eq!([asked(&mut engine), asked(&mut engine)], [packet(1), packet(2)].map(|p| p.group));
    engine.send(&Order::SetRoute(Route { outgoing: Vec::new(), ..route() }));
    engine.sync();
    drop(engine);
    let mut next = daemon.unready_engine();
    next.send(&Order::ReadCounters(Af::Ip4));
    let first = next.next();
    assert!(matches!(first, Some(Notice::Counters { .. })), "it has no vifs yet: {first:?}");
    next.send(&Order::Ready);
    assert_eq!(asked(&mut next), packet(2).group, "the other has a route");
    daemon.stop(next);
}

#[test]
fn a_descriptor_from_the_engine_ends_it() {
    let daemon = Daemon::start();
    let mut engine = daemon.engine();
    engine.sync();
    engine.send_with(&Order::Members(true), File::open("/dev/null").unwrap().as_fd());
    assert!(engine.is_ended());
    let next = daemon.engine();
    daemon.stop(next);
}

#[test]
fn an_engine_that_never_reads_is_replaced() {
    let daemon = Daemon::start();
    let stuck = UnixStream::from(daemon.raw_engine());
    let mut orders = Vec::new();
    mcast_proxy::imsg::frame::write_frame(&Order::Ready, &mut orders).unwrap();
    let refused = Order::Add { client: 0, statement: mroute(&"x".repeat(4000), "down0") };
    mcast_proxy::imsg::frame::write_frame(&refused, &mut orders).unwrap();
    // Each answer is longer than the order, until more wait than the parent keeps.
    let mut flood = &stuck;
    let again = orders.split_off(5);
    flood.write_all(&orders).unwrap();
    while flood.write_all(&again).is_ok() {}
    let next = daemon.engine();
    daemon.stop(next);
}

#[test]
fn the_daemon_ends_when_the_first_engine_fails() {
    let daemon = Daemon::start();
    drop(daemon.raw_engine());
    let error = daemon.end().unwrap_err();
    assert!(error.starts_with("the engine did not start"), "{error}");
}

#[test]
fn engines_that_fail_in_a_row_are_counted() {
    let daemon = Daemon::start();
    drop(daemon.engine());
    for _ in 0..3 {
        drop(daemon.raw_engine());
    }
    let next = daemon.engine();
    assert!(matches!(next.told.first(), Some(Notice::Start(s)) if s.restarts == 4));
    daemon.stop(next);
}
