//! Multicast router discovery on one interface, in one family: tells snooping switches that a
//! router is there, and keeps who else says so. RFC 4286.

use std::collections::{BTreeMap, VecDeque};

use super::chance::Chance;
use super::host::Endpoint;
use super::pace::Pace;
use crate::imsg::Transmit;
use crate::sys::time::{Millis, Tick};
use crate::wire::{self, Family, Kind, Sender};

/// Other routers of a link that are kept at most; more are not taken in.
pub const MAX_NEIGHBORS: usize = 64;

/// Most that passes before each of the first advertisements. Section 3.1.3.
const MAX_INITIAL_INTERVAL: Millis = Millis(2000);
/// How many these are. Section 3.1.4.
const MAX_INITIAL: u8 = 3;
/// Most that passes before a solicitation is answered.
const MAX_ANSWER_DELAY: Millis = Millis(500);
/// Advertisements at most one each 100 ms: MaxMessageRate is ten a second. Section 3.1.6.
const MESSAGE_PACE: Pace = Pace::new(100_000, 0);
/// A neighbor is gone after so many of its intervals. Section 3.1.5.
const DEAD_INTERVALS: u32 = 3;

/// What is announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Time between advertisements: 4 to 180 s. Section 3.1.1.
    pub interval: Millis,
    /// The query interval in use on the link; zero when no querier runs.
    pub query_interval: Millis,
    /// The robustness variable in use on the link; zero when no querier runs.
    pub robustness: u8,
}

/// The sender of one interface, and the neighbors heard there.
#[derive(Clone, Debug)]
pub struct Mrdisc<F: Family> {
    ifindex: u32,
    announced: Announced,
    /// Where advertisements leave from while the interface forwards.
    endpoint: Option<Endpoint<F>>,
    /// First advertisements still to come.
    initial: u8,
    /// When the next one of those that come by themselves is due.
    next: Tick,
    /// When a solicitation is answered.
    answer: Option<Tick>,
    /// By address, when each is given up.
    neighbors: BTreeMap<F::Addr, Tick>,
    chance: Chance,
    pace: Pace,
    out: VecDeque<(Kind, Transmit)>,
}

impl<F: Family> Mrdisc<F> {
    /// Starts silent; `seed` gives the delays.
    #[must_use]
    pub fn new(ifindex: u32, seed: [u64; 2]) -> Self {
        Self {
            ifindex,
            announced: Announced::default(),
            endpoint: None,
            initial: 0,
            next: Tick(0),
            answer: None,
            neighbors: BTreeMap::new(),
            chance: Chance::new(seed),
            pace: MESSAGE_PACE,
            out: VecDeque::new(),
        }
    }

    /// Announces this from the next advertisement on.
    pub fn announce(&mut self, announced: Announced) {
        self.announced = announced;
    }

    /// The interface forwards multicast from now on, or has another address; the same again changes
    /// nothing. Section 3.2.
    pub fn start(&mut self, now: Tick, endpoint: Endpoint<F>) {
        if self.endpoint.replace(endpoint).map(|e| e.source) != Some(endpoint.source) {
            self.initial = MAX_INITIAL;
            self.schedule(now);
        }
    }

    /// The interface forwards no more: says so once, if it can. Section 4.
    pub fn stop(&mut self) {
        if let Some(sender) = self.sender() {
            let termination = wire::mrdisc(&sender, wire::Mrdisc::Termination);
            self.out.push_back((Kind::Termination, termination));
        }
        self.down();
    }

    /// The interface is down: nothing can be said.
    pub fn down(&mut self) {
        (self.endpoint, self.answer) = (None, None);
    }

    /// A valid message of another router or of a snooping switch arrived.
    pub fn on_message(&mut self, now: Tick, source: F::Addr, message: wire::Mrdisc) {
        match message {
            wire::Mrdisc::Advertisement { interval, .. } => {
                let dead = now + Millis::from_secs(DEAD_INTERVALS * u32::from(interval));
                self.neighbors.retain(|_, until| *until > now);
                if self.neighbors.len() < MAX_NEIGHBORS || self.neighbors.contains_key(&source) {
                    self.neighbors.insert(source, dead);
                }
            }
            wire::Mrdisc::Solicitation => self.on_solicitation(now),
            wire::Mrdisc::Termination => {
                self.neighbors.remove(&source);
            }
        }
    }

    /// Somebody asks: one answer for all who ask before it goes out.
    pub fn on_solicitation(&mut self, now: Tick) {
        if self.endpoint.is_some() && self.answer.is_none() {
            self.answer = Some(now + self.wait(MAX_ANSWER_DELAY));
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, now: Tick) {
        let Some(sender) = self.sender() else { return };
        let answer = self.answer.is_some_and(|at| at <= now);
        let next = self.next <= now;
        if !(answer || next) || !self.pace.ready(now) {
            return;
        }
        self.pace.take(now, 1);
        let advertisement = wire::mrdisc(&sender, self.advertisement());
        self.out.push_back((Kind::Advertisement, advertisement));
        self.answer = self.answer.filter(|_| !answer);
        if next {
            self.initial = self.initial.saturating_sub(1);
            self.schedule(now);
        }
    }

    /// When [`Mrdisc::on_time`] is to be called next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.endpoint?;
        let due = self.answer.map_or(self.next, |at| at.min(self.next));
        Some(due.max(self.pace.ready_at()))
    }

    /// The next packet to send now, and what it is.
    pub fn poll_transmit(&mut self) -> Option<(Kind, Transmit)> {
        self.out.pop_front()
    }

    /// The other routers of the link, in the order of their addresses. Section 3.1.5.
    pub fn neighbors(&self, now: Tick) -> impl Iterator<Item = F::Addr> {
        self.neighbors.iter().filter(move |(_, until)| **until > now).map(|(address, _)| *address)
    }

    fn sender(&self) -> Option<Sender<F>> {
        let ifindex = self.ifindex;
        self.endpoint.map(|e| Sender { ifindex, source: e.source, mtu: e.mtu })
    }

    fn advertisement(&self) -> wire::Mrdisc {
        let Announced { interval, query_interval, robustness } = self.announced;
        wire::Mrdisc::Advertisement {
            interval: u8::try_from(interval.0 / 1000).unwrap_or(u8::MAX),
            // Rounded up: 0 means that no querier runs.
            query_interval: u16::try_from(query_interval.0.div_ceil(1000)).unwrap_or(u16::MAX),
            robustness: robustness.into(),
        }
    }

    /// The next one comes soon while it is one of the first, then at the interval with a jitter of
    /// a fortieth of it. Sections 3.1.2 and 3.2.
    fn schedule(&mut self, now: Tick) {
        let Millis(interval) = self.announced.interval;
        self.next = now
            + if self.initial > 0 {
                self.wait(MAX_INITIAL_INTERVAL.min(self.announced.interval))
            } else {
                let jitter = interval / 40;
                Millis(interval - jitter + self.chance.below(2 * jitter + 1))
            };
    }

    /// A random time, at least one millisecond.
    fn wait(&mut self, most: Millis) -> Millis {
        Millis(self.chance.below(most.0) + 1)
    }
}

#[cfg(test)]
mod tests;
