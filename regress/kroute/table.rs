//! kroute's own logic over the fake kernel, set to each system.

use std::net::IpAddr;
use std::os::fd::AsFd;

use mcast_proxy::kroute::fake::{Behaviour, Call, Fake, Packet, Standing};
use mcast_proxy::kroute::{
    Entry, Error, FromKernel, Interface, InterfaceAddress, InterfaceChange, Kernel, Output, Route,
    RouteKey, UpcallKind,
};
use mcast_proxy::wire::Af;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

const ALL: [Behaviour; 3] = [Behaviour::Linux, Behaviour::OpenBsd, Behaviour::FreeBsd];
const FAMILIES: [(&str, &str); 2] = [("10.0.0.9", "239.1.2.3"), ("fd00::9", "ff15::1")];

/// A kernel with vifs 0, 1 and 2 for the interfaces 11, 12 and 13.
fn kernel(behaviour: Behaviour) -> (Fake, Box<dyn Kernel>) {
    let fake = Fake::new(behaviour).unwrap();
    let mut kernel = fake.kernel();
    for family in Af::ALL {
        for (vif, ifindex) in (0..).zip([11, 12, 13]) {
            assert_eq!(kernel.add_vif(family, &interface(ifindex)).unwrap(), vif);
        }
    }
    drop(fake.calls());
    (fake, kernel)
}

fn interface(ifindex: u32) -> Interface {
    let network = format!("10.0.{ifindex}.1/24").parse().unwrap();
    let address = InterfaceAddress { address: ip(&format!("10.0.{ifindex}.1")), network };
    let name = format!("em{ifindex}");
    Interface { ifindex, name, mtu: 1500, up: true, loopback: false, addresses: vec![address] }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn route(source: IpAddr, group: IpAddr, incoming: u32, outgoing: &[u32]) -> Route {
    let outgoing = outgoing.iter().map(|i| Output { ifindex: *i, threshold: 1 }).collect();
    Route { key: RouteKey { source: Some(source), group }, incoming, outgoing }
}

fn entry(route: &Route, parent: u16, outputs: &[u16]) -> Entry {
    let outputs = outputs.iter().map(|vif| (*vif, 1)).collect();
    Entry { key: route.key, parent, outputs }
}

fn packet(source: IpAddr, group: IpAddr, ifindex: u32) -> Packet {
    Packet { ifindex, source, group, ttl: 8, length: 100 }
}

fn receive(kernel: &mut dyn Kernel, family: Af) -> Vec<FromKernel> {
    let mut out = Vec::new();
    kernel.receive(family, &mut out).unwrap();
    out
}

fn each(test: impl Fn(Behaviour, IpAddr, IpAddr)) {
    for behaviour in ALL {
        FAMILIES.iter().for_each(|(source, group)| test(behaviour, ip(source), ip(group)));
    }
}

#[test]
fn equal_route_makes_no_call() {
    each(|behaviour, source, group| {
        let (fake, mut kernel) = kernel(behaviour);
        kernel.set_route(&route(source, group, 11, &[12, 13])).unwrap();
        kernel.set_route(&route(source, group, 11, &[13, 12])).unwrap();
        let want = entry(&route(source, group, 11, &[]), 0, &[1, 2]);
        assert_eq!(fake.calls(), [Call::SetEntry(want)]);
        kernel.set_route(&route(source, group, 11, &[12])).unwrap();
        assert_eq!(fake.calls().len(), 1);
    });
}

/// What was asked for again after the kernel asked is installed again, since the kernel lost it.
#[test]
fn question_about_an_installed_route_installs_it_again() {
    each(|behaviour, source, group| {
        let (fake, mut kernel) = kernel(behaviour);
        let route = route(source, group, 11, &[12]);
        kernel.set_route(&route).unwrap();
        assert!(fake.lose_entry(route.key));
        assert!(fake.packet(packet(source, group, 11)).is_empty());
        assert_eq!(receive(kernel.as_mut(), Af::of(group)).len(), 1);
        kernel.set_route(&route).unwrap();
        assert_eq!(fake.packet(packet(source, group, 11)), [12]);
        drop(fake.calls());
        kernel.set_route(&route).unwrap();
        assert_eq!(fake.calls(), []);
    });
}

#[test]
fn deleted_vif_takes_its_routes_first() {
    each(|behaviour, source, group| {
        let (fake, mut kernel) = kernel(behaviour);
        let (family, other) =
            (Af::of(group), ip(if group.is_ipv4() { "239.7.7.7" } else { "ff15::7" }));
        let stays = route(source, group, 11, &[12, 13]);
        kernel.set_route(&stays).unwrap();
        kernel.set_route(&route(source, other, 13, &[11])).unwrap();
        drop(fake.calls());
        kernel.delete_vif(family, 13).unwrap();
        let calls = fake.calls();
        assert_eq!(calls.len(), 3);
        assert_eq!(calls[2], Call::DeleteVif { family, vif: 2 });
        assert_eq!(
            fake.entries(family).iter().map(|e| &e.outputs[..]).collect::<Vec<_>>(),
            [[(1, 1)]]
        );
        assert_eq!(kernel.routes(family).len(), 1);
        assert!(matches!(kernel.set_route(&stays), Err(Error::NoVif { ifindex: 13, .. })));
        assert_eq!(kernel.add_vif(family, &interface(14)).unwrap(), 2);
    });
}

#[test]
fn bad_routes_are_refused_without_a_call() {
    let (fake, mut kernel) = kernel(Behaviour::Linux);
    let (source, group) = (ip("10.0.0.9"), ip("239.1.2.3"));
    for bad in [
        route(source, ip("10.1.2.3"), 11, &[12]),
        route(source, ip("0.0.0.0"), 11, &[12]),
        route(ip("239.0.0.1"), group, 11, &[12]),
        route(ip("0.0.0.0"), group, 11, &[12]),
        route(ip("fd00::9"), group, 11, &[12]),
        route(source, group, 11, &[11]),
        Route {
            outgoing: vec![Output { ifindex: 12, threshold: 255 }],
            ..route(source, group, 11, &[])
        },
        Route {
            outgoing: vec![Output { ifindex: 12, threshold: 0 }],
            ..route(source, group, 11, &[])
        },
    ] {
        assert!(matches!(kernel.set_route(&bad), Err(Error::Invalid(_))), "{bad:?}");
    }
    for bad in [route(source, group, 14, &[12]), route(source, group, 11, &[14])] {
        assert!(matches!(kernel.set_route(&bad), Err(Error::NoVif { ifindex: 14, .. })));
    }
    assert_eq!(fake.calls(), []);
    let any = Route { key: RouteKey { source: None, group }, ..route(source, group, 11, &[12]) };
    kernel.set_route(&any).unwrap();
    let every = Route { key: RouteKey { source: None, group: ip("0.0.0.0") }, ..any.clone() };
    kernel.set_route(&every).unwrap();
    for behaviour in [Behaviour::FreeBsd, Behaviour::OpenBsd] {
        let (_, mut kernel) = self::kernel(behaviour);
        assert!(matches!(kernel.set_route(&every), Err(Error::Invalid(_))));
    }
    let (_, mut freebsd) = self::kernel(Behaviour::FreeBsd);
    assert!(matches!(freebsd.set_route(&any), Err(Error::Invalid(_))));
}

/// The limits of the headers: 32 vifs, and 64 IPv6 ones on the BSDs; IPv4 there by address only.
#[test]
fn vif_limits_of_each_system() {
    for (behaviour, family, max) in [
        (Behaviour::Linux, Af::Ip4, 32),
        (Behaviour::Linux, Af::Ip6, 32),
        (Behaviour::OpenBsd, Af::Ip4, 32),
        (Behaviour::OpenBsd, Af::Ip6, 64),
        (Behaviour::FreeBsd, Af::Ip6, 64),
    ] {
        let mut kernel = Fake::new(behaviour).unwrap().kernel();
        for n in 1..=max {
            kernel.add_vif(family, &interface(n)).unwrap();
        }
        let error = kernel.add_vif(family, &interface(100)).unwrap_err();
        assert!(matches!(&error, Error::TooManyVifs { max: m, .. } if u32::from(*m) == max));
        assert!(error.to_string().contains("em100"), "{error}");
    }
    for (behaviour, ok) in [(Behaviour::Linux, true), (Behaviour::OpenBsd, false)] {
        let bare = Interface { addresses: Vec::new(), ..interface(1) };
        let mut kernel = Fake::new(behaviour).unwrap().kernel();
        let result = kernel.add_vif(Af::Ip4, &bare);
        assert!(ok == result.is_ok() && (ok || matches!(result, Err(Error::NoAddress { .. }))));
        kernel.add_vif(Af::Ip6, &bare).unwrap();
    }
}

#[test]
fn reconcile_mends_and_tells() {
    for behaviour in [Behaviour::Linux, Behaviour::FreeBsd] {
        let (fake, mut kernel) = kernel(behaviour);
        let group = |n| ip(&format!("239.1.1.{n}"));
        let source = ip("10.0.0.9");
        let routes: Vec<_> = (1..=3).map(|n| route(source, group(n), 11, &[12])).collect();
        routes.iter().for_each(|r| kernel.set_route(r).unwrap());
        assert!(kernel.reconcile(Af::Ip4).unwrap().is_empty());

        assert!(fake.lose_entry(routes[0].key));
        assert_eq!(kernel.reconcile(Af::Ip4).unwrap().restored, [routes[0].key]);
        assert!(kernel.reconcile(Af::Ip4).unwrap().is_empty());
        assert_eq!(fake.entries(Af::Ip4).len(), 3);

        assert!(fake.lose_entry(routes[0].key));
        fake.fail(libc::ENOBUFS);
        assert_eq!(kernel.reconcile(Af::Ip4).unwrap().failed, [routes[0].key]);
        assert_eq!(kernel.reconcile(Af::Ip4).unwrap().restored, [routes[0].key]);
    }
}

/// Linux alone tells of entries that nobody here made, where an entry leads, and whose it is.
#[test]
fn reconcile_finds_what_others_did() {
    let (fake, mut kernel) = kernel(Behaviour::Linux);
    let source = ip("10.0.0.9");
    let routes = [7, 8, 9, 10].map(|n| route(source, ip(&format!("239.1.1.{n}")), 11, &[12]));
    let [ours, stray, foreign, taken] = &routes;
    kernel.set_route(ours).unwrap();
    kernel.set_route(taken).unwrap();
    fake.intrude(entry(ours, 0, &[2]), false);
    fake.intrude(entry(stray, 0, &[2]), false);
    fake.intrude(entry(foreign, 0, &[2]), true);
    fake.intrude(entry(taken, 0, &[2]), true);
    let drift = kernel.reconcile(Af::Ip4).unwrap();
    assert_eq!(drift.corrected, [ours.key]);
    assert_eq!(drift.removed, [stray.key]);
    assert_eq!(drift.foreign, [foreign.key]);
    assert_eq!(drift.taken, [taken.key]);
    assert!(kernel.reconcile(Af::Ip4).unwrap().is_empty());
    assert_eq!(fake.entries(Af::Ip4).len(), 3);
}

/// A vif that went with its interface is told; one that the kernel lost comes back, by the address
/// that the interface has by then, and with the routes that named it.
#[test]
fn reconcile_mends_vifs() {
    each(|behaviour, source, group| {
        let family = Af::of(group);
        let fake = Fake::new(behaviour).unwrap();
        (11..=13).for_each(|n| fake.interface(interface(n)));
        let mut kernel = fake.kernel();
        for n in 11..=13 {
            kernel.add_vif(family, &interface(n)).unwrap();
        }
        kernel.set_route(&route(source, group, 11, &[12, 13])).unwrap();
        // FreeBSD tells nothing of a vif below the highest one.
        fake.remove_interface(13);
        assert_eq!(kernel.reconcile(family).unwrap().vifs_lost, [13], "{behaviour:?}");
        let moved = Interface { addresses: interface(14).addresses, ..interface(13) };
        fake.interface(moved.clone());
        kernel.update_interface(&moved);
        assert_eq!(kernel.reconcile(family).unwrap().vifs_restored, [13], "{behaviour:?}");
        assert_eq!(fake.packet(packet(source, group, 11)), [12, 13], "{behaviour:?}");
        fake.lose_vif(family, 13);
        assert_eq!(kernel.reconcile(family).unwrap().vifs_restored, [13]);
        assert_eq!(fake.packet(packet(source, group, 11)), [12, 13], "{behaviour:?}");
    });
}

/// The source of a group moves to where the group went out: OpenBSD would keep the old parent.
#[test]
fn incoming_interface_was_an_outgoing_one() {
    each(|behaviour, source, group| {
        let (fake, mut kernel) = kernel(behaviour);
        kernel.set_route(&route(source, group, 11, &[12, 13])).unwrap();
        kernel.set_route(&route(source, group, 12, &[11, 13])).unwrap();
        assert_eq!(fake.packet(packet(source, group, 12)), [11, 13], "{behaviour:?}");
        assert!(fake.packet(packet(source, group, 11)).is_empty());
        assert_eq!(kernel.counters(Af::of(group)).unwrap()[0].wrong_interface, 1);
    });
}

/// An interface that is not there, and where vifs are made by address, an address that it has not.
#[test]
fn vifs_that_cannot_be() {
    each(|behaviour, _, group| {
        let fake = Fake::new(behaviour).unwrap();
        fake.interface(interface(11));
        let family = Af::of(group);
        let errno = |interface: &Interface| match fake.kernel().add_vif(family, interface) {
            Err(Error::System { source, .. }) => source.raw_os_error(),
            other => other.map(|_| None).unwrap(),
        };
        assert_eq!(errno(&interface(12)), Some(libc::EADDRNOTAVAIL));
        let elsewhere = Interface { addresses: interface(12).addresses, ..interface(11) };
        let by_address = behaviour != Behaviour::Linux && family == Af::Ip4;
        assert_eq!(errno(&elsewhere), by_address.then_some(libc::EADDRNOTAVAIL), "{behaviour:?}");
    });
}

/// OpenBSD: entries go when idle, one serves all sources of a group, and the kernel makes entries
/// without outputs itself.
#[test]
fn group_keyed_kernel() {
    let (fake, mut kernel) = kernel(Behaviour::OpenBsd);
    let (group, one, two) = (ip("239.1.2.3"), ip("10.0.0.1"), ip("10.0.0.2"));
    assert!(fake.packet(packet(one, group, 11)).is_empty());
    assert!(fake.packet(packet(two, group, 11)).is_empty());
    assert_eq!(receive(kernel.as_mut(), Af::Ip4).len(), 1, "one upcall a group");
    kernel.set_route(&route(one, group, 11, &[12])).unwrap();
    assert!(kernel.has_route(&RouteKey { source: Some(two), group }), "it is that of all sources");
    assert_eq!(fake.sent(), [], "nothing was queued");
    assert_eq!(fake.packet(packet(two, group, 11)), [12]);
    assert!(fake.packet(packet(two, group, 13)).is_empty());
    assert_eq!(receive(kernel.as_mut(), Af::Ip4), [], "no upcall for a wrong interface");
    kernel.set_route(&route(two, group, 11, &[12])).unwrap();
    assert_eq!(kernel.routes(Af::Ip4).len(), 1);
    let counts = kernel.counters(Af::Ip4).unwrap();
    // The second packet found the entry of the kernel itself, whose counters go on.
    assert_eq!((counts[0].packets, counts[0].bytes, counts[0].wrong_interface), (2, 200, 1));

    fake.time_passes();
    assert!(kernel.reconcile(Af::Ip4).unwrap().is_empty(), "it was used");
    fake.time_passes();
    let drift = kernel.reconcile(Af::Ip4).unwrap();
    assert_eq!(drift.expired, [RouteKey { source: None, group }]);
    assert_eq!(kernel.routes(Af::Ip4), []);
}

/// The packets that waited go out with the route, four at most.
#[test]
fn queue_of_unresolved_packets() {
    let (fake, mut kernel) = kernel(Behaviour::Linux);
    let (source, group) = (ip("fd00::9"), ip("ff15::1"));
    (0..6).for_each(|_| assert!(fake.packet(packet(source, group, 11)).is_empty()));
    assert_eq!(receive(kernel.as_mut(), Af::Ip6).len(), 1);
    kernel.set_route(&route(source, group, 11, &[13])).unwrap();
    assert_eq!(fake.sent().len(), 4);
}

/// Who may still call, once privileges are gone.
#[test]
fn standing_of_the_process() {
    use Standing::{NotRouter, Sandboxed, Unprivileged};
    for (behaviour, standing, ipv4, ipv6) in [
        (Behaviour::Linux, Unprivileged, None, None),
        (Behaviour::Linux, NotRouter, Some(libc::EACCES), Some(libc::EACCES)),
        (Behaviour::FreeBsd, Unprivileged, Some(libc::EPERM), None),
        (Behaviour::FreeBsd, NotRouter, Some(libc::EPERM), Some(libc::EACCES)),
        (Behaviour::OpenBsd, Unprivileged, None, None),
        (Behaviour::OpenBsd, Sandboxed, Some(libc::EPERM), Some(libc::EPERM)),
        (Behaviour::OpenBsd, NotRouter, Some(libc::ENOPROTOOPT), Some(libc::EPERM)),
    ] {
        let (fake, mut kernel) = kernel(behaviour);
        fake.stand(standing);
        for ((source, group), want) in FAMILIES.into_iter().zip([ipv4, ipv6]) {
            let errno = match kernel.set_route(&route(ip(source), ip(group), 11, &[12])) {
                Err(Error::System { source, .. }) => source.raw_os_error(),
                other => other.map(|()| None).unwrap(),
            };
            assert_eq!(errno, want, "{behaviour:?} {standing:?} {group}");
        }
    }
}

/// The descriptors are readable exactly while something waits.
#[test]
fn fake_descriptors_wake() {
    let readable = |fd: std::os::fd::BorrowedFd<'_>| {
        let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
    };
    let (fake, mut kernel) = kernel(Behaviour::Linux);
    assert!(!readable(kernel.descriptor(Af::Ip4).unwrap()));
    assert!(fake.upcall(UpcallKind::WrongVif, 12, ip("10.0.0.9"), ip("239.1.2.3")));
    assert!(!fake.upcall(UpcallKind::WrongVif, 99, ip("10.0.0.9"), ip("239.1.2.3")));
    fake.igmp(12, vec![0x45]);
    assert!(readable(kernel.descriptor(Af::Ip4).unwrap()));
    assert!(!readable(kernel.descriptor(Af::Ip6).unwrap()));
    assert_eq!(receive(kernel.as_mut(), Af::Ip4).len(), 2);
    assert!(!readable(kernel.descriptor(Af::Ip4).unwrap()));

    let mut monitor = fake.monitor();
    assert!(!readable(monitor.descriptor()));
    fake.interface(interface(5));
    assert!(readable(monitor.descriptor()));
    let mut changes = Vec::new();
    monitor.receive(&mut changes).unwrap();
    assert_eq!(changes, [InterfaceChange::Present(interface(5))]);
    assert!(!readable(monitor.descriptor()));
    assert_eq!(monitor.snapshot().unwrap(), [interface(5)]);
}
