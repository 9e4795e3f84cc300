//! `explain`: the check that fails is the reason why nothing is forwarded, in both families.

use mcast_proxy::config::model::{QuerierMode, SourceNet};
use mcast_proxy::imsg::Notice;
use mcast_proxy::imsg::ctl::{Check, CheckRow, Outcome};
use mcast_proxy::kroute::InterfaceChange;
use mcast_proxy::wire::RecordType::{IsIn, ToEx};
use mcast_proxy::wire::{Address, V4, V6};

use crate::router::{DOWN, Net, Router, UP, config};

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
    a_member_and_a_flow_are_all_well
    nobody_asks
    a_source_from_elsewhere_is_told_with_the_line_to_add
    a_source_that_no_member_wants
    a_boundary
    another_querier_forwards
    an_upstream_that_is_gone
    a_group_of_the_link
}

fn explain<F: Net>(router: &Router, group: F::Addr, source: Option<F::Addr>) -> Vec<CheckRow> {
    router.core.explain(group.into(), source.map(Into::into))
}

/// The row of a check on an interface.
fn row<'a>(rows: &'a [CheckRow], check: Check, on: Option<&str>) -> &'a CheckRow {
    let found = rows.iter().find(|r| r.check == check && r.interface.as_deref() == on);
    found.unwrap_or_else(|| panic!("no {check:?} of {on:?} in {rows:#?}"))
}

/// That packets do not go through, and the words that say why.
fn fails(rows: &[CheckRow], words: &str) {
    let last = rows.last().unwrap();
    assert_eq!(last.result, Outcome::Fail, "{rows:#?}");
    assert!(last.detail.contains(words), "{rows:#?}");
}

mod both {
    use super::*;

    pub(super) fn a_member_and_a_flow_are_all_well<F: Net>() {
        let mut router = Router::new(config(SourceNet::Any));
        router.report::<F>(DOWN, 2, ToEx, &[]);
        router.data::<F>(UP, F::SOURCE);
        for source in [None, Some(F::SOURCE)] {
            let rows = explain::<F>(&router, F::GROUP, source);
            let of = |check, on| row(&rows, check, on).result;
            assert_eq!(of(Check::Family, None), Outcome::Ok);
            assert_eq!(of(Check::Upstream, Some("up0")), Outcome::Ok);
            assert_eq!(of(Check::Member, Some("down0")), Outcome::Ok);
            assert_eq!(of(Check::Member, Some("down1")), Outcome::Note);
            assert_eq!(of(Check::Report, Some("up0")), Outcome::Ok);
            assert_eq!(of(Check::Route, Some("up0")), Outcome::Ok);
            let last = rows.last().unwrap();
            assert_eq!((last.check, last.result), (Check::Forwarding, Outcome::Ok));
        }
    }

    pub(super) fn nobody_asks<F: Net>() {
        let router = Router::new(config(SourceNet::Any));
        let rows = explain::<F>(&router, F::GROUP, None);
        assert!(row(&rows, Check::Member, None).advice.is_some());
        assert_eq!(row(&rows, Check::Route, None).detail, "no packet of it has arrived");
        fails(&rows, "no member");
    }

    pub(super) fn a_source_from_elsewhere_is_told_with_the_line_to_add<F: Net>() {
        let other = SourceNet::Net(ipnet::IpNet::from(std::net::IpAddr::from([192, 0, 2, 0])));
        let mut router = Router::new(config(other));
        router.report::<F>(DOWN, 2, ToEx, &[]);
        router.data::<F>(UP, F::SOURCE);
        let rows = explain::<F>(&router, F::GROUP, Some(F::SOURCE));
        let line =
            if F::Addr::LEN == 4 { "source 198.51.100.0/24" } else { "source 2001:db8::/64" };
        fails(&rows, line);
        let route = row(&rows, Check::Route, Some("up0"));
        assert!(route.detail.contains("is dropped"), "{rows:#?}");
    }

    pub(super) fn a_source_that_no_member_wants<F: Net>() {
        let mut router = Router::new(config(SourceNet::Any));
        let wanted = F::address(UP, 9);
        router.report::<F>(DOWN, 2, IsIn, &[wanted]);
        let rows = explain::<F>(&router, F::GROUP, Some(F::SOURCE));
        assert!(row(&rows, Check::Member, Some("down0")).detail.contains("is not wanted"));
        fails(&rows, "no member");
    }

    pub(super) fn a_boundary<F: Net>() {
        let mut config = config(SourceNet::Any);
        let len = if F::Addr::LEN == 4 { 32 } else { 128 };
        let net = ipnet::IpNet::new(F::GROUP.into(), len).unwrap();
        let boundary = mcast_proxy::config::model::GroupSet::Net(net);
        config.interfaces[0].boundaries.push(boundary);
        let mut router = Router::new(config);
        router.report::<F>(DOWN, 2, ToEx, &[]);
        let rows = explain::<F>(&router, F::GROUP, None);
        assert_eq!(row(&rows, Check::Report, Some("up0")).result, Outcome::Fail);
        fails(&rows, "boundary on up0");
        assert!(rows.last().unwrap().advice.as_ref().unwrap().contains("boundary from up0"));
    }

    pub(super) fn another_querier_forwards<F: Net>() {
        let mut config = config(SourceNet::Any);
        config.interfaces[1].overrides.querier = Some(QuerierMode::Auto);
        let mut router = Router::new(config);
        router.report::<F>(DOWN, 2, ToEx, &[]);
        router.query::<F>(DOWN, 0, F::Addr::UNSPECIFIED);
        let rows = explain::<F>(&router, F::GROUP, None);
        fails(&rows, "not the querier on down0");
    }

    pub(super) fn an_upstream_that_is_gone<F: Net>() {
        let mut router = Router::new(config(SourceNet::Any));
        router.report::<F>(DOWN, 2, ToEx, &[]);
        router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: UP }));
        let rows = explain::<F>(&router, F::GROUP, None);
        assert_eq!(row(&rows, Check::Upstream, None).result, Outcome::Note);
        fails(&rows, "it could arrive nowhere");
    }

    pub(super) fn a_group_of_the_link<F: Net>() {
        let router = Router::new(config(SourceNet::Any));
        let rows = explain::<F>(&router, F::ALL_SYSTEMS, None);
        fails(&rows, "never forwarded");
    }
}
