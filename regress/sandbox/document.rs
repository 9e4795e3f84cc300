//! SECURITY.md says what the program does, and names tests that exist.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use mcast_proxy::imsg::DescriptorKind;
use mcast_proxy::sys::sandbox::seccomp::{self, Calls};

use crate::confined::{Outcome, Who, alone, outcome};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The words of the indented block after the line that ends so, below the heading.
fn block(heading: &str, before: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, part) = text.split_once(&format!("\n### {heading}\n")).unwrap();
    let (_, rest) = part.split_once(&format!("{before}\n\n")).unwrap();
    let lines = rest.lines().take_while(|line| line.starts_with("    "));
    lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn names(calls: &Calls) -> BTreeSet<String> {
    let all = calls.free.iter().chain(&calls.bound);
    all.map(|(name, _)| name.trim_start_matches("SYS_").to_owned()).collect()
}

/// The system calls are those of x86_64; others lack some.
#[test]
fn lists_are_those_of_the_program() {
    for (heading, calls) in
        [("The parent", seccomp::parent_calls()), ("The engine", seccomp::engine_calls())]
    {
        let listed = block(heading, "system calls:");
        if cfg!(target_arch = "x86_64") {
            assert_eq!(listed, names(&calls), "{heading}");
        } else {
            assert!(listed.is_superset(&names(&calls)), "{heading}");
        }
    }
}

#[test]
fn capabilities_are_those_of_the_parent() {
    alone("document::capabilities_are_those_of_the_parent", || {
        let listed = block("The parent", "starting and ending engines:");
        let listed: caps::CapsHashSet =
            listed.iter().map(|name| name.parse::<Capability>().unwrap()).collect();
        let same = |_: &_| {
            let held = [CapSet::Permitted, CapSet::Effective].map(|set| caps::read(None, set));
            let same = held.iter().all(|held| held.as_ref().is_ok_and(|held| *held == listed));
            same.then_some(()).ok_or_else(|| io::Error::from_raw_os_error(libc::EPERM))
        };
        assert_eq!(outcome(Who::Parent, &same), Outcome::Done);
    });
}

#[test]
fn descriptors_are_those_that_an_engine_is_given() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, table) = text.split_once("| descriptor | for |\n| --- | --- |\n").unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| ")?.split(' ').next());
    // A kind more breaks the build here.
    let name = |kind| match kind {
        DescriptorKind::Igmp => "Igmp",
        DescriptorKind::Icmp6 => "Icmp6",
        DescriptorKind::Control => "Control",
        DescriptorKind::Syslog => "Syslog",
    };
    let kinds = [
        DescriptorKind::Igmp,
        DescriptorKind::Icmp6,
        DescriptorKind::Control,
        DescriptorKind::Syslog,
    ];
    assert!(rows.eq(kinds.map(name)));
}

/// Whether the file has a test of this name: as a function, or in the list of a macro.
fn has_test(file: &Path, test: &str) -> bool {
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    let listed = |end: char| text.contains(&format!("\n    {test}{end}"));
    text.contains(&format!("fn {test}(")) || ['(', ' ', '\n'].into_iter().any(listed)
}

#[test]
fn tests_that_are_named_exist() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let quoted = text.split('`').skip(1).step_by(2);
    let mut count = 0;
    for (file, test) in quoted.filter_map(|name| name.split_once("::")) {
        assert!(has_test(Path::new(&format!("{file}.rs")), test), "{file}::{test}");
        count += 1;
    }
    assert!(count > 30, "{count} tests are named");
}
