//! A kernel that looks up entries by group alone, drops idle ones, asks once for each group, and
//! never tells of a wrong interface (OpenBSD's ip_mroute.c: `mfc_find`, `mfc_expire_route`).

use super::super::READ_INTERVAL_EXPIRING;
use super::bench::{Bench, ip, mroute, world};
use super::on;
use crate::config::model::Role;
use crate::kroute::fake::Behaviour;
use crate::wire::Family;

const G: &str = "239.1.1.1";
const S: &str = "10.0.0.9";

/// No second upcall comes, so the first one is remembered.
#[test]
fn a_member_that_comes_after_the_upcall_gets_the_flow() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        assert_eq!(bench.packet("up", S, G), "");
        assert_eq!(bench.table(), [""; 0]);
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1");
        bench.join("d2", G, &[]);
        assert_eq!(bench.packet("up", "10.0.0.8", G), "d1 d2");
        bench.leave("d1", G);
        bench.leave("d2", G);
        assert_eq!(bench.packet("up", S, G), "");
        bench.join("d3", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d3");
    }
    on!([Behaviour::OpenBsd], check);
}

/// One entry stands for all sources, so any state counts, and no source is refused.
#[test]
fn any_state_is_an_output_and_source_networks_are_not_enforced() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.include("d1", G, &["10.0.0.7"]);
        bench.packet("up", "10.9.0.9", G);
        assert_eq!(bench.packet("up", "10.9.0.9", G), "d1");
    }
    on!([Behaviour::OpenBsd], check);
}

#[test]
fn what_the_kernel_dropped_is_installed_anew() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.packet("up", S, G);
        bench.pass(15);
        for _ in 0..2 {
            bench.fake.time_passes();
        }
        bench.packet("up", S, G);
        assert_eq!(bench.packet("up", S, G), "d1");
        for _ in 0..2 {
            bench.fake.time_passes();
        }
        bench.pass(16);
        assert_eq!(bench.mrt.len(), 0);
        assert_eq!(bench.mrt.next_deadline(), None);
    }
    on!([Behaviour::OpenBsd], check);
}

/// Else the kernel's own entry, kept alive by the traffic, would hide the flow from later members.
#[test]
fn what_is_forgotten_can_be_asked_about_again() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.packet("up", S, G);
        for _ in 0..8 {
            bench.packet("up", S, G);
            bench.pass(15);
        }
        bench.packet("up", S, G);
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("up", S, G), "d1");
        // A new engine knows nothing of entries of the kernel's making.
        bench.leave("d1", G);
        bench.packet("up", S, G);
        bench.restart();
        bench.packet("up", S, G);
        bench.join("d1", G, &[]);
        bench.packet("up", S, G);
        assert_eq!(bench.packet("up", S, G), "d1");
    }
    on!([Behaviour::OpenBsd], check);
}

#[test]
fn the_upstream_is_the_parent_until_the_source_is_elsewhere() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.packet("d2", "10.2.0.9", G);
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up");
        bench.join("d1", G, &[]);
        assert_eq!(bench.only(), "up: d1");
        assert_eq!(bench.packet("up", S, G), "d1");
        for _ in 0..4 {
            bench.packet("d2", "10.2.0.9", G);
            bench.pass(15);
        }
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up d1");
        for _ in 0..4 {
            bench.packet("up", S, G);
            bench.pass(15);
        }
        assert_eq!(bench.packet("up", S, G), "d1");
    }
    on!([Behaviour::OpenBsd], check);
}

/// A source that was followed elsewhere stays there over an engine's death.
#[test]
fn a_new_engine_takes_a_group_from_where_it_came() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.packet("up", S, G);
        for _ in 0..4 {
            bench.packet("d2", "10.2.0.9", G);
            bench.pass(15);
        }
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up d1");
        bench.restart();
        bench.join("d1", G, &[]);
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up d1");
        bench.mrt.settle(bench.now, world!(bench));
        bench.turn();
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up d1");
    }
    on!([Behaviour::OpenBsd], check);
}

/// The kernel keeps the entry that it made when it asked, and would not ask again.
#[test]
fn what_was_seen_on_an_interface_that_is_gone_is_asked_about_anew() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.link("st", Role::Static, "10.4.0.1/24", |_| {});
        assert_eq!(bench.packet("st", "10.4.0.9", G), "");
        bench.remove("st");
        bench.packet("d2", "10.2.0.9", G);
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up");
    }
    on!([Behaviour::OpenBsd], check);
}

/// The kernel does not tell the source, without which the `mroute` is for other packets.
#[test]
fn an_mroute_s_entry_outlives_an_engine() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.link("st", Role::Static, "10.4.0.1/24", |_| {});
        bench.configure(&[mroute::<F>("from st source 10.4.0.9/32 group 239.1.1.1/32 to d1")]);
        assert_eq!(bench.packet("st", "10.4.0.9", G), "d1");
        bench.restart();
        bench.mrt.settle(bench.now, world!(bench));
        bench.turn();
        assert_eq!((bench.only().as_str(), bench.orders().as_str()), ("st: d1", ""));
    }
    on!([Behaviour::OpenBsd], check);
}

#[test]
fn the_first_entry_is_counted_after_a_whole_interval() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.configure(&[]);
        bench.pass(12);
        bench.configure(&[mroute::<F>("from d1 source 10.1.0.9/32 group 239.1.1.1/32 to d2")]);
        assert_eq!(bench.mrt.next_deadline(), Some(bench.now + READ_INTERVAL_EXPIRING));
    }
    on!([Behaviour::OpenBsd], check);
}

/// Its slot is that of the one that is gone.
#[test]
fn an_interface_that_replaces_one_after_an_engine_s_death_is_an_output_of_its_own() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.packet("d2", "10.2.0.9", G);
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up");
        bench.restart();
        let slot = bench.slot("up");
        bench.remove("up");
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "");
        assert_eq!(bench.link("up9", Role::Upstream, "10.0.0.1/24", |_| {}), slot);
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up9");
    }
    on!([Behaviour::OpenBsd], check);
}

/// That it came from elsewhere once is as old as the entry.
#[test]
fn a_group_whose_entry_the_kernel_dropped_comes_from_upstream_again() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.packet("d2", "10.2.0.9", G);
        bench.restart();
        bench.join("d1", G, &[]);
        bench.mrt.settle(bench.now, world!(bench));
        bench.turn();
        assert_eq!(bench.only(), "d2: up d1");
        let key = bench.kernel.routes(F::AF)[0].key;
        assert!(bench.fake.lose_entry(key));
        bench.packet("d3", "10.3.0.9", G);
        assert_eq!(bench.only(), "up: d1");
    }
    on!([Behaviour::OpenBsd], check);
}

#[test]
fn a_deleted_interface_and_a_flush_take_the_entry_along() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.packet("up", S, G);
        bench.mrt.flush(bench.now, None, None, world!(bench));
        bench.turn();
        assert_eq!(bench.mrt.len(), 0);
        bench.packet("up", S, G);
        assert_eq!(bench.packet("up", S, G), "d1");
        bench.remove("up");
        assert_eq!((bench.mrt.len(), bench.table().len()), (0, 0));
    }
    on!([Behaviour::OpenBsd], check);
}

/// Its entry stands for all sources, whichever was seen.
#[test]
fn a_flush_of_one_source_is_one_of_its_group() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.join("d1", G, &[]);
        bench.packet("up", S, G);
        bench.mrt.flush(bench.now, Some(ip::<F>(G)), Some(ip::<F>("10.0.0.8")), world!(bench));
        bench.turn();
        assert_eq!((bench.mrt.len(), bench.table().len()), (0, 0));
    }
    on!([Behaviour::OpenBsd], check);
}

/// Its entry had idled out when a packet came from elsewhere; the parent would know it still.
#[test]
fn an_entry_that_the_kernel_dropped_is_not_kept_for_another_interface() {
    fn check<F: Family>(kernel: Behaviour) {
        let mut bench = Bench::<F>::new(kernel);
        bench.link("st", Role::Static, "10.4.0.1/24", |_| {});
        bench.packet("d2", "10.2.0.9", G);
        assert_eq!(bench.only(), "d2: up");
        let key = bench.kernel.routes(F::AF)[0].key;
        assert!(bench.fake.lose_entry(key));
        assert_eq!(bench.packet("st", "10.4.0.9", G), "");
        assert_eq!(bench.table(), [""; 0]);
        bench.fake.lose_entry(key);
        bench.packet("d2", "10.2.0.9", G);
        assert_eq!(bench.packet("d2", "10.2.0.9", G), "up");
    }
    on!([Behaviour::OpenBsd], check);
}
