//! Reports a second, and many groups.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use mcast_proxy::wire::{RecordType, ReportBuilder, Sender, V4};
use nix::sys::socket::sockopt::BindToDevice;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, setsockopt,
    socket,
};
use nix::unistd::Pid;

use crate::net::Host;
use crate::net::daemon::Daemon;
use crate::net::topology::Network;
use crate::net::wait_within;
use crate::proxy::{CONFIGURATION, memory};

/// Groups that reports of one record refresh.
const GROUPS: u32 = 10_000;
/// Reports a second.
const RATES: [u32; 4] = [10_000, 25_000, 50_000, 100_000];
/// Reports in one measurement, the ones that join among them.
const REPORTS: usize = 100_000;
const MANY_GROUPS: u32 = 100_000;

/// A raw socket of a host, for reports in its name.
pub(crate) struct Reporter(OwnedFd);

impl Reporter {
    pub(crate) fn new(host: &Host) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC;
        let open = || socket(AddressFamily::Inet, SockType::Raw, flags, SockProtocol::Raw);
        let fd = host.run(open).expect("a raw socket");
        setsockopt(&fd, BindToDevice, &"eth0".into()).expect("bound to eth0");
        Self(fd)
    }

    /// The address and MTU of host 2 of link 1.
    pub(crate) fn from(&self) -> Sender<V4> {
        Sender { ifindex: 0, source: Ipv4Addr::new(10, 0, 1, 2), mtu: 1500 }
    }

    pub(crate) fn send(&self, report: &[u8]) {
        let to = SockaddrStorage::from(SocketAddr::from((Ipv4Addr::new(224, 0, 0, 22), 0)));
        sendto(self.0.as_raw_fd(), report, &to, MsgFlags::empty()).expect("a report is sent");
    }

    /// Reports of groups, 225.0.0.0 onward, `records` in one at most.
    fn reports(&self, groups: u32, kind: RecordType, records: usize) -> Vec<Vec<u8>> {
        let numbers: Vec<u32> = (0..groups).collect();
        let pack = |numbers: &[u32]| {
            let mut builder = ReportBuilder::new(self.from());
            numbers.iter().for_each(|n| builder.push(kind, (0xe100_0000 + n).into(), &[]));
            builder.finish()
        };
        numbers.chunks(records).flat_map(pack).map(|transmit| transmit.bytes).collect()
    }
}

/// Seconds that the process has used of a processor. proc_pid_stat(5).
fn processor(pid: Pid) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = text.rsplit_once(") ").expect("a name in parentheses");
    let ticks = fields.split(' ').skip(11).take(2).map(|f| f.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / 100.0
}

/// Version 3 reports that the daemon took on the link of the first receiver, and all discards there.
fn counted(daemon: &Daemon<'_>) -> (u64, u64) {
    let rows = daemon.rows("counters", |r| r["interface"] == "down1" && r["family"] == "ipv4");
    let row = rows.first().expect("a row for down1");
    let all = |column: &str| row[column].as_object().expect("an object").clone();
    let received = all("received").get("report-v3").and_then(serde_json::Value::as_u64);
    (received.unwrap_or(0), all("discarded").values().filter_map(serde_json::Value::as_u64).sum())
}

/// Sends at a rate; the seconds that took.
fn send<'a>(reporter: &Reporter, reports: impl Iterator<Item = &'a Vec<u8>>, rate: u32) -> f64 {
    let start = Instant::now();
    for (report, number) in reports.zip(0_u32..) {
        let due = start + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        while Instant::now() < due {
            thread::yield_now();
        }
        reporter.send(report);
    }
    start.elapsed().as_secs_f64()
}

fn rates(daemon: &Daemon<'_>, reporter: &Reporter) {
    let reports = reporter.reports(GROUPS, RecordType::IsEx, 1);
    println!("IPv4 reports of one record, {REPORTS} in all, refreshing {GROUPS} groups");
    println!(
        "{:>12}{:>12}{:>10}{:>12}{:>16}",
        "offered/s", "sent/s", "lost", "discarded", "engine us each"
    );
    for rate in RATES {
        let (before, cpu) = (counted(daemon), processor(daemon.engine()));
        let seconds = send(reporter, reports.iter().cycle().take(REPORTS), rate);
        let mut last = None;
        let after = wait_within(Duration::from_secs(60), "the last report is counted", || {
            thread::sleep(Duration::from_millis(100));
            let now = counted(daemon);
            (last.replace(now) == Some(now)).then_some(now)
        });
        let sent = REPORTS as f64;
        let (got, discarded) = (after.0 - before.0, after.1 - before.1);
        let lost = (REPORTS as u64).saturating_sub(got + discarded);
        let each = (processor(daemon.engine()) - cpu) / sent * 1e6;
        println!("{rate:12}{:12.0}{lost:10}{discarded:12}{each:16.1}", sent / seconds);
    }
}

fn many(daemon: &Daemon<'_>, reporter: &Reporter) {
    let processes = [daemon.pid(), daemon.engine()];
    let cpu: Vec<f64> = processes.map(processor).into();
    let start = Instant::now();
    for report in reporter.reports(MANY_GROUPS, RecordType::ToEx, 1_000) {
        reporter.send(&report);
    }
    let groups = || daemon.show("status")["groups"].as_u64() >= Some(MANY_GROUPS.into());
    wait_within(Duration::from_secs(60), "all groups", || groups().then_some(()));
    let seconds = start.elapsed().as_secs_f64();
    let told = || daemon.rows("upstream", |_| true).len();
    let cpu: Vec<f64> = processes.iter().zip(cpu).map(|(p, c)| processor(*p) - c).collect();
    println!(
        "{MANY_GROUPS} groups in packed reports: there after {seconds:.2} s (seen by `show status`), \
         {} of them upstream;\nprocessor time: parent {:.2} s, engine {:.2} s; PSS: parent {} KiB, \
         engine {} KiB",
        told(),
        cpu[0],
        cpu[1],
        memory(&processes[..1]),
        memory(&processes[1..]),
    );
}

/// Both loads, on a daemon each.
pub(crate) fn print() {
    let network = Network::new();
    let reporter = Reporter::new(&network.receivers[0]);
    let daemon = Daemon::start(&network.router, CONFIGURATION);
    rates(&daemon, &reporter);
    drop(daemon);
    let daemon = Daemon::start(&network.router, CONFIGURATION);
    many(&daemon, &reporter);
}
