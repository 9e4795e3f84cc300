//! What an engine that was taken over sends: what the parent would carry out stays among the
//! interfaces that are configured.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcast_proxy::config::model::{Config, GroupSet, Mroute, Overrides, Pattern, SourceMatch};
use mcast_proxy::imsg::Order;
use mcast_proxy::kroute::{Interface, InterfaceAddress, Route};
use mcast_proxy::parent::world::World;
use mcast_proxy::wire::Af;
use mcast_proxy_fuzz::frames;

/// The interfaces that the configuration names, vifs of both families; the third is there too.
const NAMES: [(u32, &str); 3] = [(1, "up0"), (2, "down0"), (3, "other0")];
const VIFS: [u32; 2] = [1, 2];

fn world() -> World {
    let name = |name: &str| Pattern(name.to_owned());
    let groups = ipnet::IpNet::V4("239.0.0.0/8".parse().expect("a network"));
    let route = Mroute {
        from: name("up0"),
        source: SourceMatch::Any,
        group: GroupSet::Net(groups),
        to: vec![name("down0")],
    };
    let defaults = Overrides { ipv6: Some(true), ..Overrides::default() };
    let mut world = World {
        config: Config { defaults, mroutes: vec![route], ..Config::default() },
        families: [true, true],
        star_g: [true, false],
        transmits: true,
        ..World::default()
    };
    world.compare(NAMES.map(interface).to_vec());
    for family in Af::ALL {
        world.vifs_mut(family).extend(VIFS.map(|ifindex| (ifindex, 0)));
    }
    world
}

fn interface((ifindex, name): (u32, &str)) -> Interface {
    let network: ipnet::IpNet = format!("10.0.{ifindex}.1/24").parse().expect("a network");
    Interface {
        ifindex,
        name: name.to_owned(),
        mtu: 1500,
        up: true,
        loopback: false,
        addresses: vec![InterfaceAddress { address: network.addr(), network }],
    }
}

fn check(world: &World, order: &Order) {
    match order {
        Order::AddVif { family, ifindex } => {
            let allowed = world.check_add_vif(*family, *ifindex).is_ok();
            assert_eq!(allowed, VIFS.contains(ifindex));
        }
        Order::DeleteVif { family, ifindex } => {
            assert_eq!(world.check_vif(*family, *ifindex).is_ok(), VIFS.contains(ifindex));
        }
        Order::SetRoute(route) if world.check_route(route, 0).is_ok() => check_route(route),
        Order::DeleteRoute(key) if world.check_key(key).is_ok() => {
            assert!(key.group.is_multicast());
        }
        Order::Transmit(packet) if world.check_transmit(packet).is_ok() => {
            assert!(packet.destination.is_multicast() && VIFS.contains(&packet.ifindex));
            assert!(packet.bytes.len() <= 1500);
        }
        // Refused above, or without a number that could be forged.
        Order::SetRoute(_)
        | Order::DeleteRoute(_)
        | Order::Transmit(_)
        | Order::Ready
        | Order::ReadCounters(_)
        | Order::Add { .. }
        | Order::Remove { .. }
        | Order::Reload { .. }
        | Order::Log { .. }
        | Order::Stop
        | Order::Pong(_)
        | Order::Members(_)
        | Order::Finished => {}
    }
}

fn check_route(route: &Route) {
    assert!(route.key.group.is_multicast());
    assert!(VIFS.contains(&route.incoming) && route.outgoing.len() < VIFS.len());
    for output in &route.outgoing {
        assert!(VIFS.contains(&output.ifindex) && output.ifindex != route.incoming);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let world = world();
    frames::check(bytes).iter().for_each(|order| check(&world, order));
});
