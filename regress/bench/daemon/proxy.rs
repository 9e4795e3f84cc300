//! What any proxy can be asked: start, memory, wake-ups, joins.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mcast_proxy::wire::{RecordType, ReportBuilder, V4};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket,
};
use nix::unistd::Pid;

use crate::load::Reporter;
use crate::net::Host;
use crate::net::capture::{Capture, Message, record};
use crate::net::daemon::{Daemon, status};
use crate::net::socket::Sender;
use crate::net::topology::{Network, source};

/// Starts, and joins, of which the median is printed.
const RUNS: u8 = 11;
/// Datagrams a second of the flow that is joined.
const FLOW: u32 = 10_000;
/// How long it flows before it is joined: routes that drop it are there.
const BEFORE: Duration = Duration::from_millis(200);
/// Until the hosts have answered the first query.
const ANSWERS: Duration = Duration::from_secs(11);
const IDLE: Duration = Duration::from_secs(10);

pub(crate) const CONFIGURATION: &str = "user nobody
max-groups 200000
interface up0 { upstream }
interface down1 { downstream }
interface down2 { downstream }
";

const IGMPPROXY: &str = "quickleave
phyint up0 upstream ratelimit 0 threshold 1
phyint down1 downstream ratelimit 0 threshold 1
phyint down2 downstream ratelimit 0 threshold 1
phyint lo disabled
";

/// A proxy that runs.
trait Proxy {
    fn processes(&self) -> Vec<Pid>;
}

impl Proxy for Daemon<'_> {
    fn processes(&self) -> Vec<Pid> {
        vec![self.pid(), self.engine()]
    }
}

/// A program of one process; killed when dropped.
struct Other(Child);

impl Proxy for Other {
    fn processes(&self) -> Vec<Pid> {
        vec![Pid::from_raw(i32::try_from(self.0.id()).expect("a process id"))]
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mcast_proxy(host: &Host) -> Option<Box<dyn Proxy + '_>> {
    Some(Box::new(Daemon::spawn(host, "mcast-proxy", &[], CONFIGURATION)))
}

/// `None` where it is not installed.
fn igmpproxy(host: &Host) -> Option<Box<dyn Proxy + '_>> {
    let start = || {
        fs::write("/run/igmpproxy.conf", IGMPPROXY)?;
        let quiet = Stdio::null;
        Command::new("igmpproxy")
            .args(["-n", "/run/igmpproxy.conf"])
            .stdout(quiet())
            .stderr(quiet())
            .spawn()
    };
    Some(Box::new(Other(host.run(start).ok()?)))
}

/// Proportional set size of processes, in KiB. proc_pid_smaps(5).
pub(crate) fn memory(processes: &[Pid]) -> u64 {
    let of = |pid: &Pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process");
        let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).expect("Pss");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number")
    };
    processes.iter().map(of).sum()
}

fn switches(processes: &[Pid]) -> u64 {
    let of = |pid: &Pid| status(*pid, "voluntary_ctxt_switches").parse::<u64>().expect("a number");
    processes.iter().map(of).sum()
}

/// Looks until something is there: no sleep is as short as what is measured.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + crate::net::PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::yield_now();
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// Datagrams to one group that arrive at a host, whether it joined or not.
struct Arrivals(OwnedFd, Ipv4Addr);

impl Arrivals {
    fn new(host: &Host, group: Ipv4Addr) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let open =
            || socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll);
        Self(host.run(open).expect("a packet socket"), group)
    }

    /// The number in the next datagram.
    fn next(&self) -> Option<u64> {
        let mut packet = [0; 64];
        let (length, _) = recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut packet).ok()?;
        let to_group = packet[9] == 17 && packet[16..20] == self.1.octets();
        let number = packet.get(28..36).filter(|_| length == 36 && to_group)?;
        Some(u64::from_be_bytes(number.try_into().ok()?))
    }
}

/// From a host's report to the proxy's report upstream, and to the first datagram sent since.
fn join(network: &Network, reporter: &Reporter, number: u8) -> [Duration; 2] {
    let group = Ipv4Addr::new(239, 1, number, 1);
    let from = source(group.into(), 2);
    let flow = Sender::new(&network.source, "eth0", from, group.into()).flow(FLOW);
    thread::sleep(BEFORE);
    let arrivals = Arrivals::new(&network.receivers[0], group);
    let mut upstream = Capture::new(&network.source, "eth0");
    let mut builder = ReportBuilder::<V4>::new(reporter.from());
    builder.push(RecordType::ToEx, group, &[]);
    let [report] = builder.finish().try_into().expect("one report");
    let (start, mark) = (Instant::now(), flow.sent());
    reporter.send(&report.bytes);
    let [mut told, mut arrived] = [None, None];
    until("a report upstream and a datagram", || {
        if arrived.is_none() {
            arrived = arrivals.next().filter(|n| *n > mark).map(|_| start.elapsed());
        }
        let joins = |m: &Message| *m == Message::Report(IpAddr::V4(group));
        if told.is_none()
            && upstream.find(|s| s.has(record::TO_EX, group.into()) || joins(&s.message)).is_some()
        {
            told = Some(start.elapsed());
        }
        told.is_some() && arrived.is_some()
    });
    [told, arrived].map(Option::unwrap_or_default)
}

/// A line for a proxy.
fn measure(name: &str, start: for<'h> fn(&'h Host) -> Option<Box<dyn Proxy + 'h>>) {
    let network = Network::new();
    let mut starts = Vec::new();
    let mut running = None;
    for _ in 0..RUNS {
        drop(running.take());
        let mut heard = Capture::new(&network.receivers[0], "eth0");
        let begin = Instant::now();
        running = start(&network.router);
        if running.is_none() {
            return println!("{name:14}not installed");
        }
        until("a query", || heard.find(|s| matches!(s.message, Message::Query { .. })).is_some());
        starts.push(begin.elapsed());
    }
    let Some(proxy) = running else { return };
    let processes = proxy.processes();
    thread::sleep(ANSWERS);
    let (kib, before) = (memory(&processes), switches(&processes));
    thread::sleep(IDLE);
    let wakeups = switches(&processes) - before;
    let reporter = Reporter::new(&network.receivers[0]);
    let joins: Vec<[Duration; 2]> =
        (0..RUNS).map(|number| join(&network, &reporter, number)).collect();
    let [told, arrived] = [0, 1].map(|at| median(joins.iter().map(|j| j[at]).collect()));
    let start = median(starts);
    println!("{name:14}{start:10.1}{kib:10}{wakeups:10}{told:12.2}{arrived:12.2}");
}

/// The daemon and its peer, a line each.
pub(crate) fn print() {
    println!(
        "IPv4, one upstream and two downstreams; times in ms, median of {RUNS}; flow of {FLOW}/s"
    );
    println!(
        "{:14}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "", "start to", "idle,", "wake-ups", "join to", "join to"
    );
    println!(
        "{:14}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "", "query", "KiB (PSS)", "in 10 s", "report", "datagram"
    );
    measure("mcast-proxy", mcast_proxy);
    measure("igmpproxy", igmpproxy);
}
