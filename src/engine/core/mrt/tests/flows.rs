//! What becomes of a packet: RFC 4605, section 4.2, and the rules of the configuration.

use super::bench::{Bench, any_source, ip, rule};
use super::{BY_SOURCE, on};
use crate::config::model::{GroupSet, QuerierMode, Role};
use crate::engine::core::mrt::MrtEvent;
use crate::kroute::fake::Behaviour;
use crate::wire::{Af, Family};

const G: &str = "239.1.1.1";

#[test]
fn from_upstream_to_members_only() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.join("d3", G, &[]);
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1 d3");
        assert_eq!(bench.packet("up", "10.0.0.9", "239.1.1.2"), "");
    }
    on!(BY_SOURCE, check);
}

/// RFC 4605, section 4.2: upstream whatever the subscriptions are, and to the other members, never
/// back.
#[test]
fn from_a_downstream_upstream_and_to_the_other_members() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        assert_eq!(bench.packet("d1", "10.1.0.9", G), "up");
        bench.join("d1", G, &[]);
        bench.join("d2", G, &[]);
        assert_eq!(bench.packet("d1", "10.1.0.9", G), "up d2");
    }
    on!(BY_SOURCE, check);
}

/// Section 4.3: only to links whose state names the source.
#[test]
fn source_filters_decide_for_each_source() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.include("d1", "232.1.1.1", &["10.0.0.9"]);
        bench.include("d2", "232.1.1.1", &["10.0.0.8"]);
        assert_eq!(bench.packet("up", "10.0.0.9", "232.1.1.1"), "d1");
        bench.join("d1", G, &["10.0.0.8"]);
        bench.join("d2", G, &[]);
        assert_eq!(bench.packet("up", "10.0.0.8", G), "d2");
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1 d2");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_source_must_be_in_a_network_of_its_interface() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.events.clear();
        assert_eq!(bench.packet("up", "10.9.0.9", G), "");
        assert_eq!(bench.packet("up", "10.9.0.8", G), "");
        let lines: Vec<_> = bench.events.iter().collect();
        let [MrtEvent::Log(line)] = lines.as_slice() else { panic!("{lines:?}") };
        let net = if F::AF == Af::Ip4 { "10.9.0.0/24" } else { "2001:db8:9::/64" };
        assert!(line.ends_with(&format!("interface up {{ source {net} }}")), "{line}");
        // Of a flow that nobody asked for it is told when somebody does.
        bench.events.clear();
        assert_eq!(bench.packet("up", "10.8.0.9", "239.1.1.2"), "");
        assert_eq!(bench.events, []);
        bench.join("d1", "239.1.1.2", &[]);
        assert!(matches!(bench.events.as_slice(), [MrtEvent::Log(_)]), "{:?}", bench.events);
        bench.set("up", any_source);
        assert_eq!(bench.packet("up", "10.9.0.9", G), "d1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_boundary_keeps_groups_in_and_out() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        let near = GroupSet::Net(super::bench::net::<F>("239.255.0.0/16"));
        let group = "239.255.0.1";
        bench.join("d1", group, &[]);
        bench.join("d2", group, &[]);
        bench.set("d2", |s| s.boundaries.push(near));
        assert_eq!(bench.packet("up", "10.0.0.9", group), "d1");
        assert_eq!(bench.packet("d2", "10.2.0.9", group), "");
        bench.set("up", |s| s.boundaries.push(near));
        assert_eq!(bench.packet("up", "10.0.0.9", group), "");
        assert_eq!(bench.packet("d3", "10.3.0.9", group), "d1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn allow_and_deny_hold_for_what_leaves_below_and_enters_above() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.join("d2", G, &[]);
        bench.set("d1", |s| s.rules.push(rule::<F>(false, "239.1.1.1/32", Some("10.0.0.8/32"))));
        assert_eq!(bench.packet("up", "10.0.0.8", G), "d2");
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1 d2");
        bench.set("up", |s| s.rules.push(rule::<F>(true, "239.0.0.0/8", Some("10.0.0.9/32"))));
        assert_eq!(bench.packet("up", "10.0.0.8", G), "");
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1 d2");
        // What is sent upstream is not asked.
        assert_eq!(bench.packet("d3", "10.3.0.9", G), "up d1 d2");
    }
    on!(BY_SOURCE, check);
}

/// Section 4.2: only the elected querier forwards to a link; traffic from it goes up regardless.
#[test]
fn only_the_querier_forwards_to_members() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.change("d1", |l| l.yields = true);
        assert_eq!(bench.packet("up", "10.0.0.9", G), "");
        assert_eq!(bench.packet("d1", "10.1.0.9", G), "up");
        bench.set("d1", |s| s.forward_non_querier = true);
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1");
        bench.set("d1", |s| {
            s.forward_non_querier = false;
            s.querier = QuerierMode::Never;
        });
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1");
    }
    on!(BY_SOURCE, check);
}

/// Upcalls of such packets are left unanswered.
#[test]
fn link_local_and_unspecified_are_never_forwarded() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.set("up", any_source);
        bench.join("d1", G, &["10.0.0.1"]);
        for (source, group) in [("169.254.0.9", G), ("0.0.0.0", G), ("10.0.0.9", "224.0.0.9")] {
            assert_eq!(bench.packet("up", source, group), "");
        }
        assert_eq!(bench.table(), [""; 0]);
        assert_eq!(bench.mrt.counters().unroutable, 3);
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_group_has_one_upstream() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        let tens = super::bench::net::<F>("239.10.0.0/16");
        bench.link("tv", Role::Upstream, "10.7.0.1/24", |s| s.groups.push(tens));
        bench.join("d1", "239.10.0.1", &["10.0.0.1"]);
        bench.join("d1", G, &["10.0.0.1"]);
        assert_eq!(bench.packet("tv", "10.7.0.9", "239.10.0.1"), "d1");
        assert_eq!(bench.packet("up", "10.0.0.9", "239.10.0.1"), "");
        assert_eq!(bench.packet("tv", "10.7.0.9", G), "");
        assert_eq!(bench.packet("d2", "10.2.0.9", "239.10.0.1"), "d1 tv");
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up d1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_threshold_goes_with_the_output_and_255_lets_nothing_leave() {
    let mut bench = Bench::<crate::wire::V4>::new(Behaviour::Linux);
    bench.set("d1", |s| s.threshold = 5);
    bench.join("d1", G, &[]);
    bench.packet("up", "10.0.0.9", G);
    let thresholds = |bench: &Bench<crate::wire::V4>| -> Vec<u8> {
        bench.kernel.routes(Af::Ip4)[0].outgoing.iter().map(|o| o.threshold).collect()
    };
    assert_eq!(thresholds(&bench), [5]);
    bench.set("d1", |s| s.threshold = 9);
    assert_eq!(thresholds(&bench), [9]);
    bench.set("d1", |s| s.threshold = 255);
    assert_eq!(thresholds(&bench), [0; 0]);
}

#[test]
fn a_drop_entry_tells_why() {
    let mut bench = Bench::<crate::wire::V4>::new(Behaviour::FreeBsd);
    bench.packet("up", "10.0.0.9", G);
    bench.join("d1", "239.1.1.2", &[]);
    bench.packet("up", "10.9.0.9", "239.1.1.2");
    bench.change("d2", |l| l.yields = true);
    bench.join("d2", "239.1.1.3", &[]);
    bench.packet("up", "10.0.0.9", "239.1.1.3");
    let world = super::bench::world!(bench);
    let (rows, next) = bench.mrt.rows(0, 2, world);
    assert_eq!(rows.len(), 2);
    let (more, end) = bench.mrt.rows(next.unwrap(), 2, world);
    assert_eq!(end, None);
    let reasons: Vec<_> = rows.iter().chain(&more).map(|r| r.reason.as_deref().unwrap()).collect();
    assert_eq!(
        reasons,
        [
            "no member",
            "source not in a connected network of up (add: source 10.9.0.0/24)",
            "not the querier on d2",
        ]
    );
    assert_eq!(ip::<crate::wire::V4>("10.9.0.9").to_string(), more_source(&rows));
}

fn more_source(rows: &[crate::imsg::ctl::RouteRow]) -> String {
    rows[1].source.clone().unwrap()
}
