//! Random sequences of everything that can happen, against a slow and obvious model: whatever came
//! before, the kernel's table is what the rules say of each flow now.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::bench::{Bench, State, ip, mroute, net, rule, world};
use crate::config::model::{GroupSet, Mroute, Role, SourceMatch, SourceNet, WrongVif};
use crate::engine::core::link::Link;
use crate::engine::core::members::Members;
use crate::engine::core::mrt::Limits;
use crate::engine::core::slot::Slot;
use crate::kroute::fake::Behaviour;
use crate::wire::{Address, Family, V4, V6};

const LINKS: [(&str, Role, &str); 5] = [
    ("up", Role::Upstream, "10.0.0.1/24"),
    ("up2", Role::Upstream, "10.5.0.1/24"),
    ("d1", Role::Downstream, "10.1.0.1/24"),
    ("d2", Role::Downstream, "10.2.0.1/24"),
    ("st", Role::Static, "10.3.0.1/24"),
];
const SOURCES: [&str; 5] = ["10.0.0.9", "10.1.0.9", "10.2.0.9", "10.9.0.9", "10.9.0.8"];
const GROUPS: [&str; 4] = ["239.1.1.1", "239.1.1.2", "239.2.1.1", "239.3.1.1"];
const MROUTES: [&str; 6] = [
    "from st source 10.9.0.9/32 group 239.1.1.1/32 to d1 up",
    "from up group 239.1.1.1/32 to st",
    "from d* except 10.1.0.0/24 group 239.1.0.0/16 to st",
    "from up source 10.9.0.0/24 group 239.1.1.0/24 to st d2",
    "from up2 source 10.9.0.8/32 group 239.2.1.1/32 to d2 st",
    "from st group 239.3.1.1/32 to d1",
];
const ROLES: [Role; 4] = [Role::Upstream, Role::Downstream, Role::Static, Role::Disabled];

#[derive(Clone, Debug)]
enum Op {
    Packet { link: usize, source: usize, group: usize },
    Member { link: usize, group: usize, state: u8 },
    Querier(usize),
    Up(usize),
    Role(usize, usize),
    AnySource(usize),
    Boundary(usize),
    Deny(usize),
    Follow(usize),
    Range(usize),
    Absent(usize),
    Mroutes(u8),
    Limit(u32),
    Pass(u32),
    Flush,
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    let (link, group) = (0..LINKS.len(), 0..GROUPS.len());
    prop_oneof![
        12 => (link.clone(), 0..SOURCES.len(), group.clone())
            .prop_map(|(link, source, group)| Op::Packet { link, source, group }),
        8 => (link.clone(), group, 0..4_u8)
            .prop_map(|(link, group, state)| Op::Member { link, group, state }),
        1 => link.clone().prop_map(Op::Querier),
        2 => link.clone().prop_map(Op::Up),
        1 => (link.clone(), 0..ROLES.len()).prop_map(|(link, role)| Op::Role(link, role)),
        2 => link.clone().prop_map(Op::AnySource),
        1 => link.clone().prop_map(Op::Boundary),
        1 => link.clone().prop_map(Op::Deny),
        1 => link.clone().prop_map(Op::Follow),
        1 => link.clone().prop_map(Op::Range),
        1 => link.prop_map(Op::Absent),
        2 => (0..1_u8 << MROUTES.len()).prop_map(Op::Mroutes),
        1 => (4..40_u32).prop_map(Op::Limit),
        3 => (0..100_u32).prop_map(Op::Pass),
        1 => Just(Op::Flush),
        1 => Just(Op::Restart),
    ]
}

impl Op {
    /// The interface that it is about.
    fn link(&self) -> Option<usize> {
        match *self {
            Self::Packet { link, .. } | Self::Member { link, .. } | Self::Role(link, _) => {
                Some(link)
            }
            Self::Querier(link) | Self::Up(link) | Self::AnySource(link) => Some(link),
            Self::Boundary(link) | Self::Deny(link) | Self::Follow(link) => Some(link),
            Self::Range(link) | Self::Absent(link) => Some(link),
            Self::Mroutes(_) | Self::Limit(_) | Self::Pass(_) | Self::Flush | Self::Restart => None,
        }
    }
}

struct Run<F: Family> {
    bench: Bench<F>,
    mroutes: Vec<Mroute>,
    limits: Limits,
}

impl<F: Family> Run<F> {
    fn new(kernel: Behaviour) -> Self {
        let mut bench = Bench::bare(kernel);
        for (name, role, net) in LINKS {
            bench.link(name, role, net, |_| {});
        }
        Self { bench, mroutes: Vec::new(), limits: Limits::default() }
    }

    fn has(&self, link: usize) -> bool {
        self.bench.links.iter().any(|l| l.name == LINKS[link].0)
    }

    /// Does it; what became of a packet is told.
    fn apply(&mut self, op: &Op) -> Option<String> {
        let bench = &mut self.bench;
        let near = GroupSet::Net(net::<F>("239.2.0.0/16"));
        let deny = rule::<F>(false, "239.1.1.0/24", Some("10.9.0.8/32"));
        let range = net::<F>("239.1.0.0/16");
        match *op {
            Op::Packet { link, source, group } => {
                let (link, source, group) = (LINKS[link].0, SOURCES[source], GROUPS[group]);
                bench.packet(link, source, group);
                return Some(bench.packet(link, source, group));
            }
            Op::Member { link, group, state } => {
                let source = BTreeSet::from([ip::<F>("10.9.0.9")]);
                let state = match state {
                    0 => None,
                    1 => Some(State::Include(source)),
                    2 => Some(State::Exclude(source)),
                    _ => Some(State::Exclude(BTreeSet::new())),
                };
                bench.state(LINKS[link].0, GROUPS[group], state);
            }
            Op::Querier(link) => bench.change(LINKS[link].0, |l| l.yields = !l.yields),
            Op::Up(link) => bench.change(LINKS[link].0, |l| l.up = !l.up),
            Op::Role(link, role) => bench.set(LINKS[link].0, |s| s.role = ROLES[role]),
            Op::AnySource(link) => {
                bench.set(LINKS[link].0, |s| flip(&mut s.sources, SourceNet::Any));
            }
            Op::Boundary(link) => bench.set(LINKS[link].0, |s| flip(&mut s.boundaries, near)),
            Op::Deny(link) => bench.set(LINKS[link].0, |s| flip(&mut s.rules, deny)),
            Op::Follow(link) => bench.set(LINKS[link].0, |s| s.wrongvif = WrongVif::Follow),
            Op::Range(link) => bench.set(LINKS[link].0, |s| flip(&mut s.groups, range)),
            Op::Absent(link) => bench.remove(LINKS[link].0),
            Op::Mroutes(mask) => {
                let chosen = (0..MROUTES.len()).filter(|bit| mask >> bit & 1 == 1);
                self.mroutes = chosen.map(|bit| mroute::<F>(MROUTES[bit])).collect();
                self.configure();
            }
            Op::Limit(max_routes) => {
                self.limits.max_routes = max_routes;
                self.configure();
            }
            Op::Pass(secs) => bench.pass(secs),
            Op::Flush => {
                bench.mrt.flush(bench.now, None, None, world!(bench));
                bench.turn();
            }
            Op::Restart => {
                bench.restart();
                self.configure();
                let bench = &mut self.bench;
                bench.mrt.on_links_changed_all(bench.now, world!(bench));
                bench.turn();
                bench.mrt.settle(bench.now, world!(bench));
                bench.turn();
            }
        }
        None
    }

    fn configure(&mut self) {
        let bench = &mut self.bench;
        bench.mrt.configure(bench.now, self.limits, &self.mroutes, world!(bench));
        bench.turn();
    }

    /// Does it, as far as its interface is there.
    fn step(&mut self, op: &Op) -> Option<String> {
        match (op, op.link().is_none_or(|link| self.has(link))) {
            (Op::Absent(link), false) => {
                let (name, role, net) = LINKS[*link];
                self.bench.link(name, role, net, |_| {});
                None
            }
            (_, true) => self.apply(op),
            (_, false) => None,
        }
    }

    fn upstream(&self, group: F::Addr) -> Option<Slot> {
        let all = self.bench.links.iter().filter(|l| l.up && l.upstream_match(group).is_some());
        let order = |l: &&Link<F>| (-i16::from(l.upstream_match(group).unwrap()), l.ifindex);
        all.min_by_key(order).map(|l| l.slot)
    }

    /// Where packets go; `None` for the source when the kernel cannot tell sources apart.
    fn model(&self, group: F::Addr, source: Option<F::Addr>, link: &Link<F>) -> BTreeSet<u32> {
        let (links, members) = (&self.bench.links, &self.bench.members);
        let permits = |l: &Link<F>| l.permits(group, source);
        if link.role() == Role::Disabled || link.is_boundary(group) {
            return BTreeSet::new();
        }
        if link.role() == Role::Upstream && !permits(link) {
            return BTreeSet::new();
        }
        let upstream = self.upstream(group);
        let may_leave = |l: &Link<F>| {
            let allowed = l.role() == Role::Upstream || permits(l);
            l.slot != link.slot
                && l.up
                && l.role() != Role::Disabled
                && !l.is_boundary(group)
                && allowed
        };
        let is_member = |l: &Link<F>| {
            let wants = match source {
                Some(source) => members.wants(l.slot, group, source),
                None => members.0.contains_key(&(group, l.slot)),
            };
            l.role() == Role::Downstream && wants && l.is_forwarder()
        };
        let enters = match link.role() {
            Role::Upstream => {
                upstream == Some(link.slot)
                    || upstream.is_none() && link.upstream_match(group).is_some()
            }
            Role::Downstream => true,
            Role::Static | Role::Disabled => false,
        };
        let proxied = enters && source.is_none_or(|s| link.source_ok(s));
        let rule = source.and_then(|source| self.rule(group, source, link));
        let goes = |l: &&Link<F>| {
            let up = link.role() == Role::Downstream && upstream == Some(l.slot);
            let fixed = rule.is_some_and(|r| r.to.iter().any(|p| p.matches(&l.name)));
            may_leave(l) && (proxied && (is_member(l) || up) || fixed)
        };
        links.iter().filter(goes).map(|l| l.ifindex).collect()
    }

    /// The best static route.
    fn rule(&self, group: F::Addr, source: F::Addr, link: &Link<F>) -> Option<&Mroute> {
        let source = source.into();
        let lengths = |r: &&Mroute| {
            let GroupSet::Net(group) = r.group else { panic!("no scopes here") };
            let source = match &r.source {
                SourceMatch::Net(net) => net.prefix_len(),
                SourceMatch::Any | SourceMatch::Except(_) => 0,
            };
            (group.prefix_len(), source)
        };
        let takes = |r: &&Mroute| {
            r.from.matches(&link.name)
                && r.group.contains(group.into())
                && match &r.source {
                    SourceMatch::Any => true,
                    SourceMatch::Net(net) => net.contains(&source),
                    SourceMatch::Except(nets) => !nets.iter().any(|n| n.contains(&source)),
                }
        };
        self.mroutes.iter().filter(takes).max_by_key(lengths)
    }

    /// The kernel's table is what the model says.
    fn check(&self, by_group: bool) {
        let links = &self.bench.links;
        let routes = self.bench.kernel.routes(F::AF);
        for route in &routes {
            let group = F::Addr::from_ip(route.key.group).unwrap();
            let incoming = links.iter().find(|l| l.ifindex == route.incoming).unwrap();
            let outputs: BTreeSet<u32> = route.outgoing.iter().map(|o| o.ifindex).collect();
            if by_group {
                assert_eq!(outputs, self.model(group, None, incoming), "{route:?}");
                continue;
            }
            let apart = |source: &F::Addr| {
                let of = |r: &&crate::kroute::Route| {
                    r.key.group == route.key.group && r.key.source == Some((*source).into())
                };
                routes.iter().any(|r| of(&r))
            };
            let sources: Vec<F::Addr> = match route.key.source {
                Some(source) => vec![F::Addr::from_ip(source).unwrap()],
                None => SOURCES.map(ip::<F>).into_iter().filter(|s| !apart(s)).collect(),
            };
            for source in sources {
                assert_eq!(
                    outputs,
                    self.model(group, Some(source), incoming),
                    "{route:?} {source}"
                );
            }
        }
        if !by_group {
            assert_eq!(self.bench.mrt.len(), routes.len());
        }
    }

    /// A second packet of a flow goes where the model says, unless its route is from elsewhere.
    fn check_packet(&self, op: &Op, went: &str) {
        let Op::Packet { link, source, group } = *op else { return };
        let link = self.bench.links.iter().find(|l| l.name == LINKS[link].0).unwrap();
        let (source, group) = (ip::<F>(SOURCES[source]), ip::<F>(GROUPS[group]));
        let routes = self.bench.kernel.routes(F::AF);
        let of = |key| routes.iter().find(|r| r.key.group == group.into() && r.key.source == key);
        if of(Some(source.into())).or(of(None)).is_some_and(|r| r.incoming == link.ifindex) {
            let names = self.model(group, Some(source), link);
            let names: Vec<&str> = names.iter().map(|i| self.bench.name(*i)).collect();
            assert_eq!(went, names.join(" "));
        }
    }

    /// Everybody leaves, every rule goes, and no packet comes: nothing stays.
    fn end(mut self) {
        let links: Vec<String> = self.bench.links.iter().map(|l| l.name.clone()).collect();
        for (name, group) in links.iter().flat_map(|l| GROUPS.map(|g| (l, g))) {
            self.bench.leave(name, group);
        }
        self.apply(&Op::Mroutes(0));
        for _ in 0..16 {
            self.bench.fake.time_passes();
            self.bench.pass(30);
        }
        assert_eq!((self.bench.mrt.len(), self.bench.table().len()), (0, 0));
        assert_eq!(self.bench.mrt.next_deadline(), None);
    }
}

fn flip<T: PartialEq>(set: &mut Vec<T>, item: T) {
    match set.iter().position(|i| *i == item) {
        Some(at) => _ = set.remove(at),
        None => set.push(item),
    }
}

fn run<F: Family>(kernel: Behaviour, ops: &[Op]) -> Vec<String> {
    let by_group = kernel == Behaviour::OpenBsd;
    let mut run = Run::<F>::new(kernel);
    let mut went = Vec::new();
    for op in ops {
        // The kernel tells of no source there, so that the model knows no rule that asks for one.
        if by_group && matches!(op, Op::Mroutes(_)) {
            continue;
        }
        let told = run.step(op);
        run.check(by_group);
        if let Some(told) = told {
            if !by_group {
                run.check_packet(op, &told);
            }
            went.push(told);
        }
    }
    run.end();
    went
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_what_the_rules_say(ops in prop::collection::vec(op(), 1..80)) {
        for kernel in [Behaviour::Linux, Behaviour::FreeBsd, Behaviour::OpenBsd] {
            let (ipv4, ipv6) = (run::<V4>(kernel, &ops), run::<V6>(kernel, &ops));
            // Which of two drop entries of one age gives way depends on a hash.
            if !ops.iter().any(|op| matches!(op, Op::Limit(_))) {
                prop_assert_eq!(ipv4, ipv6);
            }
        }
    }
}
