//! Hosts of older versions, and hosts that are tracked one by one. RFC 9776, sections 7.3.2 and 6.4;
//! RFC 9777, sections 8.3.2 and 7.4.

use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, Af};

use super::{NOWHERE, network, plain, sources};
use crate::router::{DOWN, Net, Router, UP};

scenarios! {
    an_older_report_is_a_join_of_everything
    an_older_leave_is_queried
    a_leave_without_an_older_report_counts
    an_older_mode_ignores_blocks_and_lists
    igmpv1_mode_ignores_leaves
    the_older_mode_ends_with_its_interval
    the_oldest_mode_holds
    older_reports_for_source_specific_groups_have_no_effect
    configured_source_specific_memberships_name_their_sources
    a_new_source_specific_range_ends_what_excludes
    hosts_are_shown
    the_last_reporter_is_the_member_that_reported_last
    a_leave_waits_for_its_queries_by_default
    fast_leave_immediate_takes_the_leave_at_once
    fast_leave_yes_knows_the_other_hosts
    fast_leave_yes_knows_who_wants_a_source
    what_a_silent_host_said_is_forgotten
    an_untracked_host_is_queried
    older_hosts_are_queried
    more_hosts_than_are_tracked_are_queried
    an_older_mode_that_ended_does_not_come_back
}

/// RFC 9776, section 7.3.2: IS_EX({}), and the group's mode.
fn an_older_report_is_a_join_of_everything<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.old::<F>(DOWN, 5, F::OLD);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)");
    assert_eq!(router.groups()[0].version, F::OLD);
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE");
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
}

/// RFC 9776, section 7.3.2: TO_IN({}).
fn an_older_leave_is_queried<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.old::<F>(DOWN, 5, F::OLD);
    router.flow::<F>(UP, F::SOURCE);
    router.said::<F>(DOWN);
    router.old::<F>(DOWN, 5, 0);
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"], "in the version of the link");
    router.pass(Millis(2010));
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.data::<F>(UP, F::SOURCE), NOWHERE);
}

/// The report may have been suppressed by another host's.
fn a_leave_without_an_older_report_counts<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.said::<F>(DOWN);
    router.old::<F>(DOWN, 6, 0);
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"]);
}

/// RFC 9776, section 7.3.2: BLOCK has no effect, TO_EX({A}) is TO_EX({}).
fn an_older_mode_ignores_blocks_and_lists<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.old::<F>(DOWN, 5, F::OLD);
    router.said::<F>(DOWN);
    for kind in [Block, ToEx, IsEx] {
        router.report::<F>(DOWN, 6, kind, &sources::<F>(&[1, 2]));
        assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)", "{kind:?}");
    }
    assert!(router.said::<F>(DOWN).is_empty());
    router.report::<F>(DOWN, 6, IsIn, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270) 1:270", "the others are as ever");
    router.report::<F>(DOWN, 6, ToIn, &[]);
    assert_eq!(router.said::<F>(DOWN), ["Q(G)", "Q(G,1)"]);
}

/// RFC 9776, section 7.3.2: leaves and TO_IN; MLDv1's leave counts.
fn igmpv1_mode_ignores_leaves<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.old::<F>(DOWN, 5, 1);
    assert_eq!(router.groups()[0].version, 1);
    router.said::<F>(DOWN);
    router.old::<F>(DOWN, 5, 0);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    let said: &[&str] = if F::AF == Af::Ip4 { &[] } else { &["Q(G)"] };
    assert_eq!(router.said::<F>(DOWN), said);
}

/// RFC 9776, section 8.13: 2 * 125 s + 10 s after the last older report.
fn the_older_mode_ends_with_its_interval<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.old::<F>(DOWN, 5, F::OLD);
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 6, IsEx, &sources::<F>(&[1]));
    router.pass(Millis(159_999));
    assert_eq!(router.groups()[0].version, F::OLD);
    router.pass(Millis(1));
    assert_eq!(router.groups()[0].version, F::LAYOUT.newest);
    router.report::<F>(DOWN, 6, IsEx, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270) 1:270", "a source that was open stays so");
}

/// RFC 9776, section 7.3.2: IGMPv1 while its timer runs, whatever else was heard.
fn the_oldest_mode_holds<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.old::<F>(DOWN, 5, 1);
    router.old::<F>(DOWN, 6, F::OLD);
    router.report::<F>(DOWN, 7, ToEx, &[]);
    assert_eq!(router.groups()[0].version, 1);
}

/// RFC 4604, section 2.2.1.
fn older_reports_for_source_specific_groups_have_no_effect<F: Net>(system: Behaviour) {
    let ranges = format!("ssm-range {}/{}", F::GROUP, F::Addr::LEN * 8);
    let mut router = Router::on(system, &network::<F>(&ranges, "", ""));
    router.old::<F>(DOWN, 5, F::OLD);
    router.old::<F>(DOWN, 5, 0);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 5, IsEx, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.discarded::<F>("down0", "ssm-older-version"), 4);
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:270");
}

/// RFC 4604, section 2: configured memberships have to name their sources like any other.
fn configured_source_specific_memberships_name_their_sources<F: Net>(system: Behaviour) {
    let ranges = format!("ssm-range {}/{}", F::GROUP, F::Addr::LEN * 8);
    let join = format!("mgroup from up0 group {}\n", F::GROUP);
    let down = format!("static-group {}", F::GROUP);
    let text = network::<F>(&ranges, "", &down) + &join;
    let mut router = Router::on(system, &text);
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.wanted::<F>("up0"), "none");
    let down = format!("static-group {}; static-group {0} source {}", F::GROUP, F::source(1));
    router.reload(&(network::<F>(&ranges, "", &down) + &join));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:-");
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1");
    router.reload(&(network::<F>("", "", &down) + &join));
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE");
}

/// RFC 4604, section 2.2.1: from the moment on that a group is source-specific.
fn a_new_source_specific_range_ends_what_excludes<F: Net>(system: Behaviour) {
    let ranges = format!("ssm-range {}/{}", F::GROUP, F::Addr::LEN * 8);
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 6, Allow, &sources::<F>(&[1]));
    router.reload(&network::<F>(&ranges, "", ""));
    router.pass(Millis(1000));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:269");
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1");
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.discarded::<F>("down0", "ssm-older-version"), 1);
    router.reload(&plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE");
}

/// RFC 9776, appendix A.2: who reports is known, since no host suppresses its reports.
fn hosts_are_shown<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[1]));
    router.report::<F>(DOWN, 6, Allow, &sources::<F>(&[2]));
    router.pass(Millis(70_000));
    router.report::<F>(DOWN, 6, Allow, &sources::<F>(&[3]));
    router.report::<F>(DOWN, 6, Block, &sources::<F>(&[2]));
    let mut rows: Vec<String> = router
        .hosts()
        .iter()
        .map(|h| format!("{} {:?} {} {:?}", h.host, h.filter_mode, h.sources.len(), h.expire))
        .collect();
    rows.sort();
    let host = |n| F::address(DOWN, n);
    let expected =
        [format!("{} Exclude 1 Some(200)", host(5)), format!("{} Include 1 Some(270)", host(6))];
    assert_eq!(rows, expected);
    assert_eq!(router.status().hosts, 2);
    router.report::<F>(DOWN, 6, ToIn, &[]);
    assert_eq!(router.hosts().len(), 1);
    router.pass(Millis(200_010));
    assert!(router.hosts().is_empty());
}

/// One that has left is no member.
fn the_last_reporter_is_the_member_that_reported_last<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    for (host, kind, last, members) in [
        (5, ToEx, 5, 1),
        (6, ToEx, 6, 2),
        (7, ToEx, 7, 3),
        (5, IsEx, 5, 3),
        (5, ToIn, 7, 2),
        (6, IsEx, 6, 2),
        (6, ToIn, 7, 1),
    ] {
        router.report::<F>(DOWN, host, kind, &[]);
        router.pass(Millis(10));
        let expected = F::address(DOWN, last).into();
        assert_eq!(router.groups()[0].last_reporter, Some(expected), "{host} says {kind:?}");
        assert_eq!(router.hosts().len(), members, "{host} says {kind:?}");
    }
}

/// RFC 9776, section 6.4.2.
fn a_leave_waits_for_its_queries_by_default<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    router.pass(Millis(1990));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(1)");
}

/// For links with one receiver.
fn fast_leave_immediate_takes_the_leave_at_once<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave immediate"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 6, ToEx, &[]);
    router.flow::<F>(UP, F::SOURCE);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    assert_eq!(router.state::<F>("down0"), "none", "although another host is there");
    assert_eq!(router.data::<F>(UP, F::SOURCE), NOWHERE);
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2]));
    router.report::<F>(DOWN, 5, Block, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:270");
    assert!(router.said::<F>(DOWN).is_empty());
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[2]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270) 2:2", "no leave");
    assert!(!router.said::<F>(DOWN).is_empty(), "a query");
    router.old::<F>(DOWN, 5, F::OLD);
    router.old::<F>(DOWN, 5, 0);
    assert_eq!(router.state::<F>("down0"), "none");
    assert!(router.said::<F>(DOWN).is_empty());
}

/// The last host's leave is taken at once, an earlier one's asks for nothing.
fn fast_leave_yes_knows_the_other_hosts<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave yes"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 6, ToEx, &[]);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)");
    router.report::<F>(DOWN, 6, ToIn, &[]);
    assert_eq!(router.state::<F>("down0"), "none");
    assert!(router.said::<F>(DOWN).is_empty(), "no queries at all");
}

/// The same for sources.
fn fast_leave_yes_knows_who_wants_a_source<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave yes"));
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2]));
    router.report::<F>(DOWN, 6, Allow, &sources::<F>(&[2, 3]));
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:270 3:270");
    router.report::<F>(DOWN, 6, Block, &sources::<F>(&[3]));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:270");
    assert!(router.said::<F>(DOWN).is_empty());
}

/// After the group membership interval, whoever keeps the group.
fn what_a_silent_host_said_is_forgotten<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave yes"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 6, ToEx, &[]);
    router.pass(Millis(100_000));
    router.report::<F>(DOWN, 5, IsEx, &[]);
    router.pass(Millis(200_000));
    router.report::<F>(DOWN, 6, IsIn, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(70) 1:270");
    router.report::<F>(DOWN, 5, ToIn, &[]);
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:270");
}

/// Reporters without an address cannot be told apart; in IPv6 they are not heard.
fn an_untracked_host_is_queried<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave yes"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.record::<F>(DOWN, F::Addr::UNSPECIFIED, ToEx, F::GROUP, &[]);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    let said: &[&str] = if F::AF == Af::Ip4 { &["Q(G)"] } else { &[] };
    assert_eq!(router.said::<F>(DOWN), said);
}

/// RFC 2236, section 3: hosts that hear another's report suppress theirs, so nobody knows them all.
fn older_hosts_are_queried<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "fast-leave yes"));
    router.old::<F>(DOWN, 5, F::OLD);
    router.said::<F>(DOWN);
    router.old::<F>(DOWN, 5, 0);
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(2)");
}

/// 1024 are tracked in a group.
fn more_hosts_than_are_tracked_are_queried<F: Net>(system: Behaviour) {
    let words = "fast-leave yes\nverify-source-subnet no";
    let mut router = Router::on(system, &network::<F>("", "", words));
    for n in 0..1025_u32 {
        let address = match F::AF {
            Af::Ip4 => std::net::Ipv4Addr::from_bits(0x0a00_0210 + n).into(),
            Af::Ip6 => std::net::Ipv6Addr::from_bits((0xfe80 << 112) + 0x10 + u128::from(n)).into(),
        };
        let host = F::Addr::from_ip(address).unwrap();
        router.record::<F>(DOWN, host, ToEx, F::GROUP, &[]);
    }
    assert_eq!(router.status().hosts, 1024);
    assert_eq!(router.discarded::<F>("down0", "host-limit"), 1);
    assert_eq!(router.status().limits["host-limit"], 1);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 0x10, ToIn, &[]);
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"]);
}

/// RFC 9776, section 7.3.2: the timer ran out, and 25 days later it still has.
fn an_older_mode_that_ended_does_not_come_back<F: Net>(system: Behaviour) {
    let words = format!("static-group {} source {}", F::GROUP, F::source(1));
    let mut router = Router::on(system, &network::<F>("query-interval 8h", "", &words));
    router.old::<F>(DOWN, 5, F::OLD);
    let modes: Vec<u8> = (0..80)
        .map(|_| {
            router.pass(Millis::from_secs(8 * 3600));
            router.report::<F>(DOWN, 6, IsEx, &[]);
            router.groups()[0].version
        })
        .collect();
    let newest = F::LAYOUT.newest;
    assert_eq!(modes.iter().position(|m| *m == newest), Some(2));
    assert!(modes[2..].iter().all(|m| *m == newest), "{modes:?}");
}
