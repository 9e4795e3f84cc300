//! IPv4 and IPv6 are treated alike.

use std::net::IpAddr;

use mcast_proxy::wire::Af;

use super::checks::Look;
use super::net::{LINKS, canonical};
use super::sent::Sent;

impl Look<'_> {
    /// Both families are treated alike.
    pub(super) fn check_alike(self) {
        let [ipv4, ipv6] = Af::ALL.map(|af| self.lines(af));
        if ipv4 != ipv6 {
            let only = |a: &[String], b: &[String]| {
                a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>().join("\n")
            };
            panic!("ipv4 only:\n{}\nipv6 only:\n{}", only(&ipv4, &ipv6), only(&ipv6, &ipv4));
        }
    }

    /// All that is shown of a family, by what is the same in both.
    fn lines(self, af: Af) -> Vec<String> {
        let version = |v: u8| if af == Af::Ip6 { v + 1 } else { v };
        let list = |all: &[IpAddr]| all.iter().map(|a| canonical(*a)).collect::<Vec<_>>();
        let mut lines = Vec::new();
        for r in self.parent.groups().into_iter().filter(|r| r.family == af) {
            let sources: Vec<_> =
                r.sources.iter().map(|s| (canonical(s.source), s.expire, s.forwarding)).collect();
            lines.push(format!(
                "group {} {} {:?} {} {:?} {} {:?} {} {sources:?}",
                r.interface,
                canonical(r.group),
                r.filter_mode,
                version(r.version),
                r.expire,
                r.up_time,
                r.last_reporter.map(canonical),
                r.is_static,
            ));
        }
        for r in self.parent.hosts().into_iter().filter(|r| r.family == af) {
            lines.push(format!(
                "host {} {} {} {:?} {:?} {:?}",
                r.interface,
                canonical(r.group),
                canonical(r.host),
                r.filter_mode,
                list(&r.sources),
                r.expire,
            ));
        }
        for r in self.parent.upstream().into_iter().filter(|r| r.family == af) {
            lines.push(format!(
                "upstream {} {} {:?} {:?} {}",
                r.interface,
                canonical(r.group),
                r.filter_mode,
                list(&r.sources),
                r.is_static,
            ));
        }
        lines.extend(self.traffic_lines(af));
        lines.sort();
        lines
    }

    /// The same of what goes through and what is sent.
    fn traffic_lines(self, af: Af) -> Vec<String> {
        let version = |v: u8| if af == Af::Ip6 { v + 1 } else { v };
        let text = |text: &str| {
            let address = text.split('/').next().unwrap_or(text);
            address.parse().map_or(text.to_owned(), |a| canonical(a).to_string())
        };
        let mut lines = Vec::new();
        for r in self.parent.routes().into_iter().filter(|r| r.family == af && !self.follows.evicts)
        {
            let outputs: Vec<_> = r.outgoing_interfaces.iter().map(|o| &o.interface).collect();
            lines.push(format!(
                "route {:?} {} {} {outputs:?} {:?} {:?} {} {} {}",
                r.source.as_deref().map(text),
                text(&r.group),
                r.incoming_interface,
                r.origin,
                r.state,
                r.reason.is_some(),
                r.packets,
                r.wrong_interface,
            ));
        }
        for (link, r) in self.parent.link_rows(af) {
            lines.push(format!(
                "link {} {:?} {} {} {:?} {} {:?} {} {}",
                LINKS[link],
                r.vif,
                version(r.version),
                r.querier,
                r.querier_address.map(canonical),
                r.groups,
                r.querier_expire,
                r.query_interval,
                r.robustness_variable,
            ));
        }
        for r in self.parent.counters().into_iter().filter(|r| r.family == af) {
            lines.push(format!("discarded {} {:?}", r.interface, r.discarded));
        }
        let sent = self.parent.sent.iter().filter(|sent| sent.family == af);
        lines.extend(sent.map(Sent::line));
        lines
    }
}
