//! The processes from outside: what they hold, how they start and end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::Pid;

use crate::net::capture::{Capture, record};
use crate::net::daemon::{CONFIGURATION, Daemon, program, status};
use crate::net::socket::Receiver;
use crate::net::topology::{Network, configuration};
use crate::net::{Host, ip, live, wait_for};

/// NET_ADMIN, NET_RAW, SETUID, SETGID, SYS_CHROOT and KILL of capabilities(7).
const PARENT_CAPABILITIES: &str = "00000000000430e0";
const NO_CAPABILITIES: &str = "0000000000000000";

/// Inodes of the sockets that the process holds.
fn sockets(pid: Pid) -> BTreeSet<String> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours");
    let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |link: &str| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned());
    links.filter_map(|link| inode(link.to_str()?)).collect()
}

/// Hard and soft limit of a resource, in the words of `/proc/PID/limits`.
fn limits(pid: Pid, resource: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a running process");
    let values = text.lines().find_map(|line| line.strip_prefix(resource));
    let values = values.unwrap_or_else(|| panic!("{resource}: {text}")).split_whitespace();
    values.take(2).map(str::to_owned).collect()
}

/// Files that the process has open, but for those of `/proc` that the parent reads now and then.
fn files(pid: Pid) -> BTreeSet<PathBuf> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours");
    let links = folder.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.is_absolute() && !link.starts_with("/proc")).collect()
}

/// Inodes of the raw sockets of one family in the host's network.
fn raw_sockets(host: &Host, file: &str) -> BTreeSet<String> {
    let table = host.proc_net(file);
    table.lines().skip(1).filter_map(|l| Some(l.split_whitespace().nth(9)?.to_owned())).collect()
}

#[test]
fn engine_holds_nothing_that_it_does_not_need() {
    live(|| {
        let network = Network::new();
        let left_open = File::open("/dev/zero").expect("/dev");
        fcntl(&left_open, FcntlArg::F_SETFD(FdFlag::empty())).expect("fcntl");
        let daemon = Daemon::start(&network.router, &configuration(""));
        let (parent, engine) = (daemon.pid(), daemon.engine());
        assert_eq!(status(engine, "PPid"), parent.to_string());
        assert_eq!(status(engine, "Name"), "mcast-proxy");

        let nobody = ["65534"; 4].join("\t");
        assert_eq!(status(engine, "Uid"), nobody);
        assert_eq!(status(engine, "Gid"), nobody);
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(engine, set), NO_CAPABILITIES, "{set}");
        }
        for set in ["CapPrm", "CapEff"] {
            assert_eq!(status(parent, set), PARENT_CAPABILITIES, "{set}");
        }
        assert_eq!(status(parent, "CapBnd"), NO_CAPABILITIES);
        assert_eq!((status(engine, "NoNewPrivs"), status(parent, "NoNewPrivs")), both("1"));
        // 2 is a filter.
        assert_eq!((status(engine, "Seccomp"), status(parent, "Seccomp")), both("2"));
        for pid in [parent, engine] {
            assert_eq!(limits(pid, "Max core file size"), ["0", "0"]);
            assert_eq!(limits(pid, "Max open files"), ["256", "256"]);
            assert!(files(pid).is_subset(&[PathBuf::from("/dev/null")].into()), "{:?}", files(pid));
        }
        assert_eq!(limits(engine, "Max processes"), ["0", "0"]);
        let root = network.router.run(|| fs::read_link(format!("/proc/{engine}/root")));
        assert_eq!(root.expect("a running engine").to_str(), Some("/run/mcast-proxy/empty"));

        // The routing socket of each family, and the one to send with, are the parent's alone.
        for file in ["raw", "raw6"] {
            let raw = raw_sockets(&network.router, file);
            let (of_parent, of_engine) = (sockets(parent), sockets(engine));
            assert!(of_engine.intersection(&raw).all(|inode| of_parent.contains(inode)));
            let alone = of_parent.difference(&of_engine).filter(|inode| raw.contains(*inode));
            assert_eq!(alone.count(), 2, "{file}: {raw:?} {of_parent:?} {of_engine:?}");
        }
    });
}

fn both(text: &str) -> (String, String) {
    (text.to_owned(), text.to_owned())
}

#[test]
fn orderly_exit_leaves_nothing_behind() {
    live(|| {
        let groups = ["239.1.2.3", "ff15::1:2:3"].map(ip);
        let network = Network::new();
        let mut upstream = Capture::new(&network.source, "eth0");
        let mut daemon = Daemon::start(&network.router, &configuration(""));
        let engine = daemon.engine();
        let receivers = groups.map(|g| Receiver::join(&network.receivers[0], "eth0", g));
        for group in groups {
            wait_for("a report upstream", || upstream.find(|s| s.has(record::TO_EX, group)));
        }
        assert!(network.router.proc_net("ip_mr_vif").contains("down1"));
        assert!(network.router.proc_net("ip6_mr_vif").contains("down1"));

        assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.log());
        for group in groups {
            wait_for("the leave is told upstream", || upstream.find(|s| s.leaves(group)));
        }
        for table in ["ip_mr_vif", "ip6_mr_vif", "ip_mr_cache", "ip6_mr_cache"] {
            let text = network.router.proc_net(table);
            assert_eq!(text.lines().count(), 1, "{table}: {text}");
        }
        wait_for("the engine is gone", || {
            (!fs::exists(format!("/proc/{engine}")).expect("/proc")).then_some(())
        });
        assert_eq!(network.router.file("/run/mcast-proxy.pid"), None);
        let socket = || fs::exists("/run/mcast-proxy.sock").expect("/run");
        assert!(!network.router.run(socket), "the control socket stays behind");
        drop(receivers);
    });
}

/// The family that is taken, the table, and by whom.
#[test]
fn second_daemon_on_the_table_names_the_holder() {
    live(|| {
        let network = Network::new();
        for (held, args, family, table) in [
            ("ipv4 yes\nipv6 no\n", &[][..], "ipv4", "default"),
            ("ipv4 no\nipv6 yes\n", &[], "ipv6", "default"),
            ("ipv4 yes\nipv6 no\n", &["-t", "7"], "ipv4", "7"),
            ("ipv4 no\nipv6 yes\n", &["-t", "7"], "ipv6", "7"),
        ] {
            let held = held.to_owned() + "user nobody\ninterface up0 { upstream }\n";
            let mut first = Daemon::start_as(&network.router, "first", args, &held);
            let mut second = Daemon::spawn(&network.router, "second", args, &configuration(""));
            assert_eq!(second.ended().code(), Some(1));
            let said = format!(
                "mcast-proxy: {family}: multicast routing table {table} is held by mcast-proxy (pid {}); \
                 stop it, or choose another table with -t\n",
                first.pid()
            );
            wait_for("the holder is named", || (second.log() == said).then_some(()));
            assert!(first.stop().success());
        }
    });
}

/// A user namespace without any mapping: no right over anything that exists.
fn check_only(host: &Host, configuration: &str) -> std::process::Output {
    host.run(|| {
        fs::write(CONFIGURATION, configuration).expect("a configuration");
        let daemon = program("mcast-proxy");
        let mut unprivileged = Command::new("unshare");
        unprivileged.arg("--user").arg(daemon.get_program()).args(["-n", "-f", CONFIGURATION]);
        unprivileged.output().expect("unshare")
    })
}

#[test]
fn check_needs_no_privileges_and_no_interfaces() {
    live(|| {
        let host = Host::new();
        let good = check_only(&host, &configuration(""));
        let text = [good.stdout, good.stderr].concat();
        assert_eq!(String::from_utf8_lossy(&text), "configuration OK\n");
        assert!(good.status.success());

        let bad = check_only(&host, "interface up0 { upsteam }\n");
        assert_eq!(bad.status.code(), Some(1));
        let complaint = String::from_utf8_lossy(&bad.stderr);
        assert!(complaint.starts_with("/run/live.conf:1:17: "), "{complaint}");
    });
}
