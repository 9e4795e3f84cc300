//! How fast it is said: at most 100 reports in any second, older versions 1000; everything is left
//! within a second.

use RecordType::{ToEx, ToIn};

use super::*;

both! {
    an_interface_that_comes_up_with_10_000_groups_is_announced_at_the_pace
    joins_one_by_one_are_packed_once_they_come_too_fast
    the_first_join_does_not_wait
    changes_go_before_an_announcement
    an_announcement_in_an_older_version_is_paced
    everything_is_left_within_a_second
    everything_is_left_within_a_second_in_an_older_version
    nothing_more_is_said_once_it_is_left
    more_groups_left_than_are_remembered_are_dropped
    a_join_is_told_however_many_groups_are_left
    a_walk_survives_groups_that_come_and_go
}

/// The most packets in any second.
fn rate<F: Family>(sent: &[Sent<F>]) -> usize {
    let last = |from: usize| sent.partition_point(|s| s.at - sent[from].at <= Millis(1000));
    (0..sent.len()).map(|from| last(from) - from).max().unwrap_or_default()
}

fn groups<F: Sample>(bench: &mut Bench<F>, n: u32) {
    for n in 0..n {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
}

/// 10,000 groups are 55 IPv4 reports of 183 records and 139 IPv6 ones of 72.
fn an_interface_that_comes_up_with_10_000_groups_is_announced_at_the_pace<F: Sample>() {
    let (messages, time) = if F::AF == Af::Ip4 { (55, 1000) } else { (139, 2000) };
    let mut bench = Bench::<F>::down();
    groups(&mut bench, 10_000);
    bench.up(1);
    bench.run(Millis(60_000));
    let sent = bench.take();
    assert_eq!(sent.len(), 2 * messages, "two copies");
    assert!(rate(&sent) <= 100, "{}", rate(&sent));
    assert_eq!(sent[0].at, Tick(0));
    assert!(sent[messages - 1].at < Tick(time), "{:?}", sent[messages - 1].at);
    for copy in sent.chunks(messages) {
        let said = copy.iter().flat_map(|sent| sent.said.iter().cloned());
        assert!(said.eq((0..10_000).map(|n| record::<F>(ToEx, n, &[]))));
    }
}

fn joins_one_by_one_are_packed_once_they_come_too_fast<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..5000 {
        bench.set(F::group(n), exclude::<F>(&[]));
        bench.poll();
        bench.run(Millis(1));
    }
    bench.run(Millis(20_000));
    let sent = bench.take();
    assert!(rate(&sent) <= 100, "{}", rate(&sent));
    let mut told: Vec<_> = sent.iter().flat_map(|s| s.said.iter().map(Said::group)).collect();
    told.sort_unstable();
    assert!(told.into_iter().eq((0..5000).flat_map(|n| [F::group(n); 2])));
}

fn the_first_join_does_not_wait<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..9 {
        bench.set(F::group(n), exclude::<F>(&[]));
        bench.poll();
    }
    assert_eq!(bench.take().len(), 9);
}

fn changes_go_before_an_announcement<F: Sample>() {
    let mut bench = Bench::<F>::down();
    groups(&mut bench, 10_000);
    bench.up(1);
    bench.run(Millis(200));
    bench.take();
    bench.set(F::group(20_000), exclude::<F>(&[]));
    bench.run(Millis(12));
    assert!(bench.said().contains(&record::<F>(ToEx, 20_000, &[])));
}

fn an_announcement_in_an_older_version_is_paced<F: Sample>() {
    let mut bench = Bench::<F>::down();
    groups(&mut bench, 3000);
    let version = F::LAYOUT.newest - 1;
    bench.ask(&QuerySpec { version, ..general::<F>(10_000) });
    bench.up(1);
    bench.run(Millis(9000));
    let sent = bench.take();
    assert_eq!(sent.len(), 3000);
    assert!(rate(&sent) <= 1000 && rate(&sent) > 800, "{}", rate(&sent));
    bench.run(Millis(9000));
    let again = bench.take();
    assert_eq!(again.len(), 3000);
    assert_eq!(again[0].at, Tick(10_000));
}

fn everything_is_left_within_a_second<F: Sample>() {
    for (groups, robustness) in [(1, 2), (10_000, 2), (100_000, 3), (50, 7)] {
        let mut bench = Bench::<F>::new();
        self::groups(&mut bench, groups);
        bench.settle();
        bench.ask(&QuerySpec { robustness, ..general::<F>(1000) });
        let left = bench.now;
        bench.host.leave_all(left);
        bench.run(Millis(100_000));
        let sent = bench.take();
        assert_eq!(bench.host.next_deadline(), None);
        assert!(sent.iter().all(|s| s.at - left <= Millis(1000)), "{groups} groups");
        let said: Vec<_> = sent.into_iter().flat_map(|sent| sent.said).collect();
        assert_eq!(said.len(), groups as usize * usize::from(robustness));
        for copy in said.chunks(groups as usize) {
            assert!(copy.iter().cloned().eq((0..groups).map(|n| record::<F>(ToIn, n, &[]))));
        }
    }
}

fn everything_is_left_within_a_second_in_an_older_version<F: Sample>() {
    let mut bench = Bench::<F>::new();
    let version = F::LAYOUT.newest - 1;
    bench.ask(&QuerySpec { version, ..general::<F>(1000) });
    groups(&mut bench, 10_000);
    bench.run(Millis(50_000));
    bench.take();
    let left = bench.now;
    bench.host.leave_all(left);
    bench.run(Millis(100_000));
    let sent = bench.take();
    assert_eq!(bench.host.next_deadline(), None);
    assert!(sent.iter().all(|s| s.at - left <= Millis(1000)));
    let said = sent.into_iter().flat_map(|sent| sent.said);
    assert!(said.eq((0..10_000).map(|n| Said::Leave(F::group(n)))));
}

fn nothing_more_is_said_once_it_is_left<F: Sample>() {
    let mut bench = Bench::<F>::new();
    groups(&mut bench, 3);
    bench.settle();
    bench.host.leave_all(bench.now);
    bench.run(Millis(2000));
    bench.take();
    bench.set(F::group(4), exclude::<F>(&[]));
    bench.ask(&general::<F>(1000));
    bench.host.on_own_leave(bench.now, F::group(1));
    bench.host.leave_all(bench.now);
    bench.up(2);
    bench.run(Millis(20_000));
    assert_eq!((bench.take(), bench.host.next_deadline()), (vec![], None));
    let mut down = Bench::<F>::down();
    groups(&mut down, 3);
    down.host.leave_all(down.now);
    down.run(Millis(20_000));
    assert_eq!((down.take(), down.host.next_deadline()), (vec![], None));
}

fn more_groups_left_than_are_remembered_are_dropped<F: Sample>() {
    let mut bench = Bench::<F>::new();
    groups(&mut bench, crate::engine::core::host::MAX_LEFT + 1000);
    bench.settle();
    for n in 0..crate::engine::core::host::MAX_LEFT + 1000 {
        bench.set(F::group(n), include::<F>(&[]));
    }
    assert_eq!(bench.host.table.records.count(), crate::engine::core::host::MAX_LEFT);
    bench.settle();
    assert_eq!(bench.host.table.records.count(), 0);
}

/// The limit is for those that are left.
fn a_join_is_told_however_many_groups_are_left<F: Sample>() {
    let mut bench = Bench::<F>::new();
    let many = crate::engine::core::host::MAX_LEFT + 1000;
    groups(&mut bench, many);
    for n in 0..many {
        bench.set(F::group(n), include::<F>(&[]));
    }
    bench.set(F::group(many), exclude::<F>(&[]));
    bench.run(Millis(100_000));
    let told = record::<F>(ToEx, many, &[]);
    assert_eq!(bench.said().into_iter().filter(|said| *said == told).count(), 2);
}

/// The table shrinks and grows again while an answer and an announcement walk over it.
fn a_walk_survives_groups_that_come_and_go<F: Sample>() {
    let mut bench = Bench::<F>::down();
    groups(&mut bench, 5000);
    bench.up(1);
    bench.ask(&general::<F>(10_000));
    bench.run(Millis(100));
    for n in 0..5000 {
        bench.set(F::group(n), include::<F>(&[]));
    }
    bench.run(Millis(5000));
    assert_eq!(bench.host.table.records.count(), 0);
    groups(&mut bench, 10);
    bench.settle();
    bench.ask(&general::<F>(1000));
    bench.run(Millis(1000));
    assert_eq!(bench.said().len(), 10);
    assert_eq!(bench.host.next_deadline(), None);
}

/// 32 octets for an IPv4 group without sources, and five for each place of an index that is between
/// 7/16 and 7/8 full.
#[test]
fn an_ipv4_record_is_32_octets() {
    use crate::engine::core::host::table::Record;
    assert_eq!(size_of::<Record<Ipv4Addr>>(), 32);
    assert_eq!(size_of::<Record<Ipv6Addr>>(), 40);
}
