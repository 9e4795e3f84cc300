//! Multicast router discovery, RFC 4286.

use mcast_proxy::imsg::Notice;
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{Address, Mrdisc};

use super::network;
use crate::router::{DOWN, DOWN2, Net, Router, UP};

scenarios! {
    the_first_advertisements_come_soon_then_one_an_interval
    it_is_off_by_default
    solicitations_are_answered_once
    advertisements_tell_the_values_in_use
    the_end_of_forwarding_is_announced
    neighbors_are_listed_while_they_live
}

fn router<F: Net>(system: Behaviour) -> Router {
    let mut router = Router::on(system, &network::<F>("", "mrdisc yes", "mrdisc yes"));
    said::<F>(&mut router, 0);
    router
}

/// Messages of router discovery on each link within the time.
fn said<F: Net>(router: &mut Router, time: u32) -> [Vec<String>; 3] {
    router.pass(Millis(time));
    [UP, DOWN, DOWN2].map(|ifindex| {
        let mut said = router.said::<F>(ifindex);
        said.retain(|s| s.starts_with("adv") || s == "termination" || s == "solicitation");
        said
    })
}

/// Section 4: three within two seconds each, then each 20 s, a fortieth more or less.
fn the_first_advertisements_come_soon_then_one_an_interval<F: Net>(system: Behaviour) {
    let mut router = router::<F>(system);
    assert_eq!(said::<F>(&mut router, 6000).map(|s| s.len()), [3, 3, 0]);
    assert_eq!(said::<F>(&mut router, 12_500).map(|s| s.len()), [0, 0, 0]);
    assert_eq!(said::<F>(&mut router, 60_000).map(|s| s.len()), [3, 3, 0]);
}

fn it_is_off_by_default<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &super::plain::<F>());
    router.mrdisc::<F>(DOWN, 9, Mrdisc::Solicitation);
    assert_eq!(said::<F>(&mut router, 60_000).map(|s| s.len()), [0, 0, 0]);
}

/// Section 5.1: after a random delay, one for all who ask meanwhile.
fn solicitations_are_answered_once<F: Net>(system: Behaviour) {
    let mut router = router::<F>(system);
    said::<F>(&mut router, 7000);
    router.mrdisc::<F>(DOWN, 9, Mrdisc::Solicitation);
    router.mrdisc::<F>(DOWN, 8, Mrdisc::Solicitation);
    assert_eq!(said::<F>(&mut router, 500).map(|s| s.len()), [0, 1, 0]);
    router.mrdisc::<F>(DOWN, 1, Mrdisc::Solicitation);
    assert_eq!(said::<F>(&mut router, 500).map(|s| s.len()), [0, 0, 0], "our own is not answered");
}

/// Section 3.2: the querier's, also another's; on a link without a querier none.
fn advertisements_tell_the_values_in_use<F: Net>(system: Behaviour) {
    let text = network::<F>("mrdisc yes\nmrdisc-interval 10", "", "robustness 3");
    let mut router = Router::on(system, &text);
    let [up, down, _] = said::<F>(&mut router, 2000);
    assert_eq!(up[0], "advertisement 10 QI=0 RV=0");
    assert_eq!(down[0], "advertisement 10 QI=125 RV=3");
    router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
    said::<F>(&mut router, 0);
    let [_, down, _] = said::<F>(&mut router, 20_000);
    assert_eq!(down[0], "advertisement 10 QI=60 RV=2");
    // Less than a second is not 0, which means that there is no querier.
    let words = "query-interval 500ms\nquery-response-interval 200ms\nmrdisc yes";
    let mut router = Router::on(system, &network::<F>("", "", words));
    let [_, down, _] = said::<F>(&mut router, 2000);
    assert_eq!(down[0], "advertisement 20 QI=1 RV=2");
}

/// Section 4: disabled, in another role, without discovery, at the end.
fn the_end_of_forwarding_is_announced<F: Net>(system: Behaviour) {
    let mut router = router::<F>(system);
    said::<F>(&mut router, 7000);
    let down1 = "interface down1 {\ndownstream\n}\n";
    router.reload(&format!(
        "interface up0 {{\nupstream\n}}\ninterface down0 {{\ndisabled\n}}\n{down1}"
    ));
    assert_eq!(said::<F>(&mut router, 0), [vec!["termination"], vec!["termination"], vec![]]);
    router.reload(&network::<F>("", "", "mrdisc yes"));
    said::<F>(&mut router, 6000);
    router.reload(&format!(
        "interface up0 {{\nupstream\n}}\ninterface down0 {{\nthreshold 1\n}}\n{down1}"
    ));
    assert_eq!(said::<F>(&mut router, 0), [vec![], vec!["termination"], vec![]]);
    let mut router = self::router::<F>(system);
    said::<F>(&mut router, 7000);
    router.parent(Notice::Shutdown);
    assert_eq!(said::<F>(&mut router, 60_000), [vec!["termination"], vec!["termination"], vec![]]);
}

/// Section 3.1.5: until three of their intervals passed without a word, or they say good-bye.
fn neighbors_are_listed_while_they_live<F: Net>(system: Behaviour) {
    let mut router = router::<F>(system);
    let heard = Mrdisc::Advertisement { interval: 20, query_interval: 0, robustness: 0 };
    for host in [9, 7, 1] {
        router.mrdisc::<F>(DOWN, host, heard);
    }
    let neighbors = |router: &Router| router.link::<F>("down0").mrdisc_neighbors;
    let other = |host| F::address(DOWN, host).into();
    assert_eq!(neighbors(&router), [other(7), other(9)], "not ourselves");
    router.mrdisc::<F>(DOWN, 7, Mrdisc::Termination);
    assert_eq!(neighbors(&router), [other(9)]);
    router.pass(Millis(59_999));
    assert_eq!(neighbors(&router), [other(9)]);
    router.pass(Millis(1));
    assert!(neighbors(&router).is_empty());
}
