//! Answers to queries: RFC 9776, section 5.2; RFC 9777, section 6.2.

use RecordType::{IsEx, IsIn};

use super::*;

both! {
    a_general_query_is_answered_with_everything_within_its_time
    a_general_query_is_answered_before_its_time_is_over
    a_general_answer_of_many_messages_is_spread_over_the_time
    a_group_query_is_answered_with_the_state
    a_source_query_is_answered_with_what_is_wanted_of_it
    nothing_is_said_of_what_is_not_subscribed
    rule_1_a_general_answer_that_is_done_sooner_covers_any_query
    rule_1_a_specific_query_that_cannot_wait_is_answered_itself
    rule_1_a_group_that_a_general_answer_has_passed_is_answered_itself
    rule_2_a_sooner_general_answer_replaces_a_pending_one
    a_general_query_during_an_answer_has_everything_said_again
    rule_4_a_group_query_covers_a_source_query
    rule_4_a_source_query_adds_nothing_to_a_group_query
    rule_5_source_queries_are_answered_together
    too_many_sources_asked_for_give_the_whole_state
    a_flood_of_queries_is_answered_ten_times_a_second_without_a_loss
    a_flood_of_general_queries_is_one_answer_at_a_time
    a_group_left_before_the_answer_is_not_reported
}

/// Settled subscriptions, and what is said of them: EXCLUDE({1}), INCLUDE({1,2}).
fn bench<F: Sample>() -> Bench<F> {
    let mut bench = Bench::<F>::new();
    bench.set(F::group(1), exclude::<F>(&[1]));
    bench.set(F::group(2), include::<F>(&[1, 2]));
    bench.settle();
    bench
}

fn a_general_query_is_answered_with_everything_within_its_time<F: Sample>() {
    let mut bench = bench::<F>();
    let mut waits = Vec::new();
    for _ in 0..100 {
        let asked = bench.now;
        bench.ask(&general::<F>(10_000));
        bench.run(Millis(20_000));
        let sent = bench.take();
        assert_eq!((sent.len(), sent[0].destination), (1, F::REPORTS));
        assert_eq!(sent[0].said, [record::<F>(IsEx, 1, &[1]), record::<F>(IsIn, 2, &[1, 2])]);
        waits.push((sent[0].at - asked).0);
    }
    assert!(waits.iter().all(|w| (1..=10_000).contains(w)), "{waits:?}");
    assert!(waits.iter().min() < Some(&1000) && waits.iter().max() > Some(&9000), "{waits:?}");
}

/// The range (0, Max Resp Time) has neither of its ends.
fn a_general_query_is_answered_before_its_time_is_over<F: Sample>() {
    let mut bench = bench::<F>();
    for _ in 0..300 {
        let asked = bench.now;
        bench.ask(&general::<F>(100));
        bench.run(Millis(1000));
        let wait = bench.take()[0].at - asked;
        assert!((1..100).contains(&wait.0), "{wait:?}");
    }
}

/// 2000 groups: 11 IPv4 messages of 183 records, 28 IPv6 messages of 72, at equal distances.
fn a_general_answer_of_many_messages_is_spread_over_the_time<F: Sample>() {
    let messages = if F::AF == Af::Ip4 { 11 } else { 28 };
    let mut bench = Bench::<F>::new();
    for n in 0..2000 {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
    bench.settle();
    let asked = bench.now;
    bench.ask(&general::<F>(10_000));
    bench.run(Millis(20_000));
    let sent = bench.take();
    assert_eq!(sent.len(), messages);
    assert!(sent[0].at > asked && sent[messages - 1].at <= asked + Millis(10_000));
    let step = 10_000 / u32::try_from(messages).unwrap();
    for pair in sent.windows(2) {
        assert!((step - 1..=step + 1).contains(&(pair[1].at - pair[0].at).0));
    }
    let said = sent.into_iter().flat_map(|sent| sent.said);
    assert!(said.eq((0..2000).map(|n| record::<F>(IsEx, n, &[]))));
}

fn a_group_query_is_answered_with_the_state<F: Sample>() {
    let rows = [record::<F>(IsEx, 1, &[1]), record::<F>(IsIn, 2, &[1, 2])];
    for expected in rows {
        let mut bench = bench::<F>();
        let asked = bench.now;
        bench.ask(&spec::<F>(expected.group(), &[], 1000));
        assert_eq!(bench.host.poll_transmit(), None);
        bench.run(Millis(1000));
        let sent = bench.take();
        assert!(sent[0].at > asked);
        assert_eq!((sent.len(), &sent[0].said), (1, &vec![expected]));
    }
}

/// INCLUDE(A): IS_IN(A*B). EXCLUDE(A): IS_IN(B-A). Nothing when that is empty.
fn a_source_query_is_answered_with_what_is_wanted_of_it<F: Sample>() {
    type Row = (u32, &'static [u32], &'static [u32]);
    let rows: [Row; 6] = [
        (1, &[1, 2, 3], &[2, 3]),
        (1, &[3, 2], &[2, 3]),
        (1, &[1], &[]),
        (2, &[2, 3], &[2]),
        (2, &[1, 2], &[1, 2]),
        (2, &[3], &[]),
    ];
    for (group, asked, answered) in rows {
        let mut bench = bench::<F>();
        bench.ask(&spec::<F>(F::group(group), &addresses::<F>(asked), 1000));
        bench.run(Millis(1000));
        let expected = record::<F>(IsIn, group, answered);
        let expected = if answered.is_empty() { vec![] } else { vec![expected] };
        assert_eq!(bench.said(), expected, "group {group}, sources {asked:?}");
        assert_eq!(bench.host.next_deadline(), None);
    }
}

fn nothing_is_said_of_what_is_not_subscribed<F: Sample>() {
    let mut bench = bench::<F>();
    bench.ask(&spec::<F>(F::group(3), &[], 1000));
    bench.ask(&spec::<F>(F::group(3), &addresses::<F>(&[1]), 1000));
    assert_eq!(bench.host.next_deadline(), None);
    let mut bench = Bench::<F>::new();
    bench.ask(&general::<F>(1000));
    assert_eq!(bench.host.next_deadline(), None);
}

fn rule_1_a_general_answer_that_is_done_sooner_covers_any_query<F: Sample>() {
    let mut bench = bench::<F>();
    bench.ask(&general::<F>(10));
    bench.ask(&spec::<F>(F::group(1), &[], 3_000_000));
    bench.ask(&spec::<F>(F::group(2), &addresses::<F>(&[1]), 3_000_000));
    bench.ask(&general::<F>(3_000_000));
    bench.run(Millis(4_000_000));
    assert_eq!(bench.said(), [record::<F>(IsEx, 1, &[1]), record::<F>(IsIn, 2, &[1, 2])]);
}

fn rule_1_a_specific_query_that_cannot_wait_is_answered_itself<F: Sample>() {
    let mut bench = bench::<F>();
    let asked = bench.now;
    bench.ask(&general::<F>(3_000_000));
    bench.ask(&spec::<F>(F::group(2), &[], 100));
    bench.run(Millis(4_000_000));
    let sent = bench.take();
    assert_eq!(sent.len(), 2);
    assert!(sent[0].at <= asked + Millis(100));
    assert_eq!(sent[0].said, [record::<F>(IsIn, 2, &[1, 2])]);
}

fn rule_1_a_group_that_a_general_answer_has_passed_is_answered_itself<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..2000 {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
    bench.settle();
    bench.ask(&general::<F>(10_000));
    bench.run(Millis(5_000));
    bench.take();
    for n in [0, 1999] {
        bench.ask(&spec::<F>(F::group(n), &[], 3_000_000));
    }
    bench.run(Millis(5_000));
    bench.take();
    bench.run(Millis(3_000_000));
    assert_eq!(bench.said(), [record::<F>(IsEx, 0, &[])]);
}

fn rule_2_a_sooner_general_answer_replaces_a_pending_one<F: Sample>() {
    let mut bench = bench::<F>();
    let asked = bench.now;
    bench.ask(&general::<F>(3_000_000));
    bench.ask(&general::<F>(100));
    bench.run(Millis(4_000_000));
    let sent = bench.take();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].at <= asked + Millis(100));
}

/// What was said already is said again for the second querier, within its time.
fn a_general_query_during_an_answer_has_everything_said_again<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..2000 {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
    bench.settle();
    bench.ask(&general::<F>(10_000));
    bench.run(Millis(5_000));
    let first = bench.said();
    assert!((500..1500).contains(&first.len()));
    let grown = 100_000;
    bench.set(F::group(grown), exclude::<F>(&[]));
    bench.poll();
    bench.take();
    bench.ask(&general::<F>(10_000));
    bench.run(Millis(5_000));
    let mut second = bench.said();
    second.retain(|said| *said != record::<F>(RecordType::ToEx, grown, &[]));
    bench.run(Millis(5_000));
    let third = bench.said();
    assert_eq!(second.len() + third.len(), 2001, "each group once for the second query");
    let all: std::collections::BTreeSet<_> = second.iter().chain(&third).map(Said::group).collect();
    assert_eq!(all.len(), 2001);
    let in_time: std::collections::BTreeSet<_> =
        first.iter().chain(&second).map(Said::group).collect();
    assert_eq!(in_time.len(), 2001, "and all in the time of the first one");
}

fn rule_4_a_group_query_covers_a_source_query<F: Sample>() {
    let mut bench = bench::<F>();
    let asked = bench.now;
    bench.ask(&spec::<F>(F::group(2), &addresses::<F>(&[1]), 100));
    bench.ask(&spec::<F>(F::group(2), &[], 3_000_000));
    bench.run(Millis(4_000_000));
    let sent = bench.take();
    assert!(sent[0].at <= asked + Millis(100), "at the sooner moment");
    assert_eq!((sent.len(), &sent[0].said), (1, &vec![record::<F>(IsIn, 2, &[1, 2])]));
}

fn rule_4_a_source_query_adds_nothing_to_a_group_query<F: Sample>() {
    let mut bench = bench::<F>();
    let asked = bench.now;
    bench.ask(&spec::<F>(F::group(2), &[], 3_000_000));
    bench.ask(&spec::<F>(F::group(2), &addresses::<F>(&[1]), 100));
    bench.run(Millis(4_000_000));
    let sent = bench.take();
    assert!(sent[0].at <= asked + Millis(100));
    assert_eq!((sent.len(), &sent[0].said), (1, &vec![record::<F>(IsIn, 2, &[1, 2])]));
}

fn rule_5_source_queries_are_answered_together<F: Sample>() {
    let mut bench = bench::<F>();
    bench.ask(&spec::<F>(F::group(1), &addresses::<F>(&[5, 3]), 1000));
    bench.ask(&spec::<F>(F::group(1), &addresses::<F>(&[4, 3, 1]), 1000));
    bench.run(Millis(2000));
    assert_eq!(bench.said(), [record::<F>(IsIn, 1, &[3, 4, 5])]);
}

fn too_many_sources_asked_for_give_the_whole_state<F: Sample>() {
    let mut bench = bench::<F>();
    let many: Vec<u32> = (0..3000).collect();
    bench.ask(&spec::<F>(F::group(1), &addresses::<F>(&many), 1000));
    bench.run(Millis(2000));
    assert_eq!(bench.said(), [record::<F>(IsEx, 1, &[1])]);
}

/// 5000 queries in a second, each for another group: each is answered in its time, in at most the
/// twenty turns that ten at once and ten a second allow.
fn a_flood_of_queries_is_answered_ten_times_a_second_without_a_loss<F: Sample>() {
    let mut bench = Bench::<F>::new();
    for n in 0..5000 {
        bench.set(F::group(n), exclude::<F>(&[]));
    }
    bench.settle();
    let asked = bench.now;
    for n in 0..5000 {
        bench.ask(&spec::<F>(F::group(n), &[], 1000));
        if n % 5 == 4 {
            bench.run(Millis(1));
        }
    }
    bench.run(Millis(5000));
    let sent = bench.take();
    let turns: std::collections::BTreeSet<_> =
        sent.iter().filter(|s| s.at <= asked + Millis(1000)).map(|s| s.at.0 / 100).collect();
    assert!(turns.len() <= 20, "{turns:?}");
    let mut answered: Vec<_> =
        sent.iter().flat_map(|s| s.said.iter().map(|said| (said.group(), s.at - asked))).collect();
    answered.sort_unstable();
    assert_eq!(answered.len(), 5000);
    for (n, (group, after)) in (0..).zip(answered) {
        assert_eq!(group, F::group(n));
        assert!(after <= Millis(n / 5 + 1000), "group {n} after {after:?}");
    }
}

/// Ten thousand forged queries a second draw no more than ten answers a second.
fn a_flood_of_general_queries_is_one_answer_at_a_time<F: Sample>() {
    let mut bench = bench::<F>();
    for _ in 0..1000 {
        for _ in 0..10 {
            bench.ask(&general::<F>(10));
        }
        bench.run(Millis(1));
    }
    let sent = bench.take();
    assert!((10..=20).contains(&sent.len()), "{}", sent.len());
}

fn a_group_left_before_the_answer_is_not_reported<F: Sample>() {
    let mut bench = bench::<F>();
    bench.ask(&spec::<F>(F::group(1), &[], 100_000));
    bench.ask(&spec::<F>(F::group(2), &addresses::<F>(&[1]), 100_000));
    bench.set(F::group(1), include::<F>(&[]));
    bench.set(F::group(2), include::<F>(&[2]));
    bench.run(Millis(5000));
    bench.take();
    bench.run(Millis(100_000));
    assert_eq!(bench.take(), []);
    assert_eq!(bench.host.works.next(), None);
    assert_eq!(bench.host.table.records.count(), 1);
}
