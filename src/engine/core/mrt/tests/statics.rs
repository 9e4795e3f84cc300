//! `mroute`: exact, prefixes, exceptions, patterns; waiting and coming.

use super::bench::{Bench, ip, mroute, world};
use super::{BY_SOURCE, on};
use crate::config::model::{GroupSet, Mroute, Pattern, Role};
use crate::engine::core::mrt::Limits;
use crate::imsg::ctl::{Origin, RouteState};
use crate::kroute::fake::Behaviour;
use crate::wire::{Family, V4, V6};

const G: &str = "239.1.1.1";
const S: &str = "10.9.0.9";

fn bench<F: Family>(kernel: Behaviour) -> Bench<F> {
    let mut bench = Bench::<F>::bare(kernel);
    for (name, net) in [("a1", "10.1.0.1/24"), ("a2", "10.2.0.1/24"), ("b1", "10.3.0.1/24")] {
        bench.link(name, Role::Static, net, |_| {});
    }
    bench
}

#[test]
fn an_exact_route_is_installed_at_once_and_never_idles() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        bench.configure(&[mroute::<F>("from a1 source 10.9.0.9/32 group 239.1.1.1/32 to b1")]);
        assert_eq!(bench.only(), "a1: b1");
        assert_eq!(bench.packet("a1", S, G), "b1");
        bench.pass(600);
        if kernel != Behaviour::OpenBsd {
            assert_eq!(bench.only(), "a1: b1");
        }
        assert_eq!(bench.packet("a1", S, G), "b1");
        bench.configure(&[]);
        assert_eq!(bench.packet("a1", S, G), "");
    }
    on!([Behaviour::Linux, Behaviour::FreeBsd, Behaviour::OpenBsd], check);
}

#[test]
fn an_unknown_flow_becomes_a_route_when_a_rule_comes_and_back() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        assert_eq!(bench.packet("a1", S, G), "");
        for text in [
            "from a1 source 10.9.0.9/32 group 239.1.1.1/32 to b1",
            "from a1 source 10.9.0.0/24 group 239.1.1.1/32 to b1",
            "from a1 group 239.1.1.1/32 to b1",
            "from a1 source 10.9.0.0/24 group 239.1.0.0/16 to b1",
            "from a1 except 10.8.0.0/24 group 239.1.0.0/16 to b1",
            "from a+ group 239.0.0.0/8 to b*",
        ] {
            bench.configure(&[mroute::<F>(text)]);
            assert_eq!(bench.packet("a1", S, G), "b1", "{text}");
            bench.configure(&[]);
            assert_eq!(bench.packet("a1", S, G), "", "{text}");
        }
    }
    on!([Behaviour::Linux, Behaviour::FreeBsd, Behaviour::OpenBsd], check);
}

#[test]
fn the_longest_group_wins_then_the_longest_source() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        bench.configure(&[
            mroute::<F>("from a1 source 10.9.0.0/24 group 239.1.0.0/16 to a2 b1"),
            mroute::<F>("from a1 except 10.8.0.0/24 group 239.1.1.0/24 to b1"),
            mroute::<F>("from a1 source 10.9.0.7/32 group 239.1.1.0/24 to a2"),
            mroute::<F>("from a1 group 239.1.1.2/32 to a2 b1"),
        ]);
        assert_eq!(bench.packet("a1", S, "239.1.2.1"), "a2 b1");
        assert_eq!(bench.packet("a1", S, G), "b1");
        assert_eq!(bench.packet("a1", "10.9.0.7", G), "a2");
        assert_eq!(bench.packet("a1", "10.8.0.7", G), "");
        assert_eq!(bench.packet("a1", "10.8.0.7", "239.1.1.2"), "a2 b1");
        assert_eq!(bench.packet("a2", S, G), "");
    }
    on!(BY_SOURCE, check);
}

/// Of rules of one length, an excepting one goes before one for any source, a name before a pattern,
/// the longer pattern before the shorter one: whatever came first, from the start or later.
#[test]
fn rules_of_one_length_have_an_order_of_their_own() {
    fn check<F: Family>(kernel: Behaviour) {
        let best_first = [
            "from a1 except 10.8.0.0/24 group 239.1.1.0/24 to a2",
            "from a1 group 239.1.1.0/24 to b1",
            "from a1* group 239.1.1.0/24 to a2",
            "from a+ group 239.1.1.0/24 to b1",
            "from a* group 239.1.1.0/24 to a2",
        ];
        let went = |bench: &mut Bench<F>| bench.packet("a1", S, G);
        for worse in 1..best_first.len() {
            for better in 0..worse {
                let [good, bad] = [better, worse].map(|n| mroute::<F>(best_first[n]));
                let wanted = ["a2", "b1"][better % 2];
                for both in [[&good, &bad], [&bad, &good]] {
                    let mut bench = bench::<F>(kernel);
                    bench.configure(&both.map(Clone::clone));
                    assert_eq!(went(&mut bench), wanted, "{good}, {bad}");
                    bench.configure(std::slice::from_ref(both[0]));
                    bench.configure(&both.map(Clone::clone));
                    assert_eq!(went(&mut bench), wanted, "{good}, {bad}");
                }
            }
        }
        let mut bench = bench::<F>(kernel);
        bench.configure(&[mroute::<F>(best_first[0]), mroute::<F>(best_first[1])]);
        assert_eq!(bench.packet("a1", "10.8.0.7", G), "b1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn a_route_for_one_group_and_any_source_needs_no_packet() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        bench.configure(&[mroute::<F>("from a1 group 239.1.1.1/32 to b1")]);
        assert_eq!(bench.table(), [format!("* {} a1: b1", ip::<F>(G))]);
        assert_eq!(bench.packet("a1", S, G), "b1");
        assert_eq!(bench.packet("a2", S, G), "");
        bench.configure(&[mroute::<F>("from a2 group 239.1.1.1/32 to b1")]);
        assert_eq!(bench.packet("a2", S, G), "b1");
    }
    on!([Behaviour::Linux], check);
}

#[test]
fn a_route_waits_for_its_interfaces() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        bench.configure(&[
            mroute::<F>("from late source 10.9.0.9/32 group 239.1.1.1/32 to b1"),
            mroute::<F>("from late group 239.2.0.0/16 to later b1"),
        ]);
        let (rows, _) = bench.mrt.rows(0, 10, world!(bench));
        assert!(rows.iter().all(|r| r.state == RouteState::Waiting && r.origin == Origin::Static));
        assert_eq!(rows[0].reason.as_deref(), Some("absent or down: late"));
        assert!(rows[1].group.contains('/'), "{}", rows[1].group);
        bench.link("late", Role::Static, "10.4.0.1/24", |_| {});
        assert_eq!(bench.only(), "late: b1");
        assert_eq!(bench.packet("late", S, "239.2.0.1"), "b1");
        bench.link("later", Role::Static, "10.5.0.1/24", |_| {});
        assert_eq!(bench.packet("late", S, "239.2.0.1"), "b1 later");
        bench.change("b1", |l| l.up = false);
        assert_eq!(bench.packet("late", S, G), "");
        bench.change("b1", |l| l.up = true);
        assert_eq!(bench.packet("late", S, G), "b1");
        bench.remove("late");
        bench.link("late", Role::Static, "10.4.0.1/24", |_| {});
        assert_eq!(bench.only(), "late: b1");
    }
    on!(BY_SOURCE, check);
}

/// An exact one needs no packet: what keeps it back is told.
#[test]
fn a_route_that_is_kept_back_tells_why() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        let far = GroupSet::Net(super::bench::net::<F>("239.2.0.0/16"));
        bench.set("b1", |s| s.boundaries.push(far));
        let one = mroute::<F>("from a1 source 10.9.0.9/32 group 239.1.1.1/32 to b1");
        let two = mroute::<F>("from a1 source 10.9.0.9/32 group 239.1.1.2/32 to b1");
        let behind = mroute::<F>("from a1 source 10.9.0.9/32 group 239.2.1.1/32 to b1");
        let limits = Limits { max_routes: 1, ..Limits::default() };
        bench.mrt.configure(bench.now, limits, &[one, two, behind], world!(bench));
        let (rows, _) = bench.mrt.rows(0, 10, world!(bench));
        let reasons: Vec<_> = rows.iter().map(|r| r.reason.as_deref()).collect();
        assert_eq!(reasons, [None, None, Some("boundary on b1")], "they have room of their own");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn static_outputs_add_to_those_of_the_proxy() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.link("st", Role::Static, "10.6.0.1/24", |_| {});
        bench.configure(&[mroute::<F>("from up group 239.1.0.0/16 to st")]);
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("up", "10.0.0.9", G), "d1 st");
        // An mroute asks no source network, the proxy does.
        assert_eq!(bench.packet("up", S, G), "st");
        let near = GroupSet::Net(super::bench::net::<F>("239.1.0.0/16"));
        bench.set("st", |s| s.boundaries.push(near));
        assert_eq!(bench.packet("up", S, G), "");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn an_incoming_pattern_makes_a_rule_for_each_interface() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        bench.configure(&[mroute::<F>("from a* source 10.9.0.9/32 group 239.1.1.1/32 to a* b1")]);
        assert_eq!(bench.table(), [""; 0]);
        assert_eq!(bench.packet("a1", S, G), "a2 b1");
        bench.remove("a1");
        assert_eq!(bench.only(), "a2: b1");
    }
    on!(BY_SOURCE, check);
}

#[test]
fn what_a_reload_leaves_alone_is_not_written() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = bench::<F>(kernel);
        let routes = [
            mroute::<F>("from a1 source 10.9.0.1/32 group 239.1.1.1/32 to b1"),
            mroute::<F>("from a1 source 10.9.0.2/32 group 239.1.1.1/32 to b1"),
            mroute::<F>("from a1 source 10.9.0.3/32 group 239.1.1.1/32 to b1"),
        ];
        bench.configure(&routes);
        assert_eq!(bench.table().len(), 3);
        bench.orders();
        bench.configure(&[routes[2].clone(), routes[0].clone()]);
        let gone = format!("delete {} {}\n", ip::<F>("10.9.0.2"), ip::<F>(G));
        assert_eq!(bench.orders(), gone);
        bench.configure(&[
            mroute::<F>("from a2 source 10.9.0.1/32 group 239.1.1.1/32 to b1"),
            routes[2].clone(),
        ]);
        let moved = format!("set {} {} a2: b1\n", ip::<F>("10.9.0.1"), ip::<F>(G));
        assert_eq!(bench.orders(), moved);
    }
    on!(BY_SOURCE, check);
}

/// RFC 7346: a mask of scopes, whatever the flags of the group say.
#[test]
fn a_scope_mask_names_ipv6_groups() {
    let mut bench = bench::<V6>(Behaviour::FreeBsd);
    let mut route = mroute::<V6>("from a1 group 239.0.0.0/8 to b1");
    route.group = GroupSet::Scopes(1 << 8);
    bench.configure(std::slice::from_ref(&route));
    assert_eq!(bench.packet("a1", S, "239.1.1.1"), "b1");
    assert_eq!(bench.packet("a1", S, "232.1.1.1"), "b1");
    route.group = GroupSet::Scopes(1 << 5);
    bench.configure(std::slice::from_ref(&route));
    assert_eq!(bench.packet("a1", S, "239.1.1.1"), "");
    // Fewer scopes go before more of them, and those before all groups.
    let with = |group, to: &str| Mroute { group, to: vec![Pattern(to.into())], ..route.clone() };
    let all = with(GroupSet::Net("ff00::/8".parse().unwrap()), "b1");
    let (some, one) = (with(GroupSet::Scopes(0xfff0), "a2"), with(GroupSet::Scopes(1 << 8), "b1"));
    for three in [[&all, &some, &one], [&one, &some, &all]] {
        bench.configure(&[]);
        for (count, wanted) in [(3, "b1"), (2, if three[0] == &one { "b1" } else { "a2" })] {
            let some: Vec<Mroute> = three.iter().take(count).copied().cloned().collect();
            bench.configure(&some);
            assert_eq!(bench.packet("a1", S, "239.1.1.1"), wanted, "{some:?}");
        }
    }
}

#[test]
fn rules_of_the_other_family_are_not_ours() {
    let mut bench = bench::<V4>(Behaviour::FreeBsd);
    bench.configure(&[mroute::<V6>("from a1 source 10.9.0.9/32 group 239.1.1.1/32 to b1")]);
    assert_eq!(bench.mrt.len(), 0);
    assert_eq!(bench.mrt.rows(0, 9, world!(bench)).0, []);
}
