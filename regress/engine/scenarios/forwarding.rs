//! Where data goes: RFC 4605, section 4.2, with boundaries, rules and several upstreams.

use mcast_proxy::imsg::Notice;
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::kroute::{Interface, InterfaceChange};
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, Af};

use super::{NOWHERE, network, plain, sources};
use crate::router::{Cannot, DOWN, DOWN2, Net, Router, UP, UP2, holds, interface};

scenarios! {
    data_from_upstream_goes_to_the_members
    the_first_packet_of_a_flow_is_forwarded
    a_late_member_gets_a_flow_that_was_dropped
    only_the_sources_that_are_wanted
    a_source_specific_group_takes_no_exclude
    data_from_a_downstream_goes_upstream_and_to_the_others
    a_source_from_elsewhere_is_dropped_and_told_of
    what_is_never_forwarded
    nothing_crosses_a_boundary
    allow_and_deny_of_a_downstream
    allow_and_deny_of_an_upstream
    a_disabled_interface_has_no_part
    who_is_not_the_querier_does_not_forward
    forward_non_querier_lifts_that
    a_threshold_holds_back_small_ttls
    a_link_that_goes_takes_its_routes
    all_links_with_members_go
    the_route_goes_before_the_report
    any_source_has_one_route_from_the_join_on
    an_idle_route_goes_and_comes_back
    a_wrong_interface_is_logged
    a_wrong_interface_is_followed_with_a_hold_down
    a_wrong_interface_is_ignored
    a_flow_stays_where_it_was_seen_first_beneath_one_route
    copies_elsewhere_do_not_take_a_flow_away_at_each_join
    each_group_has_one_upstream
    the_next_upstream_takes_over_and_gives_back
    the_next_upstream_is_joined_before_the_old_one_is_left
    who_cannot_query_forwards
    an_address_that_goes_ends_no_other_s_role
}

fn data_from_upstream_goes_to_the_members<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    router.report::<F>(DOWN2, 6, ToEx, &[]);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN, DOWN2], "at once");
    router.report::<F>(DOWN, 5, ToIn, &[]);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN, DOWN2], "until it is sure");
    router.pass(Millis(2010));
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN2]);
}

/// It waits in the kernel for its route.
fn the_first_packet_of_a_flow_is_forwarded<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    let found = router.data::<F>(UP, F::SOURCE);
    holds(system, found, vec![DOWN], Cannot::Wait, vec![]);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN]);
}

/// RFC 4605, section 4.2: the cache follows the memberships, without another question of the kernel.
fn a_late_member_gets_a_flow_that_was_dropped<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    assert_eq!(router.flow::<F>(UP, F::SOURCE), NOWHERE);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN]);
}

/// RFC 9776, section 6.3.
fn only_the_sources_that_are_wanted<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1]));
    router.report::<F>(DOWN2, 5, ToEx, &sources::<F>(&[1]));
    let first = router.flow::<F>(UP, F::source(1));
    holds(system, first, vec![DOWN], Cannot::TellSources, vec![DOWN, DOWN2]);
    let second = router.flow::<F>(UP, F::source(2));
    holds(system, second, vec![DOWN2], Cannot::TellSources, vec![DOWN, DOWN2]);
    router.report::<F>(DOWN, 5, IsIn, &sources::<F>(&[2]));
    assert_eq!(router.data::<F>(UP, F::source(2)), [DOWN, DOWN2]);
}

/// RFC 4604, section 2.2 and RFC 4607, section 4.3.
fn a_source_specific_group_takes_no_exclude<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::SSM, &[]);
    router.record::<F>(DOWN, F::address(DOWN, 5), IsEx, F::SSM, &[F::source(1)]);
    assert!(router.groups().is_empty());
    assert_eq!(router.discarded::<F>("down0", "ssm-older-version"), 2);
    router.record::<F>(DOWN, F::address(DOWN, 5), Allow, F::SSM, &[F::source(1)]);
    router.data_to::<F>(UP, F::source(1), F::SSM);
    assert_eq!(router.data_to::<F>(UP, F::source(1), F::SSM), [DOWN]);
    router.data_to::<F>(UP, F::source(2), F::SSM);
    let found = router.data_to::<F>(UP, F::source(2), F::SSM);
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
}

/// RFC 4605, sections 3.2 and 4.2: whatever the subscriptions are, and never back.
fn data_from_a_downstream_goes_upstream_and_to_the_others<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    let sender = F::sender(DOWN, 7);
    assert_eq!(router.flow::<F>(DOWN, sender), [UP]);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    let found = router.flow::<F>(DOWN, sender);
    // With members the upstream is the one interface that the group comes from.
    holds(system, found, vec![UP, DOWN2], Cannot::TellSources, vec![]);
    // There its counters tell that the group comes from elsewhere.
    for _ in 0..40 {
        router.pass(Millis(1000));
        router.data::<F>(DOWN, sender);
    }
    assert_eq!(router.flow::<F>(DOWN, sender), [UP, DOWN2]);
}

/// Only connected networks and those of `source`; one line for each network.
fn a_source_from_elsewhere_is_dropped_and_told_of<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    let found = router.flow::<F>(UP, F::sender(9, 7));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
    router.flow::<F>(UP, F::sender(9, 8));
    let told = router.lines.iter().filter(|l| l.contains("interface up0 { source ")).count();
    holds(system, told, 1, Cannot::TellSources, 0);
    assert_eq!(router.flow::<F>(UP, F::sender(UP, 7)), [DOWN], "a connected one");
}

/// RFC 4291, section 2.7, RFC 5771, section 4: scopes of the link, and sources that mean nothing
/// elsewhere.
fn what_is_never_forwarded<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "source any", ""));
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[1]));
    assert_eq!(router.data_to::<F>(UP, F::SOURCE, F::LINK_GROUP), NOWHERE);
    if F::AF == Af::Ip6 {
        let found = router.flow::<F>(UP, F::address(UP, 9));
        assert_eq!(found, NOWHERE, "from a link-local address");
    }
}

/// RFC 2365 and RFC 7346: neither reports, nor subscriptions, nor data.
fn nothing_crosses_a_boundary<F: Net>(system: Behaviour) {
    let boundary = format!("boundary {}/{}", F::GROUP, F::Addr::LEN * 8);
    let mut router = Router::on(system, &network::<F>("", "", &boundary));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.discarded::<F>("down0", "boundary"), 1);
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    assert_eq!(router.flow::<F>(DOWN, F::sender(DOWN, 7)), NOWHERE);
    let mut router = Router::on(system, &network::<F>("", &boundary, ""));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.wanted::<F>("up0"), "none");
    assert_eq!(router.flow::<F>(DOWN2, F::sender(DOWN2, 7)), [DOWN]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), NOWHERE);
}

/// What may be asked for and sent out there; a join without a source is kept, and its sources are
/// filtered as they send.
fn allow_and_deny_of_a_downstream<F: Net>(system: Behaviour) {
    let bits = F::Addr::LEN * 8;
    let deny = format!("deny group {}/{bits}", F::GROUP);
    let mut router = Router::on(system, &network::<F>("", "", &deny));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.state::<F>("down0"), "none");
    assert_eq!(router.discarded::<F>("down0", "policy"), 1);
    let one = format!("deny group {0}/{bits} source {1}/{bits}", F::GROUP, F::source(1));
    let mut router = Router::on(system, &network::<F>("", "", &one));
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1]));
    assert_eq!(router.discarded::<F>("down0", "policy"), 1);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.state::<F>("down0"), "EXCLUDE(270)");
    let found = router.flow::<F>(UP, F::source(1));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
    assert_eq!(router.flow::<F>(UP, F::source(2)), [DOWN]);
}

/// What is asked for there, and what data may come in.
fn allow_and_deny_of_an_upstream<F: Net>(system: Behaviour) {
    let bits = F::Addr::LEN * 8;
    let one = format!("allow group {0}/{bits} source {1}/{bits}", F::GROUP, F::source(1));
    let mut router = Router::on(system, &network::<F>("", &one, ""));
    router.report::<F>(DOWN, 5, Allow, &sources::<F>(&[1, 2]));
    assert_eq!(router.wanted::<F>("up0"), "INCLUDE 1");
    assert_eq!(router.flow::<F>(UP, F::source(1)), [DOWN]);
    let found = router.flow::<F>(UP, F::source(2));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
    let deny = format!("deny group {}/{bits}", F::GROUP);
    let mut router = Router::on(system, &network::<F>("", &deny, ""));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.wanted::<F>("up0"), "none");
    assert_eq!(router.flow::<F>(UP, F::SOURCE), NOWHERE);
}

/// Neither reports nor queries nor data.
fn a_disabled_interface_has_no_part<F: Net>(system: Behaviour) {
    let text = "interface up0 {\nupstream\nsource any\n}\n\
                interface down0 {\ndisabled\n}\ninterface down1 {\ndownstream\n}\n";
    let mut router = Router::on(system, text);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.groups().len(), 1);
    assert_eq!(router.flow::<F>(DOWN, F::sender(DOWN, 7)), NOWHERE);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    assert!(router.said::<F>(DOWN).is_empty());
}

/// RFC 4605, section 4.2: another router forwards to its members; their wishes still go upstream.
fn who_is_not_the_querier_does_not_forward<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
    assert_eq!(router.data::<F>(UP, F::SOURCE), NOWHERE, "at once");
    assert_eq!(router.wanted::<F>("up0"), "EXCLUDE");
    router.pass(Millis(125_000));
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN], "it is silent");
}

/// For links where a switch is the querier.
fn forward_non_querier_lifts_that<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "forward-non-querier yes"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
}

/// IPv4; kernels have none for IPv6. RFC 1075, section 10, has them.
fn a_threshold_holds_back_small_ttls<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "", "threshold 63"));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN], "64 is more than 63");
    router.reload(&network::<F>("", "", "threshold 64"));
    let expected: &[u32] = if F::AF == Af::Ip4 { &[] } else { &[DOWN] };
    assert_eq!(router.data::<F>(UP, F::SOURCE), expected);
}

/// RFC 4605, section 4.2: the cache follows the interfaces.
fn a_link_that_goes_takes_its_routes<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN2, 6, ToEx, &[]);
    router.flow::<F>(UP, F::SOURCE);
    router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN }));
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN2]);
    router.carrier(DOWN2, false);
    assert_eq!(router.data::<F>(UP, F::SOURCE), NOWHERE);
    router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: UP }));
    assert!(router.kernel.routes(F::AF).iter().all(|r| r.incoming != UP));
}

fn all_links_with_members_go<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.report::<F>(DOWN2, 6, ToEx, &[]);
    router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN2 }));
    router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN }));
    assert!(router.groups().is_empty() && router.upstream().is_empty());
}

/// A receiver waits for the data, not for the report.
fn the_route_goes_before_the_report<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.flow::<F>(UP, F::SOURCE);
    router.order.clear();
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.order, ["route", "send"]);
    assert_eq!(router.said::<F>(UP), ["TO_EX(G)"]);
}

/// No question of the kernel, no state for each source; not on the systems without such entries.
fn any_source_has_one_route_from_the_join_on<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "source any", ""));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    holds(system, router.kernel.route_count(F::AF), 1, Cannot::StarG, 0);
    for n in 1..=9 {
        assert_eq!(router.flow::<F>(UP, F::source(n)), [DOWN]);
    }
    let routes = router.kernel.route_count(F::AF);
    let one_by_one = if Cannot::TellSources.is_so(system) { 1 } else { 9 };
    holds(system, routes, 1, Cannot::StarG, one_by_one);
    router.report::<F>(DOWN, 5, ToEx, &sources::<F>(&[3]));
    router.pass(Millis(2010));
    assert_eq!(router.flow::<F>(UP, F::source(1)), [DOWN]);
    let found = router.flow::<F>(UP, F::source(3));
    holds(system, found, vec![], Cannot::TellSources, vec![DOWN]);
}

/// `route-timeout`; the kernel of OpenBSD has its own.
fn an_idle_route_goes_and_comes_back<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("route-timeout 210", "", ""));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    for _ in 0..10 {
        router.pass(Millis(25_000));
        router.report::<F>(DOWN, 5, IsEx, &[]);
        assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN], "used");
    }
    for _ in 0..3 {
        router.pass(Millis(90_000));
        router.report::<F>(DOWN, 5, IsEx, &[]);
    }
    assert_eq!(router.kernel.route_count(F::AF), 0);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
}

/// Two downstreams of which one is a shared link: a source of the other appears on both.
fn twice<F: Net>(system: Behaviour, words: &str) -> Router {
    let text = network::<F>(words, "", &format!("source {}", F::sources()));
    let mut router = Router::on(system, &text);
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    router
}

/// The flow stays where it was seen first.
fn a_wrong_interface_is_logged<F: Net>(system: Behaviour) {
    let mut router = twice::<F>(system, "");
    for _ in 0..50 {
        assert_eq!(router.data::<F>(DOWN, F::SOURCE), NOWHERE);
    }
    let told = router.lines.iter().filter(|l| l.contains("arrived on down0")).count();
    holds(system, told, 1, Cannot::TellWrongInterface, 0);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN2]);
}

/// After three seconds without a packet where it was; then not again for ten.
fn a_wrong_interface_is_followed_with_a_hold_down<F: Net>(system: Behaviour) {
    let mut router = twice::<F>(system, "wrongvif follow");
    for _ in 0..5 {
        router.pass(Millis(500));
        router.data::<F>(DOWN, F::SOURCE);
        assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN2], "it lives where it is");
    }
    let mut waited = 0;
    while router.data::<F>(DOWN, F::SOURCE).is_empty() && waited < 20_000 {
        router.pass(Millis(500));
        waited += 500;
    }
    holds(system, (3000..=9500).contains(&waited), true, Cannot::TellWrongInterface, false);
    if Cannot::TellWrongInterface.is_so(system) {
        return;
    }
    assert_eq!(router.data::<F>(DOWN, F::SOURCE), [UP, DOWN2]);
    let mut waited = 0;
    while router.data::<F>(UP, F::SOURCE).is_empty() && waited < 30_000 {
        router.pass(Millis(500));
        waited += 500;
    }
    assert!((9500..=20_000).contains(&waited), "{waited}");
}

/// Not even a line.
fn a_wrong_interface_is_ignored<F: Net>(system: Behaviour) {
    let mut router = twice::<F>(system, "wrongvif ignore");
    assert_eq!(router.data::<F>(DOWN, F::SOURCE), NOWHERE);
    assert!(router.lines.is_empty(), "{:?}", router.lines);
}

/// One route for any source would not pin it: two routers on the same two links would send its
/// packets round and round.
fn a_flow_stays_where_it_was_seen_first_beneath_one_route<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &network::<F>("", "source any", "source any"));
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    assert_eq!(router.flow::<F>(DOWN, F::SOURCE), NOWHERE, "not back to where it comes from");
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN2]);
    let mut router = Router::on(system, &network::<F>("", "source any", ""));
    router.report::<F>(DOWN2, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    router.carrier(DOWN, false);
    router.reload(&network::<F>("", "source any", "source any"));
    router.carrier(DOWN, true);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    assert_eq!(router.flow::<F>(DOWN, F::SOURCE), NOWHERE, "once packets can arrive there");
    router.reload(&network::<F>("", "source any", ""));
    let of_flows = router.kernel.routes(F::AF).iter().filter(|r| r.key.source.is_some()).count();
    let instead = if Cannot::TellSources.is_so(system) { 0 } else { 1 };
    holds(system, of_flows, 0, Cannot::StarG, instead);
}

/// Another router forwards the flow to a link that is a downstream here as well.
fn copies_elsewhere_do_not_take_a_flow_away_at_each_join<F: Net>(system: Behaviour) {
    let third = "interface up1 {\ndownstream\n}\n";
    let mut router = Router::on(system, &(network::<F>("", "source any", "") + third));
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    for _ in 0..3 {
        router.data::<F>(DOWN2, F::SOURCE);
        router.data::<F>(UP, F::SOURCE);
    }
    router.report::<F>(UP2, 5, ToEx, &[]);
    assert_eq!(router.data::<F>(DOWN2, F::SOURCE), NOWHERE);
    assert_eq!(router.data::<F>(UP, F::SOURCE), [DOWN, UP2]);
}

/// Two upstreams: one for all groups, one more preferred or for this group only.
fn two_upstreams(up0: &str, up1: &str) -> String {
    format!(
        "interface up0 {{\nupstream\nsource any\n{up0}\n}}\n\
         interface up1 {{\nupstream\nsource any\n{up1}\n}}\n\
         interface down0 {{\ndownstream\n}}\n"
    )
}

fn upstreams<F: Net>(system: Behaviour, up0: &str, up1: &str) -> Router {
    Router::on(system, &two_upstreams(up0, up1))
}

/// The longest `group` range; data of the group on another upstream is dropped, and never goes from
/// upstream to upstream.
fn each_group_has_one_upstream<F: Net>(system: Behaviour) {
    let range = format!("group {}/{}", F::GROUP, F::Addr::LEN * 8);
    let mut router = upstreams::<F>(system, "", &range);
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::group(2), &[]);
    assert_eq!([router.wanted::<F>("up0"), router.wanted::<F>("up1")], ["none", "EXCLUDE"]);
    let rows: Vec<String> = router.upstream().into_iter().map(|r| r.interface).collect();
    assert_eq!(rows, ["up0", "up1"], "the other group is asked for at the other one");
    assert_eq!(router.flow::<F>(UP, F::source(2)), NOWHERE);
    assert_eq!(router.flow::<F>(UP2, F::source(1)), [DOWN]);
    router.data_to::<F>(UP, F::SOURCE, F::group(2));
    assert_eq!(router.data_to::<F>(UP, F::SOURCE, F::group(2)), [DOWN]);
    let mut router = upstreams::<F>(system, "", &range);
    assert_eq!(router.flow::<F>(DOWN, F::sender(DOWN, 7)), [UP2]);
}

/// `preference`: the lower one while it is up; the routes follow.
fn the_next_upstream_takes_over_and_gives_back<F: Net>(system: Behaviour) {
    let mut router = upstreams::<F>(system, "", "preference 2");
    router.report::<F>(DOWN, 5, ToEx, &[]);
    assert_eq!([router.wanted::<F>("up0"), router.wanted::<F>("up1")], ["EXCLUDE", "none"]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    assert_eq!(router.flow::<F>(UP2, F::SOURCE), NOWHERE);
    router.carrier(UP, false);
    assert_eq!([router.wanted::<F>("up0"), router.wanted::<F>("up1")], ["none", "EXCLUDE"]);
    assert_eq!(router.flow::<F>(UP2, F::SOURCE), [DOWN]);
    router.carrier(UP, true);
    assert_eq!([router.wanted::<F>("up0"), router.wanted::<F>("up1")], ["EXCLUDE", "none"]);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
    assert_eq!(router.flow::<F>(UP2, F::SOURCE), NOWHERE);
}

/// No gap, where both are up.
fn the_next_upstream_is_joined_before_the_old_one_is_left<F: Net>(system: Behaviour) {
    let mut router = upstreams::<F>(system, "", "preference 2");
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::group(2), &[]);
    router.pass(Millis(10_000));
    router.carrier(UP, false);
    let reports = |router: &mut Router| {
        router.pass(Millis(0));
        let reports = router.sent.iter().filter(|(_, t)| t.destination == F::REPORTS.into());
        reports.map(|(_, t)| t.ifindex).collect::<Vec<u32>>()
    };
    router.pass(Millis(10_000));
    router.sent.clear();
    router.carrier(UP, true);
    assert_eq!(reports(&mut router), [UP, UP2]);
    assert_eq!(router.said::<F>(UP2), ["TO_IN(G)", "TO_IN(G2)"]);
    router.pass(Millis(10_000));
    router.sent.clear();
    let range = format!("group {}/{}", F::GROUP, F::Addr::LEN * 8);
    router.reload(&two_upstreams("", &range));
    assert_eq!(reports(&mut router), [UP2, UP]);
    assert_eq!(router.said::<F>(UP), ["TO_IN(G)"]);
    router.pass(Millis(10_000));
    router.sent.clear();
    router.reload("interface up0 { upstream; source any }\ninterface down0 { downstream }\n");
    assert_eq!(reports(&mut router), [UP, UP2]);
    assert_eq!(router.said::<F>(UP2), ["TO_IN(G)"]);
}

/// [`DOWN`] without an address to query from.
fn bare<F: Net>() -> Interface {
    let global: std::net::IpAddr = F::sender(DOWN, 1).into();
    let mut bare = interface(DOWN);
    bare.addresses.retain(|a| F::AF == Af::Ip6 && a.address == global);
    bare
}

/// Where there is no address to query from, nobody else is told to forward either; RFC 9777, section
/// 5.1.14: a global address is none.
fn who_cannot_query_forwards<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.comes(bare::<F>());
    assert!(!router.link::<F>("down0").querier);
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN]);
}

/// RFC 4605, section 4.2: the other querier forwards, and counts as heard for as long as ever.
fn an_address_that_goes_ends_no_other_s_role<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    router.report::<F>(DOWN, 5, ToEx, &[]);
    router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
    router.comes(bare::<F>());
    assert_eq!(router.flow::<F>(UP, F::SOURCE), NOWHERE);
    router.said::<F>(DOWN);
    router.comes(interface(DOWN));
    assert_eq!(router.flow::<F>(UP, F::SOURCE), NOWHERE);
    assert!(router.said::<F>(DOWN).is_empty());
    router.comes(bare::<F>());
    router.pass(Millis(125_000));
    assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN], "it is silent");
    assert!(router.said::<F>(DOWN).is_empty());
    router.comes(interface(DOWN));
    assert_eq!(router.said::<F>(DOWN), ["general"]);
}
