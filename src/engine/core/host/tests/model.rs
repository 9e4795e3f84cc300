//! The host against a router that keeps RFC 9776, section 6.4 (RFC 9777, section 7.4), as naively
//! as it can be written: whatever is lost short of all copies of a change, the router's state
//! becomes the subscription.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Timer values of the model; the rest follows from them.
const GMI: Millis = Millis(270_000);
const LMQI: Millis = Millis(1000);
const LMQT: Millis = Millis(2000);

const GROUPS: u32 = 3;
const SOURCES: u32 = 4;

/// A group's state: each source with the end of its timer, and the end of the group timer in
/// EXCLUDE mode.
#[derive(Clone, Debug)]
struct State<A> {
    exclude: Option<Tick>,
    sources: BTreeMap<A, Tick>,
}

impl<A> Default for State<A> {
    fn default() -> Self {
        Self { exclude: None, sources: BTreeMap::new() }
    }
}

/// A query that is still to be sent.
type Due<A> = (Tick, A, Vec<A>);

struct Router<F: Family> {
    groups: BTreeMap<F::Addr, State<F::Addr>>,
    queries: Vec<Due<F::Addr>>,
}

impl<F: Family> Router<F> {
    /// Section 6.5 and the expiry of sources, at the moment that somebody looks.
    fn expire(&mut self, now: Tick) {
        for state in self.groups.values_mut() {
            if state.exclude.is_some_and(|end| end <= now) {
                state.exclude = None;
            }
            if state.exclude.is_none() {
                state.sources.retain(|_, end| *end > now);
            }
        }
    }

    fn wants(&self, now: Tick, group: F::Addr, source: F::Addr) -> bool {
        let Some(state) = self.groups.get(&group) else { return false };
        match (state.exclude, state.sources.get(&source)) {
            (Some(_), Some(end)) => *end > now,
            (Some(_), None) => true,
            (None, end) => end.is_some_and(|end| *end > now),
        }
    }

    /// One row of the tables.
    fn record(&mut self, now: Tick, kind: RecordType, group: F::Addr, list: &[F::Addr]) {
        use RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
        self.expire(now);
        let state = self.groups.entry(group).or_default();
        let b: BTreeSet<F::Addr> = list.iter().copied().collect();
        let old = state.clone();
        let a: BTreeSet<F::Addr> = old.sources.keys().copied().collect();
        let x: BTreeSet<F::Addr> =
            a.iter().copied().filter(|s| old.sources.get(s) > Some(&now)).collect();
        let y = &a - &x;
        let mut ask: Vec<Vec<F::Addr>> = Vec::new();
        let mut asked = |set: BTreeSet<F::Addr>| {
            if !set.is_empty() {
                ask.push(set.into_iter().collect());
            }
        };
        match (old.exclude, kind) {
            (_, IsIn | Allow) => state.sources.extend(b.iter().map(|s| (*s, now + GMI))),
            (None, IsEx | ToEx) => {
                state.sources.retain(|s, _| b.contains(s));
                state.sources.extend((&b - &a).iter().map(|s| (*s, now)));
                state.exclude = Some(now + GMI);
                if kind == ToEx {
                    asked(&a & &b);
                }
            }
            (None, Block) => asked(&a & &b),
            (None, ToIn) => {
                state.sources.extend(b.iter().map(|s| (*s, now + GMI)));
                asked(&a - &b);
            }
            (Some(timer), IsEx | ToEx) => {
                let new = if kind == IsEx { now + GMI } else { timer };
                state.sources.retain(|s, _| b.contains(s));
                state.sources.extend((&b - &a).iter().map(|s| (*s, new)));
                state.exclude = Some(now + GMI);
                if kind == ToEx {
                    asked(&b - &y);
                }
            }
            (Some(timer), Block) => {
                state.sources.extend((&b - &a).iter().map(|s| (*s, timer)));
                asked(&b - &y);
            }
            (Some(_), ToIn) => {
                state.sources.extend(b.iter().map(|s| (*s, now + GMI)));
                asked(&x - &b);
                self.queries.push((now, group, Vec::new()));
                self.queries.push((now + LMQI, group, Vec::new()));
                state.exclude = Some(old.exclude.unwrap_or(now).min(now + LMQT));
            }
        }
        for set in ask {
            for source in &set {
                if let Some(end) = state.sources.get_mut(source) {
                    *end = (*end).min(now + LMQT);
                }
            }
            self.queries.push((now, group, set.clone()));
            self.queries.push((now + LMQI, group, set));
        }
    }
}

/// What happens.
#[derive(Clone, Debug)]
enum Step {
    Subscribe(u32, bool, BTreeSet<u32>),
    Wait(u32),
    General,
    /// Whether the next reports of a state change are lost, as far as that is allowed.
    Lose(Vec<bool>),
    NewAddress,
}

fn step() -> impl Strategy<Value = Step> {
    let sources = prop::collection::btree_set(0..SOURCES, 0..=SOURCES as usize);
    prop_oneof![
        6 => (0..GROUPS, any::<bool>(), sources).prop_map(|(g, e, s)| Step::Subscribe(g, e, s)),
        4 => prop_oneof![Just(0_u32), 0_u32..1200, 0_u32..5000].prop_map(Step::Wait),
        1 => Just(Step::General),
        2 => prop::collection::vec(any::<bool>(), 1..10).prop_map(Step::Lose),
        1 => Just(Step::NewAddress),
    ]
}

/// Both of them, joined by a link that loses some.
struct Link<F: Family> {
    bench: Bench<F>,
    router: Router<F>,
    robustness: u8,
    /// What is lost next.
    lose: Vec<bool>,
    /// State changes of each group that were lost in a row.
    lost: BTreeMap<F::Addr, u8>,
    losses: bool,
    /// What router and subscription have both wanted ever since.
    steady: BTreeSet<(F::Addr, F::Addr)>,
}

impl<F: Sample> Link<F> {
    fn new(robustness: u8, losses: bool) -> Self {
        let mut bench = Bench::<F>::new();
        bench.ask(&QuerySpec { robustness, ..general::<F>(1000) });
        let router = Router { groups: BTreeMap::new(), queries: Vec::new() };
        let (lose, lost, steady) = Default::default();
        Self { bench, router, robustness, lose, lost, losses, steady }
    }

    /// Delivers what the host says now, unless it is lost: of a group's state changes at most RV-1
    /// in a row.
    fn deliver(&mut self) {
        self.bench.poll();
        for sent in self.bench.take() {
            let changes = sent.said.iter().filter(|s| is_change(s)).map(Said::group);
            let changes: Vec<F::Addr> = changes.collect();
            let may = changes.iter().all(|g| self.lost.get(g).copied() < Some(self.robustness - 1));
            let may = may && self.losses && self.robustness > 1 && !changes.is_empty();
            let lost = may && self.lose.pop().unwrap_or_default();
            for group in changes {
                let row = self.lost.entry(group).or_default();
                *row = if lost { *row + 1 } else { 0 };
            }
            for said in sent.said.iter().filter(|_| !lost) {
                let Said::Record(kind, group, list) = said else { panic!("{said:?}") };
                self.router.record(self.bench.now, *kind, *group, list);
            }
            self.check_steady();
        }
    }

    fn run(&mut self, wait: Millis) {
        let end = self.bench.now + wait;
        loop {
            self.deliver();
            self.router.queries.sort();
            let due = self.router.queries.first().map(|q| q.0);
            let next = due.into_iter().chain(self.bench.host.next_deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.bench.now = self.bench.now.max(next);
            self.router.expire(self.bench.now);
            self.check_steady();
            if due == Some(next) {
                let (_, group, list) = self.router.queries.remove(0);
                self.ask(spec::<F>(group, &list, LMQI.0));
            }
            self.bench.host.on_time(self.bench.now);
        }
        self.bench.now = end;
        self.router.expire(end);
        self.check_steady();
    }

    fn ask(&mut self, spec: QuerySpec<'_, F>) {
        self.bench.ask(&QuerySpec { robustness: self.robustness, ..spec });
    }

    fn pairs() -> impl Iterator<Item = (F::Addr, F::Addr)> {
        (0..GROUPS).flat_map(|g| (0..=SOURCES).map(move |s| (F::group(g), F::source(s))))
    }

    fn subscribed(&self, group: F::Addr, source: F::Addr) -> bool {
        self.bench
            .host
            .get(group)
            .is_some_and(|view| view.sources.contains(&source) == (view.mode == Mode::Include))
    }

    /// Where nothing is lost, what stays wanted is never cut off.
    fn check_steady(&mut self) {
        let now = self.bench.now;
        for pair in Self::pairs() {
            let routed = self.router.wants(now, pair.0, pair.1);
            if !self.subscribed(pair.0, pair.1) {
                self.steady.remove(&pair);
            } else if routed {
                self.steady.insert(pair);
            } else {
                assert!(self.losses || !self.steady.contains(&pair), "{pair:?} is cut off");
            }
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Subscribe(group, excludes, sources) => {
                let sources: Vec<u32> = sources.into_iter().collect();
                let new = if excludes { exclude::<F>(&sources) } else { include::<F>(&sources) };
                self.bench.set(F::group(group), new);
                self.check_steady();
            }
            Step::Wait(wait) => self.run(Millis(wait)),
            Step::General => self.ask(general::<F>(10_000)),
            Step::Lose(lose) => self.lose = lose,
            Step::NewAddress => self.bench.up(2),
        }
    }
}

fn is_change<A>(said: &Said<A>) -> bool {
    !matches!(said, Said::Record(RecordType::IsIn | RecordType::IsEx, ..))
}

fn check<F: Sample>(robustness: u8, losses: bool, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut link = Link::<F>::new(robustness, losses);
    for step in steps {
        link.apply(step);
    }
    link.run(Millis(30_000));
    for (group, source) in Link::<F>::pairs() {
        let subscribed = link.subscribed(group, source);
        prop_assert_eq!(
            link.router.wants(link.bench.now, group, source),
            subscribed,
            "{} from {}",
            group,
            source
        );
    }
    prop_assert_eq!(link.bench.host.next_deadline(), None);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_router_learns_the_subscription(
        robustness in 1_u8..5,
        losses in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        check::<V4>(robustness, losses, steps.clone())?;
        check::<V6>(robustness, losses, steps)?;
    }

    /// The same inputs give the same messages at the same times in both families.
    #[test]
    fn both_families_behave_alike(steps in prop::collection::vec(step(), 1..40)) {
        prop_assert_eq!(trace::<V4>(&steps), trace::<V6>(&steps));
    }
}

/// What is said and when, with the addresses numbered.
fn trace<F: Sample>(steps: &[Step]) -> Vec<(Tick, RecordType, u128, Vec<u128>)> {
    use crate::wire::Address;
    let mut bench = Bench::<F>::new();
    for step in steps {
        match step.clone() {
            Step::Subscribe(group, excludes, sources) => {
                let sources: Vec<u32> = sources.into_iter().collect();
                let new = if excludes { exclude::<F>(&sources) } else { include::<F>(&sources) };
                bench.set(F::group(group), new);
            }
            Step::Wait(wait) => bench.run(Millis(wait)),
            Step::General => bench.ask(&general::<F>(10_000)),
            Step::Lose(lose) => {
                let list = addresses::<F>(&[u32::from(lose[0])]);
                bench.ask(&spec::<F>(F::group(1), &list, 1000));
            }
            Step::NewAddress => bench.up(2),
        }
    }
    bench.run(Millis(30_000));
    let number = |a: F::Addr, from: F::Addr| a.bits() - from.bits();
    let sent = bench.take();
    let said = sent.iter().flat_map(|sent| sent.said.iter().map(|said| (sent.at, said)));
    said.map(|(at, said)| match said {
        Said::Record(kind, group, list) => {
            let list = list.iter().map(|s| number(*s, F::source(0))).collect();
            (at, *kind, number(*group, F::group(0)), list)
        }
        Said::Report(..) | Said::Leave(_) => panic!("no older querier is here: {said:?}"),
    })
    .collect()
}
