//! The main job and the life of a membership, in both families.

use std::net::IpAddr;

use mcast_proxy::config::model::SourceNet;
use mcast_proxy::imsg::Notice;
use mcast_proxy::imsg::ctl::Mode;
use mcast_proxy::kroute::InterfaceChange;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, Mrdisc, V4, V6};

use crate::router::{DOWN, DOWN2, Net, Router, UP, config};

fn network(source: impl Into<IpAddr>) -> SourceNet {
    SourceNet::Net(ipnet::IpNet::new(source.into(), 24).unwrap().trunc())
}

fn router<F: Net>() -> Router {
    Router::new(config(network(F::SOURCE.into())))
}

macro_rules! both {
    ($($name:ident)*) => { $(
        #[test]
        fn $name() {
            both::$name::<V4>();
            both::$name::<V6>();
        }
    )* };
}

both! {
    starts_with_general_queries
    a_join_is_reported_and_forwarded_and_a_leave_undoes_it
    flowing_data_reaches_a_late_member
    a_member_that_answers_stays
    membership_ends_with_its_interval
    an_older_host_joins_and_leaves
    a_source_specific_join_gets_its_source_only
    a_lower_querier_takes_over_and_its_silence_gives_back
    a_lost_interface_takes_its_routes
    all_interfaces_with_members_are_lost
    any_source_gets_a_star_g_route_at_the_join
    routers_advertise_themselves_until_the_end
    other_routers_are_listed
}

mod both {
    use super::*;

    /// RFC 9776, section 8.6 and 8.7: two queries a quarter of the interval apart, then the interval.
    pub(super) fn starts_with_general_queries<F: Net>() {
        let mut router = router::<F>();
        router.pass(Millis(0));
        let mut counts = Vec::new();
        for time in [0, 31_300, 93_700, 31_400] {
            router.pass(Millis(time));
            counts.push(router.take_sent::<F>(DOWN, F::ALL_SYSTEMS).len());
        }
        assert_eq!(counts, [1, 1, 0, 1]);
        assert!(router.take_sent::<F>(UP, F::ALL_SYSTEMS).is_empty());
    }

    pub(super) fn a_join_is_reported_and_forwarded_and_a_leave_undoes_it<F: Net>() {
        let mut router = router::<F>();
        router.report::<F>(DOWN, 5, ToEx, &[]);
        assert_eq!(router.upstream().len(), 1);
        assert_eq!(router.take_sent::<F>(UP, F::REPORTS).len(), 1);
        router.data::<F>(UP, F::SOURCE);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
        router.pass(Millis(5000));
        assert_eq!(router.take_sent::<F>(UP, F::REPORTS).len(), 1, "one retransmission");
        router.report::<F>(DOWN, 5, ToIn, &[]);
        assert_eq!(router.take_sent::<F>(DOWN, F::GROUP).len(), 1, "a query at once");
        router.pass(Millis(1999));
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
        router.pass(Millis(20));
        assert_eq!(router.take_sent::<F>(DOWN, F::GROUP).len(), 1, "and another");
        assert!(router.outputs::<F>(F::SOURCE).is_empty());
        assert!(router.groups().is_empty() && router.upstream().is_empty());
    }

    pub(super) fn flowing_data_reaches_a_late_member<F: Net>() {
        let mut router = router::<F>();
        router.data::<F>(UP, F::SOURCE);
        assert!(router.outputs::<F>(F::SOURCE).is_empty());
        router.report::<F>(DOWN, 5, ToEx, &[]);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
        router.report::<F>(DOWN2, 6, ToEx, &[]);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN, DOWN2]);
    }

    pub(super) fn a_member_that_answers_stays<F: Net>() {
        let mut router = router::<F>();
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.data::<F>(UP, F::SOURCE);
        router.report::<F>(DOWN, 6, ToIn, &[]);
        router.pass(Millis(900));
        router.report::<F>(DOWN, 5, IsEx, &[]);
        router.pass(Millis(250_000));
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
    }

    /// RFC 9776, section 8.4: 2 * 125 s + 2 * 10 s.
    pub(super) fn membership_ends_with_its_interval<F: Net>() {
        let mut router = router::<F>();
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.pass(Millis(269_990));
        assert_eq!(router.groups().len(), 1);
        router.pass(Millis(20));
        assert!(router.groups().is_empty());
    }

    pub(super) fn an_older_host_joins_and_leaves<F: Net>() {
        let mut router = router::<F>();
        let version = if F::Addr::LEN == 4 { 2 } else { 1 };
        router.old::<F>(DOWN, 5, version);
        let groups = router.groups();
        assert_eq!((groups.len(), groups[0].version), (1, version));
        router.data::<F>(UP, F::SOURCE);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
        router.old::<F>(DOWN, 5, 0);
        router.pass(Millis(2010));
        assert!(router.outputs::<F>(F::SOURCE).is_empty());
    }

    pub(super) fn a_source_specific_join_gets_its_source_only<F: Net>() {
        let mut router = router::<F>();
        let other = F::address(UP, 9);
        router.report::<F>(DOWN, 5, Allow, &[F::SOURCE]);
        let upstream = router.upstream();
        assert_eq!(upstream[0].filter_mode, Mode::Include);
        assert_eq!(upstream[0].sources, [F::SOURCE.into()]);
        router.data::<F>(UP, F::SOURCE);
        router.data::<F>(UP, other);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
        assert!(router.outputs::<F>(other).is_empty());
        router.report::<F>(DOWN, 6, IsIn, &[other]);
        if F::Addr::LEN == 4 {
            assert_eq!(router.outputs::<F>(other), [DOWN]);
        } else {
            assert!(
                router.outputs::<F>(other).is_empty(),
                "a link-local source is never forwarded"
            );
        }
    }

    /// RFC 9776, section 6.6.2; the other's interval is 60 s: gone after 2 * 60 s + 5 s.
    pub(super) fn a_lower_querier_takes_over_and_its_silence_gives_back<F: Net>() {
        let mut router = router::<F>();
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.data::<F>(UP, F::SOURCE);
        router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
        assert!(router.outputs::<F>(F::SOURCE).is_empty(), "the other router forwards now");
        router.sent.clear();
        router.pass(Millis(124_990));
        assert!(router.take_sent::<F>(DOWN, F::ALL_SYSTEMS).is_empty());
        router.pass(Millis(20));
        assert_eq!(router.take_sent::<F>(DOWN, F::ALL_SYSTEMS).len(), 1);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
        router.query::<F>(DOWN, 99, F::Addr::UNSPECIFIED);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN], "a higher address never elects");
    }

    pub(super) fn a_lost_interface_takes_its_routes<F: Net>() {
        let mut router = router::<F>();
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.report::<F>(DOWN2, 6, ToEx, &[]);
        router.data::<F>(UP, F::SOURCE);
        router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN }));
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN2]);
        router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: UP }));
        assert!(router.routes.iter().all(|r| r.incoming != UP));
    }

    pub(super) fn all_interfaces_with_members_are_lost<F: Net>() {
        let mut router = router::<F>();
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router.report::<F>(DOWN2, 6, ToEx, &[]);
        router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN2 }));
        router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN }));
        assert!(router.groups().is_empty() && router.upstream().is_empty());
    }

    fn discovery<F: Net>() -> Router {
        let mut config = config(network(F::SOURCE.into()));
        config.defaults.mrdisc = Some(true);
        config.interfaces[2].overrides.mrdisc = Some(false);
        Router::new(config)
    }

    /// RFC 4286, section 4: three soon, then one each 20 s; one to who asks; a termination.
    pub(super) fn routers_advertise_themselves_until_the_end<F: Net>() {
        let mut router = discovery::<F>();
        let sent = |router: &mut Router, time| {
            router.pass(Millis(time));
            [UP, DOWN, DOWN2].map(|i| router.take_sent::<F>(i, F::ALL_SNOOPERS).len())
        };
        assert_eq!(sent(&mut router, 6000), [3, 3, 0]);
        assert_eq!(sent(&mut router, 12_500), [0, 0, 0]);
        assert_eq!(sent(&mut router, 60_000), [3, 3, 0]);
        router.mrdisc::<F>(DOWN, 9, Mrdisc::Solicitation);
        assert_eq!(sent(&mut router, 500), [0, 1, 0]);
        router.parent(Notice::Shutdown);
        assert_eq!(sent(&mut router, 60_000), [1, 1, 0]);
    }

    /// RFC 4286, section 3.1.5: until three intervals passed.
    pub(super) fn other_routers_are_listed<F: Net>() {
        let mut router = discovery::<F>();
        let heard = Mrdisc::Advertisement { interval: 20, query_interval: 0, robustness: 0 };
        router.mrdisc::<F>(DOWN, 9, heard);
        router.mrdisc::<F>(DOWN, 7, heard);
        router.mrdisc::<F>(DOWN, 1, heard);
        let other = |host| F::address(DOWN, host).into();
        assert_eq!(router.neighbors::<F>("down0"), [other(7), other(9)]);
        router.mrdisc::<F>(DOWN, 7, Mrdisc::Termination);
        assert_eq!(router.neighbors::<F>("down0"), [other(9)]);
        router.pass(Millis(60_000));
        assert!(router.neighbors::<F>("down0").is_empty());
    }

    pub(super) fn any_source_gets_a_star_g_route_at_the_join<F: Net>() {
        let mut router = Router::new(config(SourceNet::Any));
        router.report::<F>(DOWN, 5, ToEx, &[]);
        assert_eq!(router.routes.len(), 1);
        assert_eq!(router.routes[0].key.source, None);
        assert_eq!(router.outputs::<F>(F::SOURCE), [DOWN]);
    }
}
