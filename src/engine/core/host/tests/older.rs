//! Older queriers: RFC 9776, sections 7.2.1 and 8.12; RFC 9777, sections 8.2.1 and 9.12; RFC 2236;
//! RFC 2710.

use RecordType::{Allow, IsEx, ToEx, ToIn};

use super::*;

both! {
    an_older_general_query_is_followed_for_the_older_version_querier_present_interval
    an_older_specific_query_changes_no_version
    a_change_of_version_cancels_what_is_pending_and_announces
    the_configured_version_is_the_highest
    a_join_is_one_report_repeated_after_ten_seconds
    a_leave_goes_once_to_all_routers
    a_change_of_sources_says_nothing
    a_general_query_is_answered_by_a_report_a_group
    a_specific_query_is_answered_by_a_report
    source_specific_groups_are_not_reported
    a_group_is_reported_once_no_range_names_it
    a_leave_queued_when_the_version_changes_is_not_lost
    a_group_left_before_its_answer_is_not_reported
}

/// The oldest version but one of the family: IGMPv2, MLDv1.
fn old<F: Family>() -> u8 {
    F::LAYOUT.newest - 1
}

fn old_general<F: Family>(version: u8) -> QuerySpec<'static, F> {
    QuerySpec { version, ..general::<F>(10_000) }
}

/// Speaking the older version, all announced.
fn bench<F: Sample>() -> Bench<F> {
    let mut bench = Bench::<F>::new();
    bench.ask(&old_general::<F>(old::<F>()));
    assert_eq!(bench.host.version(), old::<F>());
    bench
}

/// IGMP: 2 * 125 s + 10 * 10 s; MLD: 2 * 125 s + 10 s.
fn present<F: Family>() -> Millis {
    Millis(if F::AF == Af::Ip4 { 350_000 } else { 260_000 })
}

fn an_older_general_query_is_followed_for_the_older_version_querier_present_interval<F: Sample>() {
    let mut bench = bench::<F>();
    bench.set(F::group(1), exclude::<F>(&[3]));
    bench.run(Millis(present::<F>().0 - 100));
    bench.take();
    bench.ask(&old_general::<F>(old::<F>()));
    bench.run(Millis(present::<F>().0 - 1));
    assert_eq!(bench.host.version(), old::<F>());
    bench.take();
    bench.run(Millis(5000));
    assert_eq!(bench.host.version(), F::LAYOUT.newest);
    assert_eq!(bench.said(), [record::<F>(ToEx, 1, &[3]), record::<F>(ToEx, 1, &[3])]);
}

fn an_older_specific_query_changes_no_version<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.settle();
    bench.ask(&QuerySpec { version: old::<F>(), ..spec::<F>(F::group(1), &[], 1000) });
    bench.run(Millis(2000));
    assert_eq!(bench.host.version(), F::LAYOUT.newest);
    assert_eq!(bench.said(), [record::<F>(IsEx, 1, &[])]);
}

fn a_change_of_version_cancels_what_is_pending_and_announces<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.settle();
    bench.set(F::group(2), exclude::<F>(&[]));
    bench.poll();
    bench.ask(&spec::<F>(F::group(1), &[], 3_000_000));
    bench.take();
    bench.ask(&QuerySpec { max_response: Millis(100), ..old_general::<F>(old::<F>()) });
    bench.run(Millis(5_000_000));
    let report = |n| Said::Report(old::<F>(), F::group(n));
    let mut old_said = bench.said();
    let newest = old_said.split_off(6);
    old_said.sort_by_key(Said::group);
    // Announced twice and answered once, no record in between.
    let expected = [report(1), report(1), report(1), report(2), report(2), report(2)];
    assert_eq!(old_said, expected);
    let records = [record::<F>(ToEx, 1, &[]), record::<F>(ToEx, 2, &[])];
    assert_eq!(newest, [records.clone(), records].concat());
}

fn the_configured_version_is_the_highest<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.settle();
    let config = HostConfig { ifindex: 7, max_version: old::<F>(), ssm: vec![default_ssm::<F>()] };
    bench.host.configure(bench.now, config.clone());
    bench.run(Millis(20_000));
    assert_eq!(bench.said(), vec![Said::Report(old::<F>(), F::group(1)); 2]);
    bench.ask(&general::<F>(1000));
    bench.run(Millis(2000));
    assert_eq!(bench.said(), [Said::Report(old::<F>(), F::group(1))]);
    assert_eq!(bench.host.version(), old::<F>());
    bench.host.configure(bench.now, HostConfig { max_version: F::LAYOUT.newest, ..config });
    bench.poll();
    assert_eq!(bench.said(), [record::<F>(ToEx, 1, &[])]);
}

fn a_join_is_one_report_repeated_after_ten_seconds<F: Sample>() {
    for subscription in [exclude::<F>(&[]), exclude::<F>(&[1]), include::<F>(&[1, 2])] {
        let mut bench = bench::<F>();
        let joined = bench.now;
        bench.set(F::group(1), subscription);
        bench.run(Millis(60_000));
        let sent = bench.take();
        let said: Vec<_> = sent.iter().map(|s| (s.at, s.destination, s.said.clone())).collect();
        let report = vec![Said::Report(old::<F>(), F::group(1))];
        let again = joined + Millis(10_000);
        assert_eq!(said[0], (joined, F::group(1), report.clone()));
        assert_eq!(said.len(), 2);
        assert!((again..again + Millis(8)).contains(&said[1].0));
        assert_eq!((said[1].1, &said[1].2), (F::group(1), &report));
    }
}

fn a_leave_goes_once_to_all_routers<F: Sample>() {
    let mut bench = bench::<F>();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.settle();
    bench.set(F::group(1), include::<F>(&[]));
    bench.run(Millis(60_000));
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].destination), (1, F::ALL_ROUTERS));
    assert_eq!(sent[0].said, [Said::Leave(F::group(1))]);
    assert_eq!(bench.host.table.records.count(), 0);
}

fn a_change_of_sources_says_nothing<F: Sample>() {
    let mut bench = bench::<F>();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.settle();
    for subscription in [exclude::<F>(&[1]), include::<F>(&[1]), include::<F>(&[2])] {
        bench.set(F::group(1), subscription);
    }
    bench.run(Millis(60_000));
    assert_eq!(bench.take(), []);
}

/// 100 reports in 10 s, at equal distances.
fn a_general_query_is_answered_by_a_report_a_group<F: Sample>() {
    let mut bench = bench::<F>();
    for n in 0..100 {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
    bench.settle();
    let asked = bench.now;
    bench.ask(&old_general::<F>(old::<F>()));
    bench.run(Millis(20_000));
    let sent = bench.take();
    assert_eq!(sent.len(), 100);
    assert!(sent.iter().all(|s| s.at > asked && s.at <= asked + Millis(10_000)));
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at == Millis(100)));
    let groups = sent.iter().flat_map(|s| s.said.iter().map(Said::group));
    assert!(groups.eq((0..100).map(F::group)));
}

fn a_specific_query_is_answered_by_a_report<F: Sample>() {
    let mut bench = bench::<F>();
    bench.set(F::group(1), include::<F>(&[1]));
    bench.settle();
    let specific = QuerySpec { version: old::<F>(), ..spec::<F>(F::group(1), &[], 1000) };
    bench.ask(&specific);
    bench.run(Millis(1000));
    assert_eq!(bench.said(), [Said::Report(old::<F>(), F::group(1))]);
    // Sources cannot be told: the group is.
    bench.ask(&spec::<F>(F::group(1), &addresses::<F>(&[9]), 1000));
    bench.run(Millis(1000));
    assert_eq!(bench.said(), [Said::Report(old::<F>(), F::group(1))]);
}

/// RFC 4604, section 2.2.3.
fn source_specific_groups_are_not_reported<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::ssm_group(1), include::<F>(&[1]));
    bench.settle();
    assert_eq!(bench.host.take_unsayable(), None);
    bench.ask(&old_general::<F>(old::<F>()));
    assert_eq!(bench.host.take_unsayable(), Some(F::ssm_group(1)));
    bench.set(F::ssm_group(2), include::<F>(&[1]));
    bench.ask(&spec::<F>(F::ssm_group(2), &[], 1000));
    bench.set(F::ssm_group(3), include::<F>(&[1]));
    bench.set(F::ssm_group(3), include::<F>(&[]));
    bench.host.on_own_leave(bench.now, F::ssm_group(1));
    bench.run(Millis(50_000));
    assert_eq!((bench.said(), bench.host.take_unsayable()), (vec![], None));
    assert_eq!(bench.host.len(), 2);
    bench.run(present::<F>());
    bench.said();
    bench.set(F::ssm_group(4), include::<F>(&[1]));
    bench.poll();
    assert_eq!(
        bench.said(),
        [Said::Record(Allow, F::ssm_group(4), addresses::<F>(&[1]))],
        "nothing is left of it once the newest version is spoken again"
    );
}

/// The version has no sources, which does not matter any more.
fn a_group_is_reported_once_no_range_names_it<F: Sample>() {
    let mut bench = bench::<F>();
    bench.set(F::ssm_group(1), include::<F>(&[1]));
    bench.run(Millis(20_000));
    assert_eq!(bench.said(), []);
    let config = HostConfig { ifindex: 7, max_version: F::LAYOUT.newest, ssm: Vec::new() };
    bench.host.configure(bench.now, config);
    bench.run(Millis(20_000));
    assert_eq!(bench.said(), vec![Said::Report(old::<F>(), F::ssm_group(1)); 2]);
}

fn a_leave_queued_when_the_version_changes_is_not_lost<F: Sample>() {
    for subscription in [exclude::<F>(&[]), include::<F>(&[1])] {
        let mut bench = Bench::<F>::new();
        bench.set(F::group(1), subscription.clone());
        bench.settle();
        bench.set(F::group(1), include::<F>(&[]));
        bench.ask(&old_general::<F>(old::<F>()));
        bench.run(Millis(60_000));
        assert_eq!(bench.said(), [Said::Leave(F::group(1))]);
        bench.set(F::group(1), subscription);
        bench.run(Millis(present::<F>().0 - 60_001));
        bench.take();
        bench.set(F::group(1), include::<F>(&[]));
        bench.now += Millis(1);
        bench.host.on_time(bench.now);
        assert_eq!(bench.host.version(), F::LAYOUT.newest);
        bench.run(Millis(60_000));
        assert_eq!(bench.said(), vec![record::<F>(ToIn, 1, &[]); 2]);
    }
}

fn a_group_left_before_its_answer_is_not_reported<F: Sample>() {
    let mut bench = bench::<F>();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.settle();
    bench.ask(&spec::<F>(F::group(1), &[], 20_000));
    bench.set(F::group(1), include::<F>(&[]));
    bench.run(Millis(60_000));
    assert_eq!(bench.said(), [Said::Leave(F::group(1))]);
    assert_eq!(bench.host.table.records.count(), 0);
}

/// IGMPv1 below IGMPv2 below IGMPv3, each with its own timer; IGMPv1 knows no leave.
#[test]
fn igmpv1_goes_before_igmpv2() {
    let mut bench = Bench::<V4>::new();
    bench.ask(&old_general::<V4>(1));
    bench.run(Millis(100_000));
    bench.ask(&old_general::<V4>(2));
    assert_eq!(bench.host.version(), 1);
    bench.set(V4::group(1), exclude::<V4>(&[]));
    bench.run(Millis(20_000));
    assert_eq!(bench.said(), vec![Said::Report(1, V4::group(1)); 2]);
    bench.set(V4::group(1), include::<V4>(&[]));
    bench.run(Millis(20_000));
    assert_eq!(bench.said(), []);
    bench.run(Millis(211_000));
    assert_eq!(bench.host.version(), 2);
    bench.run(Millis(98_999));
    assert_eq!((bench.now, bench.host.version()), (Tick(449_999), 2));
    bench.run(Millis(1));
    assert_eq!(bench.host.version(), 3);
}
