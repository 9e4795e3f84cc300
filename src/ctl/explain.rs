//! `explain`: why a group is or is not forwarded.

use std::io::Write;
use std::net::IpAddr;

use serde::Serialize;

use super::client::Client;
use super::{Failure, show, table};
use crate::imsg::ctl::{CheckRow, Outcome, Reply, Request, Rows};

/// All that is told.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The group.
    pub group: IpAddr,
    /// The only source that it is about.
    pub source: Option<IpAddr>,
    /// Whether packets go through.
    pub forwarded: bool,
    /// Check by check; the last one sums up.
    pub checks: Vec<CheckRow>,
}

/// Asks and prints.
///
/// # Errors
/// As `Client::ask`.
pub fn run(
    client: &mut Client,
    (group, source): (IpAddr, Option<IpAddr>),
    json: bool,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let mut checks = Vec::new();
    client.ask(&Request::Explain { group, source }, |reply| {
        if let Reply::Rows(Rows::Checks(some)) = reply {
            checks.extend(some);
        }
        Ok(())
    })?;
    let forwarded = checks.last().is_some_and(|row| row.result == Outcome::Ok);
    let explanation = Explanation { group, source, forwarded, checks };
    if json {
        show::to_json(out, &explanation)?;
        return Ok(writeln!(out)?);
    }
    Ok(text(&explanation).iter().try_for_each(|line| writeln!(out, "{line}"))?)
}

/// A line for the answer, then one for each check, with what to do below it.
#[must_use]
pub fn text(explanation: &Explanation) -> Vec<String> {
    let from = explanation.source.map_or_else(String::new, |s| format!(" from {s}"));
    let not = if explanation.forwarded { "" } else { "not " };
    let mut lines = vec![format!("{}{from} is {not}forwarded", explanation.group)];
    let cells = |row: &CheckRow| {
        let on = row.interface.clone().unwrap_or_else(|| table::NONE.into());
        vec![row.result.name().into(), row.check.name().into(), on, row.detail.clone()]
    };
    let rows: Vec<Vec<String>> = explanation.checks.iter().map(cells).collect();
    for (line, row) in table::align(&rows).into_iter().zip(&explanation.checks) {
        lines.push(line);
        lines.extend(row.advice.iter().map(|advice| format!("      -> {advice}")));
    }
    lines
}
