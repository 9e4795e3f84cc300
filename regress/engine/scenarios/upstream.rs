//! What is asked for upstream: the sum of the downstreams (RFC 4605, section 4.1), said as one host
//! does (RFC 9776, section 5; RFC 9777, section 6). The host part alone has further tests in the core.

use mcast_proxy::imsg::Notice;
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::{Millis, Tick};
use mcast_proxy::wire::RecordType::{Allow, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, Af, QuerySpec, ReportBuilder, Sender};

use super::{network, plain, sources};
use crate::router::{DOWN, DOWN2, Net, Router, UP, interface, spec};

scenarios! {
    the_sum_of_includes
    the_sum_of_excludes_is_their_intersection
    an_exclude_and_an_include
    requested_sources_do_not_enter_the_sum
    a_static_group_is_part_of_the_sum
    members_of_another_querier_count
    a_report_of_many_groups_is_one_report
    a_link_that_goes_is_one_report
    a_change_is_said_at_once_and_repeated
    each_difference_has_its_record
    a_general_query_is_answered_within_its_time
    a_group_query_is_answered
    a_source_query_is_answered
    a_query_for_what_is_not_wanted_is_not_answered
    queries_are_answered_ten_times_a_second
    an_older_querier_is_answered_in_its_version
    reports_are_counted_by_their_version
    the_version_of_the_configuration_is_the_highest
    source_specific_groups_are_not_said_in_older_versions
    a_new_address_announces_everything
    nothing_is_said_without_a_usable_address
    an_upstream_that_comes_up_announces_everything
    everything_is_left_at_the_end
    the_kernel_s_own_leave_is_answered
    reports_of_others_on_the_upstream_are_not_taken
    an_mgroup_joins_without_members
}

fn report_on<F: Net>(
    router: &mut Router,
    ifindex: u32,
    kind: mcast_proxy::wire::RecordType,
    list: &[u8],
) {
    router.report::<F>(ifindex, 5, kind, &sources::<F>(list));
}

/// RFC 9776, section 3.2.
fn the_sum_of_includes<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    report_on::<F>(&mut router, DOWN, Allow, &[1, 2]);
    report_on::<F>(&mut router, DOWN2, Allow, &[2, 3]);
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1 2 3");
}

/// RFC 9776, section 3.2.
fn the_sum_of_excludes_is_their_intersection<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    report_on::<F>(&mut router, DOWN, ToEx, &[1, 2]);
    report_on::<F>(&mut router, DOWN2, ToEx, &[2, 3]);
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE 2");
}

/// The example of RFC 9776, section 3.2: what somebody includes is not excluded.
fn an_exclude_and_an_include<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    report_on::<F>(&mut router, DOWN, ToEx, &[2, 3]);
    report_on::<F>(&mut router, DOWN2, Allow, &[3, 4]);
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE 2");
}

/// RFC 4605, section 4.1: EXCLUDE(X,Y) enters with Y alone.
fn requested_sources_do_not_enter_the_sum<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    report_on::<F>(&mut router, DOWN, ToEx, &[1]);
    report_on::<F>(&mut router, DOWN, IsIn, &[2]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270) 1:- 2:270");
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE 1");
}

fn a_static_group_is_part_of_the_sum<F: Net>(system: Behaviour) {
    let words = format!("static-group {}", F::GROUP);
    let mut router = Router::on(system, &network::<F>("", "", &words));
    report_on::<F>(&mut router, DOWN2, Allow, &[1]);
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE");
    router.reload(&plain::<F>());
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1");
    let mut router = Router::on(system, &network::<F>("", "", &words));
    router.reload(&plain::<F>());
    assert_eq!(router.wanted::<F>("up0"), "none");
}

/// RFC 4605, section 4.1: of all downstreams.
fn members_of_another_querier_count<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
    report_on::<F>(&mut router, DOWN, ToEx, &[]);
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE");
}

/// As one host would say it: 183 or 72 records without sources fit in a report.
fn a_report_of_many_groups_is_one_report<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let source = F::address(DOWN, 5);
    let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 1500 });
    (1..=72).for_each(|n| report.push(ToEx, F::group(n), &[]));
    let messages = report.finish();
    assert_eq!(messages.len(), 1);
    messages.into_iter().for_each(|m| router.deliver::<F>(source, m));
    let said = router.said_at::<F>(UP);
    assert_eq!(said.iter().map(|(_, records)| records.len()).collect::<Vec<_>>(), [72]);
}

/// Hosts behind a link that goes do not leave one by one.
fn a_link_that_goes_is_one_report<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    for n in 1..=72 {
        router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::group(n), &[]);
    }
    router.pass(Millis(20_000));
    router.said::<F>(UP);
    router.carrier(DOWN, false);
    let said = router.said_at::<F>(UP);
    assert_eq!(said.iter().map(|(_, records)| records.len()).collect::<Vec<_>>(), [72]);
}

/// RFC 9776, sections 5.1 and 8.11: again within a second; as often as the querier's robustness says.
fn a_change_is_said_at_once_and_repeated<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let query = QuerySpec { robustness: 4, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(UP, F::address(UP, 9), &query);
    router.pass(Millis(20_000));
    let start = router.now;
    report_on::<F>(&mut router, DOWN, ToEx, &[]);
    router.pass(Millis(20_000));
    let said = router.said_at::<F>(UP);
    assert!(said.iter().all(|(_, records)| records == &["TO_EX(G)"]), "{said:?}");
    let times: Vec<Tick> = said.iter().map(|(at, _)| *at).collect();
    assert_eq!((times.len(), times[0]), (4, start));
    assert!(times.windows(2).all(|pair| (1..=1010).contains(&(pair[1] - pair[0]).0)), "{times:?}");
}

/// RFC 9776, section 5.1, the table.
fn each_difference_has_its_record<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave immediate"));
    let said = |router: &mut Router, kind, list: &[u8]| {
        router.pass(Millis(5000));
        router.said::<F>(UP);
        report_on::<F>(router, DOWN, kind, list);
        router.said::<F>(UP)
    };
    assert_eq!(said(&mut router, Allow, &[1, 2]), ["ALLOW(G,1,2)"]);
    assert_eq!(said(&mut router, ToIn, &[2, 3]), ["ALLOW(G,3)", "BLOCK(G,1)"]);
    assert_eq!(said(&mut router, ToEx, &[4, 5]), ["TO_EX(G,4,5)"]);
    assert_eq!(said(&mut router, ToEx, &[5]), ["ALLOW(G,4)"]);
    assert_eq!(said(&mut router, mcast_proxy::wire::RecordType::IsEx, &[5]), [""; 0]);
    assert_eq!(said(&mut router, ToIn, &[6]), ["TO_IN(G,6)"]);
    assert_eq!(said(&mut router, ToIn, &[]), ["BLOCK(G,6)"]);
}

/// A router that wants this upstream, with all said.
fn joined<F: Net>(system: Behaviour, list: &[u8], kind: mcast_proxy::wire::RecordType) -> Router {
    let mut router = Router::on(system, &plain::<F>());
    report_on::<F>(&mut router, DOWN, kind, list);
    router.pass(Millis(5000));
    router.said::<F>(UP);
    router
}

/// RFC 9776, section 5.2: after a random delay, never at once.
fn a_general_query_is_answered_within_its_time<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1], ToEx);
    router.record::<F>(DOWN, F::address(DOWN, 5), Allow, F::group(2), &sources::<F>(&[2]));
    router.pass(Millis(5000));
    router.said::<F>(UP);
    router.query::<F>(UP, 9, F::Addr::UNSPECIFIED);
    assert!(router.said::<F>(UP).is_empty());
    router.pass(Millis(1000));
    let mut said = router.said::<F>(UP);
    said.sort();
    assert_eq!(said, ["IS_EX(G,1)", "IS_IN(G2,2)"]);
    assert!(router.said::<F>(DOWN).iter().all(|s| s == "general"), "nothing is said downstream");
}

fn a_group_query_is_answered<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1, 2], Allow);
    router.query::<F>(UP, 9, F::GROUP);
    router.pass(Millis(1008));
    assert_eq!(router.said::<F>(UP), ["IS_IN(G,1,2)"]);
}

/// RFC 9776, section 5.2: with what is wanted of what is asked.
fn a_source_query_is_answered<F: Net>(system: Behaviour) {
    for (kind, answer) in [(Allow, "IS_IN(G,1,2)"), (ToEx, "IS_IN(G,3)")] {
        let mut router = joined::<F>(system, &[1, 2], kind);
        let asked = sources::<F>(&[1, 2, 3]);
        let query = QuerySpec { sources: &asked, ..spec(F::GROUP) };
        router.ask::<F>(UP, F::address(UP, 9), &query);
        router.pass(Millis(1008));
        assert_eq!(router.said::<F>(UP), [answer]);
    }
}

fn a_query_for_what_is_not_wanted_is_not_answered<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1, 2], Allow);
    router.query::<F>(UP, 9, F::group(2));
    let asked = sources::<F>(&[3]);
    router.ask::<F>(UP, F::address(UP, 9), &QuerySpec { sources: &asked, ..spec(F::GROUP) });
    router.pass(Millis(5000));
    assert!(router.said::<F>(UP).is_empty());
}

/// A flood is answered, not one by one.
fn queries_are_answered_ten_times_a_second<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[], ToEx);
    for _ in 0..1000 {
        router.query::<F>(UP, 9, F::GROUP);
        router.pass(Millis(10));
    }
    router.pass(Millis(5000));
    let answers = router.said::<F>(UP).len();
    assert!((50..=120).contains(&answers), "{answers} in ten seconds");
}

/// RFC 9776, section 7.2.1; 8.12: 2 * 125 s + 10 * 1 s, MLD 2 * 125 s + 1 s.
fn an_older_querier_is_answered_in_its_version<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1], ToEx);
    let old = F::OLD;
    let query = QuerySpec { version: old, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(UP, F::address(UP, 9), &query);
    let start = router.now;
    assert_eq!(router.said::<F>(UP), [format!("report-v{old}(G)")], "announced anew");
    assert_eq!(router.link::<F>("up0").version, old);
    router.pass(Millis(30_000));
    router.said::<F>(UP);
    report_on::<F>(&mut router, DOWN, ToIn, &[]);
    router.pass(Millis(2010));
    assert_eq!(router.said::<F>(UP), ["leave(G)"]);
    let present = if F::AF == Af::Ip4 { 260_000 } else { 251_000 };
    let passed = router.now - start;
    router.pass(Millis(present - passed.0 - 1));
    assert_eq!(router.link::<F>("up0").version, old);
    router.pass(Millis(1));
    assert_eq!(router.link::<F>("up0").version, F::LAYOUT.newest);
}

/// `igmp-version` and `mld-version` on an upstream.
fn the_version_of_the_configuration_is_the_highest<F: Net>(system: Behaviour) {
    let words = format!("{} {}", F::VERSION, F::OLD);
    let mut router = Router::on(system, &network::<F>("", &words, ""));
    report_on::<F>(&mut router, DOWN, ToEx, &[]);
    assert_eq!(router.said::<F>(UP), [format!("report-v{}(G)", F::OLD)]);
}

/// RFC 4604, section 2.2; one line.
fn source_specific_groups_are_not_said_in_older_versions<F: Net>(system: Behaviour) {
    let words = format!("{} {}", F::VERSION, F::OLD);
    let mut router = Router::on(system, &network::<F>("", &words, ""));
    for list in [&[1][..], &[2]] {
        router.record::<F>(DOWN, F::address(DOWN, 5), Allow, F::SSM, &sources::<F>(list));
    }
    router.pass(Millis(50_000));
    assert!(router.said::<F>(UP).is_empty());
    let told = router.lines.iter().filter(|l| l.contains(&F::SSM.to_string())).count();
    assert_eq!(told, 1, "{:?}", router.lines);
}

/// RFC 9777, section 5.2.14: the querier did not take what came from elsewhere.
fn a_new_address_announces_everything<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1], ToEx);
    let mut changed = interface(UP);
    changed.addresses.iter_mut().for_each(|a| {
        let new: F::Addr = F::address(UP, 77);
        if Af::of(a.address) == F::AF && a.address == F::address(UP, 1).into() {
            a.address = new.into();
        }
    });
    router.comes(changed);
    assert_eq!(router.said::<F>(UP), ["TO_EX(G,1)"]);
}

/// RFC 9777, section 5.2.14: not from `::`, which routers discard.
fn nothing_is_said_without_a_usable_address<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let mut bare = interface(UP);
    bare.addresses.retain(|a| a.address != F::address(UP, 1).into());
    router.comes(bare);
    report_on::<F>(&mut router, DOWN, ToEx, &[]);
    router.pass(Millis(5000));
    assert!(router.said::<F>(UP).is_empty());
    router.comes(interface(UP));
    assert_eq!(router.said::<F>(UP), ["TO_EX(G)"]);
}

fn an_upstream_that_comes_up_announces_everything<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1], ToEx);
    router.carrier(UP, false);
    router.pass(Millis(5000));
    assert!(router.said::<F>(UP).is_empty());
    router.carrier(UP, true);
    assert_eq!(router.said::<F>(UP), ["TO_EX(G,1)"]);
}

/// Within a second.
fn everything_is_left_at_the_end<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[1], ToEx);
    let done = |router: &Router| router.orders.contains(&mcast_proxy::imsg::Order::Finished);
    router.parent(Notice::Shutdown);
    assert!(!done(&router));
    router.pass(Millis(1000));
    assert_eq!(router.said::<F>(UP), ["TO_IN(G)", "TO_IN(G)"]);
    assert!(done(&router));
    report_on::<F>(&mut router, DOWN, Allow, &[1]);
    router.pass(Millis(5000));
    assert!(router.said::<F>(UP).is_empty());
}

/// The kernel reports its own memberships from our address.
fn the_kernel_s_own_leave_is_answered<F: Net>(system: Behaviour) {
    let mut router = joined::<F>(system, &[], ToEx);
    router.record::<F>(UP, F::address(UP, 1), ToIn, F::GROUP, &[]);
    assert_eq!(router.said::<F>(UP), ["TO_EX(G)"]);
    router.pass(Millis(5000));
    router.said::<F>(UP);
    router.record::<F>(UP, F::address(UP, 1), ToIn, F::group(2), &[]);
    router.record::<F>(UP, F::address(UP, 6), ToIn, F::GROUP, &[]);
    router.pass(Millis(5000));
    assert!(router.said::<F>(UP).is_empty(), "another group, another host");
}

/// RFC 4605, section 4: an upstream has no router part.
fn reports_of_others_on_the_upstream_are_not_taken<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    report_on::<F>(&mut router, UP, ToEx, &[]);
    router.old::<F>(UP, 5, F::OLD);
    router.old::<F>(UP, 5, 0);
    assert!(router.groups().is_empty());
    assert_eq!(router.discarded::<F>("up0", "role"), 3);
}

fn an_mgroup_joins_without_members<F: Net>(system: Behaviour) {
    let text = plain::<F>() + &format!("mgroup from up0 group {} source {}\n", F::GROUP, F::SOURCE);
    let mut router = Router::on(system, &text);
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 7");
    assert_eq!(router.said::<F>(UP), ["TO_IN(G,7)"]);
    report_on::<F>(&mut router, DOWN, Allow, &[1]);
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1 7");
}

/// RFC 9776, section 7.2.1 and RFC 9777, section 8.2.1: each older version has its own report.
fn reports_are_counted_by_their_version<F: Net>(system: Behaviour) {
    for version in 1..F::LAYOUT.newest {
        let mut router = joined::<F>(system, &[1], ToEx);
        let query = QuerySpec { version, ..spec(F::Addr::UNSPECIFIED) };
        router.ask::<F>(UP, F::address(UP, 9), &query);
        let rows = router.counters();
        let row = rows.iter().find(|r| r.interface == "up0" && r.family == F::AF).unwrap();
        let sent: Vec<&str> = row.sent.keys().map(String::as_str).collect();
        let newest = format!("report-v{}", F::LAYOUT.newest);
        assert_eq!(sent, [&*format!("report-v{version}"), &*newest]);
    }
}
