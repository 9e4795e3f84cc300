//! Routes where the kernel looks at groups alone: one stands for all sources, and comes from one
//! interface.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mcast_proxy::imsg::ctl::{RouteRow, RouteState};
use mcast_proxy::kroute::Route;

use super::checks::Look;
use super::file::BOUNDED;
use super::forwarding::{Packets, Port, View};

impl Look<'_> {
    /// A static route holds for the source that is shown; packets come from where the kernel asked,
    /// or from upstream.
    pub(super) fn check_merged(self, view: &View, routes: &[Route]) {
        let rows = self.parent.routes();
        for route in routes {
            let group = route.key.group;
            let of = |r: &&RouteRow| r.group == group.to_string() && r.state != RouteState::Waiting;
            let row = rows.iter().find(of).expect("a row of the route");
            let source = row.source.as_deref().expect("a source").parse().expect("an address");
            self.check_route(view, route, Packets::Merged(source));
            let before = self.parent.before.get(&group).filter(|_| !self.is_settled());
            assert!(before.is_none_or(|before| *before == route.incoming), "moved: {route:?}");
            // What was seen may have been forgotten, and told by a static route since then.
            let known = [&self.parent.seen, &self.parent.told].map(|of| of.get(&group));
            let ports: Vec<&Port> = known
                .into_iter()
                .flatten()
                .filter(|known| known.0 == source)
                .filter_map(|known| view.port(known.1))
                .flat_map(|seen| self.incoming(view, group, source, seen))
                .collect();
            let is_from = ports.iter().any(|port| port.ifindex == route.incoming);
            let unknown = ports.is_empty();
            assert!(is_from || unknown || !self.is_settled(), "not from there: {route:?}");
        }
    }

    /// Where a group comes from; once packets came elsewhere, perhaps from where they were seen.
    fn incoming<'a>(
        self,
        view: &'a View,
        group: IpAddr,
        source: IpAddr,
        seen: &'a Port,
    ) -> Vec<&'a Port> {
        let moved = self.parent.strays.contains(&group).then_some(seen);
        moved.into_iter().chain([view.incoming(group, source, seen)]).collect()
    }

    /// The kernel asks about a group once, and not again while it has an entry of its own.
    pub(super) fn check_merged_flow(
        self,
        view: &View,
        (group, ifindex): (IpAddr, u32),
        left: &BTreeSet<u32>,
    ) {
        let routes = self.parent.kernel.routes(view.af);
        let route = routes.iter().find(|r| r.key.group == group);
        let route = route.filter(|route| route.incoming == ifindex);
        let expected = route.map(|r| r.outgoing.iter().map(|o| o.ifindex).collect());
        assert_eq!(*left, expected.unwrap_or_default(), "{group} on {ifindex}");
        let bounded = self.parent.points >> BOUNDED & 1 == 1;
        if bounded || routes.iter().any(|r| r.key.group == group) {
            return;
        }
        let (source, seen) = self.parent.seen.get(&group).expect("a question");
        let seen = view.port(*seen).expect("an interface");
        let mut from = self.incoming(view, group, *source, seen).into_iter();
        assert!(
            from.any(|port| view.outputs(group, Packets::Merged(*source), port).is_empty()),
            "no entry for {group}"
        );
    }
}
