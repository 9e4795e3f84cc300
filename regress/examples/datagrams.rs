//! Sends datagrams to a group, or counts those that arrive: a host for trials on any system.
//!
//!     datagrams send GROUP INTERFACE COUNT
//!     datagrams receive GROUP INTERFACE SECONDS
//!
//! Ten datagrams leave in a second. The receiver joins the group and prints how many came.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use mcast_proxy::sys::{consts, socket};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;

const PORT: u16 = 5001;
const TTL: u8 = 8;
const INTERVAL: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, group, interface, number] = &arguments[..] else {
        return Err("usage: datagrams send|receive GROUP INTERFACE COUNT|SECONDS".into());
    };
    let (group, number): (IpAddr, u32) = (group.parse()?, number.parse()?);
    match what.as_str() {
        "send" => send(group, interface, number),
        "receive" => receive(group, interface, Duration::from_secs(number.into())),
        _ => Err(format!("{what}: neither send nor receive").into()),
    }
}

fn send(group: IpAddr, interface: &str, count: u32) -> Result<(), Box<dyn Error>> {
    let index = if_nametoindex(interface)?;
    let sender = unbound(group, 0)?;
    match group {
        IpAddr::V4(_) => {
            let mreqn = [0, 0, index];
            socket::set(&sender, consts::IPPROTO_IP, consts::IP_MULTICAST_IF, mreqn)?;
            sender.set_multicast_ttl_v4(TTL.into())?;
        }
        IpAddr::V6(_) => {
            let level = consts::IPPROTO_IPV6;
            socket::set(&sender, level, libc::IPV6_MULTICAST_IF, i32::try_from(index)?)?;
            socket::set(&sender, level, consts::IPV6_MULTICAST_HOPS, i32::from(TTL))?;
        }
    }
    for number in 0..count {
        sender.send_to(&number.to_be_bytes(), (group, PORT))?;
        sleep(INTERVAL);
    }
    Ok(())
}

fn receive(group: IpAddr, interface: &str, time: Duration) -> Result<(), Box<dyn Error>> {
    let receiver = unbound(group, PORT)?;
    match group {
        IpAddr::V4(group) => receiver.join_multicast_v4(&group, &address(interface)?)?,
        IpAddr::V6(group) => receiver.join_multicast_v6(&group, if_nametoindex(interface)?)?,
    }
    receiver.set_read_timeout(Some(INTERVAL))?;
    let end = Instant::now() + time;
    let mut received = 0;
    while Instant::now() < end {
        received += u32::from(receiver.recv(&mut [0; 64]).is_ok());
    }
    println!("{received}");
    Ok(())
}

fn unbound(group: IpAddr, port: u16) -> std::io::Result<UdpSocket> {
    let any = match group {
        IpAddr::V4(_) => SocketAddr::from(([0; 4], port)),
        IpAddr::V6(_) => SocketAddr::from(([0u16; 8], port)),
    };
    UdpSocket::bind(any)
}

/// The interface's IPv4 address.
fn address(interface: &str) -> Result<Ipv4Addr, Box<dyn Error>> {
    let addresses = getifaddrs()?.filter(|a| a.interface_name == interface);
    let mut ip4 = addresses.filter_map(|a| Some(a.address?.as_sockaddr_in()?.ip()));
    ip4.next().ok_or_else(|| format!("{interface} has no IPv4 address").into())
}
