//! What the service manager sees: readiness, states, and an end within two seconds in every state.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};

use crate::net::daemon::Daemon;
use crate::net::socket::Receiver;
use crate::net::topology::{Network, configuration};
use crate::net::{Host, ip, live, wait_for, wait_within};

/// An orderly end takes so long at most; a busy machine may add the rest.
const STOP: Duration = Duration::from_secs(2);
const ALLOWANCE: Duration = Duration::from_secs(2);

#[test]
fn service_manager_is_told() {
    live(|| {
        let network = Network::new();
        let manager = network.router.run(|| UnixDatagram::bind("/run/mcast-proxy.notify"));
        let manager = manager.expect("a socket in the host's /run");
        manager.set_nonblocking(true).expect("non-blocking");
        let next = || {
            let mut line = [0; 1000];
            let length = wait_for("a word to the service manager", || manager.recv(&mut line).ok());
            String::from_utf8(line[..length].to_vec()).expect("UTF-8").trim_end().to_owned()
        };
        let mut daemon = Daemon::spawn(&network.router, "mcast-proxy", &[], &configuration(""));
        assert_eq!(next(), "STATUS=engine restarts: 0");
        assert_eq!(next(), "READY=1");
        kill(daemon.engine(), Signal::SIGKILL).expect("a running engine");
        let ended = next();
        let prefix = "STATUS=no engine: it is gone: killed by SIGKILL";
        assert!(ended.starts_with(prefix), "{ended}");
        assert_eq!(next(), "STATUS=engine restarts: 1");
        daemon.rewrite("interface\n");
        daemon.signal(Signal::SIGHUP);
        assert_eq!(next(), "STATUS=reload failed, the running configuration stays in force");
        daemon.rewrite(&configuration(""));
        daemon.signal(Signal::SIGHUP);
        assert_eq!(next(), "STATUS=engine restarts: 1");
        assert_eq!(daemon.stop().code(), Some(0));
        assert_eq!(next(), "STOPPING=1");
        assert!(manager.recv(&mut [0; 1000]).is_err(), "more was said");
    });
}

/// Has it end in order, which takes how long, and leave nothing.
fn stop(daemon: &mut Daemon, state: &str) -> Duration {
    let begin = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let status = wait_within(STOP + ALLOWANCE, state, || daemon.try_wait());
    assert_eq!(status.code(), Some(0), "{state}: {}", daemon.log());
    let host = daemon.host();
    for table in ["ip_mr_vif", "ip6_mr_vif"] {
        assert_eq!(host.proc_net(table).lines().count(), 1, "{state}");
    }
    let left = ["/run/mcast-proxy.pid", "/run/mcast-proxy.sock"];
    let there = |file: &&str| fs::symlink_metadata(file).is_ok();
    assert_eq!(host.run(|| left.iter().find(|f| there(f))), None, "{state}");
    begin.elapsed()
}

#[test]
fn stops_within_two_seconds_in_every_state() {
    live(|| {
        let network = Network::new();
        let start = || Daemon::start(&network.router, &configuration(""));
        let mut slowest = Duration::ZERO;
        let mut stopped = |mut daemon: Daemon, state: &str| {
            slowest = slowest.max(stop(&mut daemon, state));
        };
        stopped(start(), "serving");

        let daemon = start();
        kill(daemon.engine(), Signal::SIGSTOP).expect("a running engine");
        stopped(daemon, "the engine hangs");

        let daemon = start();
        let mut killed = None;
        wait_for("a pause before the next engine", || {
            let engine = daemon.child().filter(|e| Some(*e) != killed);
            if let Some(engine) = engine {
                // It may have ended by itself: its parent notices the channel first.
                let _ = kill(engine, Signal::SIGKILL);
                killed = Some(engine);
            }
            daemon.log().contains("the next in 400 ms").then_some(())
        });
        stopped(daemon, "the engine is restarted");

        let _receiver = Receiver::join(&network.receivers[0], "eth0", ip("239.1.2.3"));
        let daemon = start();
        let many =
            (0..4000).map(|n| format!("mgroup from up0 group 239.4.{}.{}\n", n / 250, n % 250));
        daemon.rewrite(&(configuration("") + &many.collect::<String>()));
        daemon.signal(Signal::SIGHUP);
        stopped(daemon, "a reload runs");

        let daemon = Daemon::spawn(&network.router, "mcast-proxy", &[], &configuration(""));
        wait_for("it has begun", || network.router.file("/run/mcast-proxy.pid"));
        stopped(daemon, "it starts");

        let bare = Host::new();
        stopped(Daemon::start(&bare, &configuration("")), "no interface is there");
        println!("slowest orderly end: {slowest:?}");
    });
}
