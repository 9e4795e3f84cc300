//! A run with reloads and interface changes leaks nothing: the parent on the real kernel and the
//! core of the engine, under an allocator that counts.
#![cfg(target_os = "linux")]

#[expect(dead_code, reason = "others count allocations, and by thread")]
#[path = "../counting.rs"]
mod counting;
mod engine;
#[path = "../live/net/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the live tests share it; each uses a part")]
mod net;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::{Sender, channel};
use std::{fs, io, thread};

use mcast_proxy::config;
use mcast_proxy::config::model::{GroupSet, Mroute, Pattern, SourceMatch, Statement};
use mcast_proxy::imsg::ctl::{OperStatus, Request};
use mcast_proxy::imsg::{DescriptorKind, Transmit};
use mcast_proxy::kroute;
use mcast_proxy::parent::{Outside, Parent, Setup};
use mcast_proxy::sys::service::State;
use mcast_proxy::sys::signals::Signals;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::{Address, Af, Family, RecordType, V4, V6};

use counting::held;
use engine::Engine;
use net::live;
use net::topology::Network;

/// Rounds until every bounded table and every buffer has its size.
const WARM: u32 = 10;
const ROUNDS: u32 = 40;
/// Batches of them at most, until one holds no more than the one before.
const BATCHES: u32 = 5;
/// Octets that all of them may differ in: less than eight in each round.
const SLACK: usize = 256;
/// How often what is held is looked at; the least counts.
const LOOKS: u32 = 20;
/// Until no membership and no learned route is left.
const HOUR: Millis = Millis::from_secs(3600);

struct Spawner(Sender<OwnedFd>);

impl Outside for Spawner {
    fn spawn(&mut self, channel: OwnedFd) -> io::Result<Option<Child>> {
        self.0.send(channel).map_err(|_| io::Error::other("the test is over"))?;
        Ok(None)
    }
    fn tell(&mut self, _: State<'_>) {}
    fn syslog(&mut self) -> Option<OwnedFd> {
        None
    }
    fn packet_socket(&mut self, _: Af, _: u32) -> Result<(DescriptorKind, OwnedFd), String> {
        Err("no family is switched on".into())
    }
    fn transmit(&self, _: &Transmit) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a parent in the host that this is called in, until it is told to stop.
fn parent(file: &Path, engines: Sender<OwnedFd>) -> Result<(), String> {
    let loaded = config::load(file, &[]).map_err(|e| e.to_string())?;
    let options = kroute::Options { table: 0, families: [true, true] };
    let mut parent = Parent::new(Setup {
        identity: "leaks".into(),
        foreground: true,
        verbose: false,
        table: 0,
        user: (65534, 65534),
        chroot: "/nonexistent".into(),
        config_file: file.to_owned(),
        folders: vec![fs::canonicalize(file.parent().unwrap()).unwrap()],
        macros: Vec::new(),
        config: loaded.config,
        families: options.families,
        kernel: kroute::open(&options).map_err(|e| e.to_string())?,
        monitor: kroute::monitor(&options).map_err(|e| e.to_string())?,
        signals: Signals::new().unwrap(),
        descriptors: Vec::new(),
        outside: Box::new(Spawner(engines)),
    })?;
    while parent.turn()? {}
    Ok(())
}

const PLAIN: &str = "ipv6 yes
interface up0 { upstream; source any }
interface down1 { downstream }
interface down2 { downstream }
";

fn rich() -> String {
    PLAIN.replace("down2 { downstream }", "down2 { downstream; static-group 239.7.0.0/24 }")
        + "interface \"late*\" { downstream; deny group 239.8.0.0/16 }
mroute from up0 group 225.7.0.0/16 to down1 down2
mroute from up0 source 10.9.9.9 group 225.8.0.1 to down1
mgroup from extra0 group 225.7.7.7
"
}

fn statement() -> Statement {
    Statement::Mroute(Mroute {
        from: Pattern("up0".into()),
        source: SourceMatch::Any,
        group: GroupSet::Net("239.9.9.9/32".parse().unwrap()),
        to: vec![Pattern("down1".into())],
    })
}

/// Groups with and without sources, joined by two hosts, flowing, and left again by one.
fn members<F: Family>(engine: &mut Engine, index: u32, up: u32, [one, two]: [F::Addr; 2]) {
    let address = |text: String| F::Addr::from_ip(text.parse().unwrap()).unwrap();
    let group = |n: u32| match F::AF {
        Af::Ip4 => address(format!("239.1.2.{n}")),
        Af::Ip6 => address(format!("ff15::{n:x}")),
    };
    let source = |n: u32| match F::AF {
        Af::Ip4 => address(format!("192.0.2.{n}")),
        Af::Ip6 => address(format!("2001:db8::{n:x}")),
    };
    let groups: Vec<F::Addr> = (1..=40).map(group).collect();
    let sources: Vec<F::Addr> = (1..=10).map(source).collect();
    let (any, some) = groups.split_at(20);
    engine.report::<F>(index, one, RecordType::ToEx, any, &[]);
    engine.report::<F>(index, two, RecordType::ToEx, any, &sources);
    engine.report::<F>(index, two, RecordType::Allow, some, &sources);
    for group in &groups {
        engine.upcall(up, sources[0].into(), (*group).into());
        engine.upcall(index, one.into(), (*group).into());
    }
    engine.report::<F>(index, one, RecordType::ToIn, any, &[]);
    engine.settle();
}

fn round(engine: &mut Engine, network: &Network, file: &Path) {
    for text in [rich(), PLAIN.to_owned()] {
        fs::write(file, text).unwrap();
        engine.request(Request::Reload);
    }
    engine.request(Request::Add(statement()));
    engine.request(Request::Remove(statement()));

    network.router.delete("down2");
    engine.until("down2", |row| row.is_none_or(|row| row.oper_status == OperStatus::Absent));
    network.link(2, "down2", &network.receivers[1]);
    let index = network.router.index("down2");
    engine.until("down2", |row| {
        row.is_some_and(|row| {
            let vif = |link: &Option<_>| link.as_ref().is_some_and(has_vif);
            row.oper_status == OperStatus::Up
                && row.addresses.len() == 3
                && vif(&row.ipv4)
                && vif(&row.ipv6)
        })
    });
    let up = network.router.index("up0");
    members::<V4>(engine, index, up, [[10, 0, 2, 2].into(), [10, 0, 2, 3].into()]);
    members::<V6>(engine, index, up, ["fe80::2", "fe80::3"].map(|a| a.parse().unwrap()));
    engine.pass(HOUR);
    engine.settle();
}

fn has_vif(link: &mcast_proxy::imsg::ctl::LinkRow) -> bool {
    link.vif.is_some()
}

#[test]
fn nothing_is_leaked() {
    live(|| {
        let network = Network::new();
        let file: PathBuf =
            std::env::temp_dir().join(format!("mcast-proxy-leaks-{}.conf", std::process::id()));
        fs::write(&file, PLAIN).unwrap();
        let (sender, engines) = channel();
        thread::scope(|scope| {
            let running = scope.spawn(|| network.router.run(|| parent(&file, sender)));
            let mut engine = Engine::new(engines.recv().unwrap());
            let mut run = |rounds| {
                (0..rounds).for_each(|_| round(&mut engine, &network, &file));
                // The parent may hold what it is just reading.
                let looks = (0..LOOKS).map(|_| {
                    engine.settle();
                    held()
                });
                looks.min().unwrap()
            };
            let mut before = run(WARM);
            // A buffer may grow once; what is lost in every round is lost in every batch.
            let leaks = (0..BATCHES).all(|_| {
                let after = run(ROUNDS);
                println!("{before} octets, {ROUNDS} rounds later {after}");
                after > std::mem::replace(&mut before, after) + SLACK
            });
            engine.stop();
            assert_eq!(running.join().unwrap(), Ok(()));
            assert!(!leaks, "more is held after each batch of rounds");
        });
        fs::remove_file(&file).unwrap();
    });
}
