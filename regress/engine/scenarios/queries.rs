//! What the querier sends: General Queries, specific ones, and those of older versions.

use std::collections::{BTreeMap, BTreeSet};

use mcast_proxy::imsg::{Notice, Transmit};
use mcast_proxy::kroute::Interface;
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Af, QuerySpec, ReportBuilder, Sender};

use super::{network, plain, protocol, sources};
use crate::router::{DOWN, DOWN2, Net, Router, UP, interface, spec};

scenarios! {
    startup_queries_then_one_an_interval
    a_general_query_carries_the_values_of_the_link
    a_link_that_comes_up_again_starts_anew
    no_queries_without_an_address
    a_shutdown_says_nothing_downstream
    a_leave_is_queried_as_often_as_the_last_member_query_count
    a_member_s_answer_raises_the_timer_again
    a_second_leave_joins_the_running_series
    sources_are_queried_and_long_timers_carry_the_s_flag
    current_state_is_never_queried
    long_lists_of_sources_are_split
    specific_queries_are_at_most_200_a_second
    queries_of_an_older_version_have_its_format
    an_older_version_has_no_source_queries
    an_igmpv1_router_ignores_leaves
    an_older_querier_is_followed_in_igmp
    queriers_of_another_version_are_warned_of
    source_specific_groups_need_the_newest_version
    a_series_ends_with_the_version_that_has_it
    the_oldest_of_several_older_queriers_is_followed
    a_query_of_many_messages_counts_as_many
    a_query_for_sources_takes_nothing_from_that_for_the_group
    an_older_querier_does_not_end_source_specific_groups
    members_can_answer_the_last_of_many_queries
    only_the_first_query_of_a_new_engine_is_short
    many_links_that_start_do_not_query_together
    a_reload_asks_only_where_queries_differ
}

/// RFC 9776, sections 8.6 and 8.7: two queries a quarter of the interval apart, then the interval.
fn startup_queries_then_one_an_interval<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let mut counts = Vec::new();
    for time in [0, 31_249, 1, 93_700, 31_400] {
        router.pass(Millis(time));
        counts.push(router.said::<F>(DOWN).len());
    }
    assert_eq!(counts, [1, 0, 1, 0, 1]);
    assert!(router.said::<F>(UP).is_empty(), "an upstream has no router part");
}

/// RFC 9776, sections 4.1.1, 4.1.6 and 4.1.7; the codes are those of section 4.1.1.
fn a_general_query_carries_the_values_of_the_link<F: Net>(system: Behaviour) {
    let words = "query-interval 200\nquery-response-interval 20\nrobustness 3";
    let mut router = Router::on(system, &network::<F>(words, "", ""));
    let (_, query) = router
        .sent
        .iter()
        .find(|(_, t)| t.ifindex == DOWN && Af::of(t.destination) == F::AF)
        .unwrap();
    let message = if F::AF == Af::Ip4 { &query.bytes[24..] } else { &query.bytes[..] };
    // QRV 3, QQIC 0x89 = 200 s, no sources; 20 s are 200 tenths, code 0x89, or 20000 ms.
    let tail = [3, 0x89, 0, 0];
    if F::AF == Af::Ip4 {
        assert_eq!((message[1], &message[4..8], &message[8..]), (0x89, &[0; 4][..], &tail[..]));
    } else {
        assert_eq!((&message[4..6], &message[24..]), (&20_000_u16.to_be_bytes()[..], &tail[..]));
    }
    assert_eq!(router.said::<F>(DOWN), ["general"]);
}

/// RFC 9776, section 6.6.2: a router that starts on a link queries at once.
fn a_link_that_comes_up_again_starts_anew<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.pass(Millis(50_000));
    router.said::<F>(DOWN);
    router.carrier(DOWN, false);
    router.pass(Millis(300_000));
    assert!(router.said::<F>(DOWN).is_empty());
    router.carrier(DOWN, true);
    assert_eq!(router.said::<F>(DOWN).len(), 1);
    router.pass(Millis(31_250));
    assert_eq!(router.said::<F>(DOWN).len(), 1);
    assert_eq!(router.said::<F>(DOWN2).len(), 4, "the other link is not touched");
}

/// RFC 9776, section 4.1.13 and RFC 9777, section 5.1.14: a query comes from an address of the
/// link, in IPv6 a link-local one.
fn no_queries_without_an_address<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.said::<F>(DOWN);
    let usable = |a: std::net::IpAddr| match a {
        std::net::IpAddr::V4(_) => false,
        std::net::IpAddr::V6(a) => !a.is_unicast_link_local(),
    };
    let mut bare = interface(DOWN);
    bare.addresses.retain(|a| usable(a.address));
    router.comes(Interface { ..bare });
    router.pass(Millis(300_000));
    assert!(router.said::<F>(DOWN).is_empty());
    router.comes(interface(DOWN));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
}

/// RFC 9776, section 6: the router part keeps quiet when it ends; its hosts' state ages out.
fn a_shutdown_says_nothing_downstream<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.said::<F>(DOWN);
    router.parent(Notice::Shutdown);
    router.pass(Millis(2000));
    assert!(router.said::<F>(DOWN).is_empty());
    // What was due, is asked for, or has to do with a link that changes.
    let words = "mrdisc yes\nlast-member-query-interval 100ms";
    let mut router = Router::on(system, &network::<F>("", "", words));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    router.pass(Millis(31_200));
    router.report::<F>(DOWN, 5, ToIn, &[]);
    router.sent.clear();
    router.parent(Notice::Shutdown);
    router.report::<F>(DOWN2, 5, ToIn, &[]);
    router.comes(Interface { mtu: 1400, ..interface(DOWN) });
    router.carrier(DOWN2, false);
    router.carrier(DOWN2, true);
    router.pass(Millis(1000));
    assert_eq!(router.said::<F>(DOWN), ["termination"]);
    assert!(router.said::<F>(DOWN2).is_empty());
}

/// RFC 9776, sections 6.6.3.1, 8.9 and 8.10: Q(G) at once and again after the last member query
/// interval; the group goes after the last member query time.
fn a_leave_is_queried_as_often_as_the_last_member_query_count<F: Net>(system: Behaviour) {
    let words = "last-member-query-interval 2\nlast-member-query-count 3";
    let mut router = Router::on(system, &network::<F>("", "", words));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.said::<F>(DOWN);
    let start = router.now;
    router.report::<F>(DOWN, 5, ToIn, &[]);
    router.pass(Millis(10_000));
    let said = router.said_at::<F>(DOWN);
    let times: Vec<u32> = said.iter().map(|(at, _)| (*at - start).0 / 100).collect();
    assert_eq!(times, [0, 20, 40]);
    assert!(said.iter().all(|(_, said)| said == &["Q(G)"]), "{said:?}");
    assert_eq!(router.state::<F>("down0"), "none");
}

/// RFC 9776, section 6.4.2: the timer is lowered to the last member query time, and a report raises
/// it again; its later queries carry the S flag, and data flows all the time.
fn a_member_s_answer_raises_the_timer_again<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.flow::<F>(UP, F::SOURCE);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 6, ToIn, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(2)");
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"]);
    router.pass(Millis(500));
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN]);
    router.report::<F>(DOWN, 5, IsEx, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)");
    router.pass(Millis(5000));
    assert_eq!(router.said::<F>(DOWN), ["Q(G) S"]);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN]);
}

/// RFC 9776, section 6.6.3.1: there is one series of queries for a group.
fn a_second_leave_joins_the_running_series<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.said::<F>(DOWN);
    for host in 5..9 {
        router.report::<F>(DOWN, host, ToIn, &[]);
        router.pass(Millis(100));
    }
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"]);
    router.pass(Millis(700));
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"]);
    router.pass(Millis(10_000));
    assert_eq!(router.said::<F>(DOWN), ["Q(G)"], "the count began anew, once");
}

/// RFC 9776, section 6.6.3.2: two messages, the sources whose timers are above the last member query
/// time in the one with the S flag.
fn sources_are_queried_and_long_timers_carry_the_s_flag<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2, 3]));
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, Block, &sources::<F>(&[1, 2, 9]));
    assert_eq!(router.said::<F>(DOWN), ["Q(G,1,2)"]);
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:2 2:2 3:270");
    router.pass(Millis(500));
    router.report::<F>(DOWN, 6, IsIn, &sources::<F>(&[2]));
    router.pass(Millis(600));
    assert_eq!(router.said::<F>(DOWN), ["Q(G,2) S", "Q(G,1)"]);
    router.pass(Millis(1000));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:269 3:268");
}

/// RFC 9776, section 6.4.1: a current-state record asks for no query, nor does an empty set.
fn current_state_is_never_queried<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[1, 2]));
    router.report::<F>(DOWN, 5, IsEx, &sources::<F>(&[2, 3]));
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[1]));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.pass(Millis(5000));
    assert!(router.said::<F>(DOWN).is_empty());
}

/// 400 sources.
fn many_sources<F: Net>() -> Vec<F::Addr> {
    let bits = |n: u32| match F::AF {
        Af::Ip4 => std::net::IpAddr::from(std::net::Ipv4Addr::from_bits(0xc633_0000 + n)),
        Af::Ip6 => std::net::IpAddr::from(std::net::Ipv6Addr::from_bits(
            (0x2001_0db8 << 96) + u128::from(n),
        )),
    };
    (1..=400).filter_map(|n| mcast_proxy::wire::Address::from_ip(bits(n))).collect()
}

/// RFC 9776, section 4.1.8 and RFC 9777, section 5.1.10: 366 and 89 sources fit in 1500 octets.
fn long_lists_of_sources_are_split<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", ""));
    let many = many_sources::<F>();
    router.report::<F>(DOWN, 5, Allow, &many);
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    let sizes: Vec<usize> = router.said::<F>(DOWN).iter().map(|s| s.matches(',').count()).collect();
    let expected: &[usize] = if F::AF == Af::Ip4 { &[366, 34] } else { &[89, 89, 89, 89, 44] };
    assert_eq!(sizes, expected);
}

/// A storm of leaves: queries go out in order, and the timers run from there.
fn specific_queries_are_at_most_200_a_second<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let source = F::address(DOWN, 5);
    let all = |router: &mut Router, kind| {
        let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 9000 });
        (1..=250).for_each(|n| report.push(kind, F::group(n), &[]));
        report.finish().into_iter().for_each(|m| router.deliver::<F>(source, m));
    };
    all(&mut router, ToEx);
    router.said::<F>(DOWN);
    all(&mut router, ToIn);
    let first = router.said::<F>(DOWN).len();
    assert!((1..=41).contains(&first), "{first}");
    router.pass(Millis(500));
    let half = router.said::<F>(DOWN).len();
    assert!((90..=110).contains(&half), "{half} in half a second");
    assert_eq!(router.groups().len(), 250, "the last ones were not asked for yet");
    router.pass(Millis(5000));
    assert_eq!(router.said::<F>(DOWN).len(), 500 - first - half);
    assert!(router.groups().is_empty());
}

/// RFC 9776, section 7.3.1, RFC 2236, section 2, RFC 2710, section 3: lengths and response times of the
/// older versions.
fn queries_of_an_older_version_have_its_format<F: Net>(system: Behaviour) {
    for version in 1..F::LAYOUT.newest {
        let words = format!("{} {version}", F::VERSION);
        let mut router = Router::on(system, &network::<F>("", "", &words));
        let (_, query) = router
            .sent
            .iter()
            .find(|(_, t)| t.ifindex == DOWN && Af::of(t.destination) == F::AF)
            .unwrap();
        match (F::AF, version) {
            (Af::Ip4, 1) => assert_eq!((query.bytes.len(), query.bytes[25]), (24 + 8, 0)),
            (Af::Ip4, _) => assert_eq!((query.bytes.len(), query.bytes[25]), (24 + 8, 100)),
            (Af::Ip6, _) => {
                assert_eq!((query.bytes.len(), &query.bytes[4..6]), (24, &[0x27, 0x10][..]));
            }
        }
        assert_eq!(router.said::<F>(DOWN), [format!("general v{version}")]);
        assert_eq!(router.link::<F>("down0").version, version);
    }
}

/// RFC 9776, section 7.3.1: what has no query in the older version is left to the timers.
fn an_older_version_has_no_source_queries<F: Net>(system: Behaviour) {
    let words = format!("{} {}", F::VERSION, F::OLD);
    let mut router = Router::on(system, &network::<F>("", "", &words));
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[1, 2]));
    router.said::<F>(DOWN);
    router.report::<F>(DOWN, 5, Block, &sources::<F>(&[1]));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:270 2:270");
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[]));
    router.report::<F>(DOWN, 5, ToIn, &sources::<F>(&[1]));
    assert_eq!(router.said::<F>(DOWN), [format!("Q(G) v{}", F::OLD)]);
    router.pass(Millis(2100));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:268");
}

/// RFC 9776, section 7.3.1: no specific queries either.
fn an_igmpv1_router_ignores_leaves<F: Net>(system: Behaviour) {
    let words = format!("{} 1\nfast-leave immediate", F::VERSION);
    let mut router = Router::on(system, &network::<F>("", "", &words));
    router.old::<F>(DOWN, 5, F::OLD);
    router.said::<F>(DOWN);
    router.old::<F>(DOWN, 5, 0);
    let state = router.state::<F>("down0");
    if F::AF == Af::Ip4 {
        assert_eq!(state, "EXCLUDE(270)");
    } else {
        assert_eq!(state, "none", "MLDv1 has a leave");
    }
    assert!(router.said::<F>(DOWN).is_empty());
}

fn older<F: Net>() -> QuerySpec<'static, F> {
    QuerySpec { version: F::OLD, ..spec(mcast_proxy::wire::Address::UNSPECIFIED) }
}

/// RFC 9776, section 6.6.2: the lowest version on the link; RFC 9777, section 8.3.1: that is for the
/// administrator to assure.
fn an_older_querier_is_followed_in_igmp<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.said::<F>(DOWN);
    router.ask::<F>(DOWN, F::address(DOWN, 99), &older());
    router.pass(Millis(31_250));
    let followed = if F::AF == Af::Ip4 { "general v2" } else { "general" };
    assert_eq!(router.said::<F>(DOWN), [followed]);
    router.pass(Millis(230_000));
    router.said::<F>(DOWN);
    router.pass(Millis(125_000));
    assert_eq!(router.said::<F>(DOWN), ["general"], "260 s after it was heard");
}

/// RFC 9776, section 7.3.1 and RFC 9777, section 8.3.1: rate-limited.
fn queriers_of_another_version_are_warned_of<F: Net>(system: Behaviour) {
    let words = format!("{} {}", F::VERSION, F::OLD);
    let mut router = Router::on(system, &network::<F>("", "", &words));
    let (newest, old) = (F::LAYOUT.newest, F::OLD);
    let from = F::address(DOWN, 99);
    let lines = |router: &Router, link: &str| {
        router.lines.iter().filter(|l| l.starts_with(link)).cloned().collect::<Vec<_>>()
    };
    for _ in 0..100 {
        router.query::<F>(DOWN, 99, mcast_proxy::wire::Address::UNSPECIFIED);
        router.ask::<F>(DOWN2, F::address(DOWN2, 99), &older());
        router.pass(Millis(5000));
    }
    let name = protocol::<F>();
    let newer = lines(&router, "down0");
    assert_eq!(newer.len(), 1, "{newer:?}");
    assert!(
        newer[0].contains(&format!(
            "{from} queries with {name}v{newest}, {} here is {old}",
            F::VERSION
        ))
    );
    let older = lines(&router, "down1");
    assert_eq!(older.len(), 1, "{older:?}");
    assert!(
        older[0].contains(&format!("queries with {name}v{old}, {} here is {newest}", F::VERSION))
    );
}

/// RFC 4604, section 2.2: no source-specific traffic where an older version is spoken.
fn source_specific_groups_need_the_newest_version<F: Net>(system: Behaviour) {
    let words = format!("{} {}", F::VERSION, F::OLD);
    let mut router = Router::on(system, &network::<F>("", "", &words));
    router.record::<F>(DOWN, F::address(DOWN, 5), Allow, F::SSM, &[F::SOURCE]);
    router.record::<F>(DOWN2, F::address(DOWN2, 5), Allow, F::SSM, &[F::SOURCE]);
    assert_eq!(router.groups().len(), 1);
    assert_eq!(router.discarded::<F>("down0", "ssm-older-version"), 1);
    router.data_to::<F>(UP, F::SOURCE, F::SSM);
    assert_eq!(router.data_to::<F>(UP, F::SOURCE, F::SSM), [DOWN2]);
}

/// RFC 9776, section 7.3.1: IGMPv2 and MLDv1 have no query for sources, IGMPv1 none for groups.
fn a_series_ends_with_the_version_that_has_it<F: Net>(system: Behaviour) {
    for version in 1..F::LAYOUT.newest {
        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1]));
        router.report::<F>(DOWN, 5, IsEx, &sources::<F>(&[1]));
        router.said::<F>(DOWN);
        router.report::<F>(DOWN, 5, Block, &sources::<F>(&[1]));
        assert_eq!(router.said::<F>(DOWN), ["Q(G,1)"]);
        router.reload(&network::<F>("", "", &format!("{} {version}", F::VERSION)));
        assert_eq!(router.said::<F>(DOWN), [format!("general v{version}")]);
        router.pass(Millis(10_000));
        assert!(router.said::<F>(DOWN).is_empty());

        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.report::<F>(DOWN, 5, ToIn, &[]);
        router.reload(&network::<F>("", "", &format!("{} {version}", F::VERSION)));
        router.said::<F>(DOWN);
        router.pass(Millis(10_000));
        let igmpv1 = F::AF == Af::Ip4 && version == 1;
        let asked = if igmpv1 { vec![] } else { vec![format!("Q(G) v{version}")] };
        assert_eq!(router.said::<F>(DOWN), asked);
    }
}

/// RFC 9776, section 6.6.2: the lowest version on the link, each for as long as it is heard.
fn the_oldest_of_several_older_queriers_is_followed<F: Net>(system: Behaviour) {
    if F::AF == Af::Ip6 {
        return;
    }
    let mut router = Router::on(system, &plain::<F>());
    let heard = |router: &mut Router, version| {
        router.ask::<F>(DOWN, F::address(DOWN, 99), &QuerySpec { version, ..older() });
    };
    heard(&mut router, 1);
    router.pass(Millis(200_000));
    heard(&mut router, 2);
    assert_eq!(router.link::<F>("down0").version, 1);
    router.pass(Millis(60_000));
    assert_eq!(router.link::<F>("down0").version, 2);
    router.pass(Millis(200_000));
    assert_eq!(router.link::<F>("down0").version, 3);
}

/// Leaves of groups whose sources are more than one message names: 200 messages a second all the same.
fn a_query_of_many_messages_counts_as_many<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let source = F::address(DOWN, 5);
    let all = |router: &mut Router, kind, list: &[F::Addr]| {
        let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 9000 });
        (1..=120).for_each(|n| report.push(kind, F::group(n), list));
        report.finish().into_iter().for_each(|m| router.deliver::<F>(source, m));
    };
    all(&mut router, Allow, &many_sources::<F>());
    router.said::<F>(DOWN);
    all(&mut router, ToIn, &[]);
    router.pass(Millis(1000));
    let first = router.said::<F>(DOWN).len();
    assert!((200..=250).contains(&first), "{first} in the first second, 40 of them at once");
    router.pass(Millis(1000));
    let second = router.said::<F>(DOWN).len();
    assert!((190..=210).contains(&second), "{second} in a second");
    router.pass(Millis(60_000));
    assert!(router.groups().is_empty());
}

/// RFC 9776, section 6.6.3.1: Q(G) goes out as often as the last member query count says, an interval
/// apart, whatever is asked about sources in between.
fn a_query_for_sources_takes_nothing_from_that_for_the_group<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[1, 2]));
    router.said::<F>(DOWN);
    router.old::<F>(DOWN, 6, 0);
    assert_eq!(router.said::<F>(DOWN), ["Q(G)", "Q(G,1,2)"]);
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[1, 2]));
    router.pass(Millis(100));
    router.report::<F>(DOWN, 6, Block, &sources::<F>(&[1]));
    router.said::<F>(DOWN);
    router.pass(Millis(1010));
    let said = router.said::<F>(DOWN);
    assert!(said.contains(&"Q(G)".into()), "{said:?}");
    router.pass(Millis(5000));
    assert!(router.said::<F>(DOWN).iter().all(|said| !said.starts_with("Q(G)")));
}

/// RFC 4604, section 2.2: a link that is configured so has no source-specific groups; a query that
/// anybody can forge does not take them away.
fn an_older_querier_does_not_end_source_specific_groups<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    for _ in 0..10 {
        router.ask::<F>(DOWN, F::address(DOWN, 99), &older());
        router.record::<F>(DOWN, F::address(DOWN, 5), IsIn, F::SSM, &[F::SOURCE]);
        router.pass(Millis(100_000));
    }
    router.data_to::<F>(UP, F::SOURCE, F::SSM);
    assert_eq!(router.data_to::<F>(UP, F::SOURCE, F::SSM), [DOWN]);
}

/// RFC 9776, section 8.10: the last one too can be answered, when others' queries put one off.
fn members_can_answer_the_last_of_many_queries<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("robustness 4", "", ""));
    let source = F::address(DOWN, 5);
    let all = |router: &mut Router, kind, groups: std::ops::RangeInclusive<u8>| {
        let mut report = ReportBuilder::<F>::new(Sender { ifindex: DOWN, source, mtu: 9000 });
        groups.for_each(|n| report.push(kind, F::group(n), &[]));
        report.finish().into_iter().for_each(|m| router.deliver::<F>(source, m));
    };
    all(&mut router, ToEx, 1..=130);
    router.said::<F>(DOWN);
    all(&mut router, ToIn, 1..=30);
    router.pass(Millis(990));
    all(&mut router, ToIn, 31..=130);
    let mut asked = BTreeMap::new();
    while !router.groups().is_empty() {
        router.pass(Millis(20));
        let now = router.now;
        let said = router.said_at::<F>(DOWN).into_iter();
        asked.extend(said.flat_map(|(at, said)| said.into_iter().map(move |s| (s, at))));
        let here: BTreeSet<_> = router.groups().into_iter().map(|row| row.group).collect();
        for n in 1..=130 {
            let name = if n == 1 { "Q(G)".to_owned() } else { format!("Q(G{n})") };
            if let (Some(last), false) = (asked.get(&name), here.contains(&F::group(n).into())) {
                assert!((now - *last).0 >= 1000, "{name} was not waited for");
            }
        }
    }
}

/// After an engine's death its hosts are asked for quick answers once.
fn only_the_first_query_of_a_new_engine_is_short<F: Net>(system: Behaviour) {
    let config = crate::router::parse(&plain::<F>());
    let mut router = Router::start(system, config, 1);
    let response = |router: &mut Router| {
        let is = |t: &Transmit| t.ifindex == DOWN && Af::of(t.destination) == F::AF;
        let (_, query) = router.sent.iter().rfind(|(_, t)| is(t)).unwrap();
        match F::AF {
            Af::Ip4 => u32::from(query.bytes[25]) * 100,
            Af::Ip6 => u32::from(u16::from_be_bytes([query.bytes[4], query.bytes[5]])),
        }
    };
    assert_eq!(response(&mut router), 2000);
    router.pass(Millis(31_250));
    assert_eq!(response(&mut router), 10_000);
    router.carrier(DOWN, false);
    router.carrier(DOWN, true);
    assert_eq!(response(&mut router), 10_000);
}

/// Those beyond the eighth wait up to a second; after an engine's death they started long ago.
fn many_links_that_start_do_not_query_together<F: Net>(system: Behaviour) {
    let first_queries = |restarts| {
        let config = crate::router::parse("interface \"more*\" {\ndownstream\n}");
        let mut router = Router::start(system, config, restarts);
        let start = router.now;
        for ifindex in 101..=120 {
            router.comes(interface(ifindex));
        }
        router.pass(Millis(1100));
        let mut waits = BTreeMap::new();
        for (at, sent) in router.sent.iter().filter(|(_, t)| Af::of(t.destination) == F::AF) {
            waits.entry(sent.ifindex).or_insert((*at - start).0);
        }
        Vec::from_iter(waits.into_values())
    };
    assert_eq!(first_queries(1), [0; 20]);
    let waits = first_queries(0);
    assert_eq!((waits.len(), &waits[..8]), (20, &[0; 8][..]));
    let late: BTreeSet<u32> = waits[8..].iter().copied().collect();
    assert!(late.len() > 6 && late.last() <= Some(&1008), "{waits:?}");
}

/// RFC 9776, section 6.6.2: a new querier asks, and one whose values are new; nobody is asked because
/// of a rule or a static group.
fn a_reload_asks_only_where_queries_differ<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.pass(Millis(40_000));
    router.said::<F>(DOWN);
    let same = format!("static-group {}\nmax-groups 7\nfast-leave yes", F::group(2));
    router.reload(&network::<F>("", "", &same));
    router.pass(Millis(60_000));
    assert!(router.said::<F>(DOWN).is_empty());
    router.reload(&network::<F>("", "", &format!("{same}\nrobustness 3")));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
}
