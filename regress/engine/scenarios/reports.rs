//! Reports and what expires: the state of a group on a link. RFC 9776, sections 6.2 to 6.5; RFC 9777,
//! sections 7.2 to 7.5. The table of section 6.4 itself is in `state_table.rs`.

use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, Af, RecordType, ReportBuilder, Sender};

use super::{NOWHERE, network, plain, sources};
use crate::router::{Cannot, DOWN, Net, Router, UP, holds};

scenarios! {
    membership_ends_with_its_interval
    a_source_timer_ends_in_include_mode
    a_source_timer_ends_in_exclude_mode
    the_group_timer_ends_without_requested_sources
    the_group_timer_ends_with_requested_sources
    a_block_in_exclude_mode_cuts_the_source_after_its_query
    a_join_without_state_creates_it
    what_asks_for_nothing_creates_nothing
    groups_of_the_link_have_no_state
    sources_that_are_none_are_left_out
    an_unknown_record_is_skipped_and_the_others_apply
    records_of_one_report_apply_one_after_the_other
    a_report_from_elsewhere_is_not_taken
    a_report_without_an_address
    a_static_group_needs_no_host
    a_shorter_interval_holds_from_the_next_report_on
}

/// RFC 9776, section 8.4: 2 * 125 s + 2 * 10 s.
fn membership_ends_with_its_interval<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.pass(Millis(269_990));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(1)");
    router.pass(Millis(20));
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.wanted::<F>("up0"), "none");
}

/// RFC 9776, section 6.2.3 and 6.3: the source goes; the group with the last one.
fn a_source_timer_ends_in_include_mode<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[1, 2]));
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[2]));
    router.flow::<F>(UP, F::source(1));
    router.pass(Millis(170_010));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:100");
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 2");
    let found = router.flow::<F>(UP, F::source(1));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
    router.pass(Millis(100_000));
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.flow::<F>(UP, F::source(1)), NOWHERE);
}

/// RFC 9776, section 6.2.3: it is kept, and no longer forwarded.
fn a_source_timer_ends_in_exclude_mode<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2]));
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 6, IsEx, &sources::<F>(&[2]));
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 6, IsEx, &sources::<F>(&[2]));
    assert_eq!(router.flow::<F>(UP, F::source(2)), [DOWN]);
    router.pass(Millis(70_010));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(200) 2:-");
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE 2");
    let found = router.flow::<F>(UP, F::source(2));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
    assert_eq!(router.flow::<F>(UP, F::source(1)), [DOWN]);
}

/// RFC 9776, section 6.5.
fn the_group_timer_ends_without_requested_sources<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[1, 2]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270) 1:- 2:-");
    router.pass(Millis(270_010));
    assert_eq!(router.state::<F>("down0"), "none");
}

/// RFC 9776, section 6.5: INCLUDE mode, with the sources whose timers run.
fn the_group_timer_ends_with_requested_sources<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, IsEx, &sources::<F>(&[1]));
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 6, IsIn, &sources::<F>(&[2]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(170) 1:- 2:270");
    router.pass(Millis(170_010));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:100");
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 2");
}

/// RFC 9776, section 6.4.2: asked about first; other sources flow all the time.
fn a_block_in_exclude_mode_cuts_the_source_after_its_query<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.flow::<F>(UP, F::source(1));
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, Block, &sources::<F>(&[1]));
    assert_eq!(router.said::<F>(DOWN), ["Q(G,1)"]);
    assert_eq!(router.data::<F>(UP, F::source(1)), [DOWN]);
    router.pass(Millis(2010));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(268) 1:-");
    let found = router.data::<F>(UP, F::source(1));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
    assert_eq!(router.flow::<F>(UP, F::source(2)), [DOWN]);
}

/// RFC 9776, section 6.4: no state is INCLUDE of nothing.
fn a_join_without_state_creates_it<F: Net>(system: Behaviour) {
    for (kind, list, state) in [
        (IsIn, &[1][..], "INCLUDE 1:270"),
        (ToIn, &[1], "INCLUDE 1:270"),
        (Allow, &[1], "INCLUDE 1:270"),
        (IsEx, &[], "EXCLUDE(270)"),
        (ToEx, &[1], "EXCLUDE(270) 1:-"),
    ] {
        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN, 5, kind, &sources::<F>(list));
        assert_eq!(router.state::<F>("down0"), state, "{kind:?}");
    }
}

/// RFC 9776, section 6.4: INCLUDE of nothing stays so.
fn what_asks_for_nothing_creates_nothing<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    router.report::<F>(DOWN, 5, Block, &sources::<F>(&[1]));
    router.old::<F>(DOWN, 5, 0);
    assert!(router.groups().is_empty() && router.core.next_deadline().is_some());
    assert!(router.said::<F>(DOWN).is_empty());
}

/// RFC 9776, section 5 and RFC 4291, section 2.7: never proxied, never forwarded.
fn groups_of_the_link_have_no_state<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::LINK_GROUP, &[]);
    assert!(router.groups().is_empty() && router.upstream().is_empty());
    assert_eq!(router.discarded::<F>("down0", "link-local-group"), 1);
    assert_eq!(router.data_to::<F>(UP, F::SOURCE, F::LINK_GROUP), NOWHERE);
}

/// What cannot be a source is dropped from the list; nothing left of a list is no record.
fn sources_that_are_none_are_left_out<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, Allow, &[F::Addr::UNSPECIFIED, F::source(1), F::GROUP]);
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:270");
    router.report::<F>(DOWN, 5, ToEx, &[F::Addr::UNSPECIFIED, F::GROUP]);
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:270");
    assert_eq!(router.discarded::<F>("down0", "record-sources"), 1);
}

/// RFC 9776, section 4.2.13: unrecognized record types are ignored, the others are processed.
fn an_unknown_record_is_skipped_and_the_others_apply<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let source = F::address(DOWN, 5);
    let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 1500 });
    report.push(ToEx, F::group(2), &[]);
    report.push(ToEx, F::GROUP, &[]);
    let mut message = report.finish().remove(0);
    let start = if F::AF == Af::Ip4 { 24 } else { 0 };
    // The first record's type becomes 7; the sum grows by 3 in its high octet.
    message.bytes[start + 8] = 7;
    if F::AF == Af::Ip4 {
        let sum = u16::from_be_bytes([message.bytes[start + 2], message.bytes[start + 3]]);
        let (sum, borrow) = sum.overflowing_sub(0x300);
        let sum = sum - u16::from(borrow);
        message.bytes[start + 2..start + 4].copy_from_slice(&sum.to_be_bytes());
    }
    router.deliver::<F>(source, message);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)");
    assert_eq!(router.groups().len(), 1);
    assert_eq!(router.discarded::<F>("down0", "record-type"), 1);
}

/// The table of RFC 9776, section 6.4, is for each record in its turn.
fn records_of_one_report_apply_one_after_the_other<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("fast-leave yes", "", ""));
    let source = F::address(DOWN, 5);
    let mut deliver = |records: &[(u8, RecordType)]| {
        let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 1500 });
        records.iter().for_each(|(group, kind)| report.push(*kind, F::group(*group), &[]));
        let [message] = report.finish().try_into().unwrap();
        router.deliver::<F>(source, message);
        let mut groups: Vec<F::Addr> =
            router.groups().iter().map(|row| F::Addr::from_ip(row.group).unwrap()).collect();
        groups.sort_unstable();
        groups
    };
    assert_eq!(deliver(&[(1, ToEx), (2, ToEx), (1, ToIn), (1, ToEx)]), [F::group(1), F::group(2)]);
    // What is freed of the first group serves the third.
    assert_eq!(deliver(&[(1, ToIn), (3, ToEx), (1, ToIn), (2, IsEx)]), [F::group(2), F::group(3)]);
    assert_eq!(deliver(&[(2, ToIn), (3, ToIn), (2, ToIn)]), []);
    assert_eq!(router.wanted::<F>("up0"), "none");
}

/// RFC 9776, section 9.2 and RFC 9777, section 5.2.14; what `source` names counts as of the link.
fn a_report_from_elsewhere_is_not_taken<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.record::<F>(DOWN, F::source(1), ToEx, F::GROUP, &[]);
    assert_eq!(router.state::<F>("down0"), "none");
    let reason = if F::AF == Af::Ip4 { "source-subnet" } else { "source-not-link-local" };
    assert_eq!(router.discarded::<F>("down0", reason), 1);
    let warned = router.lines.iter().filter(|line| line.contains("not a link-local address"));
    assert_eq!(warned.count(), usize::from(F::AF == Af::Ip6));
    let words = format!("source {}", F::sources());
    for (all, down) in [("", words.as_str()), ("verify-source-subnet no", ""), ("", "source any")] {
        let mut router = Router::on(system, &network::<F>(all, "", down));
        router.record::<F>(DOWN, F::source(1), ToEx, F::GROUP, &[]);
        let taken = F::AF == Af::Ip4;
        assert_eq!(router.state::<F>("down0") != "none", taken, "{all} {down}");
    }
}

/// RFC 9776, section 4.2.14: from 0.0.0.0 it is taken; RFC 9777, section 5.2.14: from `::` it is not.
fn a_report_without_an_address<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.record::<F>(DOWN, F::Addr::UNSPECIFIED, ToEx, F::GROUP, &[]);
    let state = if F::AF == Af::Ip4 { "EXCLUDE(270)" } else { "none" };
    assert_eq!(router.state::<F>("down0"), state);
    assert_eq!(router.lines, Vec::<String>::new());
}

/// `static-group` has no timer, and counts like a host's wish.
fn a_static_group_needs_no_host<F: Net>(system: Behaviour) {
    let words = format!("static-group {} source {}", F::GROUP, F::source(1));
    let mut router = Router::on(system, &network::<F>("", "", &words));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:-");
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1");
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[2]));
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1 2");
    router.report::<F>(DOWN, 5, ToIn, &[]);
    router.pass(Millis(1_000_000));
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1");
    assert_eq!(router.flow::<F>(UP, F::source(1)), [DOWN]);
}

/// RFC 9776, section 8.4: the interval in force when the report comes.
fn a_shorter_interval_holds_from_the_next_report_on<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.reload(&network::<F>("query-interval 20", "", ""));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)", "running timers are left");
    router.report::<F>(DOWN, 5, IsEx, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(60)");
    router.pass(Millis(60_010));
    assert_eq!(router.state::<F>("down0"), "none");
}
