//! The querier of one downstream link: general queries, election, what the elected one announces.
//! RFC 9776, sections 6.6 and 7.3.1; RFC 9777, sections 7.6 and 8.3.1.

use std::sync::Arc;

use super::groups::Rules;
use crate::config::model::{QuerierMode, Settings};
use crate::sys::time::{Millis, Tick};
use crate::wire::{Address, Af, Family, Query};

/// A query interval that another querier announces is taken up to this.
const MAX_ADOPTED_INTERVAL: Millis = Millis::from_secs(600);
/// An older querier is followed while it was heard within this time.
const OLDER_QUERIER: Millis = Millis::from_secs(260);
/// The response time of the first query after an engine's death.
pub const RESTART_RESPONSE: Millis = Millis::from_secs(2);
/// Least last member query interval that a foreign query can bring about.
const LEAST_FOLLOWED: Millis = Millis(100);

/// Another router that is the querier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Other<A> {
    /// Its address.
    pub address: A,
    /// Version of its last query that elects.
    pub version: u8,
    /// When it counts as gone.
    pub expires: Tick,
}

/// What a received query does to the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Another router is the querier now, or a different one.
    pub changed: bool,
    /// Timers of what it asks for are lowered to this.
    pub lower: Option<Millis>,
}

/// The querier part of a link.
#[derive(Clone, Debug)]
pub struct Querier<F: Family> {
    settings: Arc<Settings>,
    running: bool,
    /// The elected querier, when it is not us.
    pub other: Option<Other<F::Addr>>,
    robustness: u8,
    interval: Millis,
    startup_left: u8,
    next: Option<Tick>,
    /// Until when a querier of version 1 counts as heard, and one of version 2.
    older: [Tick; 2],
    short_first: bool,
}

impl<F: Family> Querier<F> {
    /// A querier that does not run yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            robustness: settings.robustness,
            interval: settings.query_interval,
            settings,
            running: false,
            other: None,
            startup_left: 0,
            next: None,
            older: [Tick(0); 2],
            short_first: false,
        }
    }

    /// Takes over changed settings; a running one queries at once by them, if queries differ.
    pub fn configure(&mut self, now: Tick, settings: Arc<Settings>) {
        let before = std::mem::replace(&mut self.settings, settings);
        let of = |s: &Settings| {
            let times = (s.query_interval, s.query_response_interval, s.startup_query_interval);
            (s.querier, s.version(F::AF), s.robustness, s.startup_query_count, times)
        };
        if of(&before) == of(&self.settings) {
            return;
        }
        if before.querier != self.settings.querier {
            self.other = None;
        }
        if self.other.is_none() {
            self.robustness = self.settings.robustness;
            self.interval = self.settings.query_interval;
        }
        if self.running {
            self.running = false;
            self.start(now, Millis(0), false);
        }
    }

    /// The link can carry queries: begins after `delay`; `short`: members answer within
    /// [`RESTART_RESPONSE`] the first time.
    pub fn start(&mut self, now: Tick, delay: Millis, short: bool) {
        if self.running {
            return;
        }
        self.running = true;
        self.short_first = short;
        self.startup_left = self.settings.startup_query_count;
        self.next = self.is_querier().then_some(now + delay);
    }

    /// The link cannot carry our queries any more; while it is up others are heard as before.
    pub fn stop(&mut self, up: bool) {
        (self.running, self.next) = (false, None);
        if !up {
            (self.other, self.older) = (None, [Tick(0); 2]);
            self.robustness = self.settings.robustness;
            self.interval = self.settings.query_interval;
        }
    }

    /// Whether we are the querier.
    #[must_use]
    pub fn is_querier(&self) -> bool {
        self.running && self.other.is_none() && self.settings.querier != QuerierMode::Never
    }

    /// Query interval and robustness in force, while a querier is on the link.
    #[must_use]
    pub fn on_link(&self) -> Option<(Millis, u8)> {
        (self.is_querier() || self.other.is_some()).then_some((self.interval, self.robustness))
    }

    /// What it goes by.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What holds for the link's groups.
    #[must_use]
    pub fn rules(&self, now: Tick) -> Rules {
        let response = self.settings.query_response_interval;
        let present = self.interval.0.saturating_mul(u32::from(self.robustness));
        Rules {
            gmi: Millis(present.saturating_add(response.0.saturating_mul(2))),
            lmqi: self.settings.last_member_query_interval,
            lmqc: self.last_member_count(),
            ohpi: Millis(present.saturating_add(response.0)),
            is_querier: self.is_querier(),
            version: match F::AF {
                Af::Ip4 => self.version(now),
                Af::Ip6 => self.version(now) + 1,
            },
            fast_leave: self.settings.fast_leave,
            max_groups: self.settings.max_groups,
            max_sources: self.settings.max_sources,
        }
    }

    fn last_member_count(&self) -> u8 {
        if self.settings.last_member_query_count_set {
            self.settings.last_member_query_count
        } else {
            self.robustness
        }
    }

    /// The version of our queries: the configured one, or in IGMP the oldest on the link.
    #[must_use]
    pub fn version(&self, now: Tick) -> u8 {
        let heard = (1..).zip(self.older).find(|(_, until)| *until > now);
        self.settings.version(F::AF).min(heard.map_or(u8::MAX, |(version, _)| version))
    }

    /// Robustness in force.
    #[must_use]
    pub const fn robustness(&self) -> u8 {
        self.robustness
    }

    /// Query interval in force.
    #[must_use]
    pub const fn interval(&self) -> Millis {
        self.interval
    }

    /// Takes a query from `source`, which is not us, on a link where `own` is our address.
    pub fn on_query(
        &mut self,
        now: Tick,
        own: Option<F::Addr>,
        source: F::Addr,
        query: &Query<'_, F>,
    ) -> Heard {
        let general = query.group.is_unspecified();
        if general
            && F::AF == Af::Ip4
            && let Some(until) = self.older.get_mut(usize::from(query.version.saturating_sub(1)))
        {
            *until = now + OLDER_QUERIER;
        }
        let mut heard = Heard::default();
        if source.is_unspecified() || self.settings.querier == QuerierMode::Always {
            return heard;
        }
        let stands = own.filter(|_| self.settings.querier != QuerierMode::Never);
        let lower = stands.is_none_or(|own| election_key(source) < election_key(own));
        let elects = general || F::AF == Af::Ip6;
        let known = self.other.is_none_or(|o| election_key(source) <= election_key(o.address));
        let elected = self.other.is_some_and(|o| o.address == source);
        let wins = elects && lower && known;
        if wins || elected {
            self.adopt(query);
        }
        if wins {
            heard.changed = !elected;
            let expires = now + self.other_present();
            self.other = Some(Other { address: source, version: query.version, expires });
            self.next = None;
        }
        if (wins || elected) && !general && !query.suppress {
            let interval = query.max_response.max(LEAST_FOLLOWED);
            let count = u32::from(self.robustness);
            heard.lower = Some(Millis(interval.0.saturating_mul(count)));
        }
        heard
    }

    /// RFC 9776, sections 4.1.6 and 4.1.7: the elected querier's values hold.
    fn adopt(&mut self, query: &Query<'_, F>) {
        let newest = F::LAYOUT.newest;
        self.robustness = match query.robustness {
            robustness @ 1.. if query.version == newest => robustness,
            _ => self.settings.robustness,
        };
        self.interval = match query.query_interval {
            _ if query.version != newest => self.settings.query_interval,
            Millis(0) => Millis::from_secs(125),
            interval => interval.min(MAX_ADOPTED_INTERVAL),
        };
    }

    /// Other querier present interval. RFC 9776, section 8.5.
    fn other_present(&self) -> Millis {
        let half = self.settings.query_response_interval.0 / 2;
        Millis(self.interval.0.saturating_mul(u32::from(self.robustness)).saturating_add(half))
    }

    /// Handles what is due; tells whether a General Query is, with its response time, and whether
    /// we became the querier.
    pub fn on_time(&mut self, now: Tick) -> (Option<Millis>, bool) {
        let took_over = self.other.is_some_and(|o| o.expires <= now);
        if took_over {
            self.other = None;
            self.robustness = self.settings.robustness;
            self.interval = self.settings.query_interval;
            self.startup_left = 0;
            self.next = self.is_querier().then_some(now);
        }
        if self.next.is_none_or(|next| next > now) {
            return (None, took_over);
        }
        self.startup_left = self.startup_left.saturating_sub(1);
        let wait = if self.startup_left > 0 {
            self.settings.startup_query_interval
        } else {
            self.settings.query_interval
        };
        self.next = Some(now + wait);
        let response = self.settings.query_response_interval;
        let short = std::mem::take(&mut self.short_first);
        (Some(if short { response.min(RESTART_RESPONSE) } else { response }), took_over)
    }

    /// The next moment at which [`Querier::on_time`] has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.next.into_iter().chain(self.other.map(|o| o.expires)).min()
    }
}

/// What elections compare: the address, or its low 64 bits in IPv6.
fn election_key<A: Address>(address: A) -> u128 {
    if A::LEN == 4 { address.bits() } else { address.bits() & u128::from(u64::MAX) }
}
