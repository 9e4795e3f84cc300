//! Kernels that were built without something: it is named, or made do without.

use crate::net::daemon::Daemon;
use crate::net::lacking::{
    Lack, NO_IPV6, NO_MRT_INIT, NO_MRT_PIM, NO_MRT_TABLE, NO_MRT6_INIT, NO_MRT6_PIM, NO_MRT6_TABLE,
};
use crate::net::socket::{Receiver, Sender};
use crate::net::topology::{Network, source};
use crate::net::{Host, ip, live, wait_for};
use crate::statics::Lab;

const TEXT: &str = "ipv6 yes\nuser nobody\ninterface up0 { upstream }\n";

/// The program does not start, and says this; it leaves nothing behind.
fn refused(lacking: Lack, args: &[&str], said: &str) {
    let host = Host::new();
    let mut daemon = Daemon::spawn_lacking(&host, "mcast-proxy", args, TEXT, &[lacking]);
    assert_eq!(daemon.ended().code(), Some(1));
    wait_for("what it says", || (daemon.log() == format!("mcast-proxy: {said}\n")).then_some(()));
    for left in ["/run/mcast-proxy.pid", "/run/mcast-proxy.sock"] {
        assert_eq!(host.file(left), None, "{left}");
    }
    // With all that it needs, it starts.
    assert!(Daemon::start_as(&host, "mcast-proxy", args, TEXT).stop().success());
}

#[test]
fn missing_kernel_support_is_named() {
    live(|| {
        let table = ["-t", "7"];
        let routing = "the kernel lacks multicast routing";
        for (lacking, args, said) in [
            (NO_MRT_INIT, &[][..], format!("ipv4: {routing} (CONFIG_IP_MROUTE)")),
            (NO_MRT6_INIT, &[], format!("ipv6: {routing} (CONFIG_IPV6_MROUTE)")),
            (NO_IPV6, &[], "ipv6: the kernel lacks IPv6 (CONFIG_IPV6)".to_owned()),
            (
                NO_MRT_TABLE,
                &table,
                format!("ipv4: {routing} tables (CONFIG_IP_MROUTE_MULTIPLE_TABLES)"),
            ),
            (
                NO_MRT6_TABLE,
                &table,
                format!("ipv6: {routing} tables (CONFIG_IPV6_MROUTE_MULTIPLE_TABLES)"),
            ),
        ] {
            refused(lacking, args, &said);
        }
    });
}

/// Without PIM in the kernel, a packet on a wrong interface is told where that is an output of its
/// route.
#[test]
fn assert_mode_where_the_kernel_lacks_pim() {
    live(|| {
        let network = Network::new();
        let routes = |output: &str, other: &str| {
            format!(
                "mroute from up0 group {output} to down1 down2
                 mroute from up0 group {other} to down1
                 mroute from down2 group {output} to down1
                 mroute from down2 group {other} to down1\n"
            )
        };
        let text = "ipv6 yes\nuser nobody\nwrongvif log\n".to_owned()
            + &routes("225.1.2.0/24", "225.1.3.0/24")
            + &routes("ff2e:2::/64", "ff2e:3::/64");
        let lacking = [NO_MRT_PIM, NO_MRT6_PIM];
        let daemon = Daemon::spawn_lacking(&network.router, "mcast-proxy", &[], &text, &lacking);
        let daemon = Lab::of(&network, daemon.serving(), &["up0", "down1", "down2"]).daemon;
        for [output, other] in [["225.1.2.3", "225.1.3.3"], ["ff2e:2::3", "ff2e:3::3"]] {
            let (output, other) = (ip(output), ip(other));
            let from = source(output, 2);
            let length = if output.is_ipv4() { 32 } else { 128 };
            network.receivers[1].address("eth0", &format!("{from}/{length}"));
            for group in [other, output] {
                let mut receiver = Receiver::join(&network.receivers[0], "eth0", group);
                let mut sender = Sender::new(&network.source, "eth0", from, group);
                wait_for("it is forwarded", || {
                    sender.send(1);
                    (!receiver.got().is_empty()).then_some(())
                });
                let strays = network.strayed(group);
                Sender::new(&network.receivers[1], "eth0", from, group).send(3);
                wait_for("strays are counted", || {
                    (network.strayed(group) == strays + 3).then_some(())
                });
            }
            let line = |group| format!("{from} to {group} arrived on down2, its route is from up0");
            wait_for("it is told", || daemon.log().contains(&line(output)).then_some(()));
            assert!(!daemon.log().contains(&line(other)), "the kernel has PIM");
        }
    });
}
