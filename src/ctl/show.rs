//! `show`: tables as text or as one JSON object.

use std::io::Write;

use serde::Serialize;

use super::client::Client;
use super::{Failure, table};
use crate::imsg::ctl::{Reply, Request, Rows, Table};

/// Prints a table as text; `heading` puts its line of headings first, `bold` makes that stand out.
///
/// # Errors
/// As `Client::ask`.
pub fn text(
    client: &mut Client,
    what: Table,
    heading: bool,
    bold: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let headings = table::headings(what).iter().map(|h| (*h).to_owned()).collect();
    let mut rows: Vec<Vec<String>> = vec![headings];
    client.ask(&Request::Show(what), |reply| {
        match reply {
            Reply::Rows(some) => rows.extend(table::cells(&some)),
            Reply::Text(lines) => lines.iter().try_for_each(|line| writeln!(out, "{line}"))?,
            Reply::Event(_) | Reply::Done | Reply::Refused(_) => {}
        }
        Ok(())
    })?;
    let lines = table::align(&rows);
    let (first, rest) = lines.split_first().map_or(("", &[][..]), |(f, r)| (f.as_str(), r));
    match (heading && !first.is_empty(), bold) {
        (true, true) => writeln!(out, "\x1b[1m{first}\x1b[m")?,
        (true, false) => writeln!(out, "{first}")?,
        (false, _) => {}
    }
    Ok(rest.iter().try_for_each(|line| writeln!(out, "{line}"))?)
}

/// Prints a table as one JSON object, row by row as they come.
///
/// # Errors
/// As `Client::ask`.
pub fn json(client: &mut Client, what: Table, out: &mut impl Write) -> Result<(), Failure> {
    let mut rows = Members { out, any: false };
    let name = member(what);
    if let Some(name) = name {
        write!(rows.out, "{{\"{name}\":[")?;
    }
    client.ask(&Request::Show(what), |reply| match reply {
        Reply::Rows(some) => rows.add(&some),
        Reply::Text(lines) => rows.all(&lines),
        Reply::Event(_) | Reply::Done | Reply::Refused(_) => Ok(()),
    })?;
    if name.is_some() {
        write!(rows.out, "]}}")?;
    }
    Ok(writeln!(rows.out)?)
}

/// The member that holds the rows; the status is an object by itself.
const fn member(table: Table) -> Option<&'static str> {
    match table {
        Table::Status => None,
        Table::Interfaces => Some("interfaces"),
        Table::Groups => Some("groups"),
        Table::Hosts => Some("hosts"),
        Table::Upstream => Some("upstream"),
        Table::Routes => Some("routes"),
        Table::Counters => Some("counters"),
        Table::Events => Some("events"),
        Table::Config => Some("config"),
    }
}

/// Writes the elements of an array.
struct Members<'a, W> {
    out: &'a mut W,
    any: bool,
}

impl<W: Write> Members<'_, W> {
    fn add(&mut self, rows: &Rows) -> Result<(), Failure> {
        match rows {
            Rows::Status(status) => self.one(status),
            Rows::Interfaces(rows) => self.all(rows),
            Rows::Groups(rows) => self.all(rows),
            Rows::Hosts(rows) => self.all(rows),
            Rows::Upstream(rows) => self.all(rows),
            Rows::Routes(rows) => self.all(rows),
            Rows::Counters(rows) => self.all(rows),
            Rows::Events(rows) => self.all(rows),
            Rows::Checks(rows) => self.all(rows),
        }
    }

    fn all(&mut self, rows: &[impl Serialize]) -> Result<(), Failure> {
        rows.iter().try_for_each(|row| self.one(row))
    }

    fn one(&mut self, row: &impl Serialize) -> Result<(), Failure> {
        if self.any {
            self.out.write_all(b",")?;
        }
        self.any = true;
        to_json(self.out, row)
    }
}

/// Writes a value as JSON without a newline.
pub(super) fn to_json(out: &mut impl Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer(out, value)
        .map_err(|e| Failure::Output(e.io_error_kind().unwrap_or(std::io::ErrorKind::Other)))
}
