//! Querier election, and what the elected querier brings about. RFC 9776, section 6.6; RFC 9777,
//! section 7.6.

use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, ToEx, ToIn};
use mcast_proxy::wire::{Address, Af, QuerySpec};

use super::{network, plain, sources};
use crate::router::{DOWN, Net, Router, UP, spec};

scenarios! {
    the_lower_address_wins
    which_queries_elect
    an_unspecified_source_never_elects
    a_foreign_source_never_elects
    the_lowest_of_several_is_the_querier
    its_silence_gives_the_role_back
    its_robustness_and_interval_are_adopted
    announced_values_are_clamped
    an_announcement_of_nothing_leaves_the_defaults
    an_older_querier_announces_nothing
    its_specific_queries_lower_timers
    an_s_flag_lowers_nothing
    queries_of_those_not_elected_lower_nothing
    losing_ends_the_series_of_queries
    no_more_the_querier_by_reload
    only_the_querier_asks_after_a_leave
    querier_always_never_yields
    querier_never_never_queries
    the_querier_is_shown
    querier_never_follows_whoever_queries
    lowered_timers_outlast_the_querier_s_retransmissions
    a_query_for_what_can_be_no_source_lowers_nothing
}

const GENERAL: u8 = 0;

/// A query of host `host`, general or for the group.
fn general<F: Net>(router: &mut Router, host: u8) {
    router.query::<F>(DOWN, host, F::Addr::UNSPECIFIED);
}

/// RFC 9776, section 6.6.2; a higher address has no effect.
fn the_lower_address_wins<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.said::<F>(DOWN);
    general::<F>(&mut router, 99);
    assert!(router.link::<F>("down0").querier);
    router.pass(Millis(31_250));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
    general::<F>(&mut router, GENERAL);
    assert!(!router.link::<F>("down0").querier);
    router.pass(Millis(120_000));
    assert!(router.said::<F>(DOWN).is_empty());
    assert!(router.lines.iter().any(|l| l.starts_with("down0: querier is ")), "{:?}", router.lines);
}

/// RFC 9776, section 6.6.2: General Queries; RFC 9777, section 7.6.2: every query.
fn which_queries_elect<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.query::<F>(DOWN, 0, F::GROUP);
    assert_eq!(router.link::<F>("down0").querier, F::AF == Af::Ip4);
}

/// RFC 4541, section 2.1.1: a snooping switch asks from 0.0.0.0; RFC 9777, section 5.1.14: `::` is
/// discarded.
fn an_unspecified_source_never_elects<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.ask::<F>(DOWN, F::Addr::UNSPECIFIED, &spec(F::Addr::UNSPECIFIED));
    assert!(router.link::<F>("down0").querier);
    let discarded = u64::from(F::AF == Af::Ip6);
    assert_eq!(router.discarded::<F>("down0", "source-not-link-local"), discarded);
}

/// A router that is not of the link's network is not one of the link; MLD's are link-local all.
fn a_foreign_source_never_elects<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let foreign = if F::AF == Af::Ip4 { F::address(1, 0) } else { F::source(1) };
    router.ask::<F>(DOWN, foreign, &spec(F::Addr::UNSPECIFIED));
    assert!(router.link::<F>("down0").querier);
    let reason = if F::AF == Af::Ip4 { "source-subnet" } else { "source-not-link-local" };
    assert_eq!(router.discarded::<F>("down0", reason), 1);
    let mut lax = Router::on(system, &network::<F>("verify-source-subnet no", "", ""));
    lax.ask::<F>(DOWN, foreign, &spec(F::Addr::UNSPECIFIED));
    // 10.0.1.0 is below our 10.0.2.1.
    assert_eq!(lax.link::<F>("down0").querier, F::AF == Af::Ip6);
}

/// RFC 9776, section 6.6.2, among three routers.
fn the_lowest_of_several_is_the_querier<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", ""));
    let own = router.link::<F>("down0").querier_address;
    assert_eq!(own, Some(F::address(DOWN, 1).into()));
    general::<F>(&mut router, 0);
    general::<F>(&mut router, 99);
    assert_eq!(router.link::<F>("down0").querier_address, Some(F::address(DOWN, 0).into()));
}

/// RFC 9776, section 8.5: 2 * 60 s + 10 s / 2 after its last query; then a General Query at once.
fn its_silence_gives_the_role_back<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    general::<F>(&mut router, 0);
    router.pass(Millis(100_000));
    general::<F>(&mut router, 0);
    router.said::<F>(DOWN);
    router.pass(Millis(124_999));
    assert!(router.said::<F>(DOWN).is_empty());
    router.pass(Millis(1));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
    let link = router.link::<F>("down0");
    assert_eq!((link.querier, link.query_interval), (true, 125), "our own values again");
    router.pass(Millis(124_999));
    assert!(router.said::<F>(DOWN).is_empty(), "no start-up series");
    router.pass(Millis(1));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
}

/// RFC 9776, sections 4.1.6, 4.1.7 and 8.4: memberships last 3 * 60 s + 2 * 10 s then.
fn its_robustness_and_interval_are_adopted<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let query = QuerySpec { robustness: 3, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    let link = router.link::<F>("down0");
    assert_eq!((link.robustness_variable, link.query_interval), (3, 60));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(200)");
}

/// A forged QQIC of 31744 s would make us silent for days.
fn announced_values_are_clamped<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let query_interval = Millis::from_secs(31_744);
    let query = QuerySpec { robustness: 7, query_interval, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    assert_eq!(router.link::<F>("down0").query_interval, 600);
    router.pass(Millis::from_secs(7 * 600 + 5));
    assert!(router.link::<F>("down0").querier);
}

/// RFC 9776, sections 4.1.6 and 4.1.7: a robustness of 0 is none; an interval of 0 is 125 s.
fn an_announcement_of_nothing_leaves_the_defaults<F: Net>(system: Behaviour) {
    let words = "robustness 4\nquery-interval 100";
    let mut router = Router::on(system, &network::<F>("", "", words));
    let query = QuerySpec { robustness: 8, ..spec::<F>(F::Addr::UNSPECIFIED) };
    let from = F::address(DOWN, 0);
    let sender = mcast_proxy::wire::Sender { ifindex: DOWN, source: from, mtu: 1500 };
    let mut message = mcast_proxy::wire::query(&sender, &query).remove(0);
    zero_interval::<F>(&mut message.bytes);
    router.deliver::<F>(from, message);
    let link = router.link::<F>("down0");
    assert!(!link.querier);
    assert_eq!((link.robustness_variable, link.query_interval), (4, 125));
}

/// Sets QQIC to 0, and mends the checksum (RFC 1624: it grows by what the sum lost).
fn zero_interval<F: Net>(bytes: &mut [u8]) {
    let start = if F::AF == Af::Ip4 { 24 } else { 0 };
    let at = start + if F::AF == Af::Ip4 { 9 } else { 25 };
    let lost = u16::from(std::mem::take(&mut bytes[at]));
    if F::AF == Af::Ip4 {
        let sum = u16::from_be_bytes([bytes[start + 2], bytes[start + 3]]);
        let (sum, carry) = sum.overflowing_add(lost);
        let sum = sum + u16::from(carry);
        bytes[start + 2..start + 4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// RFC 9776, section 7.3.1: its queries have neither value, so the configured ones hold.
fn an_older_querier_announces_nothing<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "robustness 3\nquery-interval 100"));
    let query = QuerySpec { version: F::OLD, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    let link = router.link::<F>("down0");
    assert!(!link.querier);
    assert_eq!((link.robustness_variable, link.query_interval), (3, 100));
}

/// A router with members that is not the querier; the querier's robustness is 2.
fn beaten<F: Net>(system: Behaviour) -> Router {
    let mut router = Router::on(system, &plain::<F>());
    general::<F>(&mut router, 0);
    router
}

/// RFC 9776, section 6.6.1: to the last member query time, 2 * 1 s by the query's values.
fn its_specific_queries_lower_timers<F: Net>(system: Behaviour) {
    let mut router = beaten::<F>(system);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.query::<F>(DOWN, 0, F::GROUP);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(2)");
    router.pass(Millis(2008));
    assert_eq!(router.state::<F>("down0"), "none");
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2]));
    let named = sources::<F>(&[2, 3]);
    let query = QuerySpec { sources: &named, ..spec(F::GROUP) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:140 2:2");
    // A forged response time of 10 ms leaves members 2 * 100 ms to answer.
    let named = sources::<F>(&[1]);
    let query = QuerySpec { sources: &named, max_response: Millis(10), ..spec(F::GROUP) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    router.pass(Millis(190));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 1:1 2:2");
    router.pass(Millis(20));
    assert_eq!(router.state::<F>("down0"), "INCLUDE 2:2");
}

/// RFC 9776, section 6.6.1.
fn an_s_flag_lowers_nothing<F: Net>(system: Behaviour) {
    let mut router = beaten::<F>(system);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    let query = QuerySpec { suppress: true, ..spec(F::GROUP) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(140)");
}

/// Only the elected querier's queries count: not those of others, and none while we are it.
fn queries_of_those_not_elected_lower_nothing<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.query::<F>(DOWN, 99, F::GROUP);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)");
    general::<F>(&mut router, 0);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.query::<F>(DOWN, 99, F::GROUP);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(140)");
}

/// RFC 9776, section 6.6.2: who is not the querier sends no queries, pending ones neither.
fn losing_ends_the_series_of_queries<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    general::<F>(&mut router, 0);
    router.said::<F>(DOWN);
    router.pass(Millis(1500));
    assert!(router.said::<F>(DOWN).is_empty());
}

/// The same for one that a reload makes `querier never`.
fn no_more_the_querier_by_reload<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN, 5, ToIn, &[]);
    router.reload(&network::<F>("", "", "querier never"));
    router.said::<F>(DOWN);
    router.pass(Millis(1500));
    assert!(router.said::<F>(DOWN).is_empty());
}

/// RFC 9776, section 6.6.3: the timers of a router that is not the querier wait for the querier's
/// queries, whatever fast-leave says.
fn only_the_querier_asks_after_a_leave<F: Net>(system: Behaviour) {
    for words in ["", "fast-leave immediate", "fast-leave yes"] {
        let mut router = Router::on(system, &network::<F>("", "", words));
        general::<F>(&mut router, 0);
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.said::<F>(DOWN);
        router.report::<F>(DOWN, 5, ToIn, &[]);
        router.pass(Millis(1000));
        assert!(router.said::<F>(DOWN).is_empty());
        assert_eq!(router.state::<F>("down0"), "EXCLUDE(139)");
    }
}

/// For links where a switch or a forger has a lower address.
fn querier_always_never_yields<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "querier always"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.said::<F>(DOWN);
    general::<F>(&mut router, 0);
    router.query::<F>(DOWN, 0, F::GROUP);
    assert!(router.link::<F>("down0").querier);
    router.pass(Millis(31_250));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(239)");
}

/// It still follows the one that is elected, and forwards.
fn querier_never_never_queries<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "querier never"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.pass(Millis(200_000));
    assert!(router.said::<F>(DOWN).is_empty());
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    general::<F>(&mut router, 0);
    router.query::<F>(DOWN, 0, F::GROUP);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(2)");
}

/// `show interfaces`: the other's address and version, and when it is given up.
fn the_querier_is_shown<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    general::<F>(&mut router, 0);
    router.pass(Millis(25_000));
    let link = router.link::<F>("down0");
    assert_eq!(link.querier_address, Some(F::address(DOWN, 0).into()));
    assert_eq!((link.querier_expire, link.querier_version), (Some(100), Some(F::LAYOUT.newest)));
    let older = QuerySpec { version: F::OLD, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &older);
    assert_eq!(router.link::<F>("down0").querier_version, Some(F::OLD));
}

/// It does not take part in the election, so that its own address does not count.
fn querier_never_follows_whoever_queries<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "querier never"));
    general::<F>(&mut router, 99);
    general::<F>(&mut router, 100);
    let link = router.link::<F>("down0");
    assert_eq!(link.querier_address, Some(F::address(DOWN, 99).into()));
    assert_eq!((link.querier, link.query_interval), (false, 60));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(140)");
    router.query::<F>(DOWN, 100, F::GROUP);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(140)");
    router.query::<F>(DOWN, 99, F::GROUP);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(2)");
    router.pass(Millis(200_000));
    assert_eq!(router.link::<F>("down0").querier_address, None);
    assert!(router.said::<F>(DOWN).is_empty());
    assert!(router.lines.iter().all(|l| !l.contains("this router")), "{:?}", router.lines);
    general::<F>(&mut router, 99);
    router.reload(&plain::<F>());
    assert_eq!(router.said::<F>(DOWN), ["general"], "it takes part now, and is lower");
}

/// RFC 9776, sections 6.6.1 and 8.9: it queries as often as its robustness says, not as often as we
/// would.
fn lowered_timers_outlast_the_querier_s_retransmissions<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "last-member-query-count 1"));
    let query = QuerySpec { robustness: 3, ..spec(F::Addr::UNSPECIFIED) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.ask::<F>(DOWN, F::address(DOWN, 0), &QuerySpec { group: F::GROUP, ..query });
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(3)");
}

/// A query for sources is none for the group, whatever the sources.
fn a_query_for_what_can_be_no_source_lowers_nothing<F: Net>(system: Behaviour) {
    let mut router = beaten::<F>(system);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    let named = [F::Addr::UNSPECIFIED, F::GROUP];
    let query = QuerySpec { sources: &named, ..spec(F::GROUP) };
    router.ask::<F>(DOWN, F::address(DOWN, 0), &query);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(140)");
}
