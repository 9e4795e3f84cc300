//! The two programs, run in a [`Host`].

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::{panic, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::lacking::{Lack, lack};
use super::{Host, wait_for};

/// Where a daemon's configuration is, in its host.
pub const CONFIGURATION: &str = "/run/live.conf";

/// A program of the package, not started yet. Cargo tells a test where it built them; an example is
/// in a folder beside them.
#[must_use]
pub fn program(name: &str) -> Command {
    let beside = match option_env!("CARGO_BIN_EXE_mcast-proxy") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe().expect("/proc").parent().expect("a folder").to_owned(),
    };
    Command::new(beside.with_file_name(name))
}

/// Daemons that were started and not waited for, for a program that ends without dropping them.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Makes a panic say `verdict` and end the program and its daemons: in a program whose panics
/// abort, nothing is dropped.
pub fn end_daemons_on_panic(verdict: &'static str) {
    panic::set_hook(Box::new(move |what| {
        eprintln!("{what}");
        for pid in RUNNING.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        println!("\n{verdict}");
        std::process::exit(1);
    }));
}

/// A running daemon; killed when dropped, if it was not stopped.
pub struct Daemon<'a> {
    host: &'a Host,
    child: Child,
    identity: String,
    log: Arc<Mutex<String>>,
}

impl<'a> Daemon<'a> {
    /// Starts it with this configuration and waits until it serves its control socket.
    #[must_use]
    pub fn start(host: &'a Host, configuration: &str) -> Self {
        Self::start_as(host, "mcast-proxy", &[], configuration)
    }

    /// [`Daemon::start`] with an identity and further arguments.
    #[must_use]
    pub fn start_as(host: &'a Host, identity: &str, args: &[&str], configuration: &str) -> Self {
        Self::spawn(host, identity, args, configuration).serving()
    }

    /// Waits until it serves its control socket.
    #[must_use]
    pub fn serving(mut self) -> Self {
        wait_for("the daemon serves its control socket", || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            self.ctl(&["show", "status"]).status.success().then_some(())
        });
        self
    }

    /// Starts it and waits for nothing.
    #[must_use]
    pub fn spawn(host: &'a Host, identity: &str, args: &[&str], configuration: &str) -> Self {
        Self::spawn_lacking(host, identity, args, configuration, &[])
    }

    /// [`Daemon::spawn`] on a kernel that lacks these.
    #[must_use]
    pub fn spawn_lacking(
        host: &'a Host,
        identity: &str,
        args: &[&str],
        configuration: &str,
        lacking: &[Lack],
    ) -> Self {
        let mut child = host.run(|| {
            let path = if identity == "mcast-proxy" {
                CONFIGURATION.to_owned()
            } else {
                format!("/run/{identity}.conf")
            };
            fs::write(&path, configuration).expect("a configuration in the host's /run");
            lack(lacking);
            program("mcast-proxy")
                .args(["-d", "-f", &path, "-I", identity])
                .args(args)
                .env("NOTIFY_SOCKET", format!("/run/{identity}.notify"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("mcast-proxy")
        });
        RUNNING.lock().expect("no panic with it held").push(pid_of(&child));
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, sink) = (child.stderr.take().expect("piped"), log.clone());
        thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let mut log = sink.lock().expect("no reader fails");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { host, child, identity: identity.to_owned(), log }
    }

    /// Replaces the configuration file; nothing is told to the daemon.
    pub fn rewrite(&self, configuration: &str) {
        let write = || fs::write(CONFIGURATION, configuration);
        self.host.run(write).expect("a configuration in the host's /run");
    }

    /// The process that it started last and that still runs.
    #[must_use]
    pub fn child(&self) -> Option<Pid> {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        Some(Pid::from_raw(children.split_whitespace().last()?.parse().ok()?))
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().expect("a child")?;
        forget(self.pid());
        Some(status)
    }

    /// Where it runs.
    #[must_use]
    pub const fn host(&self) -> &Host {
        self.host
    }

    /// The parent's process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// The engine's process id, as the daemon tells it.
    #[must_use]
    pub fn engine(&self) -> Pid {
        let pid = self.show("status")["engine-pid"].as_i64().expect("engine-pid");
        Pid::from_raw(i32::try_from(pid).expect("a process id"))
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("no writer fails").clone()
    }

    /// Runs mcast-proxyctl.
    #[must_use]
    pub fn ctl(&self, args: &[&str]) -> Output {
        let mut ctl = program("mcast-proxyctl");
        ctl.args(["-I", &self.identity]).args(args).stdin(Stdio::null());
        self.host.run(|| ctl.output()).expect("mcast-proxyctl")
    }

    /// [`Daemon::ctl`] that must be done without a complaint; what it printed.
    pub fn order(&self, args: &[&str]) -> String {
        let output = self.ctl(args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mcast-proxyctl {args:?}: {complaint}\n{}", self.log());
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// `show TABLE -j`.
    #[must_use]
    pub fn show(&self, table: &str) -> Value {
        let text = self.order(&["show", table, "-j"]);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("show {table} -j: {e}: {text}"))
    }

    /// The rows of a table of which `is` is true.
    #[must_use]
    pub fn rows(&self, table: &str, is: impl Fn(&Value) -> bool) -> Vec<Value> {
        let all = self.show(table);
        let rows = all[table].as_array().unwrap_or_else(|| panic!("no rows of {table}: {all}"));
        rows.iter().filter(|row| is(row)).cloned().collect()
    }

    /// Waits until the kernel has what the tables tell: the parent does one thing after the other.
    pub fn settle(&self) {
        self.order(&["reload"]);
    }

    /// Sends a signal to the parent.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the daemon is there");
    }

    /// Asks for an orderly exit and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.ended()
    }

    /// Waits until it has ended.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the daemon ends", || self.try_wait())
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}---", self.identity, self.log());
        }
        // The engine ends when its channel to the parent closes.
        let _ = self.child.kill();
        let _ = self.child.wait();
        forget(self.pid());
    }
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a process id"))
}

fn forget(pid: Pid) {
    RUNNING.lock().expect("no panic with it held").retain(|running| *running != pid);
}

/// A field of `/proc/PID/status`.
#[must_use]
pub fn status(pid: Pid, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {field} in /proc/{pid}/status")).trim().to_owned()
}
