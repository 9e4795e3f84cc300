//! Entries follow what their decision depended on; they idle out, move, and outlive an engine.

use super::bench::{Bench, any_source, world};
use super::{BY_SOURCE, on};
use crate::config::model::{Role, WrongVif};
use crate::engine::core::link::Vif;
use crate::engine::core::mrt::MrtEvent;
use crate::imsg::ctl::EventKind;
use crate::kroute::fake::{Behaviour, Call};
use crate::wire::{Family, V4};

const G: &str = "239.1.1.1";
const S: &str = "10.0.0.9";

fn kinds<F: Family>(bench: &mut Bench<F>) -> Vec<EventKind> {
    let kind = |event| match event {
        MrtEvent::Event(event) => Some(event.event),
        MrtEvent::Log(_) => None,
    };
    std::mem::take(&mut bench.events).into_iter().filter_map(kind).collect()
}

/// RFC 4605, section 4.2: the cache follows the membership, and what does not change is not
/// written.
#[test]
fn members_come_and_go() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.packet("up", S, G);
        assert_eq!(kinds(&mut bench), []);
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1");
        bench.orders();
        bench.join("d1", G, &["10.0.0.1"]);
        assert_eq!(bench.orders(), "");
        bench.join("d2", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1 d2");
        bench.leave("d1", G);
        bench.leave("d2", G);
        assert_eq!(bench.packet("up", S, G), "");
        use EventKind::{Install, Remove};
        assert_eq!(kinds(&mut bench), [Install, Install, Install, Remove]);
    }
    on!([Behaviour::FreeBsd], check);
}

#[test]
fn a_flow_idles_out_after_its_last_packet() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        assert_eq!(bench.mrt.next_deadline(), None);
        bench.packet("up", S, G);
        bench.packet("up", "10.0.0.8", "239.1.1.2");
        bench.pass(59);
        assert_eq!(bench.mrt.len(), 2);
        bench.pass(31);
        assert_eq!(bench.only(), "up: d1");
        bench.packet("up", S, G);
        bench.pass(209);
        assert_eq!(bench.mrt.len(), 1);
        bench.pass(31);
        assert_eq!(bench.mrt.len(), 0);
        assert_eq!(bench.mrt.next_deadline(), None);
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_known_flow_elsewhere_is_dropped_and_told_of_once_a_second() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.set("d2", any_source);
        bench.join("d1", G, &[]);
        bench.packet("up", S, G);
        bench.events.clear();
        assert_eq!(bench.packet("d2", S, G), "");
        assert_eq!(bench.packet("d2", S, G), "");
        assert!(matches!(bench.events.as_slice(), [MrtEvent::Log(_)]), "{:?}", bench.events);
        bench.set("d2", |s| s.wrongvif = WrongVif::Ignore);
        bench.pass(2);
        bench.packet("d2", S, G);
        assert_eq!(bench.events.len(), 1);
        assert_eq!(bench.mrt.counters().wrong_interface, 3);
        assert_eq!(bench.only(), "up: d1");
    }
    on!([Behaviour::FreeBsd], check);
}

#[test]
fn follow_moves_at_once_to_where_the_source_is_connected() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.set("up", any_source);
        for name in ["d2", "d3"] {
            bench.set(name, |s| s.wrongvif = WrongVif::Follow);
        }
        bench.join("d1", G, &["10.0.0.1"]);
        assert_eq!(bench.packet("up", "10.2.0.9", G), "d1");
        bench.events.clear();
        bench.packet("d2", "10.2.0.9", G);
        assert_eq!(bench.only(), "d2: up d1");
        assert_eq!(kinds(&mut bench), [EventKind::Move]);
    }
    on!(BY_SOURCE, check);
}

#[test]
fn follow_waits_until_the_flow_was_silent_and_holds_down() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        for name in ["d2", "d3"] {
            bench.set(name, any_source);
            bench.set(name, |s| s.wrongvif = WrongVif::Follow);
        }
        bench.join("d1", G, &["10.0.0.1"]);
        bench.packet("d3", "10.9.0.9", G);
        bench.packet("d2", "10.9.0.9", G);
        bench.pass(2);
        bench.packet("d3", "10.9.0.9", G);
        bench.pass(2);
        assert_eq!(bench.only(), "d3: up d1");
        bench.pass(40);
        bench.packet("d2", "10.9.0.9", G);
        bench.pass(4);
        assert_eq!(bench.only(), "d2: up d1");
        bench.packet("d3", "10.9.0.9", G);
        bench.pass(5);
        assert_eq!(bench.only(), "d2: up d1");
        bench.pass(5);
        bench.packet("d3", "10.9.0.9", G);
        bench.pass(4);
        assert_eq!(bench.only(), "d3: up d1");
    }
    on!(BY_SOURCE, check);
}

/// Three seconds, whenever the counts of then and now arrive.
#[test]
fn follow_waits_no_longer_than_it_has_to() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        for name in ["d2", "d3"] {
            bench.set(name, any_source);
            bench.set(name, |s| s.wrongvif = WrongVif::Follow);
        }
        bench.join("d1", G, &["10.0.0.1"]);
        bench.pass(10);
        bench.packet("d3", "10.9.0.9", G);
        bench.packet("d2", "10.9.0.9", G);
        bench.pass(4);
        assert_eq!(bench.only(), "d2: up d1");
    }
    on!(BY_SOURCE, check);
}

/// Otherwise a host could stop any flow by sending with its source address first.
#[test]
fn an_arrival_that_is_refused_does_not_pin_the_flow() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &["10.0.0.1"]);
        assert_eq!(bench.packet("d2", S, G), "");
        assert_eq!(bench.packet("up", S, G), "");
        assert_eq!(bench.packet("up", S, G), "d1");
        assert_eq!(bench.packet("d2", S, G), "");
        assert_eq!(bench.only(), "up: d1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn flows_move_with_their_upstream() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.link("backup", Role::Upstream, "10.8.0.1/24", |s| s.preference = 2);
        bench.set("up", any_source);
        bench.set("backup", any_source);
        bench.join("d1", G, &["10.0.0.1"]);
        bench.packet("up", "10.9.0.9", G);
        bench.packet("d2", "10.2.0.9", "239.1.1.2");
        bench.change("up", |l| l.up = false);
        assert_eq!(bench.packet("backup", "10.9.0.9", G), "d1");
        assert_eq!(bench.packet("d2", "10.2.0.9", "239.1.1.2"), "backup");
        bench.change("up", |l| l.up = true);
        assert_eq!(bench.packet("up", "10.9.0.9", G), "d1");
        assert_eq!(bench.packet("d2", "10.2.0.9", "239.1.1.2"), "up");
    }
    on!(BY_SOURCE, check);
}

/// A link that loses its carrier keeps its vif and its routes, when nothing stands in for it.
#[test]
fn the_only_upstream_goes_down_and_up_without_a_write() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &["10.0.0.1"]);
        bench.packet("up", S, G);
        bench.orders();
        bench.change("up", |l| l.up = false);
        bench.change("up", |l| l.up = true);
        assert_eq!(bench.orders(), "");
        assert_eq!(bench.packet("up", S, G), "d1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_deleted_interface_takes_its_routes_along_first() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        for name in ["d1", "d2"] {
            bench.join(name, G, &["10.0.0.1"]);
        }
        bench.packet("up", S, G);
        bench.packet("d1", "10.1.0.9", G);
        bench.remove("d1");
        assert_eq!(bench.only(), "up: d2");
        bench.remove("up");
        assert_eq!(bench.table(), [""; 0]);
        assert_eq!(bench.mrt.len(), 0);
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_change_of_role_is_a_change_of_the_routes() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &["10.0.0.1"]);
        bench.packet("up", S, G);
        bench.set("d2", |s| s.role = Role::Upstream);
        bench.set("up", |s| s.role = Role::Downstream);
        assert_eq!(bench.packet("up", S, G), "d1 d2");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn drop_entries_take_half_of_the_table_and_give_way() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.limit(8);
        for last in 1..=5 {
            bench.packet("up", S, &format!("239.2.0.{last}"));
            bench.pass(1);
        }
        assert_eq!(bench.mrt.len(), 4);
        assert!(!bench.table().iter().any(|line| line.contains(&group::<F>(1))));
        for last in 1..=9 {
            let group = format!("239.1.0.{last}");
            bench.join("d1", &group, &["10.0.0.1"]);
            assert_eq!(bench.packet("up", S, &group), if last == 9 { "" } else { "d1" });
        }
        assert_eq!(bench.mrt.len(), 8);
        assert_eq!((bench.mrt.counters().evicted, bench.mrt.counters().limit), (5, 1));
        for last in 1..=8 {
            bench.leave("d1", &format!("239.1.0.{last}"));
        }
        assert_eq!(bench.mrt.len(), 4);
    }
    fn group<F: Family>(last: u8) -> String {
        format!(" {} ", super::bench::ip::<F>(&format!("239.2.0.{last}")))
    }
    on!(BY_SOURCE, check);
}

#[test]
fn flushed_routes_are_learned_again() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        let group = super::bench::ip::<F>(G);
        bench.join("d1", G, &["10.0.0.1"]);
        bench.packet("up", S, G);
        bench.packet("up", S, "239.1.1.2");
        bench.mrt.flush(bench.now, Some(group), None, world!(bench));
        bench.turn();
        assert_eq!(bench.only(), "up:");
        bench.mrt.flush(bench.now, None, None, world!(bench));
        bench.turn();
        assert_eq!(bench.mrt.len(), 0);
        assert_eq!(bench.packet("up", S, G), "d1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn an_entry_that_the_kernel_lost_is_installed_again() {
    let mut bench = Bench::<V4>::new(Behaviour::FreeBsd);
    bench.join("d1", G, &[]);
    bench.packet("up", S, G);
    let key = bench.kernel.routes(crate::wire::Af::Ip4)[0].key;
    assert!(bench.fake.lose_entry(key));
    assert_eq!(bench.packet("up", S, G), "d1");
}

/// The configuration has less room than the engine before had.
#[test]
fn a_new_engine_keeps_no_more_than_it_has_room_for() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        for group in [G, "239.1.1.2", "239.1.1.3"] {
            bench.join("d1", group, &[]);
            bench.packet("up", S, group);
        }
        bench.limits.max_routes = 2;
        bench.restart();
        assert_eq!((bench.mrt.len(), bench.table().len()), (2, 2));
    }
    on!([Behaviour::FreeBsd, Behaviour::OpenBsd], check);
}

/// Nothing of an engine before us is cut before its members had the time to answer.
#[test]
fn a_new_engine_keeps_what_is_installed_until_members_had_time_to_answer() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.join("d2", G, &[]);
        bench.join("d1", "239.1.1.2", &[]);
        bench.packet("up", S, G);
        bench.packet("up", S, "239.1.1.2");
        bench.packet("up", S, "239.1.1.3");
        bench.restart();
        bench.join("d3", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1 d2 d3");
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("up", S, "239.1.1.2"), "d1");
        bench.orders();
        bench.mrt.settle(bench.now, world!(bench));
        bench.turn();
        assert_eq!(bench.packet("up", S, G), "d1 d3");
        assert_eq!(bench.orders().lines().count(), 2);
        assert_eq!(bench.packet("up", S, "239.1.1.2"), "");
    }
    on!([Behaviour::FreeBsd, Behaviour::OpenBsd], check);
}

#[test]
fn a_route_that_the_kernel_refuses_is_not_in_the_table() {
    let mut bench = Bench::<V4>::new(Behaviour::FreeBsd);
    bench.join("d1", G, &[]);
    bench.packet("up", S, G);
    let key = bench.kernel.routes(crate::wire::Af::Ip4)[0].key;
    bench.mrt.on_route_failed(bench.now, &key, world!(bench));
    assert_eq!((bench.mrt.len(), bench.mrt.counters().failed), (0, 1));
}

/// The refusal may be of an order before the last one, and come when that was obeyed.
#[test]
fn a_refusal_that_comes_late_leaves_no_route_that_is_not_in_the_table() {
    let mut bench = Bench::<V4>::new(Behaviour::FreeBsd);
    bench.join("d1", G, &[]);
    bench.packet("up", S, G);
    let key = bench.kernel.routes(crate::wire::Af::Ip4)[0].key;
    bench.join("d2", G, &[]);
    bench.mrt.on_route_failed(bench.now, &key, world!(bench));
    bench.turn();
    assert_eq!(bench.table(), [""; 0]);
    assert_eq!(bench.packet("up", S, G), "d1 d2");
}

/// Copies on a wrong interface come as often as a host likes.
#[test]
fn counters_are_read_once_in_three_seconds_for_flows_that_may_move() {
    let mut bench = Bench::<V4>::new(Behaviour::FreeBsd);
    for name in ["d2", "d3"] {
        bench.set(name, any_source);
        bench.set(name, |s| s.wrongvif = WrongVif::Follow);
    }
    bench.pass(5);
    for last in 1..=6 {
        let source = format!("10.9.0.{last}");
        bench.packet("d3", &source, G);
        let _ = bench.fake.calls();
        bench.packet("d2", &source, G);
        let readings = bench.fake.calls().iter().filter(|c| matches!(c, Call::Entries(_))).count();
        assert_eq!(readings, usize::from(last == 1), "{last}");
    }
}

/// Its place may soon be another interface's.
#[test]
fn a_link_that_goes_before_members_had_time_to_answer_leaves_nothing_behind() {
    fn check<F: Family>(kernel: Behaviour) {
        for name in ["up", "d1"] {
            let mut bench = Bench::<F>::new(kernel);
            bench.join("d1", G, &[]);
            bench.join("d2", G, &[]);
            bench.packet("up", S, G);
            bench.restart();
            let slot = bench.slot(name);
            bench.members.0.retain(|(_, of), _| *of != slot);
            bench.change(name, |l| l.vif = Vif::None);
            let link = bench.links.remove(slot).unwrap();
            bench.kernel.delete_vif(F::AF, link.ifindex).unwrap();
            let left = if name == "up" { 0 } else { 1 };
            assert_eq!((bench.mrt.len(), bench.table().len()), (left, left), "{name}");
            bench.link("new", Role::Downstream, "10.4.0.1/24", |_| {});
            assert!(bench.table().iter().all(|r| !r.contains("new")), "{:?}", bench.table());
        }
    }
    on!([Behaviour::Linux, Behaviour::FreeBsd, Behaviour::OpenBsd], check);
}

/// What was installed stays; a new member's filter does not keep it waiting.
#[test]
fn a_filtered_join_after_the_engine_died_is_served_at_once() {
    let mut bench = Bench::<V4>::new(Behaviour::Linux);
    bench.set("up", any_source);
    bench.join("d1", G, &[]);
    bench.restart();
    bench.include("d2", G, &[S]);
    assert_eq!(bench.packet("up", S, G), "d1 d2");
    bench.mrt.settle(bench.now, world!(bench));
    bench.turn();
    bench.packet("up", S, G);
    assert_eq!(bench.packet("up", S, G), "d2");
}
