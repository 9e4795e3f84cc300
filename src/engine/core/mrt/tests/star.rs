//! (*,G) entries: installed at the join where their effect is that of the decisions.

use super::bench::{Bench, any_source, ip, mroute, net, rule, world};
use super::on;
use crate::config::model::{GroupSet, Role};
use crate::kroute::RouteKey;
use crate::kroute::fake::Behaviour;
use crate::wire::Family;

const G: &str = "239.1.1.1";
const S: &str = "10.9.0.9";

fn stars<F: Family>(bench: &Bench<F>) -> usize {
    bench.table().iter().filter(|line| line.starts_with('*')).count()
}

fn open<F: Family>(kernel: Behaviour) -> Bench<F> {
    let mut bench = Bench::<F>::new(kernel);
    bench.set("up", any_source);
    bench
}

#[test]
fn a_join_installs_it_and_no_flow_asks() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.join("d1", G, &[]);
        assert_eq!(bench.only(), "up: d1");
        assert_eq!(bench.packet("up", S, G), "d1");
        assert_eq!(bench.mrt.counters().upcalls, 0);
        assert_eq!(bench.mrt.next_deadline(), None);
        bench.join("d2", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1 d2");
        bench.leave("d1", G);
        bench.leave("d2", G);
        assert_eq!(bench.table(), [""; 0]);
    }
    on!([Behaviour::Linux], check);
}

/// So that no packet finds neither.
#[test]
fn it_comes_before_its_flows_go_and_goes_after_they_came() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        let (source, group) = (ip::<F>(S), ip::<F>(G));
        bench.packet("up", S, G);
        bench.orders();
        bench.join("d1", G, &[]);
        assert_eq!(bench.orders(), format!("set * {group} up: d1\ndelete {source} {group}\n"));
        bench.packet("d2", "10.2.0.9", G);
        let sender = ip::<F>("10.2.0.9");
        assert_eq!(bench.orders(), format!("set {sender} {group} d2: up d1\ndelete * {group}\n"));
        assert_eq!(bench.packet("up", S, G), "d1");
        bench.pass(300);
        assert_eq!(bench.only(), "up: d1");
        assert_eq!(stars(&bench), 1);
    }
    on!([Behaviour::Linux], check);
}

/// A packet came before the entry was there: it waits in the kernel for one of its own.
#[test]
fn packets_that_wait_are_let_go() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        let ifindex = bench.links.get(bench.slot("up")).unwrap().ifindex;
        let (source, group) = (ip::<F>(S).into(), ip::<F>(G).into());
        let packet = crate::kroute::fake::Packet { ifindex, source, group, ttl: 9, length: 1 };
        let _ = bench.fake.packet(packet);
        // The join is known before the upcall is read.
        bench.members.0.insert(
            (ip::<F>(G), bench.slot("d1")),
            super::bench::State::Exclude(Default::default()),
        );
        bench.mrt.on_group_changed(bench.now, ip::<F>(G), world!(bench));
        bench.turn();
        assert_eq!(bench.fake.sent().len(), 1);
        assert_eq!(stars(&bench), 1);
        assert_eq!(bench.mrt.len(), 1);
    }
    on!([Behaviour::Linux], check);
}

#[test]
fn what_depends_on_the_source_or_the_interface_forbids_it() {
    fn check<F: Family>(kernel: Behaviour) {
        type Step<F> = fn(&mut Bench<F>);
        let near: GroupSet = GroupSet::Net(net::<F>("239.1.0.0/16"));
        let steps: [Step<F>; 8] = [
            |b| b.join("d2", G, &["10.0.0.1"]),
            |b| b.include("d2", G, &["10.0.0.1"]),
            |b| b.set("up", |s| s.sources.clear()),
            |b| b.set("d1", |s| s.rules.push(rule::<F>(false, "239.0.0.0/8", Some("10.9.9.9/32")))),
            |b| b.set("up", |s| s.rules.push(rule::<F>(false, "239.0.0.0/8", Some("10.9.9.9/32")))),
            |b| b.configure(&[mroute::<F>("from up source 10.9.9.0/24 group 239.1.1.0/24 to d3")]),
            |b| b.change("d1", |l| l.yields = true),
            |b| b.change("up", |l| l.up = false),
        ];
        for (at, step) in steps.iter().enumerate() {
            let mut bench = open::<F>(kernel);
            bench.join("d1", G, &[]);
            assert_eq!(stars(&bench), 1);
            step(&mut bench);
            assert_eq!(stars(&bench), 0, "step {at}");
        }
        let mut bench = open::<F>(kernel);
        bench.join("d1", G, &[]);
        bench.join("d2", G, &[]);
        bench.set("up", |s| s.boundaries.push(near));
        assert_eq!(stars(&bench), 0);
        bench.set("up", |s| s.boundaries.clear());
        assert_eq!(stars(&bench), 1);
        bench.set("d1", |s| s.boundaries.push(near));
        assert_eq!(bench.only(), "up: d2");
    }
    on!([Behaviour::Linux], check);
}

/// What may not arrive below has an entry that drops it, beside (*,G), and does not end it.
#[test]
fn a_forged_source_below_is_dropped_beside_it() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("d1", S, G), "");
        assert_eq!(bench.packet("d2", S, G), "");
        assert_eq!((stars(&bench), bench.mrt.len()), (1, 2));
        // The true flow has an entry of its own then, which later forged packets do not take away.
        bench.packet("up", S, G);
        for below in ["d1", "d2"] {
            assert_eq!(bench.packet(below, S, G), "");
            assert_eq!(bench.packet("up", S, G), "d1");
        }
        assert_eq!((stars(&bench), bench.mrt.len()), (1, 2));
    }
    on!([Behaviour::Linux], check);
}

#[test]
fn another_upstream_takes_it_over() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.link("backup", Role::Upstream, "10.8.0.1/24", |s| {
            any_source(s);
            s.preference = 2;
        });
        bench.join("d1", G, &[]);
        bench.change("up", |l| l.up = false);
        assert_eq!(bench.only(), "backup: d1");
        assert_eq!(bench.packet("backup", S, G), "d1");
        bench.change("up", |l| l.up = true);
        assert_eq!(bench.only(), "up: d1");
    }
    on!([Behaviour::Linux], check);
}

#[test]
fn an_upstream_that_comes_later_gives_it_to_all_groups_with_members() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::bare(kernel);
        bench.link("d1", Role::Downstream, "10.1.0.1/24", |_| {});
        bench.join("d1", G, &[]);
        bench.join("d1", "239.1.1.2", &[]);
        assert_eq!(stars(&bench), 0);
        bench.link("up", Role::Upstream, "10.0.0.1/24", any_source);
        assert_eq!(stars(&bench), 2);
    }
    on!([Behaviour::Linux], check);
}

#[test]
fn where_the_kernel_refuses_it_flows_have_their_own() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.join("d1", G, &[]);
        let key = bench.kernel.routes(F::AF)[0].key;
        bench.kernel.delete_route(&key).unwrap();
        bench.mrt.on_route_failed(bench.now, &key, world!(bench));
        bench.turn();
        assert_eq!(bench.packet("up", S, G), "d1");
        assert_eq!((stars(&bench), bench.mrt.len()), (0, 1));
        bench.leave("d1", G);
        bench.join("d1", G, &[]);
        assert_eq!(stars(&bench), 1);
    }
    on!([Behaviour::Linux], check);
}

/// Without the entry of the one source its packets would go by (*,G), to another interface.
#[test]
fn an_mroute_of_one_source_that_was_refused_is_tried_again_with_it() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.link("st", Role::Static, "10.4.0.1/24", |_| {});
        bench.configure(&[
            mroute::<F>("from st group 239.1.1.1/32 to d2"),
            mroute::<F>("from st source 10.4.0.9/32 group 239.1.1.1/32 to d3"),
        ]);
        bench.join("d1", G, &[]);
        let key = RouteKey { source: Some(ip::<F>("10.4.0.9").into()), group: ip::<F>(G).into() };
        bench.kernel.delete_route(&key).unwrap();
        bench.mrt.on_route_failed(bench.now, &key, world!(bench));
        bench.turn();
        assert_eq!(stars(&bench), 0);
        bench.leave("d1", G);
        assert_eq!(bench.packet("st", "10.4.0.9", G), "d3");
        assert_eq!(bench.packet("st", "10.4.0.8", G), "d2");
    }
    on!([Behaviour::Linux], check);
}

#[test]
fn a_new_engine_keeps_it_until_members_had_time_to_answer() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.join("d1", G, &[]);
        bench.join("d2", G, &[]);
        bench.join("d1", "239.1.1.2", &[]);
        bench.restart();
        assert_eq!(bench.packet("up", S, G), "d1 d2");
        bench.join("d3", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1 d2 d3");
        bench.mrt.settle(bench.now, world!(bench));
        bench.turn();
        assert_eq!(bench.only(), "up: d3");
    }
    on!([Behaviour::Linux], check);
}

/// Copies arrive where they are not accepted: the flow keeps its own, over an engine's death as well.
#[test]
fn a_flow_with_copies_elsewhere_has_its_own_beside_it() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = open::<F>(kernel);
        bench.join("d1", G, &[]);
        bench.packet("d2", S, G);
        bench.packet("up", S, G);
        assert_eq!(bench.packet("up", S, G), "d1");
        bench.restart();
        bench.join("d1", G, &[]);
        bench.mrt.settle(bench.now, world!(bench));
        bench.turn();
        assert_eq!(bench.packet("d2", S, G), "");
        assert_eq!(bench.packet("up", S, G), "d1");
        assert_eq!((stars(&bench), bench.mrt.len()), (1, 2));
    }
    on!([Behaviour::Linux], check);
}
