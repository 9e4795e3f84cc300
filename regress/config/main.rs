//! The configuration language through its public interface: `.in` files with what is printed for
//! them in `.ok` files, what ships with the program, the manual's keywords, files on disk.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mcast_proxy::config::model::{MAX_ROUTES, ROUTE_TIMEOUT, USER};
use mcast_proxy::config::{self, Disk, Errors, Files, Loaded};

mod disk;
mod random;
mod run_time;

/// The folder of the cases, so that messages name the files without their folder.
struct Cases(PathBuf);

impl Files for Cases {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        let (identity, bytes) = Disk::default().read(&self.0.join(path))?;
        Ok((identity, bytes))
    }

    fn glob(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        let found = Disk::default().glob(&self.0.join(pattern))?;
        Ok(found.iter().filter_map(|p| p.strip_prefix(&self.0).ok().map(PathBuf::from)).collect())
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn cases() -> PathBuf {
    root().join("regress/config")
}

/// Text alone, without any file.
struct Text(Vec<u8>);

impl Files for Text {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        if path != Path::new("t") {
            return Err("No such file or directory".to_owned());
        }
        Ok((path.to_owned(), self.0.clone()))
    }

    fn glob(&mut self, _: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(Vec::new())
    }
}

fn parse(text: impl AsRef<[u8]>) -> Result<Loaded, Errors> {
    config::load_from(&mut Text(text.as_ref().to_vec()), Path::new("t"), &[])
}

/// What the user sees: warnings and the configuration, or the errors. A case whose first line is
/// `# -D name=value` is read with that macro.
fn run(case: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(case).unwrap()).into_owned();
    let macros: Vec<(String, String)> = text
        .lines()
        .map_while(|line| line.strip_prefix("# -D ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut files = Cases(case.parent().unwrap().to_owned());
    match config::load_from(&mut files, Path::new(case.file_name().unwrap()), &macros) {
        Ok(loaded) => {
            let text = config::print(&loaded.config);
            let again = parse(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", case.display()));
            assert_eq!(again.config, loaded.config, "{}: not the same model", case.display());
            let warnings = loaded.warnings.iter().fold(String::new(), |mut all, line| {
                let _ = writeln!(all, "{line}");
                all
            });
            warnings + &text
        }
        Err(errors) => format!("{errors}\n"),
    }
}

/// Every case prints what its `.ok` says. With REGRESS_UPDATE set the `.ok` files are written, to
/// be read before they are committed.
#[test]
fn cases_print_what_is_expected() {
    let update = std::env::var_os("REGRESS_UPDATE").is_some();
    let mut wrong = String::new();
    let mut count = 0;
    let mut inputs: Vec<PathBuf> =
        fs::read_dir(cases()).unwrap().map(|e| e.unwrap().path()).collect();
    inputs.retain(|path| path.extension().is_some_and(|e| e == "in"));
    inputs.sort();
    for case in inputs {
        let printed = run(&case);
        let ok = case.with_extension("ok");
        if update {
            fs::write(&ok, &printed).unwrap();
        }
        let expected = fs::read_to_string(&ok).unwrap_or_default();
        if printed != expected {
            let _ = writeln!(
                wrong,
                "== {}\n-- expected\n{expected}-- printed\n{printed}",
                case.display()
            );
        }
        count += 1;
    }
    assert!(count > 0, "no cases");
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn shipped_configurations_are_accepted_without_warnings() {
    let mut paths = vec![root().join("conf/mcast-proxy.conf")];
    for entry in fs::read_dir(root().join("conf/examples")).unwrap() {
        paths.push(entry.unwrap().path());
    }
    assert!(paths.len() > 6, "examples are missing");
    for path in paths {
        let loaded = config::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(loaded.warnings, Vec::<String>::new());
        assert_eq!(parse(config::print(&loaded.config)).unwrap().config, loaded.config);
    }
}

/// The configuration that the README shows.
#[test]
fn the_readme_shows_a_configuration_without_warnings() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("    # /etc/mcast-proxy.conf\n").unwrap();
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let loaded = parse(lines.collect::<Vec<_>>().join("\n")).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.config.interfaces.len(), 3);
}

/// The keywords that the manual marks with `Ic`.
fn manual_keywords() -> BTreeSet<String> {
    let manual = fs::read_to_string(root().join("man/mcast-proxy.conf.5")).unwrap();
    let mut words = BTreeSet::new();
    for line in manual.lines().filter(|l| l.starts_with('.')) {
        let mut marked = false;
        for word in line.trim_start_matches('.').split_whitespace() {
            match word {
                "Ic" => marked = true,
                "Ar" | "Pa" | "Sy" | "Em" | "Pq" | "Ns" | "No" | "Li" | "Op" | "It" | "Oc"
                | "Oo" => marked = false,
                _ if marked && word.len() > 1 => {
                    words.insert(word.to_owned());
                }
                _ => {}
            }
        }
    }
    words
}

#[test]
fn manual_grammar_and_printer_have_the_same_keywords() {
    let grammar: BTreeSet<String> = config::keywords().map(str::to_owned).collect();
    assert_eq!(manual_keywords(), grammar);
    let everything = parse(fs::read(cases().join("keywords.in")).unwrap()).unwrap();
    let printed = config::print(&everything.config);
    let printed: BTreeSet<&str> =
        printed.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').collect();
    let missing: Vec<&String> = grammar.iter().filter(|w| !printed.contains(w.as_str())).collect();
    // `include` is resolved when read.
    assert_eq!(missing, ["include"]);
}

/// Every range in the manual is where the parser draws the line.
#[test]
fn ranges_are_those_of_the_manual() {
    let manual = fs::read_to_string(root().join("man/mcast-proxy.conf.5")).unwrap();
    let mut word = "";
    let mut count = 0;
    for line in manual.lines() {
        if let Some(rest) = line.strip_prefix(".It Ic ") {
            word = rest.split(' ').next().unwrap();
        }
        let Some((least, most)) =
            line.strip_prefix("Range: ").and_then(|r| r.trim_end_matches('.').split_once(" to "))
        else {
            continue;
        };
        let statement = |value: &str| match word {
            "threshold" => format!("interface a {{ {word} {value} }}"),
            "preference" => format!("interface a {{ upstream; {word} {value} }}"),
            "query-interval" => format!("query-response-interval 100ms\n{word} {value}"),
            "query-response-interval" => format!("query-interval 31744\n{word} {value}"),
            _ => format!("{word} {value}"),
        };
        for good in [least, most] {
            assert!(parse(statement(good)).is_ok(), "{word} {good}");
        }
        let beyond = |value: &str, step: i64| {
            let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
            let number: i64 = value[..digits].parse().unwrap();
            format!("{}{}", number + step, &value[digits..])
        };
        for bad in [beyond(least, -1), beyond(most, 1)] {
            assert!(parse(statement(&bad)).is_err(), "{word} {bad}");
        }
        count += 1;
    }
    assert_eq!(count, 16, "statements with a range");
}

/// The words of the manual that have a default, with it; the system's own paths are left out.
fn manual_defaults() -> Vec<(String, String)> {
    let manual = fs::read_to_string(root().join("man/mcast-proxy.conf.5")).unwrap();
    let mut word = "";
    let mut defaults = Vec::new();
    let mut lines = manual.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix(".It Ic ") {
            word = rest.split(' ').next().unwrap();
        }
        let Some(rest) = line.strip_prefix("Default:") else { continue };
        let value = match rest.trim() {
            "" => lines.next().unwrap().strip_prefix(".Ic "),
            value => Some(value),
        };
        let value = value.map(|v| v.trim_end_matches('.').trim().to_owned());
        defaults.extend(value.map(|value| (word.to_owned(), value)));
    }
    defaults
}

/// What the manual calls the default is what holds where nothing is said.
#[test]
fn defaults_are_those_of_the_manual() {
    let settings = |global: &str, local: &str| {
        let text = format!("{global}\ninterface a {{ upstream; {local} }}");
        let loaded = parse(&text).unwrap_or_else(|e| panic!("{e}"));
        loaded.config.resolve("a").unwrap()
    };
    let defaults = manual_defaults();
    for (word, value) in &defaults {
        let said = format!("{word} {value}");
        match word.as_str() {
            "max-routes" => assert_eq!(*value, MAX_ROUTES.to_string()),
            "route-timeout" => {
                assert_eq!(parse(&said).unwrap().config.route_timeout, Some(ROUTE_TIMEOUT));
            }
            "user" => assert_eq!(value, USER),
            "last-member-query-count" => {
                assert_eq!(value, "the robustness");
                assert_eq!(settings("robustness 5", "").last_member_query_count, 5);
            }
            "startup-query-count" => {
                assert_eq!(value, "the robustness");
                assert_eq!(settings("robustness 5", "").startup_query_count, 5);
            }
            "startup-query-interval" => {
                assert_eq!(value, "a quarter of the query interval");
                assert_eq!(settings("query-interval 100", "").startup_query_interval.0, 25_000);
            }
            _ => assert_eq!(settings("", &said), settings("", ""), "{said}"),
        }
    }
    assert_eq!(defaults.len(), 26, "words with a default");
}
