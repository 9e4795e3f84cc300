//! Tables as text: one heading line, columns that align.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::config::model::Role;
use crate::imsg::ctl::{
    CounterRow, Event, GroupRow, HostRow, InterfaceRow, LinkRow, Mode, OperStatus, Origin,
    OutputRow, RouteRow, RouteState, Rows, SourceRow, Status, Table, UpstreamRow,
};
use crate::kroute::MfcKey;
use crate::wire::Af;

/// What stands where there is nothing to say.
pub(super) const NONE: &str = "-";
/// Between two columns.
const GAP: &str = "  ";

/// The headings of a table; none where it has no columns.
#[must_use]
pub const fn headings(table: Table) -> &'static [&'static str] {
    match table {
        Table::Status => &["STATUS", "VALUE"],
        Table::Interfaces => &[
            "INTERFACE",
            "ROLE",
            "INDEX",
            "STATUS",
            "FAMILY",
            "VIF",
            "VERSION",
            "QUERIER",
            "GROUPS",
            "ADDRESSES",
            "REASON",
        ],
        Table::Groups => &[
            "INTERFACE",
            "GROUP",
            "MODE",
            "VERSION",
            "EXPIRE",
            "UPTIME",
            "REPORTER",
            "STATIC",
            "SOURCES",
        ],
        Table::Hosts => &["INTERFACE", "GROUP", "HOST", "MODE", "EXPIRE", "SOURCES"],
        Table::Upstream => &["INTERFACE", "GROUP", "MODE", "STATIC", "SOURCES"],
        Table::Routes => &[
            "SOURCE", "GROUP", "FROM", "TO", "ORIGIN", "STATE", "PACKETS", "BYTES", "WRONGIF",
            "REASON",
        ],
        Table::Counters => &["INTERFACE", "FAMILY", "COUNTER", "NAME", "COUNT"],
        Table::Events => {
            &["TIME", "EVENT", "INTERFACE", "FAMILY", "SOURCE", "GROUP", "TO", "REASON"]
        }
        Table::Config => &[],
    }
}

/// The cells of rows, in the order of [`headings`].
#[must_use]
pub fn cells(rows: &Rows) -> Vec<Vec<String>> {
    match rows {
        Rows::Status(status) => status_cells(status),
        Rows::Interfaces(rows) => rows.iter().flat_map(interface).collect(),
        Rows::Groups(rows) => rows.iter().map(group).collect(),
        Rows::Hosts(rows) => rows.iter().map(host).collect(),
        Rows::Upstream(rows) => rows.iter().map(upstream).collect(),
        Rows::Routes(rows) => rows.iter().map(route).collect(),
        Rows::Counters(rows) => rows.iter().flat_map(counter).collect(),
        Rows::Events(rows) => rows.iter().map(event).collect(),
        Rows::Checks(_) => Vec::new(),
    }
}

/// Lines whose columns align; the last column is as long as it is.
#[must_use]
pub fn align(rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Rows as lines without a heading.
#[must_use]
pub fn text(rows: &Rows) -> Vec<String> {
    align(&cells(rows))
}

/// An event as one line: its time, its kind, and what else there is to say.
#[must_use]
pub fn event_line(e: &Event) -> String {
    let mut line = format!("{} {}", time(e.time), e.event.name());
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line.push_str(&format!(" {name} {value}"));
        }
    };
    say("interface", e.interface.clone());
    say("family", e.family.map(|f| f.to_string()));
    say("source", e.source.map(|s| s.to_string()));
    say("group", e.group.map(|g| g.to_string()));
    say("to", (!e.outgoing_interfaces.is_empty()).then(|| e.outgoing_interfaces.join(",")));
    say("reason", e.reason.clone());
    line
}

fn status_cells(s: &Status) -> Vec<Vec<String>> {
    let yes = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let key = match s.route_key {
        MfcKey::SourceGroup => "source-group",
        MfcKey::Group => "group",
    };
    let of = |used: u32, most: u32| format!("{used} of {most}");
    let mut lines = vec![
        ("version", s.version.clone()),
        ("up-time", duration(s.up_time)),
        ("pid", s.pid.to_string()),
        ("engine-pid", s.engine_pid.to_string()),
        ("engine-restarts", s.engine_restarts.to_string()),
        ("engine-ended", or_none(s.engine_ended.as_ref())),
        ("table", s.table.to_string()),
        ("ipv4", yes(s.ipv4)),
        ("ipv6", yes(s.ipv6)),
        ("route-key", key.to_owned()),
        ("kernel-limits", list(&s.kernel_limits)),
        ("upstream", list(&s.upstream)),
        ("downstream", list(&s.downstream)),
        ("vifs", of(s.vifs, s.max_vifs)),
        ("mifs", of(s.mifs, s.max_mifs)),
        ("groups", s.groups.to_string()),
        ("routes", s.routes.to_string()),
        ("hosts", s.hosts.to_string()),
    ];
    lines.extend(s.limits.iter().map(|(name, count)| (name.as_str(), count.to_string())));
    lines.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect()
}

/// A row for each family in use; one where none is.
fn interface(row: &InterfaceRow) -> Vec<Vec<String>> {
    let cells = |family: Option<(Af, &LinkRow)>| {
        let addresses = row
            .addresses
            .iter()
            .filter(|a| family.is_none_or(|(family, _)| Af::of(a.addr()) == family));
        let link = |cell: fn(&LinkRow) -> String| or_none(family.map(|(_, link)| cell(link)));
        vec![
            row.interface.clone(),
            role(row.role).to_owned(),
            or_none(row.index),
            oper_status(row.oper_status).to_owned(),
            or_none(family.map(|(family, _)| family)),
            link(|l| or_none(l.vif)),
            link(|l| l.version.to_string()),
            link(|l| if l.querier { "self".into() } else { or_none(l.querier_address) }),
            link(|l| l.groups.to_string()),
            list(addresses),
            link(|l| or_none(l.reason.as_ref())),
        ]
    };
    let links = [(Af::Ip4, &row.ipv4), (Af::Ip6, &row.ipv6)];
    let rows: Vec<Vec<String>> = links
        .iter()
        .filter_map(|(family, link)| link.as_ref().map(|link| cells(Some((*family, link)))))
        .collect();
    if rows.is_empty() { vec![cells(None)] } else { rows }
}

fn group(row: &GroupRow) -> Vec<String> {
    let source = |s: &SourceRow| format!("{}{}", if s.forwarding { "" } else { "!" }, s.source);
    vec![
        row.interface.clone(),
        row.group.to_string(),
        mode(row.filter_mode).to_owned(),
        row.version.to_string(),
        or_none(row.expire.map(duration)),
        duration(row.up_time),
        or_none(row.last_reporter),
        is_static(row.is_static),
        list(row.sources.iter().map(source)),
    ]
}

fn host(row: &HostRow) -> Vec<String> {
    vec![
        row.interface.clone(),
        row.group.to_string(),
        row.host.to_string(),
        mode(row.filter_mode).to_owned(),
        or_none(row.expire.map(duration)),
        list(&row.sources),
    ]
}

fn upstream(row: &UpstreamRow) -> Vec<String> {
    vec![
        row.interface.clone(),
        row.group.to_string(),
        mode(row.filter_mode).to_owned(),
        is_static(row.is_static),
        list(&row.sources),
    ]
}

fn route(row: &RouteRow) -> Vec<String> {
    let output = |o: &OutputRow| match o.threshold {
        0 | 1 => o.interface.clone(),
        threshold => format!("{}>{threshold}", o.interface),
    };
    let origin = match row.origin {
        Origin::Proxy => "proxy",
        Origin::Static => "static",
    };
    let state = match row.state {
        RouteState::Forwarding => "forwarding",
        RouteState::Dropping => "dropping",
        RouteState::Waiting => "waiting",
    };
    vec![
        row.source.clone().unwrap_or_else(|| "*".into()),
        row.group.clone(),
        row.incoming_interface.clone(),
        list(row.outgoing_interfaces.iter().map(output)),
        origin.to_owned(),
        state.to_owned(),
        row.packets.to_string(),
        row.bytes.to_string(),
        row.wrong_interface.to_string(),
        or_none(row.reason.as_ref()),
    ]
}

/// A row for each counter.
fn counter(row: &CounterRow) -> Vec<Vec<String>> {
    let cells = |what: &'static str, counters: &BTreeMap<String, u64>| {
        let line = |(name, count): (&String, &u64)| {
            vec![
                row.interface.clone(),
                row.family.to_string(),
                what.to_owned(),
                name.clone(),
                count.to_string(),
            ]
        };
        counters.iter().map(line).collect::<Vec<_>>()
    };
    let mut received = row.received.clone();
    if row.other_ttl > 0 {
        received.insert("other-ttl".into(), row.other_ttl);
    }
    [cells("received", &received), cells("sent", &row.sent), cells("discarded", &row.discarded)]
        .concat()
}

fn event(e: &Event) -> Vec<String> {
    vec![
        time(e.time),
        e.event.name().to_owned(),
        or_none(e.interface.as_ref()),
        or_none(e.family),
        or_none(e.source),
        or_none(e.group),
        list(&e.outgoing_interfaces),
        or_none(e.reason.as_ref()),
    ]
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Upstream => "upstream",
        Role::Downstream => "downstream",
        Role::Static => "static",
        Role::Disabled => "disabled",
    }
}

const fn oper_status(status: OperStatus) -> &'static str {
    match status {
        OperStatus::Up => "up",
        OperStatus::Down => "down",
        OperStatus::Absent => "absent",
    }
}

const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Include => "include",
        Mode::Exclude => "exclude",
    }
}

fn is_static(is: bool) -> String {
    if is { "static" } else { NONE }.to_owned()
}

fn or_none(value: Option<impl Display>) -> String {
    value.map_or_else(|| NONE.to_owned(), |v| v.to_string())
}

fn list(values: impl IntoIterator<Item = impl Display>) -> String {
    let values: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
    if values.is_empty() { NONE.to_owned() } else { values.join(",") }
}

/// Seconds as hours, minutes and seconds, with days before them where there are any.
fn duration(seconds: u64) -> String {
    let (minutes, s) = (seconds / 60, seconds % 60);
    let (hours, m) = (minutes / 60, minutes % 60);
    let (days, h) = (hours / 24, hours % 24);
    match days {
        0 => format!("{h:02}:{m:02}:{s:02}"),
        _ => format!("{days}d{h:02}:{m:02}:{s:02}"),
    }
}

/// Seconds since 1970 as a date and time of day. RFC 3339, UTC.
fn time(seconds: u64) -> String {
    let (days, s) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of the year 0, in cycles of 400 years: leap days come last then.
    let days = days + 719_468;
    let (cycle, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = cycle * 400 + year + later;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::imsg::ctl::EventKind;

    fn check(table: Table, rows: &Rows, expected: &Expect) {
        let headings = headings(table).iter().map(|h| (*h).to_owned()).collect();
        let lines = align(&[vec![headings], cells(rows)].concat());
        expected.assert_eq(&(lines.join("\n") + "\n"));
    }

    fn link(vif: Option<u16>, reason: Option<&str>, querier: Option<&str>) -> LinkRow {
        LinkRow {
            vif,
            reason: reason.map(String::from),
            version: 3,
            querier: querier.is_none(),
            querier_address: querier.map(|a| a.parse().unwrap()),
            groups: 12,
            querier_version: None,
            querier_expire: None,
            query_interval: 125,
            query_max_response_time: 10,
            last_member_query_interval: 1,
            robustness_variable: 2,
            mrdisc_neighbors: Vec::new(),
        }
    }

    fn interface(name: &str, role: Role, links: [Option<LinkRow>; 2]) -> InterfaceRow {
        let [ipv4, ipv6] = links;
        let addresses = ["10.0.0.1/24", "fe80::1/64", "2001:db8::1/64"];
        InterfaceRow {
            interface: name.into(),
            role,
            index: Some(2),
            oper_status: OperStatus::Up,
            addresses: addresses.map(|a| a.parse().unwrap()).to_vec(),
            ipv4,
            ipv6,
        }
    }

    #[test]
    fn interfaces_have_a_row_a_family() {
        let both = [Some(link(Some(0), None, Some("10.0.0.254"))), Some(link(Some(1), None, None))];
        let refused = [Some(link(None, Some("no more vifs"), None)), None];
        let absent = InterfaceRow {
            index: None,
            oper_status: OperStatus::Absent,
            addresses: Vec::new(),
            ..interface("em2", Role::Static, [None, None])
        };
        let rows = vec![
            interface("em0", Role::Upstream, both),
            interface("em1", Role::Downstream, refused),
            absent,
        ];
        check(
            Table::Interfaces,
            &Rows::Interfaces(rows),
            &expect![[r#"
                INTERFACE  ROLE        INDEX  STATUS  FAMILY  VIF  VERSION  QUERIER     GROUPS  ADDRESSES                  REASON
                em0        upstream    2      up      ipv4    0    3        10.0.0.254  12      10.0.0.1/24                -
                em0        upstream    2      up      ipv6    1    3        self        12      fe80::1/64,2001:db8::1/64  -
                em1        downstream  2      up      ipv4    -    3        self        12      10.0.0.1/24                no more vifs
                em2        static      -      absent  -       -    -        -           -       -                          -
            "#]],
        );
    }

    #[test]
    fn groups_tell_their_sources() {
        let source = |text: &str, forwarding| SourceRow {
            source: text.parse().unwrap(),
            expire: Some(260),
            forwarding,
        };
        let row = GroupRow {
            interface: "em1".into(),
            family: Af::Ip4,
            group: "239.1.1.1".parse().unwrap(),
            filter_mode: Mode::Exclude,
            version: 3,
            expire: Some(260),
            up_time: 90_061,
            last_reporter: Some("10.0.1.2".parse().unwrap()),
            is_static: false,
            sources: vec![source("10.9.9.9", true), source("10.9.9.8", false)],
        };
        let fixed = GroupRow {
            group: "ff0e::1".parse().unwrap(),
            filter_mode: Mode::Include,
            expire: None,
            last_reporter: None,
            is_static: true,
            sources: Vec::new(),
            ..row.clone()
        };
        check(
            Table::Groups,
            &Rows::Groups(vec![row, fixed]),
            &expect![[r#"
            INTERFACE  GROUP      MODE     VERSION  EXPIRE    UPTIME      REPORTER  STATIC  SOURCES
            em1        239.1.1.1  exclude  3        00:04:20  1d01:01:01  10.0.1.2  -       10.9.9.9,!10.9.9.8
            em1        ff0e::1    include  3        -         1d01:01:01  -         static  -
        "#]],
        );
    }

    #[test]
    fn hosts_and_upstream_list_sources() {
        let group: std::net::IpAddr = "239.1.1.1".parse().unwrap();
        let sources = vec!["10.9.9.8".parse().unwrap(), "10.9.9.9".parse().unwrap()];
        let host = HostRow {
            interface: "em1".into(),
            family: Af::Ip4,
            group,
            host: "10.0.1.2".parse().unwrap(),
            filter_mode: Mode::Include,
            sources: sources.clone(),
            expire: Some(3599),
        };
        check(
            Table::Hosts,
            &Rows::Hosts(vec![host]),
            &expect![[r#"
            INTERFACE  GROUP      HOST      MODE     EXPIRE    SOURCES
            em1        239.1.1.1  10.0.1.2  include  00:59:59  10.9.9.8,10.9.9.9
        "#]],
        );
        let row = UpstreamRow {
            interface: "em0".into(),
            family: Af::Ip4,
            group,
            filter_mode: Mode::Exclude,
            sources,
            is_static: false,
        };
        check(
            Table::Upstream,
            &Rows::Upstream(vec![row]),
            &expect![[r#"
            INTERFACE  GROUP      MODE     STATIC  SOURCES
            em0        239.1.1.1  exclude  -       10.9.9.8,10.9.9.9
        "#]],
        );
    }

    #[test]
    fn routes_tell_what_they_do() {
        let output = |name: &str, threshold| OutputRow { interface: name.into(), threshold };
        let row = RouteRow {
            family: Af::Ip4,
            source: Some("10.9.9.9".into()),
            group: "239.1.1.1".into(),
            incoming_interface: "em0".into(),
            outgoing_interfaces: vec![output("em1", 1), output("em2", 5)],
            origin: Origin::Proxy,
            state: RouteState::Forwarding,
            reason: None,
            packets: 1000,
            bytes: 1_316_000,
            wrong_interface: 3,
        };
        let waiting = RouteRow {
            source: None,
            group: "239.2.0.0/16".into(),
            outgoing_interfaces: Vec::new(),
            origin: Origin::Static,
            state: RouteState::Waiting,
            reason: Some("em0 is absent".into()),
            ..row.clone()
        };
        check(
            Table::Routes,
            &Rows::Routes(vec![row, waiting]),
            &expect![[r#"
            SOURCE    GROUP         FROM  TO         ORIGIN  STATE       PACKETS  BYTES    WRONGIF  REASON
            10.9.9.9  239.1.1.1     em0   em1,em2>5  proxy   forwarding  1000     1316000  3        -
            *         239.2.0.0/16  em0   -          static  waiting     1000     1316000  3        em0 is absent
        "#]],
        );
    }

    #[test]
    fn counters_have_a_row_each() {
        let counters =
            |names: &[(&str, u64)]| names.iter().map(|(n, c)| ((*n).into(), *c)).collect();
        let row = CounterRow {
            interface: "em1".into(),
            family: Af::Ip6,
            received: counters(&[("report-v2", 20), ("leave", 1)]),
            sent: counters(&[("query-v2", 7)]),
            discarded: counters(&[("router-alert", 2)]),
            other_ttl: 3,
        };
        check(
            Table::Counters,
            &Rows::Counters(vec![row]),
            &expect![[r#"
            INTERFACE  FAMILY  COUNTER    NAME          COUNT
            em1        ipv6    received   leave         1
            em1        ipv6    received   other-ttl     3
            em1        ipv6    received   report-v2     20
            em1        ipv6    sent       query-v2      7
            em1        ipv6    discarded  router-alert  2
        "#]],
        );
    }

    #[test]
    fn events_have_a_date() {
        // date -ud @951827696; the second is the last second of a leap year.
        let event = Event {
            time: 951_827_696,
            event: EventKind::Install,
            interface: Some("em0".into()),
            family: Some(Af::Ip4),
            group: Some("239.1.1.1".parse().unwrap()),
            source: Some("10.9.9.9".parse().unwrap()),
            outgoing_interfaces: vec!["em1".into(), "em2".into()],
            reason: None,
        };
        let start = Event {
            time: 1_735_689_599,
            event: EventKind::Start,
            interface: None,
            family: None,
            group: None,
            source: None,
            outgoing_interfaces: Vec::new(),
            ..event.clone()
        };
        let line = "2000-02-29T12:34:56Z install interface em0 family ipv4 source 10.9.9.9 \
                    group 239.1.1.1 to em1,em2";
        assert_eq!(event_line(&event), line);
        check(
            Table::Events,
            &Rows::Events(vec![event, start]),
            &expect![[r#"
            TIME                  EVENT    INTERFACE  FAMILY  SOURCE    GROUP      TO       REASON
            2000-02-29T12:34:56Z  install  em0        ipv4    10.9.9.9  239.1.1.1  em1,em2  -
            2024-12-31T23:59:59Z  start    -          -       -         -          -        -
        "#]],
        );
    }

    #[test]
    fn the_status_has_a_row_a_member() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 100,
            engine_pid: 101,
            engine_restarts: 0,
            engine_ended: None,
            up_time: 59,
            table: 0,
            ipv4: true,
            ipv6: false,
            route_key: MfcKey::SourceGroup,
            kernel_limits: Vec::new(),
            upstream: vec!["em0".into()],
            downstream: vec!["em1".into(), "em2".into()],
            groups: 3,
            routes: 4,
            hosts: 5,
            vifs: 3,
            max_vifs: 32,
            mifs: 0,
            max_mifs: 32,
            limits: [("group-limit".into(), 9)].into(),
        };
        check(
            Table::Status,
            &Rows::Status(Box::new(status)),
            &expect![[r#"
            STATUS           VALUE
            version          0.1.0
            up-time          00:00:59
            pid              100
            engine-pid       101
            engine-restarts  0
            engine-ended     -
            table            0
            ipv4             yes
            ipv6             no
            route-key        source-group
            kernel-limits    -
            upstream         em0
            downstream       em1,em2
            vifs             3 of 32
            mifs             0 of 32
            groups           3
            routes           4
            hosts            5
            group-limit      9
        "#]],
        );
    }
}
