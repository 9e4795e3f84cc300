//! The table of commands: their words, how they are matched and what follows them.

use std::net::IpAddr;

use super::{Failure, statement};
use crate::config::parse_address;
use crate::imsg::ctl::{Request, Table};

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Print a table.
    Show(Table),
    /// Print each event, or run a command for it.
    Monitor {
        /// The command.
        exec: Option<String>,
    },
    /// Tell why a group is or is not forwarded.
    Explain {
        /// The group.
        group: IpAddr,
        /// Only packets of this source.
        source: Option<IpAddr>,
    },
    /// Have the daemon do something.
    Request(Request),
}

/// A command of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its words; each may be shortened as long as it stays the only one that begins so.
    pub words: &'static [&'static str],
    /// What follows them, for the usage message.
    pub arguments: &'static str,
    make: fn(&[String]) -> Result<Command, String>,
}

macro_rules! show {
    ($word:literal, $table:ident) => {
        Entry {
            words: &["show", $word],
            arguments: "",
            make: |rest| none(rest).map(|()| Command::Show(Table::$table)),
        }
    };
}

macro_rules! request {
    ([$($word:literal),+], $arguments:literal, $make:expr) => {
        Entry { words: &[$($word),+], arguments: $arguments, make: |rest| $make(rest).map(Command::Request) }
    };
}

/// All commands.
pub const TABLE: &[Entry] = &[
    Entry {
        words: &["show"],
        arguments: "",
        make: |rest| none(rest).map(|()| Command::Show(Table::Status)),
    },
    show!("status", Status),
    show!("interfaces", Interfaces),
    show!("groups", Groups),
    show!("hosts", Hosts),
    show!("upstream", Upstream),
    show!("routes", Routes),
    show!("counters", Counters),
    show!("events", Events),
    show!("config", Config),
    request!(["join"], "interface group[/len] [source]", |rest| {
        statement::join(rest).map(Request::Add)
    }),
    request!(["leave"], "interface group[/len] [source]", |rest| {
        statement::join(rest).map(Request::Remove)
    }),
    request!(
        ["add"],
        "interface [except net,...] [source[/len]] group[/len] [mask | scope] interface ...",
        |rest| statement::route(rest).map(Request::Add)
    ),
    request!(
        ["remove"],
        "interface [except net,...] [source[/len]] group[/len] [mask | scope] [interface ...]",
        |rest| statement::whole_route(rest).map(Request::Remove)
    ),
    request!(["flush"], "[group [source]]", |rest| {
        flow(rest).map(|(group, source)| Request::Flush { group, source })
    }),
    Entry {
        words: &["explain"],
        arguments: "group [source]",
        make: |rest| match flow(rest)? {
            (Some(group), source) => Ok(Command::Explain { group, source }),
            (None, _) => Err("explain which group?".into()),
        },
    },
    request!(["reload"], "", |rest| none(rest).map(|()| Request::Reload)),
    request!(["log", "brief"], "", |rest| none(rest).map(|()| Request::Log { verbose: false })),
    request!(["log", "verbose"], "", |rest| none(rest).map(|()| Request::Log { verbose: true })),
    request!(["stop"], "", |rest| none(rest).map(|()| Request::Stop)),
    Entry {
        words: &["monitor"],
        arguments: "[-e command]",
        make: |rest| none(rest).map(|()| Command::Monitor { exec: None }),
    },
];

fn none(rest: &[String]) -> Result<(), String> {
    rest.first().map_or(Ok(()), |word| Err(too_many(word)))
}

fn too_many(word: &str) -> String {
    format!("'{word}' is one argument too many")
}

/// A group and a source, or a group, or nothing.
fn flow(rest: &[String]) -> Result<(Option<IpAddr>, Option<IpAddr>), String> {
    let (group, source) = match rest {
        [] => (None, None),
        [group] => (Some(parse_address(group)?), None),
        [group, source] => (Some(parse_address(group)?), Some(parse_address(source)?)),
        [_, _, word, ..] => return Err(too_many(word)),
    };
    if let Some(group) = group.filter(|g| !g.is_multicast()) {
        return Err(format!("'{group}' is not multicast"));
    }
    if let Some((group, source)) = group.zip(source)
        && (group.is_ipv4() != source.is_ipv4() || source.is_multicast())
    {
        return Err(format!("'{source}' cannot be the source of '{group}'"));
    }
    Ok((group, source))
}

impl Entry {
    /// Its words and arguments.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{} {}", self.words.join(" "), self.arguments).trim_end().to_owned()
    }
}

impl Command {
    /// Reads a command; none is `show status`. `exec` is the value of -e.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(words: &[String], exec: Option<&str>) -> Result<Self, Failure> {
        let status = ["show".to_owned()];
        let (entry, rest) = find(if words.is_empty() { &status } else { words })?;
        let usage = |why| Failure::Usage(format!("{why}\nusage: mcast-proxyctl {}", entry.usage()));
        match ((entry.make)(rest).map_err(usage)?, exec) {
            (Self::Monitor { .. }, exec) => Ok(Self::Monitor { exec: exec.map(String::from) }),
            (_, Some(_)) => Err(usage("-e goes with monitor only".into())),
            (command, None) => Ok(command),
        }
    }
}

/// The entry whose words the first ones are or begin, with the arguments after them.
fn find(words: &[String]) -> Result<(&'static Entry, &[String]), Failure> {
    let mut left: Vec<&Entry> = TABLE.iter().collect();
    let mut rest = words;
    for depth in 0.. {
        let longer = left.iter().any(|e| e.words.len() > depth);
        let whole = left.iter().find(|e| e.words.len() == depth).copied();
        match (whole, rest.split_first()) {
            (Some(entry), None) => return Ok((entry, rest)),
            (Some(entry), Some(_)) if !longer => return Ok((entry, rest)),
            (None, None) => return Err(choice("incomplete command", &left)),
            (_, Some((word, tail))) => {
                left = narrow(&left, depth, word)?;
                rest = tail;
            }
        }
    }
    Err(choice("unknown command", &left))
}

/// Those whose word at `depth` is the given one, or the only one that begins so.
fn narrow(
    left: &[&'static Entry],
    depth: usize,
    word: &str,
) -> Result<Vec<&'static Entry>, Failure> {
    let at = |entry: &Entry| entry.words.get(depth).copied();
    let exact: Vec<&Entry> = left.iter().copied().filter(|e| at(e) == Some(word)).collect();
    if !exact.is_empty() {
        return Ok(exact);
    }
    let begun = |e: &&'static Entry| at(e).is_some_and(|w| w.starts_with(word));
    let begun: Vec<&Entry> = left.iter().copied().filter(begun).collect();
    let first = begun.first().and_then(|e| at(e));
    if begun.is_empty() {
        return Err(choice(&format!("unknown command '{word}'"), left));
    }
    if begun.iter().any(|e| at(e) != first) {
        return Err(choice(&format!("'{word}' can mean more than one command"), &begun));
    }
    Ok(begun)
}

fn choice(why: &str, entries: &[&Entry]) -> Failure {
    let lines: Vec<String> =
        entries.iter().map(|e| format!("       mcast-proxyctl {}", e.usage())).collect();
    let list = lines.join("\n");
    Failure::Usage(format!("{why}\nusage: {}", list.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, Failure> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        Command::parse(&words, None)
    }

    fn fails(line: &str, with: &str) {
        match parse(line) {
            Err(Failure::Usage(why)) => assert!(why.contains(with), "{line}: {why}"),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_entry_is_found_by_its_words() {
        for entry in TABLE {
            let words: Vec<String> = entry.words.iter().map(|w| (*w).to_owned()).collect();
            let (found, rest) = find(&words).unwrap();
            assert_eq!((found.words, rest.len()), (entry.words, 0));
        }
    }

    #[test]
    fn words_can_be_shortened() {
        assert_eq!(parse(""), Ok(Command::Show(Table::Status)));
        assert_eq!(parse("sh g"), Ok(Command::Show(Table::Groups)));
        assert_eq!(parse("lo v"), parse("log verbose"));
        assert_eq!(parse("log brief"), Ok(Command::Request(Request::Log { verbose: false })));
        assert_eq!(parse("rel"), Ok(Command::Request(Request::Reload)));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_usage() {
        fails("s", "'s' can mean more than one command");
        fails("s", "mcast-proxyctl stop");
        fails("show x", "unknown command 'x'");
        fails("show x", "mcast-proxyctl show groups");
        fails("log", "incomplete command");
        fails("reload now", "'now' is one argument too many");
        fails("join em0", "usage: mcast-proxyctl join interface group[/len] [source]");
    }

    #[test]
    fn flush_narrows() {
        let flush = |group: Option<&str>, source: Option<&str>| {
            let parse = |t: &str| t.parse().unwrap();
            let (group, source) = (group.map(parse), source.map(parse));
            Ok(Command::Request(Request::Flush { group, source }))
        };
        assert_eq!(parse("flush"), flush(None, None));
        assert_eq!(parse("flush ff0e::1"), flush(Some("ff0e::1"), None));
        assert_eq!(parse("flush 239.1.1.1 10.0.0.1"), flush(Some("239.1.1.1"), Some("10.0.0.1")));
        fails("flush 10.0.0.1", "'10.0.0.1' is not multicast");
        fails("flush 239.1.1.1 fd00::1", "'fd00::1' cannot be the source of '239.1.1.1'");
        fails("explain 239.1.1.1 239.1.1.2", "'239.1.1.2' cannot be the source");
        fails("flush 239.1.1.1 10.0.0.1 x", "'x' is one argument too many");
    }

    #[test]
    fn a_command_to_run_goes_with_monitor_only() {
        let exec = Some("./script");
        let monitor = Command::parse(&["mon".to_owned()], exec);
        assert_eq!(monitor, Ok(Command::Monitor { exec: exec.map(String::from) }));
        assert!(matches!(Command::parse(&["reload".to_owned()], exec), Err(Failure::Usage(_))));
    }
}
