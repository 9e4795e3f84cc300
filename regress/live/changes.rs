//! Static routes while the configuration and the interfaces change beneath them.

use std::fs;
use std::net::IpAddr;

use crate::net::daemon::Daemon;
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{Host, ip, live, wait_for};
use crate::statics::{BARE, Lab};

const GROUPS: [&str; 2] = ["225.1.2.3", "ff2e::3"];

/// A network of each family, and a group of it.
const NETS: [(&str, &str); 2] = [("225.2.0.0/16", "225.2.0.5"), ("ff2e:2::/32", "ff2e:2::5")];

/// Statements for both families: `{group}`, `{source}` and `{net}` are those of each.
fn both(statements: &str) -> String {
    let of = |(group, (net, _)): (&str, (&str, &str))| {
        let from = source(ip(group), 2).to_string();
        statements.replace("{group}", group).replace("{source}", &from).replace("{net}", net)
    };
    GROUPS.into_iter().zip(NETS).map(of).collect()
}

/// A file that is included changes, another one comes and goes; a reload follows.
#[test]
fn included_files_are_reloaded() {
    live(|| {
        let network = Network::new();
        let write = |name: &str, text: &str| {
            let path = format!("/run/parts/{name}.conf");
            network.router.run(|| fs::write(path, text)).expect("a file in the host's /run");
        };
        network.router.run(|| fs::create_dir("/run/parts")).expect("a folder in the host's /run");
        write("one", &both("mroute from up0 group {group} to down1\n"));
        let lab = Lab::new(&network, "include \"/run/parts/*.conf\"\n");
        let check = |wanted| GROUPS.map(|group| lab.check(ip(group), 2, wanted));
        check([true, false]);
        write("one", &both("mroute from up0 group {group} to down2\n"));
        check([true, false]);
        lab.daemon.order(&["reload"]);
        check([false, true]);

        write("two", &both("mroute from up0 source {source} group {group} to down1\n"));
        lab.daemon.order(&["reload"]);
        check([true, false]);
        network.router.run(|| fs::remove_file("/run/parts/two.conf")).expect("a file");
        lab.daemon.order(&["reload"]);
        check([false, true]);
    });
}

/// The incoming interface of a route is another one after a reload; packets of the old one are
/// forwarded no more.
#[test]
fn incoming_interface_is_moved_by_reload() {
    live(|| {
        let network = Network::new();
        let exact = "mroute from IIF source {source} group {group} to down1\n";
        let lab = Lab::new(&network, &both(&exact.replace("IIF", "up0")));
        for (group, extra) in [(ip(GROUPS[0]), "10.0.0.2/32"), (ip(GROUPS[1]), "fd00::2/128")] {
            lab.check(group, 2, [true, false]);
            network.receivers[1].address("eth0", extra);
        }
        lab.daemon.rewrite(&format!("{BARE}{}", both(&exact.replace("IIF", "down2"))));
        lab.daemon.order(&["reload"]);
        for group in GROUPS.map(ip) {
            let row = lab.wait_state(group, "forwarding");
            assert_eq!(row["incoming-interface"], "down2");
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            let from = source(group, 2);
            Sender::new(&network.receivers[1], "eth0", from, group).send(4);
            wait_for("the datagrams", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
            let before = (network.carried(group, "down1").1, network.strayed(group));
            Sender::new(&network.source, "eth0", from, group).send(4);
            wait_for("the old interface's are counted as strays", || {
                (network.strayed(group) == before.1 + 4).then_some(())
            });
            assert_eq!(network.carried(group, "down1").1, before.0);
        }
    });
}

/// A reload takes an outgoing interface from one route; another one goes on using it, and loses
/// nothing.
#[test]
fn outgoing_interface_in_use_elsewhere_is_removed_by_reload() {
    live(|| {
        let network = Network::new();
        let other =
            "mroute from up0 group 225.7.7.7 to down2\nmroute from up0 group ff2e::7 to down2\n";
        let text =
            |to| format!("{other}{}", both(&format!("mroute from up0 group {{group}} to {to}\n")));
        let lab = Lab::new(&network, &text("down1 down2"));
        let others = ["225.7.7.7", "ff2e::7"].map(ip);
        let mut receivers = others.map(|g| Receiver::join(&network.receivers[1], "eth0", g));
        let flows = others.map(|group| {
            lab.wait_state(group, "forwarding");
            Sender::new(&network.source, "eth0", source(group, 2), group).flow(500)
        });
        for to in ["down1", "down1 down2", "down1"] {
            lab.daemon.rewrite(&format!("{BARE}{}", text(to)));
            lab.daemon.order(&["reload"]);
            for group in GROUPS.map(ip) {
                wait_for(&format!("it goes to {to}"), || {
                    let outputs = lab.routes(group).pop()?["outgoing-interfaces"].as_array()?.len();
                    (outputs == to.split(' ').count()).then_some(())
                });
            }
        }
        for (flow, receiver) in flows.into_iter().zip(&mut receivers) {
            let end = flow.stop().sent();
            wait_for("the last datagram", || {
                (receiver.got().last() == Some(&(end - 1))).then_some(())
            });
            assert_eq!(receiver.got(), (0..end).collect::<Vec<_>>());
        }
        for group in GROUPS.map(ip) {
            lab.check(group, 2, [true, false]);
        }
    });
}

/// Sends from the source until a receiver at `host` gets something, which is then forgotten.
fn arrives(network: &Network, host: &Host, group: IpAddr, what: &str) {
    let mut receiver = Receiver::join(host, "eth0", group);
    let mut sender = Sender::new(&network.source, "eth0", source(group, 2), group);
    wait_for(what, || {
        sender.send(1);
        (!receiver.got().is_empty()).then_some(())
    });
}

/// The interfaces of a route are deleted and made anew, without a reload: exact, any and prefix
/// routes use the new ones, and a route with another output goes on meanwhile.
#[test]
fn interfaces_are_deleted_and_made_anew() {
    live(|| {
        let network = Network::new();
        let [one, two] = &network.receivers;
        let groups =
            ["225.1.2.3", "225.1.2.4", "225.2.0.5", "ff2e::3", "ff2e::4", "ff2e:2::5"].map(ip);
        let lab = Lab::new(
            &network,
            "mroute from up0 source 10.0.0.2 group 225.1.2.3 to down1 down2
             mroute from up0 group 225.1.2.4 to down1 down2
             mroute from up0 group 225.2.0.0/24 to down1 down2
             mroute from up0 source fd00::2 group ff2e::3 to down1 down2
             mroute from up0 group ff2e::4 to down1 down2
             mroute from up0 group ff2e:2::/64 to down1 down2
            ",
        );
        // Those without a prefix are there before any packet.
        for at in [0, 1, 3, 4] {
            lab.wait_state(groups[at], "forwarding");
        }
        for group in groups {
            lab.check(group, 2, [true, true]);
        }
        let before = network.router.index("down1");
        network.router.delete("down1");
        for group in groups {
            wait_for("one output is left", || {
                let row = lab.routes(group).into_iter().find(|r| r["state"] == "forwarding")?;
                (row["outgoing-interfaces"].as_array()?.len() == 1).then_some(())
            });
            arrives(&network, two, group, "the other output goes on");
        }
        network.router.cable("down1", one, "eth0");
        assert_ne!(network.router.index("down1"), before);
        for group in groups {
            arrives(&network, one, group, "the new output is used");
        }

        network.router.delete("up0");
        network.router.cable("up0", &network.source, "eth0");
        for host in [2, 3, 4] {
            network.source.address("eth0", &format!("10.0.0.{host}/24"));
            network.source.address("eth0", &format!("fd00::{host}/64"));
        }
        for group in groups {
            arrives(&network, one, group, "the new input is used");
        }
    });
}

/// An output is renamed, given to another host and back, and deleted while the other output's flow
/// goes on without a loss; under the name that the routes have it is used again each time.
#[test]
fn output_is_renamed_moved_away_and_deleted_under_traffic() {
    live(|| {
        let (network, far) = (Network::new(), Host::new());
        let [one, two] = &network.receivers;
        let router = &network.router;
        let lab = Lab::new(
            &network,
            &both(
                "mroute from up0 source {source} group {group} to down1 down2
mroute from up0 group {net} to down1 down2
",
            ),
        );
        let learned = NETS.map(|(_, group)| ip(group));
        let groups: Vec<IpAddr> = GROUPS.map(ip).into_iter().chain(learned).collect();
        let mut others: Vec<_> = groups.iter().map(|g| Receiver::join(two, "eth0", *g)).collect();
        let flows = groups.iter().map(|group| {
            let mut sender = Sender::new(&network.source, "eth0", source(*group, 2), *group);
            sender.send(1);
            lab.wait_state(*group, "forwarding");
            sender.flow(500)
        });
        let flows: Vec<_> = flows.collect();
        let outputs = |count: usize| {
            for group in &groups {
                wait_for(&format!("{group} has {count} outputs"), || {
                    let row =
                        lab.routes(*group).into_iter().find(|r| r["state"] == "forwarding")?;
                    (row["outgoing-interfaces"].as_array()?.len() == count).then_some(())
                });
            }
        };
        let used = || {
            outputs(2);
            for group in &groups {
                let mut receiver = Receiver::join(one, "eth0", *group);
                wait_for("the output is used", || (!receiver.got().is_empty()).then_some(()));
            }
        };
        used();
        let rename = |from, to| {
            router.down(from);
            router.rename(from, to);
            router.up(to);
        };
        rename("down1", "aside");
        outputs(1);
        rename("aside", "down1");
        used();
        router.give("down1", &far);
        outputs(1);
        far.give("down1", router);
        router.up("down1");
        used();
        router.delete("down1");
        outputs(1);
        router.cable("down1", one, "eth0");
        used();
        for ((flow, receiver), group) in flows.into_iter().zip(&mut others).zip(groups) {
            let end = flow.stop().sent();
            wait_for("the last datagram", || {
                (receiver.got().last() == Some(&(end - 1))).then_some(())
            });
            assert_eq!(receiver.got(), (0..end).collect::<Vec<_>>(), "{group}");
        }
    });
}

/// Routes between two bridges of the router, whose ports lead to the source and the receiver.
#[test]
fn routes_between_bridges() {
    live(|| {
        let network = Network::new();
        for (port, bridge) in [("up0", "br0"), ("down1", "br1")] {
            network.router.bridge(bridge, Vec::new());
            network.router.plug(port, bridge);
        }
        let daemon = Daemon::start(
            &network.router,
            &format!("ipv6 yes\nuser nobody\n{}", both("mroute from br0 group {group} to br1\n")),
        );
        network.wait_vifs(&["br0", "br1"]);
        for group in GROUPS.map(ip) {
            wait_for("the route", || {
                daemon
                    .rows("routes", |row| {
                        row["state"] == "forwarding" && row["group"] == group.to_string()
                    })
                    .pop()
            });
            let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
            Sender::new(&network.source, "eth0", source(group, 2), group).send(4);
            wait_for("the datagrams", || (receiver.got() == [0, 1, 2, 3]).then_some(()));
        }
    });
}
