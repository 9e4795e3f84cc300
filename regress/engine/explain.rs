//! `explain`: the check that fails is the reason why nothing is forwarded, in both families.

use mcast_proxy::config::model::{QuerierMode, SourceNet};
use mcast_proxy::imsg::Notice;
use mcast_proxy::imsg::ctl::{Check, CheckRow, Outcome};
use mcast_proxy::kroute::InterfaceChange;
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::wire::RecordType::{IsEx, IsIn, ToEx};
use mcast_proxy::wire::{Address, QuerySpec, V4, V6};

use crate::router::{DOWN, DOWN2, Net, Router, UP, UP2, config, spec};

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
    a_source_that_a_kernel_without_sources_forwards
    a_boundary
    another_querier_forwards
    an_upstream_that_is_gone
    a_group_of_the_link
    a_rule_denies_it
    a_threshold_that_nothing_passes
    another_upstream_has_the_group
    an_interface_without_a_role
    an_mroute_whose_output_is_not_there
    no_room_for_a_route
    a_route_that_the_kernel_refuses
    a_source_specific_group_of_an_older_version
    a_rule_leaves_nothing_to_ask_for
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

    pub(super) fn a_source_that_a_kernel_without_sources_forwards<F: Net>() {
        let wanted = F::sender(UP, 77);
        for (system, limits, result) in [
            (Behaviour::Linux, 0, Outcome::Fail),
            (Behaviour::FreeBsd, 0, Outcome::Fail),
            // OpenBSD: no sources in its table, no queue, no word of a wrong interface.
            (Behaviour::OpenBsd, 3, Outcome::Ok),
        ] {
            let mut router = Router::start(system, config(SourceNet::Any), 0);
            router.report::<F>(DOWN, 2, IsIn, &[wanted]);
            router.data::<F>(UP, wanted);
            let rows = explain::<F>(&router, F::GROUP, Some(F::SOURCE));
            assert_eq!(rows.last().unwrap().result, result, "{system:?} {rows:#?}");
            let kernel = rows.iter().filter(|r| r.check == Check::Kernel);
            assert!(kernel.clone().all(|r| r.result == Outcome::Note));
            assert_eq!(kernel.count(), limits, "{system:?}");
            // What the kernel then does with packets of that source.
            let left = router.data::<F>(UP, F::SOURCE);
            assert_eq!(left.is_empty(), result == Outcome::Fail, "{system:?}");
        }
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

    /// Any source upstream; more words for it, for the first downstream, and more lines.
    fn open<F: Net>(upstream: &str, downstream: &str, more: &str) -> Router {
        let text = format!(
            "interface up0 {{\nupstream\nsource any\n{upstream}\n}}\n\
             interface down0 {{\ndownstream\n{downstream}\n}}\n{more}\n"
        );
        let mut router = Router::on(Behaviour::Linux, &text);
        router.report::<F>(DOWN, 5, ToEx, &[]);
        router
    }

    pub(super) fn a_rule_denies_it<F: Net>() {
        let deny = format!("deny group {} source {}", F::GROUP, F::SOURCE);
        for (upstream, downstream, at) in [("", &*deny, "down0"), (&*deny, "", "up0")] {
            let router = open::<F>(upstream, downstream, "");
            let rows = explain::<F>(&router, F::GROUP, Some(F::SOURCE));
            fails(&rows, &format!("denied by a rule of {at}"));
            assert!(rows.last().unwrap().advice.as_ref().unwrap().contains(at));
        }
    }

    /// There are none in IPv6.
    pub(super) fn a_threshold_that_nothing_passes<F: Net>() {
        let router = open::<F>("", "threshold 255", "");
        let rows = explain::<F>(&router, F::GROUP, None);
        if F::Addr::LEN == 4 {
            fails(&rows, "threshold 255 on down0");
        } else {
            assert_eq!(rows.last().unwrap().result, Outcome::Ok);
        }
    }

    pub(super) fn another_upstream_has_the_group<F: Net>() {
        let other = "interface up1 {\nupstream\npreference 2\nsource any\n}";
        let mut router = open::<F>("", "", other);
        router.data::<F>(UP2, F::SOURCE);
        let rows = explain::<F>(&router, F::GROUP, Some(F::SOURCE));
        assert_eq!(row(&rows, Check::Upstream, Some("up1")).result, Outcome::Note);
        fails(&rows, "upstream for the group is up0");
    }

    pub(super) fn an_interface_without_a_role<F: Net>() {
        let mut router = open::<F>("", "", "interface down1 {\n}");
        router.data::<F>(DOWN2, F::SOURCE);
        let rows = explain::<F>(&router, F::GROUP, Some(F::SOURCE));
        fails(&rows, "no mroute from down1");
    }

    pub(super) fn an_mroute_whose_output_is_not_there<F: Net>() {
        let (group, source) = (F::group(9), F::SOURCE);
        let route = format!("mroute from up0 group {group} source {source} to down1");
        let mut router = open::<F>("", "", &route);
        let told = |router: &Router| explain::<F>(router, group, Some(source));
        assert_eq!(told(&router).last().unwrap().result, Outcome::Ok);
        router.carrier(DOWN2, false);
        fails(&told(&router), "down1 is absent or down");
        router.parent(Notice::Interface(InterfaceChange::Gone { ifindex: DOWN2 }));
        let rows = told(&router);
        assert!(row(&rows, Check::Route, Some("up0")).detail.contains("waits"), "{rows:#?}");
        fails(&rows, "no outgoing interface of its mroute is there");
    }

    pub(super) fn no_room_for_a_route<F: Net>() {
        let (n, include) = (5, format!("static-group {} source {}", F::GROUP, F::source(1)));
        let mut router = open::<F>("", &include, "max-routes 4\ninterface down1 {\ndownstream\n}");
        // The filter keeps (*,G) away.
        router.report::<F>(DOWN2, 6, IsEx, &[F::source(9)]);
        for source in 1..=n {
            router.flow::<F>(UP, F::source(source));
        }
        let of = |source| explain::<F>(&router, F::GROUP, Some(F::source(source)));
        assert_eq!(of(1).last().unwrap().result, Outcome::Ok);
        fails(&of(n), "max-routes is reached");
    }

    pub(super) fn a_route_that_the_kernel_refuses<F: Net>() {
        let mut router = open::<F>("", "", "");
        router.fake.fail(libc::ENOMEM);
        router.data_to::<F>(UP, F::SOURCE, F::group(9));
        let rows = explain::<F>(&router, F::group(9), Some(F::SOURCE));
        assert!(row(&rows, Check::Route, None).detail.contains("refused 1 route"), "{rows:#?}");
    }

    pub(super) fn a_source_specific_group_of_an_older_version<F: Net>() {
        let mut router = open::<F>("", "", "");
        let spec = QuerySpec::<F> { version: F::OLD, ..spec(F::Addr::UNSPECIFIED) };
        router.ask::<F>(UP, F::address(UP, 9), &spec);
        router.record::<F>(DOWN, F::address(DOWN, 5), IsIn, F::SSM, &[F::SOURCE]);
        let rows = explain::<F>(&router, F::SSM, None);
        let report = row(&rows, Check::Report, Some("up0"));
        assert_eq!(report.result, Outcome::Fail);
        assert!(report.advice.is_some(), "{rows:#?}");
    }

    pub(super) fn a_rule_leaves_nothing_to_ask_for<F: Net>() {
        let group = F::group(9);
        let deny = format!("deny group {group} source {}", F::SOURCE);
        let mut router = open::<F>(&deny, "", "");
        router.record::<F>(DOWN, F::address(DOWN, 5), IsIn, group, &[F::SOURCE]);
        let rows = explain::<F>(&router, group, Some(F::SOURCE));
        let report = row(&rows, Check::Report, Some("up0"));
        assert!(report.result == Outcome::Fail && report.detail.contains("deny every source"));
        fails(&rows, "denied by a rule of up0");
    }
}
