//! Why a group is or is not forwarded, check by check.

use super::Proxy;
use crate::config::model::Role;
use crate::engine::core::groups::admits;
use crate::engine::core::link::{Link, Vif};
use crate::engine::core::members::{Filter, Members};
use crate::engine::core::mrt::{World, upstream_for};
use crate::engine::core::slot::Slot;
use crate::imsg::ctl::{Check, CheckRow, Outcome, RouteRow, RouteState};
use crate::wire::{Address, Family, GroupScope};

/// Routes of the group that are told at most.
const MAX_ROUTES: usize = 32;

/// What is explained.
struct Question<'a, F: Family> {
    proxy: &'a Proxy<F>,
    group: F::Addr,
    source: Option<F::Addr>,
    upstream: Option<Slot>,
    rows: Vec<CheckRow>,
}

impl<F: Family> Proxy<F> {
    /// The checks; the last one says whether packets go through.
    #[must_use]
    pub fn explain(&self, group: F::Addr, source: Option<F::Addr>) -> Vec<CheckRow> {
        let upstream = upstream_for(&self.links, group);
        let mut question = Question { proxy: self, group, source, upstream, rows: Vec::new() };
        if question.is_routable() {
            let routes = self.mrt.rows_of(group, source, MAX_ROUTES, question.world());
            question.look_at_upstreams();
            question.look_at_members();
            question.look_at_report();
            question.look_at_routes(&routes);
            for words in self.mrt.kernel_limits() {
                question.say(Check::Kernel, Outcome::Note, None, words);
            }
            question.conclude(&routes);
        }
        question.rows
    }
}

impl<F: Family> Question<'_, F> {
    fn world(&self) -> World<'_, F> {
        World { links: &self.proxy.links, members: &self.proxy.groups }
    }

    fn say(
        &mut self,
        check: Check,
        result: Outcome,
        on: Option<String>,
        detail: impl Into<String>,
    ) {
        self.rows.push(CheckRow {
            check,
            result,
            interface: on,
            detail: detail.into(),
            advice: None,
        });
    }

    /// Adds to what was just said.
    fn advise(&mut self, advice: impl Into<Option<String>>) {
        if let Some(row) = self.rows.last_mut() {
            row.advice = advice.into();
        }
    }

    fn is_routable(&mut self) -> bool {
        let bad_source =
            self.source.filter(|s| s.is_unspecified() || s.is_link_local() || s.is_multicast());
        let (why, advice) = match (self.group.scope(), bad_source) {
            (GroupScope::Routable, None) => {
                self.say(Check::Group, Outcome::Ok, None, "may be forwarded");
                return true;
            }
            (GroupScope::Routable, Some(source)) => {
                (format!("packets from {source} mean nothing on another link"), None)
            }
            (GroupScope::LinkLocal | GroupScope::Unroutable, _) => (
                "belongs to its link and is never forwarded".into(),
                Some("have the application use another group".into()),
            ),
            (GroupScope::NotMulticast, _) => ("is no multicast group".into(), None),
        };
        self.say(Check::Group, Outcome::Fail, None, why);
        self.advise(advice);
        false
    }

    fn look_at_upstreams(&mut self) {
        let links = &self.proxy.links;
        let chosen = self.upstream;
        for link in links.iter().filter(|l| l.role() == Role::Upstream) {
            let (result, why) = match unready(link) {
                Some(why) => (Outcome::Note, why),
                None if chosen == Some(link.slot) => (Outcome::Ok, "upstream for the group".into()),
                None if link.upstream_match(self.group).is_none() => {
                    (Outcome::Note, "its `group` statements leave the group out".into())
                }
                None => (Outcome::Note, "another upstream goes before it".into()),
            };
            self.say(Check::Upstream, result, Some(link.name.clone()), why);
        }
        if chosen.is_none() {
            self.say(
                Check::Upstream,
                Outcome::Note,
                None,
                "no interface is upstream for the group",
            );
            self.advise(Some("interface NAME { upstream }, and its link has to be up".into()));
        }
    }

    fn look_at_members(&mut self) {
        let proxy = self.proxy;
        let mut any = false;
        for link in proxy.links.iter().filter(|l| l.role() == Role::Downstream) {
            let on = Some(link.name.clone());
            let filter = self.filter_on(link.slot);
            any |= filter.is_some();
            if let Some(why) = unready(link) {
                self.say(Check::Member, Outcome::Note, on, why);
            } else if let Err(discard) = admits(link, self.group) {
                let why = format!("reports for it are refused here: {}", discard.name());
                self.say(Check::Member, Outcome::Note, on, why);
            } else if let Some(filter) = filter {
                self.look_at_member(link, filter);
            } else {
                self.say(Check::Member, Outcome::Note, on, self.silence(link.slot));
            }
        }
        if !any {
            self.say(Check::Member, Outcome::Note, None, "no host has asked for it");
            let advice = "see on the host whether it has joined, and on switches between whether \
                          they snoop; static-group asks in its place";
            self.advise(Some(advice.into()));
        }
    }

    fn look_at_member(&mut self, link: &Link<F>, filter: Filter) {
        let on = Some(link.name.clone());
        let wanted = self.source.map(|s| self.proxy.groups.wants(link.slot, self.group, s));
        let (result, why) = match (filter, self.source.zip(wanted)) {
            (_, Some((source, false))) => (Outcome::Note, format!("{source} is not wanted here")),
            (Filter::All, _) => (Outcome::Ok, "wanted from every source".into()),
            (Filter::Some, Some((source, true))) => (Outcome::Ok, format!("wanted from {source}")),
            (Filter::Some, None) => (Outcome::Ok, "wanted from some sources".into()),
        };
        self.say(Check::Member, result, on.clone(), why);
        if !link.is_forwarder() {
            let other = self.proxy.ports.get(link.slot).and_then(|p| p.querier.other);
            let name = other.map_or_else(String::new, |o| format!(" {}", o.address));
            let why = format!("the querier{name} forwards here, not this router");
            self.say(Check::Member, Outcome::Fail, on, why);
            self.advise(Some("where that one is no router: forward-non-querier yes".into()));
        }
    }

    fn filter_on(&self, slot: Slot) -> Option<Filter> {
        let mut found = None;
        self.proxy.groups.links(self.group, &mut |at, filter| {
            if at == slot {
                found = Some(filter);
            }
        });
        found
    }

    /// What stands where no member is: discards may be why.
    fn silence(&self, slot: Slot) -> String {
        let columns = self.proxy.ports.get(slot).map(|p| p.counters.columns());
        let discards = columns.map(|[_, _, discarded]| discarded).unwrap_or_default();
        let list: Vec<String> = discards.iter().map(|(name, n)| format!("{name} {n}")).collect();
        match list.is_empty() {
            true => "no host has asked here".into(),
            false => format!("no host has asked here; discarded so far: {}", list.join(", ")),
        }
    }

    fn look_at_report(&mut self) {
        let proxy = self.proxy;
        let Some(link) = self.upstream.and_then(|slot| proxy.links.get(slot)) else { return };
        let Some(host) = proxy.ports.get(link.slot).and_then(|p| p.host.as_ref()) else { return };
        let on = Some(link.name.clone());
        if link.source_address().is_none() {
            self.say(Check::Report, Outcome::Fail, on, "no address to send reports from yet");
        } else if !host.is_sayable(self.group) {
            let version = host.version();
            let why = format!("source-specific groups cannot be asked for in version {version}");
            self.say(Check::Report, Outcome::Fail, on, why);
            self.advise(Some("have the querier of that link speak IGMPv3 or MLDv2".into()));
        } else if let Some(view) = host.get(self.group) {
            let mode = match view.mode {
                crate::imsg::ctl::Mode::Include => "include",
                crate::imsg::ctl::Mode::Exclude => "exclude",
            };
            let (n, version) = (view.sources.len(), host.version());
            let why = format!("reported as {mode} with {n} sources, version {version}");
            self.say(Check::Report, Outcome::Ok, on, why);
        } else if let Err(discard) = admits(link, self.group) {
            let why = format!("not asked for here: {}", discard.name());
            self.say(Check::Report, Outcome::Fail, on, why);
        } else if proxy.links.iter().any(|l| self.filter_on(l.slot).is_some()) {
            let why = "not asked for here: its rules deny every source that is wanted";
            self.say(Check::Report, Outcome::Fail, on, why);
        } else {
            self.say(Check::Report, Outcome::Note, on, "not asked for: nobody wants it");
        }
    }

    fn look_at_routes(&mut self, routes: &[RouteRow]) {
        for row in routes {
            let source = row.source.as_deref().unwrap_or("any source");
            let to: Vec<&str> =
                row.outgoing_interfaces.iter().map(|o| o.interface.as_str()).collect();
            let reason = row.reason.as_deref().unwrap_or("no reason");
            let (result, mut why) = match row.state {
                RouteState::Forwarding => {
                    let (to, n) = (to.join(", "), row.packets);
                    (Outcome::Ok, format!("{source} to {to}, {n} packets at the last count"))
                }
                RouteState::Dropping => (Outcome::Note, format!("{source} is dropped: {reason}")),
                RouteState::Waiting => {
                    (Outcome::Note, format!("mroute for {source} waits: {reason}"))
                }
            };
            if row.wrong_interface > 0 {
                why += &format!("; {} arrived on another interface", row.wrong_interface);
            }
            self.say(Check::Route, result, Some(row.incoming_interface.clone()), why);
        }
        let refused = self.proxy.mrt.counters().failed;
        if refused > 0 {
            let why = format!("the kernel refused {refused} routes so far; the log tells why");
            self.say(Check::Route, Outcome::Note, None, why);
        }
        if routes.is_empty() {
            self.say(Check::Route, Outcome::Note, None, "no packet of it has arrived");
            let advice = "see whether the source sends, with a TTL that is left over here";
            self.advise(Some(advice.into()));
        }
    }

    fn conclude(&mut self, routes: &[RouteRow]) {
        let proxy = self.proxy;
        let known = self.source.and_then(|source| {
            let connected = proxy.links.iter().find(|l| l.is_connected(source)).map(|l| l.slot);
            proxy.mrt.incoming(self.group, source).or(connected)
        });
        let forwards = routes.iter().any(|r| r.state == RouteState::Forwarding);
        if self.source.is_none() && forwards {
            return self.say(Check::Forwarding, Outcome::Ok, None, "it is forwarded");
        }
        let Some(incoming) = known.or(self.upstream) else {
            return self.say(Check::Forwarding, Outcome::Fail, None, "it could arrive nowhere");
        };
        let name = |slot| proxy.links.get(slot).map(|l| l.name.clone());
        let verdict = proxy.mrt.foresee(self.group, self.source, incoming, self.world());
        let to: Vec<String> = verdict.outputs.iter().filter_map(name).collect();
        if let Some(reason) = verdict.reason {
            let why = reason.text(&proxy.links, self.source);
            self.say(Check::Forwarding, Outcome::Fail, name(incoming), why);
            self.advise(reason.advice(&proxy.links));
        } else if !forwards && !proxy.mrt.has_room() {
            let why = "max-routes is reached: there is no room for its route";
            self.say(Check::Forwarding, Outcome::Fail, name(incoming), why);
            self.advise(Some("raise max-routes; show routes tells what fills it".into()));
        } else {
            let why = format!("what arrives here goes to {}", to.join(", "));
            self.say(Check::Forwarding, Outcome::Ok, name(incoming), why);
        }
    }
}

/// Why nothing can be forwarded to or from a link, if so.
fn unready<F: Family>(link: &Link<F>) -> Option<String> {
    match &link.vif {
        Vif::Refused(why) => Some(why.clone()),
        Vif::None => Some("waits for an address".into()),
        Vif::Requested => Some("is being set up".into()),
        Vif::Ready(_) => (!link.up).then(|| "is down".into()),
    }
}
