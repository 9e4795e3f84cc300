//! `monitor`: each event as a line, or a command that is run for it.

use std::io::Write;
use std::process::{Command, Stdio};

use super::Failure;
use super::client::Client;
use super::show::to_json;
use super::table::event_line;
use crate::imsg::ctl::{Event, Reply, Request};

/// Prints each event, or runs `exec` for it, until the daemon goes away.
///
/// One command runs at a time; meanwhile events wait in the connection, and the daemon drops those
/// that do not fit.
///
/// # Errors
/// As `Client::ask`.
pub fn run(
    client: &mut Client,
    json: bool,
    exec: Option<&str>,
    out: &mut impl Write,
) -> Result<(), Failure> {
    client.ask(&Request::Monitor, |reply| {
        match (reply, exec) {
            (Reply::Event(event), Some(exec)) => execute(exec, &event)?,
            (Reply::Event(event), None) if json => {
                to_json(out, &event)?;
                writeln!(out)?;
            }
            (Reply::Event(event), None) => writeln!(out, "{}", event_line(&event))?,
            (Reply::Rows(_) | Reply::Text(_) | Reply::Done | Reply::Refused(_), _) => {}
        }
        Ok(out.flush()?)
    })
}

/// Runs the command by the shell, with the kind of the event as its argument and the details in its
/// environment; waits for its end.
fn execute(exec: &str, event: &Event) -> Result<(), Failure> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{exec} \"$@\"")).arg(exec).arg(event.event.name());
    command.stdin(Stdio::null()).envs(environment(event));
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("mcast-proxyctl: {exec} {}: {status}", event.event.name()),
        Err(e) => return Err(Failure::Usage(format!("{exec}: {e}"))),
    }
    Ok(())
}

/// The details of an event, by the names of their environment variables; what it lacks is empty.
#[must_use]
pub fn environment(event: &Event) -> Vec<(&'static str, String)> {
    let text = |value: Option<std::net::IpAddr>| value.map(|v| v.to_string()).unwrap_or_default();
    let (source, group) = (text(event.source), text(event.group));
    let interface = event.interface.clone().unwrap_or_default();
    vec![
        ("EVENT", event.event.name().to_owned()),
        ("TIME", event.time.to_string()),
        ("FAMILY", event.family.map(|f| f.to_string()).unwrap_or_default()),
        ("SOURCE", source.clone()),
        ("GROUP", group.clone()),
        ("IIF", interface.clone()),
        ("INTERFACE", interface),
        ("OIFS", event.outgoing_interfaces.join(" ")),
        ("REASON", event.reason.clone().unwrap_or_default()),
        ("source", source),
        ("group", group),
    ]
}
