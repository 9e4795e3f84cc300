//! The table of kernel calls in kroute's documentation: each function is in it, and each call that
//! Linux's part makes.

use std::collections::BTreeSet;

const MODULE: &str = include_str!("../../src/kroute/mod.rs");
const MEMBERSHIP: &str = include_str!("../../src/kroute/membership.rs");
/// What makes calls on Linux.
const LINUX: [&str; 7] = [
    include_str!("../../src/kroute/linux.rs"),
    include_str!("../../src/kroute/linux/monitor.rs"),
    include_str!("../../src/kroute/linux/netlink.rs"),
    include_str!("../../src/kroute/linux/rules.rs"),
    include_str!("../../src/kroute/membership/group_req.rs"),
    include_str!("../../src/kroute/routing_socket.rs"),
    include_str!("../../src/kroute/socket.rs"),
];
/// How the names of calls and options begin.
const CALLS: [&str; 9] =
    ["MRT_", "MRT6_", "SIOCGET", "RTM_", "SO_", "IP_", "MCAST_", "ICMP6_FILTER", "NETLINK_"];
/// Those of the BSDs in files that all systems share.
const ELSEWHERE: [&str; 1] = ["SO_RTABLE"];

/// The rows of the table: the functions and what Linux does for them.
fn rows() -> Vec<(&'static str, &'static str)> {
    let row = |line: &'static str| {
        let mut cells = line.strip_prefix("//! | [")?.split(" | ");
        Some((cells.next()?, cells.next()?))
    };
    MODULE.lines().filter_map(row).collect()
}

/// Words of capital letters in code, comments left out.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
}

#[test]
fn every_function_is_in_the_table() {
    let rows = rows();
    let named: Vec<&str> = rows.iter().flat_map(|(f, _)| f.split('`').skip(1).step_by(2)).collect();
    let (mut of, mut missing) = ("", Vec::new());
    for line in MODULE.lines() {
        if let Some(name) = line.strip_prefix("pub trait ") {
            of = name.split(':').next().unwrap_or_default();
        } else if line == "}" || line.starts_with("impl ") {
            of = "";
        }
        let inside = line.strip_prefix("    fn ").filter(|_| !of.is_empty());
        let free = line.strip_prefix("pub fn ");
        for function in inside.into_iter().chain(free) {
            let name = function.split('(').next().unwrap_or_default();
            let whole = if inside.is_some() { format!("{of}::{name}") } else { name.to_owned() };
            missing.extend((!named.contains(&whole.as_str())).then_some(whole));
        }
    }
    for line in MEMBERSHIP.lines().filter_map(|line| line.strip_prefix("    pub fn ")) {
        let whole = format!("Memberships::{}", line.split('(').next().unwrap_or_default());
        missing.extend((!named.contains(&whole.as_str())).then_some(whole));
    }
    assert_eq!(missing, [""; 0]);
}

#[test]
fn every_call_of_linux_is_in_the_table() {
    let rows = rows();
    let linux: Vec<&str> = rows.iter().map(|(_, linux)| *linux).collect();
    let named: BTreeSet<&str> = linux.iter().flat_map(|cell| words(cell)).collect();
    let made: BTreeSet<&str> = LINUX.iter().flat_map(|text| words(text)).collect();
    let is_call = |word: &&str| CALLS.iter().any(|begin| word.starts_with(begin));
    let missing: Vec<&str> =
        made.into_iter().filter(is_call).filter(|w| !named.contains(w)).collect();
    assert_eq!(missing, ELSEWHERE);
}
