//! The manual pages name exactly the flags, exit statuses, files, log lines, commands, events,
//! counters and JSON members that exist.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use mcast_proxy::config::model::Role;
use mcast_proxy::ctl::explain::Explanation;
use mcast_proxy::ctl::{self, command, monitor};
use mcast_proxy::imsg::ctl::{
    Check, CheckRow, CounterRow, Event, EventKind, GroupRow, HostRow, InterfaceRow, LinkRow, Mode,
    OperStatus, Origin, Outcome, OutputRow, RouteRow, RouteState, SourceRow, Status, UpstreamRow,
};
use mcast_proxy::kroute::MfcKey;
use mcast_proxy::parent;
use mcast_proxy::sys::paths;
use mcast_proxy::wire::{Af, Discard, Kind};
use serde::Serialize;
use serde_json::Value;

type Words = BTreeSet<String>;

fn page(name: &str) -> String {
    let path = format!("{}/man/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The lines of the page between one that begins with `from` and the next that begins with `to`.
fn part<'a>(page: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let rest = page.lines().skip_while(|line| !line.starts_with(from)).skip(1);
    let lines: Vec<&str> = rest.take_while(|line| !line.starts_with(to)).collect();
    assert!(!lines.is_empty(), "{from}");
    lines
}

fn set<T: ToString>(words: impl IntoIterator<Item = T>) -> Words {
    words.into_iter().map(|w| w.to_string()).collect()
}

/// What the list items of the macro name: `.It Cm a , b`.
fn items(lines: &[&str], mdoc: &str) -> Words {
    let items = lines.iter().filter_map(|line| line.strip_prefix(&format!(".It {mdoc} ")));
    set(items.flat_map(|names| names.split(" , ")).map(|name| name.split(' ').next().unwrap()))
}

/// The flags of a usage line: `[-bjpt]` and `[-I name]`.
fn flags(usage: &str) -> Words {
    let groups = usage.split("[-").skip(1).map(|g| g.split([']', ' ']).next().unwrap());
    set(groups.flat_map(str::chars))
}

/// The items of the whole page.
fn all_items(page: &str, mdoc: &str) -> Words {
    items(&page.lines().collect::<Vec<_>>(), mdoc)
}

#[test]
fn flags_of_the_daemon_are_those_of_the_usage_message() {
    let page = page("mcast-proxy.8");
    assert_eq!(all_items(&page, "Fl"), flags(parent::USAGE));
    let synopsis = part(&page, ".Sh SYNOPSIS", ".Sh").join(" ");
    let named = synopsis.split("Fl ").skip(1).map(|f| f.split(' ').next().unwrap());
    assert_eq!(set(named.flat_map(str::chars)), flags(parent::USAGE));
}

/// The exit status of a program of the package.
fn status(program: &str, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_mcast-proxy")).with_file_name(program);
    let output = Command::new(program).args(arguments).output().unwrap();
    output.status.code().unwrap().to_string()
}

#[test]
fn exit_statuses_are_named() {
    let named = |name| {
        let page = page(name);
        set(part(&page, ".Sh EXIT STATUS", ".Sh").iter().filter_map(|l| l.strip_prefix(".It ")))
    };
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/mcast-proxy.conf");
    let daemon = ["-V", "-x", "-nf/nonexistent", "em0", "-t"].map(|a| status("mcast-proxy", &[a]));
    assert_eq!(daemon, ["0", "1", "1", "1", "1"]);
    assert_eq!(status("mcast-proxy", &["-n", "-f", shipped]), "0");
    assert_eq!(named("mcast-proxy.8"), set(daemon));
    // 0 and 1 take a daemon: the live tests see them.
    let ctl = [&["-x"][..], &["sho", "x"], &["-s", "/nonexistent"]];
    let ctl = ctl.map(|arguments| status("mcast-proxyctl", arguments));
    assert_eq!(ctl, ["2", "2", "3"]);
    assert_eq!(named("mcast-proxyctl.8"), &set(ctl) | &set(["0", "1"]));
}

#[test]
fn files_are_named() {
    let chroot = paths::chroot(paths::NAME).0;
    let files = [
        paths::configuration(paths::NAME),
        paths::pid_file(paths::NAME),
        paths::control_socket(paths::NAME),
        chroot.into(),
    ];
    let daemon = all_items(&page("mcast-proxy.8"), "Pa");
    for file in files.iter().map(|path| path.display().to_string()) {
        assert!(daemon.contains(&file), "{file}");
    }
    let socket = files[2].display().to_string();
    assert_eq!(all_items(&page("mcast-proxyctl.8"), "Pa"), set([socket]));
}

/// The text of all files below.
fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        text += &if entry.is_dir() { sources(&entry) } else { fs::read_to_string(entry).unwrap() };
    }
    text
}

#[test]
fn log_lines_and_environment_are_those_of_the_program() {
    let page = page("mcast-proxy.8");
    let source = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let lines = part(&page, ".Ss Log", ".Sh");
    let lines = lines.iter().filter_map(|line| line.strip_prefix(".It "));
    let mut count = 0;
    for line in lines {
        // What the program writes itself stands after Li, up to what it fills in.
        for written in line.split("Li ").skip(1) {
            let ends = [" Ar ", " Ns ", " Po "].iter().filter_map(|end| written.find(end)).min();
            let written = written[..ends.unwrap_or(written.len())].trim_matches(['"', ' ']);
            assert!(source.contains(written), "{line}: {written}");
            count += 1;
        }
    }
    assert!(count > 10);
    assert_eq!(all_items(&page, "Ev"), set(["NOTIFY_SOCKET", "PATH"]));
    let others = source.replace("env::var_os(\"PATH\")", "");
    assert!(!others.contains("env::var"), "the programs read nothing else of it");
}

#[test]
fn flags_are_those_of_the_usage_message() {
    let monitor = command::TABLE.iter().map(|entry| flags(entry.arguments));
    let ctl = monitor.fold(flags(ctl::USAGE), |all, some| &all | &some);
    let page = page("mcast-proxyctl.8");
    assert_eq!(items(&page.lines().collect::<Vec<_>>(), "Fl"), ctl);
}

#[test]
fn commands_are_those_of_the_table() {
    let page = page("mcast-proxyctl.8");
    let mut named = Words::new();
    for line in part(&page, "The commands are as follows", ".Ss Events") {
        // `.It Cm show Op Cm status` is two commands; `.It Xo` begins a command on several lines.
        let Some(line) = line.strip_prefix(".It Cm ").or(line.strip_prefix(".Cm ")) else {
            continue;
        };
        let words: Vec<&str> = line.split(' ').take_while(|w| *w != "Ar").collect();
        let plain = words.iter().take_while(|w| **w != "Op");
        named.insert(plain.copied().collect::<Vec<_>>().join(" "));
        if let [word, "Op", "Cm", more] = words[..] {
            named.insert(format!("{word} {more}"));
        }
    }
    assert_eq!(named, set(command::TABLE.iter().map(|entry| entry.words.join(" "))));
}

#[test]
fn events_and_their_environment_are_named() {
    let page = page("mcast-proxyctl.8");
    let lines = part(&page, ".Ss Events", ".Ss JSON");
    assert_eq!(items(&lines, "Cm"), set(EventKind::ALL.iter().map(|kind| kind.name())));
    let variables = monitor::environment(&event());
    assert_eq!(items(&lines, "Ev"), set(variables.iter().map(|(name, _)| name)));
}

#[test]
fn counters_are_those_of_the_wire() {
    let page = page("mcast-proxyctl.8");
    let named = items(&part(&page, ".Ss Counters", ".Sh"), "Cm");
    let kinds = set(Kind::ALL.iter().map(|kind| kind.name()));
    assert_eq!(named, &kinds | &set(Discard::ALL.iter().map(|reason| reason.name())));
}

fn event() -> Event {
    Event {
        time: 0,
        event: EventKind::Start,
        interface: None,
        family: None,
        group: None,
        source: None,
        outgoing_interfaces: Vec::new(),
        reason: None,
    }
}

/// All members of the value, those of objects inside too.
fn members(value: &Value) -> Words {
    match value {
        Value::Object(map) => {
            map.iter().flat_map(|(k, v)| [set([k]), members(v)]).flatten().collect()
        }
        Value::Array(values) => values.iter().flat_map(members).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Words::new(),
    }
}

/// That a row has these members and no others, which other programs read, and that the page names
/// them after `item`.
fn check_members(item: &str, expected: &str, row: &impl Serialize) {
    let has = members(&serde_json::to_value(row).unwrap());
    assert_eq!(has, set(expected.split_whitespace()), "{item}");
    let page = page("mcast-proxyctl.8");
    let page: String = part(&page, ".Ss JSON", ".Ss Counters").join("\n");
    let lines = part(&page, item, ".It");
    let named = lines.iter().filter_map(|line| line.strip_prefix(".Ql "));
    let named = set(named.map(|name| name.split(' ').next().unwrap()));
    let missing: Vec<&String> = has.difference(&named).collect();
    assert!(missing.is_empty(), "{item} lacks {missing:?}");
}

#[test]
fn json_members_of_memberships_are_named() {
    let (interface, group, host) = (String::new(), Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST);
    let (family, filter_mode) = (Af::Ip4, Mode::Include);
    let source = SourceRow { source: host.into(), expire: None, forwarding: true };
    let row = GroupRow {
        interface: interface.clone(),
        family,
        group,
        filter_mode,
        version: 3,
        expire: None,
        up_time: 0,
        last_reporter: None,
        is_static: false,
        sources: vec![source],
    };
    check_members(
        ".It Cm show groups",
        "interface family group filter-mode version expire up-time last-reporter static sources \
         source forwarding",
        &row,
    );
    let row = HostRow {
        interface: interface.clone(),
        family,
        group,
        host: host.into(),
        filter_mode,
        sources: Vec::new(),
        expire: None,
    };
    check_members(
        ".It Cm show hosts",
        "interface family group host filter-mode sources expire",
        &row,
    );
    let row =
        UpstreamRow { interface, family, group, filter_mode, sources: Vec::new(), is_static: true };
    check_members(
        ".It Cm show upstream",
        "interface family group filter-mode sources static",
        &row,
    );
}

#[test]
fn json_members_of_interfaces_are_named() {
    let link = LinkRow {
        vif: None,
        reason: None,
        version: 3,
        querier: true,
        querier_address: None,
        groups: 0,
        querier_version: None,
        querier_expire: None,
        query_interval: 125,
        query_max_response_time: 10,
        last_member_query_interval: 1,
        robustness_variable: 2,
        mrdisc_neighbors: Vec::new(),
    };
    let row = InterfaceRow {
        interface: String::new(),
        role: Role::Upstream,
        index: None,
        oper_status: OperStatus::Up,
        addresses: Vec::new(),
        ipv4: Some(link),
        ipv6: None,
    };
    check_members(
        ".It Cm show interfaces",
        "interface role index oper-status addresses ipv4 ipv6 vif version \
         querier querier-address groups reason x-querier-version x-querier-expire query-interval \
         query-max-response-time last-member-query-interval robustness-variable \
         mrdisc-neighbors",
        &row,
    );
}

#[test]
fn json_members_of_routes_counters_and_events_are_named() {
    let output = OutputRow { interface: String::new(), threshold: 1 };
    let row = RouteRow {
        family: Af::Ip4,
        source: None,
        group: String::new(),
        incoming_interface: String::new(),
        outgoing_interfaces: vec![output],
        origin: Origin::Proxy,
        state: RouteState::Waiting,
        reason: None,
        packets: 0,
        bytes: 0,
        wrong_interface: 0,
    };
    check_members(
        ".It Cm show routes",
        "family source group incoming-interface outgoing-interfaces interface threshold origin \
         state reason packets bytes wrong-interface",
        &row,
    );
    let row = CounterRow {
        interface: String::new(),
        family: Af::Ip4,
        received: [].into(),
        sent: [].into(),
        discarded: [].into(),
        other_ttl: 0,
    };
    check_members(
        ".It Cm show counters",
        "interface family received sent discarded x-other-ttl",
        &row,
    );
    check_members(
        ".It Cm show events",
        "time event interface family group source outgoing-interfaces reason",
        &event(),
    );
}

#[test]
fn checks_and_json_members_of_an_explanation_are_named() {
    let row = CheckRow {
        check: Check::Family,
        result: Outcome::Ok,
        interface: None,
        detail: String::new(),
        advice: None,
    };
    let (group, source) = (Ipv4Addr::LOCALHOST.into(), None);
    let explanation = Explanation { group, source, forwarded: true, checks: vec![row] };
    check_members(
        ".It Cm explain",
        "group source forwarded checks check result interface detail advice",
        &explanation,
    );
    let page = page("mcast-proxyctl.8");
    let named = items(&part(&page, ".Ss Checks", ".Ss"), "Cm");
    let checks = set(Check::ALL.iter().map(|check| check.name()));
    assert_eq!(named, &checks | &set(Outcome::ALL.iter().map(|outcome| outcome.name())));
}

#[test]
fn json_members_of_the_status_are_named() {
    let status = Status {
        version: String::new(),
        pid: 0,
        engine_pid: 0,
        engine_restarts: 0,
        engine_ended: None,
        up_time: 0,
        table: 0,
        ipv4: true,
        ipv6: true,
        route_key: MfcKey::SourceGroup,
        kernel_limits: Vec::new(),
        upstream: Vec::new(),
        downstream: Vec::new(),
        groups: 0,
        routes: 0,
        hosts: 0,
        vifs: 0,
        max_vifs: 32,
        mifs: 0,
        max_mifs: 32,
        limits: [].into(),
    };
    check_members(
        ".It Cm show status",
        "version pid engine-pid engine-restarts up-time table ipv4 ipv6 route-key upstream \
         downstream groups routes hosts engine-ended vifs max-vifs mifs max-mifs limits \
         kernel-limits",
        &status,
    );
}
