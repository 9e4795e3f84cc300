//! The main job, shown: receivers join, the kernel forwards, they leave.
//!
//! It builds the two programs, makes network namespaces of its own (a source, a router, two
//! receivers), runs the real daemon in the router and counts what arrives. All of it vanishes at
//! the end. Exit status 0 when everything was as it must be.

#[cfg(target_os = "linux")]
#[path = "live/net/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the live tests share it; each uses a part")]
mod net;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("demo: it needs Linux network namespaces");
    std::process::exit(1);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::env;
    use std::net::IpAddr;
    use std::process::{Command, ExitCode};
    use std::time::{Duration, Instant};

    use serde_json::Value;

    use crate::net::daemon::{Daemon, end_daemons_on_panic};
    use crate::net::socket::{Receiver, Sender};
    use crate::net::topology::{Network, configuration, source};
    use crate::net::{as_root, ip, wait_for, wait_within};

    /// The groups: one of each family.
    const GROUPS: [&str; 2] = ["239.1.2.3", "ff15::1:2:3"];
    /// Datagrams of each step and group: as many as the kernel queues of a flow without a route.
    const COUNT: u64 = 4;
    const DOWNSTREAMS: [&str; 2] = ["down1", "down2"];
    const FAILED: &str = "VERDICT: FAILED";

    pub(super) fn main() -> ExitCode {
        if env::args().nth(1).is_none()
            && let Err(why) = build()
        {
            return fail(&why);
        }
        match as_root(&["built"]) {
            Ok(None) => (),
            Ok(Some(status)) if status.success() => return ExitCode::SUCCESS,
            Ok(Some(_)) => return ExitCode::FAILURE,
            Err(why) => return fail(&why),
        }
        end_daemons_on_panic(FAILED);
        let begin = Instant::now();
        show();
        println!("\nVERDICT: it works ({:.1} s)", begin.elapsed().as_secs_f32());
        ExitCode::SUCCESS
    }

    fn fail(why: &str) -> ExitCode {
        eprintln!("demo: {why}");
        println!("\n{FAILED}");
        ExitCode::FAILURE
    }

    /// Builds the two programs as this one was built; cargo does not for an example.
    fn build() -> Result<(), String> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build = Command::new(cargo);
        build.args(["build", "--locked", "--quiet", "--bins"]);
        build.args((!cfg!(debug_assertions)).then_some("--release"));
        build.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
        match build.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("building the programs: {status}")),
            Err(e) => Err(format!("cargo: {e}")),
        }
    }

    fn show() {
        let configuration = configuration("source any");
        println!(
            "A source, a router and two receivers, each a network namespace:\n\n    \
             source eth0 --- up0 router down1 --- eth0 receiver 1\n    \
             {0:23}down2 --- eth0 receiver 2\n\n\
             The router runs mcast-proxy with this configuration:\n",
            ""
        );
        print_indented(&configuration);
        let network = Network::new();
        let mut daemon = Daemon::start(&network.router, &configuration);
        println!("It runs: parent {}, engine {}.", daemon.pid(), daemon.engine());
        let mut stage = Stage::new(&network, &daemon);

        stage.step("Nobody has joined.", [false, false]);
        let mut one = stage.join(0);
        stage.step("Receiver 1 joins both groups.", [true, false]);
        let mut two = stage.join(1);
        stage.step("Receiver 2 joins as well.", [true, true]);
        for table in ["interfaces", "groups", "upstream", "routes"] {
            println!("\n# mcast-proxyctl show {table}");
            print_indented(&daemon.order(&["show", table]));
        }
        stage.leave(0, &mut one);
        stage.step("Receiver 1 leaves.", [false, true]);
        stage.leave(1, &mut two);
        stage.step("Receiver 2 leaves.", [false, false]);
        stage.check(&mut one, 2);
        stage.check(&mut two, 2);

        println!("\nThe daemon is told to stop.");
        assert!(daemon.stop().success(), "the daemon failed:\n{}", daemon.log());
        for table in ["ip_mr_vif", "ip_mr_cache", "ip6_mr_vif", "ip6_mr_cache"] {
            let left = network.router.proc_net(table).lines().count() - 1;
            assert_eq!(left, 0, "entries in /proc/net/{table}");
        }
        println!("    The kernel's multicast routing tables are empty.");
    }

    fn print_indented(text: &str) {
        for line in text.lines() {
            println!("    {line}");
        }
    }

    /// The network, with a sender for each group.
    struct Stage<'a> {
        network: &'a Network,
        daemon: &'a Daemon<'a>,
        senders: [(IpAddr, Sender); 2],
        steps: u32,
    }

    impl<'a> Stage<'a> {
        fn new(network: &'a Network, daemon: &'a Daemon<'a>) -> Self {
            let senders = GROUPS.map(ip).map(|group| {
                (group, Sender::new(&network.source, "eth0", source(group, 2), group))
            });
            Self { network, daemon, senders, steps: 0 }
        }

        /// Sends to both groups; every downstream carries all of it or nothing, as `wanted` says.
        fn step(&mut self, title: &str, wanted: [bool; 2]) {
            self.steps += 1;
            println!("\n{}. {title} {COUNT} datagrams are sent to each group:", self.steps);
            for (group, sender) in &mut self.senders {
                let carried = |name| self.network.carried(*group, name);
                let (arrived, _) = carried("up0");
                let before = DOWNSTREAMS.map(carried);
                sender.send(COUNT);
                let done = || (carried("up0").0 == arrived + COUNT).then_some(());
                wait_within(Duration::from_secs(5), "the router sees the datagrams", done);
                for (i, name) in DOWNSTREAMS.iter().enumerate() {
                    let count = carried(name).1 - before[i].1;
                    println!("    {group}: {count} leave on {name}");
                    assert_eq!(count, if wanted[i] { COUNT } else { 0 }, "{group} on {name}");
                }
            }
        }

        /// Joins both groups at a receiver.
        fn join(&self, receiver: usize) -> [Receiver; 2] {
            let host = &self.network.receivers[receiver];
            let joined = GROUPS.map(|group| Receiver::join(host, "eth0", ip(group)));
            self.wait_groups(receiver, GROUPS.len());
            joined
        }

        /// Leaves both groups.
        fn leave(&self, receiver: usize, joined: &mut [Receiver; 2]) {
            joined.iter().for_each(Receiver::leave);
            self.wait_groups(receiver, 0);
        }

        fn wait_groups(&self, receiver: usize, count: usize) {
            let here = |row: &Value| row["interface"] == DOWNSTREAMS[receiver];
            wait_for("the router learns of it", || {
                (self.daemon.rows("groups", here).len() == count).then_some(())
            });
        }

        /// Says what a receiver got: everything of `steps` steps, nothing twice.
        fn check(&self, joined: &mut [Receiver; 2], steps: u64) {
            for (receiver, group) in joined.iter_mut().zip(GROUPS) {
                let got = receiver.got();
                println!("    a receiver of {group} got {got:?}");
                assert_eq!(got.len() as u64, steps * COUNT, "{group}");
                assert!(got.windows(2).all(|two| two[0] + 1 == two[1]), "a gap in {group}");
            }
        }
    }
}
