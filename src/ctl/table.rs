//! Tables as text: one heading line, columns that align.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::config::model::Role;
use crate::imsg::ctl::{
    CounterRow, Event, EventKind, GroupRow, HostRow, InterfaceRow, LinkRow, Mode, OperStatus,
    Origin, OutputRow, RouteRow, RouteState, Rows, SourceRow, Status, Table, UpstreamRow,
};
use crate::kroute::MfcKey;
use crate::wire::Af;

/// What stands where there is nothing to say.
const NONE: &str = "-";
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
        Table::Events => &["TIME", "EVENT", "INTERFACE", "SOURCE", "GROUP", "TO", "REASON"],
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
    let mut line = format!("{} {}", time(e.time), kind(e.event));
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            line.push_str(&format!(" {name} {value}"));
        }
    };
    say("interface", e.interface.clone());
    say("source", e.source.map(|s| s.to_string()));
    say("group", e.group.map(|g| g.to_string()));
    say("to", (!e.outgoing_interfaces.is_empty()).then(|| e.outgoing_interfaces.join(",")));
    say("reason", e.reason.clone());
    line
}

/// The name of a kind of event: the first argument of a command of `monitor -e`.
#[must_use]
pub const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Install => "install",
        EventKind::Remove => "remove",
        EventKind::Move => "move",
        EventKind::Join => "join",
        EventKind::Leave => "leave",
        EventKind::Interface => "interface",
        EventKind::Reload => "reload",
        EventKind::Start => "start",
    }
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
        ("table", s.table.to_string()),
        ("ipv4", yes(s.ipv4)),
        ("ipv6", yes(s.ipv6)),
        ("route-key", key.to_owned()),
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
            link(|l| l.reason.clone().unwrap_or_else(|| or_none(l.vif))),
            link(|l| l.version.to_string()),
            link(|l| if l.querier { "self".into() } else { or_none(l.querier_address) }),
            link(|l| l.groups.to_string()),
            list(addresses),
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
    [cells("received", &row.received), cells("sent", &row.sent), cells("discarded", &row.discarded)]
        .concat()
}

fn event(e: &Event) -> Vec<String> {
    vec![
        time(e.time),
        kind(e.event).to_owned(),
        or_none(e.interface.as_ref()),
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
