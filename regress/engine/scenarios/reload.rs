//! A file that was changed and read again: what follows from it holds at once, whatever is in flight.

use mcast_proxy::imsg::Notice;
use mcast_proxy::kroute::Interface;
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::Address;
use mcast_proxy::wire::RecordType::{Allow, ToEx};

use super::{network, plain};
use crate::router::{DOWN, DOWN2, Net, Router, UP, interface};

scenarios! {
    what_is_not_admitted_any_more_ends
    a_link_of_an_older_version_loses_its_source_specific_groups
    an_upstream_that_is_one_no_more_is_left_like_any_other
    an_upstream_that_is_one_again_is_left_no_further
    what_is_left_is_left_from_the_address_that_it_has
}

/// What a rule or a boundary is against is not kept for the time that its members, which are not
/// heard any more, would have had.
fn what_is_not_admitted_any_more_ends<F: Net>(system: Behaviour) {
    let group = format!("{}/{}", F::GROUP, F::Addr::LEN * 8);
    for words in ["deny group", "boundary"] {
        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, F::group(2), &[]);
        router.reload(&network::<F>("", "", &format!("{words} {group}")));
        assert_eq!(router.state::<F>("down0"), "none", "{words}");
        assert_eq!((router.groups().len(), router.upstream().len()), (1, 1), "the other one stays");
    }
}

/// RFC 4604, section 2.2: an older version has no source-specific groups.
fn a_link_of_an_older_version_loses_its_source_specific_groups<F: Net>(system: Behaviour) {
    let mut router = Router::on(system, &plain::<F>());
    for group in [F::SSM, F::GROUP] {
        router.record::<F>(DOWN, F::address(DOWN, 5), Allow, group, &[F::source(1)]);
    }
    router.reload(&network::<F>("", "", &format!("{} {}", F::VERSION, F::OLD)));
    let groups: Vec<_> = router.upstream().into_iter().map(|row| row.group).collect();
    assert_eq!(groups, [F::GROUP.into()]);
    router.data_to::<F>(UP, F::source(1), F::SSM);
    assert!(router.data_to::<F>(UP, F::source(1), F::SSM).is_empty());
}

/// RFC 9776, section 5.1: with all copies of its leaves.
fn an_upstream_that_is_one_no_more_is_left_like_any_other<F: Net>(system: Behaviour) {
    for role in ["disabled", "downstream"] {
        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN2, 5, ToEx, &[]);
        router.pass(Millis(5000));
        router.said::<F>(UP);
        router
            .reload(&format!("interface up0 {{\n{role}\n}}\ninterface down1 {{\ndownstream\n}}\n"));
        router.pass(Millis(1000));
        let mut said = router.said::<F>(UP);
        said.retain(|s| s != "general");
        assert_eq!(said, ["TO_IN(G)", "TO_IN(G)"], "{role}");
    }
}

/// The leaves that were still to be repeated would undo the joins that follow them.
fn an_upstream_that_is_one_again_is_left_no_further<F: Net>(system: Behaviour) {
    for role in ["disabled", "downstream", "threshold 1"] {
        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN2, 5, ToEx, &[]);
        router.pass(Millis(5000));
        router.said::<F>(UP);
        router
            .reload(&format!("interface up0 {{\n{role}\n}}\ninterface down1 {{\ndownstream\n}}\n"));
        router.reload(&plain::<F>());
        router.pass(Millis(3000));
        let mut said = router.said::<F>(UP);
        said.retain(|s| s != "general");
        assert_eq!(said, ["TO_IN(G)", "TO_EX(G)", "TO_EX(G)"], "{role}");
        assert_eq!(router.flow::<F>(UP, F::SOURCE), [DOWN2]);
    }
}

/// The last leaves come from an address that is still there, or not at all.
fn what_is_left_is_left_from_the_address_that_it_has<F: Net>(system: Behaviour) {
    let without = "interface up0 {\ndisabled\n}\ninterface down1 {\ndownstream\n}\n";
    let ends: [fn(&mut Router, &str); 2] =
        [|router, text| router.reload(text), |router, _| router.parent(Notice::Shutdown)];
    for end in ends {
        let mut router = Router::on(system, &plain::<F>());
        router.report::<F>(DOWN2, 5, ToEx, &[]);
        router.pass(Millis(5000));
        router.said::<F>(UP);
        end(&mut router, without);
        assert_eq!(router.said::<F>(UP), ["TO_IN(G)"]);
        router.comes(Interface { addresses: Vec::new(), ..interface(UP) });
        router.pass(Millis(3000));
        assert!(router.said::<F>(UP).is_empty());
    }
}
