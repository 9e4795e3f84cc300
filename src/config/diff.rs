//! What changed between two configurations, for people.

use std::collections::{HashMap, HashSet};

use super::model::{Config, InterfaceBlock};
use super::print::{globals, locals, role};
use super::settings::setting;

/// The changes, one line each; empty where nothing changed.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = lines("", &globals(old), &globals(new));
    let blocks =
        |c: &'_ Config| -> Vec<String> { c.interfaces.iter().map(|b| b.name.0.clone()).collect() };
    let before: HashMap<&str, &InterfaceBlock> =
        old.interfaces.iter().map(|b| (b.name.0.as_str(), b)).collect();
    let after: HashSet<&str> = new.interfaces.iter().map(|b| b.name.0.as_str()).collect();
    for block in old.interfaces.iter().filter(|b| !after.contains(b.name.0.as_str())) {
        changes.push(format!("removed: interface {}", block.name.0));
    }
    for block in &new.interfaces {
        let prefix = format!("interface {}: ", block.name.0);
        match before.get(block.name.0.as_str()) {
            None => {
                let role = role(block.role).unwrap_or("static");
                changes.push(format!("added: interface {} ({role})", block.name.0));
            }
            Some(old) => changes.extend(lines(&prefix, &locals(old), &locals(block))),
        }
    }
    if reordered(&blocks(old), &blocks(new)) {
        changes.push("changed: the order of the interface blocks".to_owned());
    }
    let text = |c: &Config| -> Vec<String> {
        let routes = c.mroutes.iter().map(ToString::to_string);
        c.mgroups.iter().map(ToString::to_string).chain(routes).collect()
    };
    changes.extend(lines("", &text(old), &text(new)));
    changes
}

/// The changes between two lists of statements.
fn lines(prefix: &str, old: &[String], new: &[String]) -> Vec<String> {
    let (before, after): (HashSet<&String>, HashSet<&String>) =
        (old.iter().collect(), new.iter().collect());
    let mut gone: Vec<&String> = old.iter().filter(|line| !after.contains(line)).collect();
    let mut changes = Vec::new();
    for line in new.iter().filter(|line| !before.contains(line)) {
        let replaced = single(line).and_then(|slot| {
            gone.iter().position(|old| single(old) == Some(slot)).map(|n| gone.remove(n))
        });
        changes.push(match replaced {
            Some(old) => format!("{prefix}changed: {old} -> {line}"),
            None => format!("{prefix}added: {line}"),
        });
    }
    let removed = gone.into_iter().map(|line| format!("{prefix}removed: {line}"));
    changes.extend(removed);
    if reordered(old, new) {
        changes.push(format!("{prefix}changed: the order of the statements"));
    }
    changes
}

/// What a statement sets where there can be only one such.
fn single(line: &str) -> Option<&str> {
    match line.split(' ').next()? {
        "upstream" | "downstream" | "disabled" => Some("role"),
        word
        @ ("max-routes" | "route-timeout" | "user" | "chroot" | "threshold" | "preference") => {
            Some(word)
        }
        word => setting(word).map(|s| s.word),
    }
}

/// Whether what both have stands in another order.
fn reordered(old: &[String], new: &[String]) -> bool {
    let (before, after): (HashSet<&String>, HashSet<&String>) =
        (old.iter().collect(), new.iter().collect());
    let kept = old.iter().filter(|line| after.contains(line));
    !kept.eq(new.iter().filter(|line| before.contains(line)))
}
