//! Bounds, and what must hold under any input: each limit is a counter, a member of `show status` and
//! one line of the log.

use std::net::Ipv4Addr;

use mcast_proxy::engine::core::Input;
use mcast_proxy::imsg::{Envelope, Packet, Transmit};
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, IsEx, ToEx, ToIn};
use mcast_proxy::wire::{self, Address, Af, ReportBuilder, Sender, V4};

use super::{NOWHERE, network, plain, sources};
use crate::router::{Cannot, DOWN, DOWN2, Net, Router, UP, holds, spec};

scenarios! {
    groups_of_an_interface
    sources_of_a_group
    a_list_of_excluded_sources_is_cut
    routes_of_a_family
    static_routes_have_room_of_their_own
    messages_in_a_second
    what_is_not_valid_changes_nothing
    each_discard_is_counted_and_told_a_verbose_log_once_a_second
    no_octets_end_the_process
    a_live_member_is_not_cut_off_by_others
    everything_is_forgotten_when_the_members_are_gone
    a_refused_route_is_counted
    sources_of_a_host
}

/// What was there stays; the other interface has its own.
fn groups_of_an_interface<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "max-groups 3"));
    for n in 1..=9 {
        router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::group(n), &[]);
        router.record::<F>(DOWN2, F::address(DOWN2, 5), ToEx, F::group(n), &[]);
    }
    assert_eq!(router.groups().len(), 3 + 9);
    assert_eq!(router.discarded::<F>("down0", "group-limit"), 6);
    assert_eq!(router.status().limits["group-limit"], 6);
    let told = router.lines.iter().filter(|l| l.contains("group-limit")).count();
    assert_eq!(told, 1, "{:?}", router.lines);
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 5, IsEx, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)", "those that are there are refreshed");
}

/// Further ones are not included.
fn sources_of_a_group<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "max-sources 3"));
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2, 3, 4, 5]));
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 6]));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:270 2:270 3:270");
    assert_eq!(router.discarded::<F>("down0", "source-limit"), 2);
    assert_eq!(router.status().limits["source-limit"], 2);
}

/// Which forwards more, never less.
fn a_list_of_excluded_sources_is_cut<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "max-sources 3"));
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[1, 2, 3, 4, 5]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270) 1:- 2:- 3:-");
    assert_eq!(router.flow::<F>(UP, F::source(4)), [DOWN]);
}

/// Drop entries make room for others; then the kernel drops. One entry a group has no drop entries.
fn routes_of_a_family<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("max-routes 4", "", ""));
    for n in 1..=3 {
        router.flow::<F>(UP, F::source(n));
    }
    router.report::<F>(DOWN, 5, ToEx, &[]);
    for n in 11..=16 {
        router.flow::<F>(UP, F::source(n));
    }
    let routes = router.kernel.route_count(F::AF);
    holds(system, routes, 4, Cannot::TellSources, 1);
    let limits = router.status().limits;
    holds(system, limits.contains_key("route-limit"), true, Cannot::TellSources, false);
}

/// Whatever hosts send, a static route that is added later finds its place.
fn static_routes_have_room_of_their_own<F: Net>(system: Behaviour) {
    let text = network::<F>("max-routes 4", "", "");
    let mut router = Router::on(system, &text);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    for n in 11..=16 {
        router.flow::<F>(UP, F::source(n));
    }
    for n in 1..=9 {
        router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::group(n), &[]);
        router.data_to::<F>(UP, F::source(n), F::group(n));
    }
    let mroute = |n| {
        format!("mroute from down1 group {} source {} to down0\n", F::group(n), F::sender(DOWN2, n))
    };
    let mroutes: String = (20..26).map(mroute).collect();
    router.reload(&(text + &mroutes));
    for n in 20..26 {
        let flow = (F::sender(DOWN2, n), F::group(n));
        router.data_to::<F>(DOWN2, flow.0, flow.1);
        assert_eq!(router.data_to::<F>(DOWN2, flow.0, flow.1), [UP, DOWN], "{n}");
    }
}

/// 50,000 a second, 100,000 at once; more are dropped unread.
fn messages_in_a_second<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let source = F::address(DOWN, 5);
    let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 1500 });
    report.push(ToEx, F::GROUP, &[]);
    let Transmit { destination, bytes, .. } = report.finish().remove(0);
    let envelope = F::envelope(source, F::Addr::from_ip(destination).unwrap());
    let input = Input::Packet(Packet { ifindex: DOWN, envelope, bytes });
    (0..100_010).for_each(|_| router.core.handle(router.now, &input));
    assert_eq!(router.discarded::<F>("down0", "message-rate"), 10);
    router.pass(Millis(1));
    (0..60).for_each(|_| router.core.handle(router.now, &input));
    assert_eq!(router.discarded::<F>("down0", "message-rate"), 20);
    assert_eq!(router.status().limits["message-rate"], 20);
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.state::<F>("down1"), "EXCLUDE(270)", "another link has its own budget");
}

/// A leave, as its sender sends it.
fn leave<F: Net>() -> Packet {
    let source = F::address(DOWN, 5);
    let from = Sender::<F> { ifindex: DOWN, source, mtu: 1500 };
    let Transmit { destination, bytes, ifindex, .. } = wire::leave(&from, F::GROUP);
    let envelope = F::envelope(source, F::Addr::from_ip(destination).unwrap());
    Packet { ifindex, envelope, bytes }
}

/// RFC 9776, section 4 and RFC 9777, section 5: the whole message is dropped, nothing is sent.
fn what_is_not_valid_changes_nothing<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.sent.clear();
    let valid = leave::<F>();
    let mut bad: Vec<(Packet, &str)> = Vec::new();
    let mut short = valid.clone();
    short.bytes.pop();
    bad.push((short, "length"));
    let mut strange = valid.clone();
    let kind = if F::AF == Af::Ip4 { 24 } else { 0 };
    strange.bytes[kind] = 0x77;
    bad.push((strange, if F::AF == Af::Ip4 { "checksum" } else { "type" }));
    match &valid.envelope {
        Envelope::Ip4 => {
            let mut fragment = valid.clone();
            fragment.bytes[6] = 0x20;
            bad.push((fragment, "fragment"));
        }
        Envelope::Ip6 { .. } => {
            let mut packet = valid.clone();
            if let Envelope::Ip6 { hop_limit, .. } = &mut packet.envelope {
                *hop_limit = 64;
            }
            bad.push((packet, "hop-limit"));
            let mut packet = valid.clone();
            if let Envelope::Ip6 { router_alert, .. } = &mut packet.envelope {
                *router_alert = false;
            }
            bad.push((packet, "router-alert"));
        }
    }
    for (packet, reason) in bad {
        router.input(&Input::Packet(packet));
        assert_eq!(router.discarded::<F>("down0", reason), 1);
        assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)", "{reason}");
        assert!(router.sent.is_empty(), "{reason}");
    }
    router.input(&Input::Packet(valid));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(2)");
}

/// Nothing that a network does fills the log.
fn each_discard_is_counted_and_told_a_verbose_log_once_a_second<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let mut bad = leave::<F>();
    bad.bytes.pop();
    for _ in 0..500 {
        router.input(&Input::Packet(bad.clone()));
        router.pass(Millis(10));
    }
    assert_eq!(router.discarded::<F>("down0", "length"), 500);
    assert_eq!(router.debug.len(), 5, "{:?}", router.debug);
    assert!(router.lines.is_empty(), "{:?}", router.lines);
}

/// Random octets, and every valid message with random octets changed and cut anywhere.
fn no_octets_end_the_process<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let source = F::address(DOWN, 5);
    let from = Sender::<F> { ifindex: DOWN, source, mtu: 1500 };
    let mut report = ReportBuilder::new(from);
    report.push(ToEx, F::GROUP, &sources::<F>(&[1, 2]));
    let mut seeds = report.finish();
    seeds.extend(wire::query(&from, &spec(F::GROUP)));
    seeds.push(wire::old_report(&from, F::OLD, F::GROUP));
    seeds.push(wire::leave(&from, F::GROUP));
    seeds.push(wire::mrdisc(&from, wire::Mrdisc::Solicitation));
    for n in 0..5000 {
        let Transmit { destination, mut bytes, .. } = seeds[n % seeds.len()].clone();
        for _ in 0..random() % 4 {
            let at = usize::try_from(random()).unwrap() % bytes.len();
            bytes[at] = random().to_le_bytes()[0];
        }
        bytes.truncate(usize::try_from(random()).unwrap() % (bytes.len() + 9));
        let envelope = F::envelope(source, F::Addr::from_ip(destination).unwrap());
        let ifindex = [UP, DOWN, 77][n % 3];
        router.input(&Input::Packet(Packet { ifindex, envelope, bytes }));
    }
    router.pass(Millis(1_000_000));
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
}

/// Leaves of others, forged ones too, ask; a member that answers is never cut off.
fn a_live_member_is_not_cut_off_by_others<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.flow::<F>(UP, F::SOURCE);
    for n in 0..200_u8 {
        router.report::<F>(DOWN, 6 + n % 90, ToIn, &[]);
        router.old::<F>(DOWN, 6 + n % 90, 0);
        router.pass(Millis(500));
        if router.said::<F>(DOWN).iter().any(|s| s.starts_with("Q(G")) {
            router.report::<F>(DOWN, 5, IsEx, &[]);
        }
        assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN]);
    }
}

/// Nothing is left of what hosts asked for.
fn everything_is_forgotten_when_the_members_are_gone<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    for n in 1..=200 {
        router.record::<F>(DOWN, F::address(DOWN, n), ToEx, F::group(n), &sources::<F>(&[n]));
        router.record::<F>(DOWN2, F::address(DOWN2, n), Allow, F::group(n), &sources::<F>(&[n]));
    }
    router.flow::<F>(UP, F::SOURCE);
    router.pass(Millis(700_000));
    let status = router.status();
    assert_eq!((status.groups, status.hosts, status.routes), (0, 0, 0));
    assert!(router.upstream().is_empty());
    assert_eq!(router.kernel.route_count(F::AF), 0);
    assert_eq!(router.data::<F>(UP, F::SOURCE), NOWHERE);
}

/// The kernel's refusal is not the end of a flow.
fn a_refused_route_is_counted<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.fake.fail(12);
    router.data::<F>(UP, F::SOURCE);
    assert_eq!(router.status().limits["routes-refused"], 1);
}

/// 1,048,576 groups and sources, whatever the limits of an interface; state that is there stays.
#[test]
fn entries_of_a_family() {
    let mut router = Router::on(Behaviour::Linux, &plain::<V4>());
    let all: Vec<Ipv4Addr> = (0..1024).map(|n| Ipv4Addr::from_bits(0x0a09_0000 + n)).collect();
    // A group and its sources are 1025 entries: 1023 times, and one more.
    for n in 0..1026 {
        let group = Ipv4Addr::from_bits(0xe9fc_0000 + n);
        let (ifindex, source) = (DOWN, V4::address(DOWN, 5));
        let mut report = ReportBuilder::<V4>::new(Sender { ifindex, source, mtu: 9000 });
        report.push(Allow, group, &all);
        report.finish().into_iter().for_each(|m| router.deliver::<V4>(source, m));
        router.sent.clear();
    }
    assert_eq!(router.status().groups, 1023);
    assert_eq!(router.discarded::<V4>("down0", "entry-limit"), 3);
    assert_eq!(router.discarded::<V4>("down0", "source-limit"), 0);
    assert_eq!(router.status().limits["entry-limit"], 3);
}

/// A host that asks for more than a group can have is tracked no more; what it may want is asked
/// about.
fn sources_of_a_host<F: Net>(system: Behaviour) {
    let words = "fast-leave yes\nmax-sources 3";
    let mut router = Router::on(system, &network::<F>("", "", words));
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2, 3]));
    router.report::<F>(DOWN, 6, Allow, &sources::<F>(&[1]));
    assert_eq!(router.hosts().len(), 2);
    for n in 4..=9 {
        router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[n]));
    }
    assert!(router.hosts().iter().all(|h| h.sources.len() <= 3), "{:?}", router.hosts());
    assert!(router.discarded::<F>("down0", "host-limit") > 0);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 6, ToIn, &[]);
    assert_eq!(router.said::<F>(DOWN), ["Q(G,1,2,3)"]);
}

/// 1,048,576 hosts and their sources are tracked; others are asked about.
#[test]
fn hosts_of_a_family() {
    let mut router =
        Router::on(Behaviour::Linux, &network::<V4>("verify-source-subnet no", "", ""));
    let all: Vec<Ipv4Addr> = (0..1023).map(|n| Ipv4Addr::from_bits(0x0a09_0000 + n)).collect();
    // A host and its sources are 1024 entries.
    for n in 0..1025 {
        let source = Ipv4Addr::from_bits(0x0a0b_0000 + n);
        let group = V4::group(u8::try_from(n / 600).unwrap());
        let mut report = ReportBuilder::<V4>::new(Sender { ifindex: DOWN, source, mtu: 9000 });
        report.push(Allow, group, &all);
        report.finish().into_iter().for_each(|m| router.deliver::<V4>(source, m));
    }
    assert_eq!(router.status().hosts, 1024);
    assert_eq!(router.status().limits["host-limit"], 1);
    router.pass(Millis(300_000));
    assert_eq!(router.status().hosts, 0);
    router.report::<V4>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.status().hosts, 1, "memory and count return to their start");
}
