//! The command line of mcast-proxy(8).

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::sys::paths;

/// What is printed for a wrong command line.
pub const USAGE: &str = "usage: mcast-proxy [-dnVv] [-D macro=value] [-f file] [-I name] \
                         [-s socket] [-t table]";

/// Octets of an identity at most.
const MAX_IDENTITY: usize = 64;
/// The highest table: Linux makes interface names of the number (`net/ipv4/ipmr.c`,
/// `ip_mroute_setsockopt`); OpenBSD, `RT_TABLEID_MAX`.
const MAX_TABLE: u32 = if cfg!(target_os = "linux") { 999_999_999 } else { 255 };

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) macros: Vec<(String, String)>,
    pub(super) foreground: bool,
    pub(super) file: Option<PathBuf>,
    pub(super) identity: String,
    pub(super) check: bool,
    pub(super) socket: Option<PathBuf>,
    pub(super) table: u32,
    pub(super) version: bool,
    pub(super) verbose: bool,
}

impl Arguments {
    pub(super) fn config_file(&self) -> PathBuf {
        self.file.clone().unwrap_or_else(|| paths::configuration(&self.identity))
    }

    pub(super) fn control_socket(&self) -> PathBuf {
        self.socket.clone().unwrap_or_else(|| paths::control_socket(&self.identity))
    }
}

/// Reads the command line; an error is one line.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    let mut parser = Parser::from_iter(arguments);
    let mut said = Arguments { identity: paths::NAME.to_owned(), ..Arguments::default() };
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Arg::Short('D') => said.macros.push(definition(&text(&mut parser)?)?),
            Arg::Short('d') => said.foreground = true,
            Arg::Short('f') => said.file = Some(value(&mut parser)?.into()),
            Arg::Short('I') => said.identity = identity(text(&mut parser)?)?,
            Arg::Short('n') => said.check = true,
            Arg::Short('s') => said.socket = Some(value(&mut parser)?.into()),
            Arg::Short('t') => said.table = table(&text(&mut parser)?)?,
            Arg::Short('V') => said.version = true,
            Arg::Short('v') => said.verbose = true,
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => {
                return Err(argument.unexpected().to_string());
            }
        }
    }
    Ok(said)
}

fn value(parser: &mut Parser) -> Result<OsString, String> {
    parser.value().map_err(|e| e.to_string())
}

fn text(parser: &mut Parser) -> Result<String, String> {
    value(parser)?.string().map_err(|e| e.to_string())
}

fn definition(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("-D {text}: want macro=value"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The stem of file names: no path, nothing hidden.
fn identity(name: String) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty()
        || name.len() > MAX_IDENTITY
        || name.starts_with('.')
        || !name.chars().all(good)
    {
        return Err(format!(
            "-I {name}: want at most {MAX_IDENTITY} letters, digits, '-', '_' and '.'"
        ));
    }
    Ok(name)
}

fn table(text: &str) -> Result<u32, String> {
    if cfg!(target_os = "freebsd") {
        return Err("-t: FreeBSD has one multicast routing table; use vnet jails".to_owned());
    }
    let number = text.parse().ok().filter(|number| *number <= MAX_TABLE);
    number.ok_or_else(|| format!("-t {text}: want a number from 0 to {MAX_TABLE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Arguments, String> {
        parse(std::iter::once("mcast-proxy").chain(arguments.iter().copied()).map(OsString::from))
    }

    #[test]
    fn flags_combine_as_in_getopt() {
        let said = parsed(&["-dnvv", "-fx.conf", "-D", "a=b=c", "-Ilab", "-s", "/tmp/s"]).unwrap();
        assert!(said.foreground && said.check && said.verbose && !said.version);
        assert_eq!(said.config_file(), PathBuf::from("x.conf"));
        assert_eq!(said.macros, [("a".to_owned(), "b=c".to_owned())]);
        assert_eq!(said.identity, "lab");
        assert_eq!(said.control_socket(), PathBuf::from("/tmp/s"));
    }

    #[test]
    fn an_identity_is_no_path() {
        for name in ["", "../x", "a/b", ".x", "a b"] {
            assert!(parsed(&["-I", name]).is_err(), "{name}");
        }
    }

    #[test]
    fn the_identity_names_the_files() {
        let said = parsed(&["-I", "lab"]).unwrap();
        assert_eq!(said.config_file(), PathBuf::from(format!("{}/lab.conf", paths::ETC)));
        assert_eq!(said.control_socket(), PathBuf::from("/var/run/lab.sock"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_table_is_one_that_the_kernel_takes() {
        assert_eq!(parsed(&["-t", "999999999"]).unwrap().table, 999_999_999);
        let why = parsed(&["-t", "1000000000"]).unwrap_err();
        assert_eq!(why, "-t 1000000000: want a number from 0 to 999999999");
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in [&["-x"][..], &["em0"], &["--engine"], &["-D", "a"], &["-t", "x"], &["-f"]] {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
