//! State changes: RFC 9776, section 5.1; RFC 9777, section 6.1.

use RecordType::{Allow, Block, ToEx, ToIn};

use super::*;

both! {
    each_row_of_the_difference_table
    a_change_is_told_at_once_and_again_within_the_unsolicited_report_interval
    copies_follow_the_querier_s_robustness
    changes_of_one_turn_are_one_report
    changes_of_one_turn_are_taken_in_their_order
    a_filter_mode_change_goes_before_pending_sources
    a_source_change_stops_at_a_filter_mode_change
    each_source_keeps_its_own_count
    a_source_that_changes_back_is_told_as_it_is_now
    the_same_again_says_nothing
    a_left_group_is_forgotten_once_its_leave_is_told
    while_down_nothing_is_said_and_all_once_up
    a_new_address_announces_everything_again
    another_mtu_announces_nothing
    the_kernel_s_own_leave_is_answered_by_an_announcement
    long_lists_are_split_or_cut
    show_walks_over_what_is_held
}

fn each_row_of_the_difference_table<F: Sample>() {
    type Row<F> = (
        Subscription<<F as Family>::Addr>,
        Subscription<<F as Family>::Addr>,
        Vec<Said<<F as Family>::Addr>>,
    );
    let rows: Vec<Row<F>> = vec![
        // INCLUDE(A) to INCLUDE(B): ALLOW(B-A), BLOCK(A-B); an empty one is left out.
        (
            include::<F>(&[1, 2]),
            include::<F>(&[2, 3]),
            vec![record::<F>(Allow, 1, &[3]), record::<F>(Block, 1, &[1])],
        ),
        (include::<F>(&[]), include::<F>(&[1]), vec![record::<F>(Allow, 1, &[1])]),
        (include::<F>(&[1, 2]), include::<F>(&[]), vec![record::<F>(Block, 1, &[1, 2])]),
        // EXCLUDE(A) to EXCLUDE(B): ALLOW(A-B), BLOCK(B-A).
        (
            exclude::<F>(&[1, 2]),
            exclude::<F>(&[2, 3]),
            vec![record::<F>(Allow, 1, &[1]), record::<F>(Block, 1, &[3])],
        ),
        (exclude::<F>(&[]), exclude::<F>(&[3]), vec![record::<F>(Block, 1, &[3])]),
        // INCLUDE(A) to EXCLUDE(B): TO_EX(B).
        (include::<F>(&[1]), exclude::<F>(&[1, 2]), vec![record::<F>(ToEx, 1, &[1, 2])]),
        (include::<F>(&[]), exclude::<F>(&[]), vec![record::<F>(ToEx, 1, &[])]),
        // EXCLUDE(A) to INCLUDE(B): TO_IN(B).
        (exclude::<F>(&[1]), include::<F>(&[2]), vec![record::<F>(ToIn, 1, &[2])]),
        (exclude::<F>(&[]), include::<F>(&[]), vec![record::<F>(ToIn, 1, &[])]),
    ];
    for (old, new, expected) in rows {
        let mut bench = Bench::<F>::new();
        bench.set(F::group(1), old.clone());
        bench.settle();
        bench.set(F::group(1), new.clone());
        bench.poll();
        assert_eq!(bench.said(), expected, "{old:?} to {new:?}");
        bench.run(Millis(5000));
        assert_eq!(bench.said(), expected, "the second copy of {old:?} to {new:?}");
    }
}

fn a_change_is_told_at_once_and_again_within_the_unsolicited_report_interval<F: Sample>() {
    let mut waits = Vec::new();
    let mut bench = Bench::<F>::new();
    for n in 0..200 {
        bench.set(F::group(n), exclude::<F>(&[]));
        let told = bench.now;
        bench.run(Millis(3000));
        let sent = bench.take();
        assert_eq!(sent.len(), 2);
        assert_eq!((sent[0].at, sent[0].destination), (told, F::REPORTS));
        assert_eq!(sent[0].source, F::host(1));
        assert_eq!(sent[0].said, sent[1].said);
        waits.push((sent[1].at - told).0);
    }
    // Timers round up to their grain.
    assert!(waits.iter().all(|w| (1..=1008).contains(w)), "{waits:?}");
    assert!(waits.iter().min() < Some(&100) && waits.iter().max() > Some(&900), "{waits:?}");
}

/// QRV 0 means the default, 2. RFC 9776, section 4.1.6.
fn copies_follow_the_querier_s_robustness<F: Sample>() {
    for (robustness, copies) in [(1, 1), (3, 3), (7, 7), (0, 2)] {
        let mut bench = Bench::<F>::new();
        bench.ask(&QuerySpec { robustness: 7, ..general::<F>(1000) });
        bench.ask(&QuerySpec { robustness, ..general::<F>(1000) });
        for subscription in [include::<F>(&[1]), exclude::<F>(&[]), include::<F>(&[])] {
            bench.set(F::group(1), subscription);
            bench.run(Millis(10_000));
            assert_eq!(bench.take().len(), copies, "robustness {robustness}");
        }
    }
}

fn changes_of_one_turn_are_one_report<F: Sample>() {
    let mut bench = Bench::<F>::new();
    let mut expected = Vec::new();
    for n in 0..70 {
        bench.set(F::group(n), exclude::<F>(&[]));
        expected.push(record::<F>(ToEx, n, &[]));
    }
    bench.poll();
    let sent = bench.take();
    assert_eq!((sent.len(), &sent[0].said), (1, &expected));
    bench.run(Millis(5000));
    assert_eq!(bench.take().len(), 1, "they are repeated together too");
}

/// The next RV reports carry the filter mode with the list of then, and only then sources follow.
/// While the interface is down nothing of a group that is left is kept: its place is another's then.
fn changes_of_one_turn_are_taken_in_their_order<F: Sample>() {
    let mut bench = Bench::<F>::down();
    bench.set(F::group(1), exclude::<F>(&[]));
    let changes = vec![
        (F::group(1), Subscription::none()),
        (F::group(2), exclude::<F>(&[2])),
        (F::group(1), include::<F>(&[1])),
        (F::group(2), exclude::<F>(&[3])),
    ];
    assert!(bench.host.subscribe(bench.now, changes));
    let held =
        |group| bench.host.get(F::group(group)).map(|view| (view.mode, view.sources.to_vec()));
    assert_eq!(held(1), Some((Mode::Include, addresses::<F>(&[1]))));
    assert_eq!(held(2), Some((Mode::Exclude, addresses::<F>(&[3]))));
    assert_eq!(bench.host.len(), 2);
}

fn a_filter_mode_change_goes_before_pending_sources<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.poll();
    assert_eq!(bench.said(), [record::<F>(ToEx, 1, &[])]);
    bench.set(F::group(1), exclude::<F>(&[1]));
    bench.poll();
    assert_eq!(bench.said(), [record::<F>(ToEx, 1, &[1])]);
    bench.run(Millis(5000));
    assert_eq!(bench.said(), [record::<F>(Block, 1, &[1]), record::<F>(Block, 1, &[1])]);
}

fn a_source_change_stops_at_a_filter_mode_change<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), include::<F>(&[1]));
    bench.poll();
    bench.set(F::group(1), exclude::<F>(&[2]));
    bench.run(Millis(5000));
    let to_ex = record::<F>(ToEx, 1, &[2]);
    assert_eq!(bench.said(), [record::<F>(Allow, 1, &[1]), to_ex.clone(), to_ex]);
}

/// The merged report begins the copies of the new difference; the older one has fewer left.
fn each_source_keeps_its_own_count<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), include::<F>(&[1]));
    bench.poll();
    bench.set(F::group(1), include::<F>(&[1, 2]));
    bench.run(Millis(5000));
    let expected = [&[1][..], &[1, 2], &[2]].map(|list| record::<F>(Allow, 1, list));
    assert_eq!(bench.said(), expected);
}

fn a_source_that_changes_back_is_told_as_it_is_now<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), include::<F>(&[1, 2]));
    bench.poll();
    bench.set(F::group(1), include::<F>(&[2]));
    bench.run(Millis(5000));
    let allow = record::<F>(Allow, 1, &[2]);
    let block = record::<F>(Block, 1, &[1]);
    let first = record::<F>(Allow, 1, &[1, 2]);
    assert_eq!(bench.said(), [first, allow, block.clone(), block]);
}

fn the_same_again_says_nothing<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for subscription in [include::<F>(&[]), include::<F>(&[1, 2]), exclude::<F>(&[1])] {
        bench.set(F::group(1), subscription.clone());
        bench.settle();
        bench.set(F::group(1), subscription);
        bench.run(Millis(5000));
        assert_eq!(bench.take(), []);
    }
}

fn a_left_group_is_forgotten_once_its_leave_is_told<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..100 {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
    bench.settle();
    for n in 0..100 {
        bench.set(F::group(n), include::<F>(&[]));
    }
    assert_eq!((bench.host.len(), bench.host.get(F::group(1))), (0, None));
    assert_eq!(bench.host.table.records.count(), 100);
    bench.settle();
    assert_eq!(bench.host.table.records.count(), 0);
    assert_eq!((bench.host.table.octets(), bench.host.next_deadline()), (0, None));
}

fn while_down_nothing_is_said_and_all_once_up<F: Sample>() {
    let mut bench = Bench::<F>::down();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.set(F::group(2), include::<F>(&[5]));
    bench.set(F::group(3), exclude::<F>(&[]));
    bench.set(F::group(3), include::<F>(&[]));
    bench.ask(&general::<F>(1000));
    bench.run(Millis(5000));
    assert_eq!((bench.take(), bench.host.next_deadline()), (vec![], None));
    bench.up(1);
    bench.run(Millis(5000));
    let expected = [record::<F>(ToEx, 1, &[]), record::<F>(ToIn, 2, &[5])];
    let sent = bench.take();
    assert_eq!(sent.iter().map(|s| s.said.clone()).collect::<Vec<_>>(), [&expected, &expected]);
    bench.set(F::group(1), include::<F>(&[]));
    bench.host.set_endpoint(bench.now, None);
    bench.settle();
    bench.up(1);
    bench.run(Millis(5000));
    assert_eq!(bench.said(), [expected[1].clone(), expected[1].clone()]);
}

fn a_new_address_announces_everything_again<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[4]));
    bench.settle();
    bench.up(2);
    bench.run(Millis(5000));
    let sent = bench.take();
    assert_eq!(sent.len(), 2);
    for sent in sent {
        assert_eq!((sent.source, sent.said), (F::host(2), vec![record::<F>(ToEx, 1, &[4])]));
    }
    bench.set(F::group(2), exclude::<F>(&[]));
    bench.settle();
    bench.set(F::group(2), include::<F>(&[]));
    bench.up(3);
    bench.run(Millis(5000));
    let left = |said: &Said<_>| *said == record::<F>(ToIn, 2, &[]);
    assert_eq!(bench.said().into_iter().filter(left).count(), 2, "a leave is not announced");
}

fn another_mtu_announces_nothing<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[4]));
    bench.settle();
    bench.host.set_endpoint(bench.now, Some(Endpoint { source: F::host(1), mtu: 9000 }));
    bench.run(Millis(5000));
    assert_eq!(bench.take(), []);
}

fn the_kernel_s_own_leave_is_answered_by_an_announcement<F: Sample>() {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[]));
    bench.set(F::group(2), include::<F>(&[3]));
    bench.settle();
    for n in 1..4 {
        bench.host.on_own_leave(bench.now, F::group(n));
    }
    bench.run(Millis(5000));
    let expected = vec![record::<F>(ToEx, 1, &[]), record::<F>(ToIn, 2, &[3])];
    let mut sent = bench.take();
    assert_eq!(sent[0].said, expected);
    sent[1].said.reverse();
    assert_eq!((sent.len(), &sent[1].said), (2, &expected));
}

/// RFC 9776, section 4.2.16: 365 sources fit in a record of a report of 1500 octets; RFC 9777,
/// section 5.2.16: 89.
fn long_lists_are_split_or_cut<F: Sample>() {
    let fit = if F::AF == Af::Ip4 { 365 } else { 89 };
    let many: Vec<u32> = (0..1000).collect();
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), include::<F>(&many));
    bench.poll();
    let all: Vec<_> = bench.take().into_iter().map(|sent| sent.said).collect();
    let expected: Vec<_> = many.chunks(fit).map(|c| vec![record::<F>(Allow, 1, c)]).collect();
    assert_eq!(all, expected);
    bench.settle();
    bench.set(F::group(1), exclude::<F>(&many));
    bench.poll();
    assert_eq!(bench.said(), [record::<F>(ToEx, 1, &many[..fit])]);
}

fn show_walks_over_what_is_held<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..10 {
        bench.set(F::group(n), exclude::<F>(&[n]));
    }
    bench.settle();
    bench.set(F::group(4), include::<F>(&[]));
    let (mut cursor, mut seen) = (0, Vec::new());
    loop {
        let rows: Vec<_> = bench.host.iter_from(cursor, 4).collect();
        let Some((next, _)) = rows.last() else { break };
        assert!(rows.len() <= 4);
        cursor = *next;
        seen.extend(rows.iter().map(|(_, view)| (view.group, view.sources.to_vec())));
    }
    let expected = (0..10).filter(|n| *n != 4);
    assert!(seen.into_iter().eq(expected.map(|n| (F::group(n), vec![F::source(n)]))));
    assert_eq!(bench.host.get(F::group(3)).map(|view| view.mode), Some(Mode::Exclude));
    assert_eq!(bench.host.len(), 9);
}
