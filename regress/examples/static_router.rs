//! A static multicast router for one group.
//!
//!     static_router INCOMING GROUP OUTGOING ...
//!
//! What any source sends to the group on the incoming interface leaves by the outgoing ones. Where
//! the kernel has no (*,G) routes, each source gets a route when it first sends. It ends when its
//! standard input does, prints what was forwarded, and takes CAP_NET_ADMIN and CAP_NET_RAW.

use std::error::Error;
use std::net::IpAddr;
use std::os::fd::AsFd;

use mcast_proxy::kroute::{
    FromKernel, Kernel, Options, Output, Route, RouteKey, UpcallKind, monitor, open,
};
use mcast_proxy::wire::Af;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(incoming), Some(group)) = (arguments.next(), arguments.next()) else {
        return Err("usage: static_router INCOMING GROUP OUTGOING ...".into());
    };
    let group: IpAddr = group.parse()?;
    let family = Af::of(group);
    let mut options = Options { table: 0, families: [false, false] };
    options.families[family.index()] = true;

    let mut kernel = open(&options)?;
    let interfaces = monitor(&options)?.snapshot()?;
    let mut add = |name: &str| -> Result<u32, Box<dyn Error>> {
        let found = interfaces.iter().find(|i| i.name == name);
        let interface = found.ok_or_else(|| format!("no interface {name}"))?;
        kernel.add_vif(family, interface)?;
        Ok(interface.ifindex)
    };
    let incoming = add(&incoming)?;
    let outgoing = arguments
        .map(|name| Ok(Output { ifindex: add(&name)?, threshold: 1 }))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let mut route = Route { key: RouteKey { source: None, group }, incoming, outgoing };
    if kernel.capabilities(family).star_g {
        kernel.set_route(&route)?;
    }

    while serve(kernel.as_mut(), &mut route)? {}
    for count in kernel.counters(family)? {
        let source = count.key.source.map_or("*".to_owned(), |s| s.to_string());
        println!("{source} {}: {} packets, {} octets", count.key.group, count.packets, count.bytes);
    }
    Ok(())
}

/// Waits for the kernel, and gives sources that have no route theirs; false at the end of the input.
fn serve(kernel: &mut dyn Kernel, route: &mut Route) -> Result<bool, Box<dyn Error>> {
    let family = route.key.family();
    let input = std::io::stdin();
    let mut ready = vec![PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    ready.extend(kernel.descriptor(family).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    poll(&mut ready, PollTimeout::NONE)?;
    if ready.first().and_then(PollFd::any).unwrap_or(false) {
        return Ok(false);
    }
    let mut messages = Vec::new();
    kernel.receive(family, &mut messages)?;
    for message in messages {
        if let FromKernel::Upcall(upcall) = message
            && upcall.kind == UpcallKind::NoCache
            && (upcall.ifindex, upcall.group) == (route.incoming, route.key.group)
        {
            route.key.source = Some(upcall.source);
            kernel.set_route(route)?;
        }
    }
    Ok(true)
}
