//! Prints what the kernel asks about multicast packets, as a routing program hears it.
//!
//!     upcalls INTERFACE ...
//!
//! One line each: family, kind, interface, source, group. Nothing is forwarded. It ends when its
//! standard input does, and takes CAP_NET_ADMIN and CAP_NET_RAW.

use std::collections::HashMap;
use std::error::Error;
use std::os::fd::AsFd;

use mcast_proxy::kroute::{FromKernel, Options, UpcallKind, monitor, open};
use mcast_proxy::wire::Af;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

fn main() -> Result<(), Box<dyn Error>> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let options = Options { table: 0, families: [true, true] };
    let mut kernel = open(&options)?;
    let mut names = HashMap::new();
    for interface in monitor(&options)?.snapshot()? {
        if wanted.contains(&interface.name) {
            for family in Af::ALL {
                kernel.add_vif(family, &interface)?;
            }
            names.insert(interface.ifindex, interface.name);
        }
    }
    if let Some(missing) = wanted.iter().find(|name| !names.values().any(|n| n == *name)) {
        return Err(format!("no interface {missing}").into());
    }

    let input = std::io::stdin();
    loop {
        let mut ready = vec![PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        for family in Af::ALL {
            ready.extend(kernel.descriptor(family).map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        }
        poll(&mut ready, PollTimeout::NONE)?;
        if ready.first().and_then(PollFd::any).unwrap_or(false) {
            return Ok(());
        }
        for family in Af::ALL {
            let mut messages = Vec::new();
            kernel.receive(family, &mut messages)?;
            for message in messages {
                let FromKernel::Upcall(upcall) = message else { continue };
                let kind = match upcall.kind {
                    UpcallKind::NoCache => "no-route",
                    UpcallKind::WrongVif => "wrong-interface",
                };
                let name = names.get(&upcall.ifindex).map_or("?", String::as_str);
                println!("{family} {kind} {name} {} {}", upcall.source, upcall.group);
            }
        }
    }
}
