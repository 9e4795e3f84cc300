//! mcast-proxyctl: one file a command family.

mod client;
pub mod command;
pub mod explain;
pub mod monitor;
pub mod show;
pub mod statement;
pub mod table;

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, ValueExt};

use self::client::Client;
use self::command::Command;
use crate::imsg::ctl::{Reply, Request};
use crate::sys::paths;

/// The first line of the usage message.
pub const USAGE: &str = "mcast-proxyctl [-bjpt] [-I name] [-s socket] [command [argument ...]]";
/// Octets of a line of commands from standard input at most.
const MAX_LINE: u64 = 1 << 20;

/// Why a command was not done; each has its exit status.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// 1: the daemon refused, for these reasons.
    Refused(Vec<String>),
    /// 2: no such command, or not used so.
    Usage(String),
    /// 3: no daemon at that socket, or it went away.
    NoDaemon(String),
    /// 0: nobody reads our output any more.
    Output(io::ErrorKind),
}

impl Failure {
    fn status(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::NoDaemon(_) => 3,
            Self::Output(io::ErrorKind::BrokenPipe) => 0,
            Self::Output(_) => 1,
        }
    }

    fn lines(&self) -> Vec<String> {
        match self {
            Self::Refused(reasons) => reasons.clone(),
            Self::Usage(why) | Self::NoDaemon(why) => vec![why.clone()],
            Self::Output(io::ErrorKind::BrokenPipe) => Vec::new(),
            Self::Output(kind) => vec![format!("standard output: {kind}")],
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error.kind())
    }
}

/// What the flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// -b: commands from standard input.
    pub batch: bool,
    /// -j: JSON.
    pub json: bool,
    /// -p: no colour.
    pub plain: bool,
    /// -t: no headings.
    pub bare: bool,
    /// -e: run this for each event.
    pub exec: Option<String>,
    /// -I: identity of the daemon.
    pub identity: Option<String>,
    /// -s: its control socket.
    pub socket: Option<PathBuf>,
}

impl Options {
    /// Takes the flags out of the arguments, wherever they stand; the words are left.
    ///
    /// # Errors
    /// [`Failure::Usage`].
    pub fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<(Self, Vec<String>), Failure> {
        let mut options = Self::default();
        let mut words = Vec::new();
        let mut parser = lexopt::Parser::from_args(arguments);
        let mut next = || -> Result<bool, lexopt::Error> {
            let Some(argument) = parser.next()? else { return Ok(false) };
            match argument {
                Arg::Short('b') => options.batch = true,
                Arg::Short('j') => options.json = true,
                Arg::Short('p') => options.plain = true,
                Arg::Short('t') => options.bare = true,
                Arg::Short('e') => options.exec = Some(parser.value()?.string()?),
                Arg::Short('I') => options.identity = Some(parser.value()?.string()?),
                Arg::Short('s') => options.socket = Some(parser.value()?.into()),
                Arg::Value(word) => words.push(word.string()?),
                Arg::Short(_) | Arg::Long(_) => return Err(argument.unexpected()),
            }
            Ok(true)
        };
        while next().map_err(|e| Failure::Usage(format!("{e}\nusage: {USAGE}")))? {}
        Ok((options, words))
    }

    fn socket(&self) -> PathBuf {
        let identity = self.identity.as_deref().unwrap_or(paths::NAME);
        self.socket.clone().unwrap_or_else(|| paths::control_socket(identity))
    }
}

/// Runs the tool with the arguments after its name.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let result = Options::parse(arguments).and_then(|(options, words)| {
        if options.batch {
            return batch(&options, &words);
        }
        let command = Command::parse(&words, options.exec.as_deref())?;
        run(&options, &mut Client::connect(&options.socket())?, command)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report("", &failure);
            failure.status().into()
        }
    }
}

fn report(place: &str, failure: &Failure) {
    for line in failure.lines() {
        eprintln!("mcast-proxyctl: {place}{line}");
    }
}

/// Runs each line of standard input; the result is the worst one.
fn batch(options: &Options, words: &[String]) -> Result<(), Failure> {
    if !words.is_empty() {
        return Err(Failure::Usage("-b takes its commands from standard input".into()));
    }
    let mut client = Client::connect(&options.socket())?;
    let mut worst = Ok(());
    let mut input = io::stdin().lock();
    for number in 1u64.. {
        let mut line = String::new();
        let len = io::Read::take(&mut input, MAX_LINE).read_line(&mut line)?;
        if len == 0 {
            break;
        }
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        if words.first().is_none_or(|w| w.starts_with('#')) {
            continue;
        }
        let done = Command::parse(&words, options.exec.as_deref())
            .and_then(|command| run(options, &mut client, command));
        if let Err(failure) = done {
            if matches!(failure, Failure::NoDaemon(_) | Failure::Output(_)) {
                return Err(failure);
            }
            report(&format!("line {number}: "), &failure);
            worst = Err(Failure::Refused(vec!["not every command was done".into()]));
        }
    }
    worst
}

fn run(options: &Options, client: &mut Client, command: Command) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let bold = !options.plain && !options.bare && io::stdout().is_terminal();
    match command {
        Command::Show(table) if options.json => show::json(client, table, &mut out)?,
        Command::Show(table) => show::text(client, table, !options.bare, bold, &mut out)?,
        Command::Monitor { exec } => {
            monitor::run(client, options.json, exec.as_deref(), &mut out)?;
        }
        Command::Explain { group, source } => {
            explain::run(client, (group, source), options.json, &mut out)?;
        }
        Command::Request(request) => ask(client, &request, &mut out)?,
    }
    Ok(out.flush()?)
}

/// Asks for something to be done, and prints what the daemon says of it.
fn ask(client: &mut Client, request: &Request, out: &mut impl Write) -> Result<(), Failure> {
    client.ask(request, |reply| {
        if let Reply::Text(lines) = reply {
            for line in lines {
                writeln!(out, "{line}")?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<(Options, Vec<String>), Failure> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_may_stand_anywhere() {
        let (options, words) = parse("-t show -I lab groups -js /tmp/x").unwrap();
        let expected = Options {
            json: true,
            bare: true,
            identity: Some("lab".into()),
            socket: Some("/tmp/x".into()),
            ..Options::default()
        };
        assert_eq!((options, words), (expected, vec!["show".into(), "groups".into()]));
    }

    #[test]
    fn the_socket_follows_the_identity() {
        let socket = |line| parse(line).unwrap().0.socket();
        assert_eq!(socket(""), PathBuf::from("/var/run/mcast-proxy.sock"));
        assert_eq!(socket("-I lab"), PathBuf::from("/var/run/lab.sock"));
        assert_eq!(socket("-I lab -s /tmp/x"), PathBuf::from("/tmp/x"));
    }

    #[test]
    fn unknown_flags_are_refused() {
        for line in ["-x", "--json", "-I"] {
            assert!(matches!(parse(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
