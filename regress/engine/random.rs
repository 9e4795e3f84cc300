//! Random histories of several links against the slow model: what is wanted is what is asked for
//! upstream and what is forwarded, on a kernel of each system, in both families alike.

use std::collections::BTreeMap;

use mcast_proxy::imsg::Notice;
use mcast_proxy::imsg::ctl::{GroupRow, Mode};
use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{self, Allow, Block, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, V4, V6};
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{Set, State, Times, sum};
use crate::router::{Cannot, DOWN, DOWN2, Net, Router, UP};

const LINKS: [(u32, &str); 2] = [(DOWN, "down0"), (DOWN2, "down1")];
const SOURCES: std::ops::RangeInclusive<u8> = 1..=4;

/// What a host or router does.
#[derive(Clone, Debug)]
enum Act {
    Record(RecordType, Set),
    /// An older report, or a leave.
    Older(bool),
    /// A lower router queries: for everything, or for the group.
    Query(bool),
    /// The link loses its carrier, and gets it back.
    Flap,
    /// The file is read again with this robustness.
    Reload(u8),
}

/// An act on a link, an answer to the query that it may bring about, and the time after them.
#[derive(Clone, Debug)]
struct Step {
    link: usize,
    act: Act,
    answer: Option<(RecordType, Set)>,
    wait: u32,
}

fn list() -> impl Strategy<Value = Set> {
    prop::collection::btree_set(SOURCES, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let kind = select(vec![IsIn, IsEx, ToIn, ToEx, Allow, Block]);
    let act = prop_oneof![
        12 => (kind, list()).prop_map(|(kind, list)| Act::Record(kind, list)),
        2 => any::<bool>().prop_map(Act::Older),
        2 => any::<bool>().prop_map(Act::Query),
        1 => Just(Act::Flap),
        1 => (2..4_u8).prop_map(Act::Reload),
    ];
    let answer = proptest::option::of((select(vec![IsIn, IsEx]), list()));
    let wait = select(vec![3011, 30_013, 90_053, 130_027, 261_043]);
    (0..2_usize, act, answer, wait).prop_map(|(link, act, answer, wait)| Step {
        link,
        act,
        answer,
        wait,
    })
}

/// A router with what should be true of it.
struct Pair {
    system: Behaviour,
    router: Router,
    states: BTreeMap<usize, State>,
    robustness: u64,
    /// Until when another router is the querier of a link.
    other: [u64; 2],
}

impl Pair {
    fn new<F: Net>(system: Behaviour) -> Self {
        let router = Router::on(system, &text::<F>(2));
        Self { system, router, states: BTreeMap::new(), robustness: 2, other: [0; 2] }
    }

    fn times(&self, link: usize) -> Times {
        let now = self.router.now.0;
        let (robustness, interval) = match self.other[link] > now {
            true => (2, 60_000),
            false => (self.robustness, 125_000),
        };
        let querier = self.other[link] <= now;
        let present = robustness * interval;
        Times { gmi: present + 20_000, ohpi: present + 10_000, querier }
    }

    fn apply<F: Net>(&mut self, step: &Step) {
        let (ifindex, _) = LINKS[step.link];
        let now = self.router.now.0;
        let times = self.times(step.link);
        let state = self.states.entry(step.link).or_default();
        match &step.act {
            Act::Record(kind, list) => {
                state.record(now, times, *kind, list);
                self.router.report::<F>(ifindex, 5, *kind, &numbered::<F>(list));
            }
            Act::Older(leaves) => {
                state.older(now, times, *leaves);
                self.router.old::<F>(ifindex, 5, if *leaves { 0 } else { F::OLD });
            }
            Act::Query(general) => {
                if *general {
                    self.other[step.link] = now + 125_000;
                    self.router.query::<F>(ifindex, 0, F::Addr::UNSPECIFIED);
                } else if !times.querier {
                    state.follow(now);
                    // Every query of MLD is one of the querier.
                    if F::LAYOUT.newest == 2 {
                        self.other[step.link] = now + 125_000;
                    }
                    self.router.query::<F>(ifindex, 0, F::GROUP);
                    if F::LAYOUT.newest == 3 {
                        self.other[step.link] = now + 125_000;
                        self.router.query::<F>(ifindex, 0, F::Addr::UNSPECIFIED);
                    }
                }
            }
            Act::Flap => {
                *state = State::default();
                self.other[step.link] = 0;
                self.router.carrier(ifindex, false);
                self.router.carrier(ifindex, true);
            }
            Act::Reload(robustness) => {
                self.robustness = u64::from(*robustness);
                self.router.reload(&text::<F>(*robustness));
            }
        }
        if let Some((kind, list)) = &step.answer {
            self.pass(Millis(503));
            let (now, times) = (self.router.now.0, self.times(step.link));
            let state = self.states.entry(step.link).or_default();
            state.record(now, times, *kind, list);
            self.router.report::<F>(ifindex, 6, *kind, &numbered::<F>(list));
        }
        self.pass(Millis(step.wait));
    }

    fn pass(&mut self, time: Millis) {
        self.router.pass(time);
        let now = self.router.now.0;
        self.states.values_mut().for_each(|s| s.expire(now));
    }

    /// Compares everything; not while something ends just now.
    fn check<F: Net>(&mut self) {
        let now = self.router.now.0;
        let vague = self.states.values().any(|s| s.is_vague(now));
        if vague || self.other.iter().any(|t| now.abs_diff(*t) <= 20) {
            return;
        }
        let state = |link: usize| self.states.get(&link).cloned().unwrap_or_default();
        for (link, (_, name)) in LINKS.into_iter().enumerate() {
            assert_eq!(shown::<F>(&self.router.groups(), name), state(link).text(), "{name}");
        }
        let (excludes, sources) = sum([state(0), state(1)].iter());
        let wanted = match (excludes, sources.is_empty()) {
            (false, true) => "none".to_owned(),
            (_, _) => {
                let mode = if excludes { "EXCLUDE" } else { "INCLUDE" };
                sources.iter().fold(mode.to_owned(), |text, s| text + &format!(" {s}"))
            }
        };
        assert_eq!(self.router.wanted::<F>("up0"), wanted);
        for source in SOURCES {
            let merged = Cannot::TellSources.is_so(self.system);
            let forwards = |link: usize| {
                let wanted = state(link).wants(source) || merged && !state(link).is_none();
                wanted && self.other[link] <= now
            };
            let expected: Vec<u32> = (0..2).filter(|l| forwards(*l)).map(|l| LINKS[l].0).collect();
            assert_eq!(self.router.flow::<F>(UP, F::source(source)), expected, "source {source}");
        }
    }
}

fn text<F: Net>(robustness: u8) -> String {
    // 268 s and 393 s would be a member's longest life; startup and leaves as by default.
    format!(
        "robustness {robustness}\nstartup-query-count 2\nlast-member-query-count 2\n\
         interface up0 {{\nupstream\nsource any\n}}\n\
         interface down0 {{\ndownstream\n}}\ninterface down1 {{\ndownstream\n}}\n"
    )
}

fn numbered<F: Net>(list: &Set) -> Vec<F::Addr> {
    list.iter().map(|n| F::source(*n)).collect()
}

/// The row of an interface, without timers.
fn shown<F: Net>(rows: &[GroupRow], name: &str) -> String {
    let Some(row) = rows.iter().find(|r| r.interface == name) else { return "none".into() };
    let mode = if row.filter_mode == Mode::Exclude { "EXCLUDE" } else { "INCLUDE" };
    let number = |s| SOURCES.into_iter().find(|n| F::source(*n).into() == s).unwrap();
    row.sources.iter().fold(mode.to_owned(), |text, s| {
        text + &format!(" {}{}", number(s.source), if s.expire.is_some() { "+" } else { "-" })
    })
}

fn run<F: Net>(system: Behaviour, steps: &[Step]) {
    let mut pair = Pair::new::<F>(system);
    for step in steps {
        pair.apply::<F>(step);
        pair.check::<F>();
    }
    pair.pass(Millis(1_200_000));
    let status = pair.router.status();
    assert_eq!((status.groups, status.hosts, status.routes), (0, 0, 0), "all is forgotten");
    pair.router.parent(Notice::Shutdown);
    pair.pass(Millis(2000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_wanted_is_reported_and_forwarded(
        steps in prop::collection::vec(step(), 1..30),
        system in select(vec![Behaviour::Linux, Behaviour::FreeBsd, Behaviour::OpenBsd]),
    ) {
        run::<V4>(system, &steps);
        run::<V6>(system, &steps);
    }
}
