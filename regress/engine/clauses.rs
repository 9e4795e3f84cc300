//! CLAUSES.md names tests that exist, and all scenarios.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const SCENARIOS: &str = "regress/engine/scenarios";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn table() -> String {
    read("regress/engine/CLAUSES.md")
}

/// What the tables name in their last column.
fn named() -> BTreeSet<String> {
    let table = table();
    let rows = table.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    let last = rows.filter_map(|row| row.trim_end_matches(" |").rsplit_once(" | "));
    last.flat_map(|(_, tests)| tests.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

/// The scenarios of a file that are run, with their text.
fn scenarios(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    let list = text.split_once("scenarios! {").and_then(|(_, rest)| rest.split_once('}'));
    let names = list.map(|(names, _)| names.split_whitespace().collect::<Vec<_>>());
    let module = path.file_stem().unwrap().to_str().unwrap();
    let body = |name: &str| {
        let start = text.find(&format!("\nfn {name}<")).unwrap() + 1;
        let rest = &text[start..];
        rest[..rest.find("\n}\n").unwrap()].to_owned()
    };
    let named = names.unwrap_or_default().into_iter();
    named.map(|name| (format!("{module}::{name}"), body(name))).collect()
}

fn all_scenarios() -> Vec<(String, String)> {
    let files = fs::read_dir(root().join(SCENARIOS)).unwrap().map(|f| f.unwrap().path());
    files.filter(|f| f.file_name().unwrap() != "mod.rs").flat_map(|f| scenarios(&f)).collect()
}

#[test]
fn every_test_that_is_named_exists() {
    let vectors = read("regress/wire/vectors.json") + &read("regress/wire/further.json");
    let scenarios: BTreeSet<String> = all_scenarios().into_iter().map(|(name, _)| name).collect();
    let exists = |name: &str| match (name.strip_prefix("vector:"), name.rsplit_once("::")) {
        (Some(vector), _) => vectors.contains(&format!("\"{vector}\"")),
        (None, Some((file, test))) if file.contains('/') => {
            let text = read(format!("{file}.rs"));
            text.contains(&format!("fn {test}<")) || text.contains(&format!("fn {test}("))
        }
        (None, _) => scenarios.contains(name),
    };
    let missing: Vec<String> = named().into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn every_scenario_is_named() {
    let named = named();
    let all = all_scenarios();
    assert!(all.len() > 100, "{}", all.len());
    let left: Vec<&String> =
        all.iter().map(|(name, _)| name).filter(|n| !named.contains(*n)).collect();
    assert!(left.is_empty(), "not in CLAUSES.md: {left:#?}");
}

/// Each exception of a system stands in the last table.
#[test]
fn every_exception_is_named() {
    let table = table();
    let (_, exceptions) = table.split_once("## What a kernel cannot do").unwrap();
    for (name, text) in all_scenarios() {
        for cannot in ["TellSources", "Wait", "TellWrongInterface", "StarG"] {
            let row = exceptions.lines().find(|l| l.starts_with(&format!("| {cannot} |")));
            let told = row.is_some_and(|row| row.contains(&format!("`{name}`")));
            let asserted = text.contains(&format!("Cannot::{cannot}"));
            assert_eq!(told, asserted, "{cannot}: {name}");
        }
        assert!(!text.contains("system =="), "{name}: a system is no reason");
    }
}
