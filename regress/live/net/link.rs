//! Links and addresses of a [`Host`], by netlink: no `ip` command is needed.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::net::if_::if_nametoindex;

use super::{Host, wait_for};

/// Sends one request and reads its answer.
pub(super) fn request(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map(|m| m.payload) {
        Ok(NetlinkPayload::Error(e)) if e.code.is_some() => Err(e.to_io()),
        Ok(_) => Ok(()),
        Err(e) => Err(io::Error::other(e)),
    }
}

fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn indexed(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = if_nametoindex(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    link
}

impl Host {
    fn create(&self, mut link: LinkMessage, kind: InfoKind, data: InfoData) {
        let info = vec![LinkInfo::Kind(kind), LinkInfo::Data(data)];
        link.attributes.push(LinkAttribute::LinkInfo(info));
        self.run(|| request(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL))
            .unwrap_or_else(|e| panic!("a new link: {e}"));
    }

    /// Lays a cable from `name` here to `peer_name` at `peer`, both ends up.
    pub fn cable(&self, name: &str, peer: &Self, peer_name: &str) {
        self.cable_with_index(name, 0, peer, peer_name);
    }

    /// [`Host::cable`] with an index for this end; 0 for any.
    pub fn cable_with_index(&self, name: &str, index: u32, peer: &Self, peer_name: &str) {
        let mut link = named(name);
        link.header.index = index;
        let mut other = named(peer_name);
        other.attributes.push(LinkAttribute::NetNsFd(peer.net.as_raw_fd()));
        self.create(link, InfoKind::Veth, InfoData::Veth(InfoVeth::Peer(other)));
        self.up(name);
        peer.up(peer_name);
    }

    /// Makes a bridge that is up.
    pub fn bridge(&self, name: &str, options: Vec<InfoBridge>) {
        self.create(named(name), InfoKind::Bridge, InfoData::Bridge(options));
        self.up(name);
    }

    /// Makes a tunnel device that is up: point-to-point, without broadcast and without hardware
    /// addresses. What comes in by UDP to [`tunnel::PORT`](super::tunnel::PORT) arrives on it.
    pub fn tunnel(&self, name: &str) {
        let options = vec![
            InfoVxlan::CollectMetadata(true),
            InfoVxlan::Learning(false),
            InfoVxlan::Gpe,
            InfoVxlan::Port(super::tunnel::PORT),
        ];
        self.create(named(name), InfoKind::Vxlan, InfoData::Vxlan(options));
        self.up(name);
    }

    /// Changes options of a bridge.
    pub fn configure(&self, name: &str, options: Vec<InfoBridge>) {
        let info =
            vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(options))];
        self.run(|| {
            let mut link = indexed(name);
            link.attributes.push(LinkAttribute::LinkInfo(info));
            request(RouteNetlinkMessage::NewLink(link), 0)
        })
        .unwrap_or_else(|e| panic!("link {name}: {e}"));
    }

    fn change(&self, name: &str, what: impl FnOnce(&mut LinkMessage) + Send) {
        self.run(|| {
            let mut link = indexed(name);
            what(&mut link);
            request(RouteNetlinkMessage::SetLink(link), 0)
        })
        .unwrap_or_else(|e| panic!("link {name}: {e}"));
    }

    /// Makes the link a port of the bridge.
    pub fn plug(&self, name: &str, bridge: &str) {
        let index = self.index(bridge);
        self.change(name, |link| link.attributes.push(LinkAttribute::Controller(index)));
    }

    /// Sets the link up.
    pub fn up(&self, name: &str) {
        self.change(name, |link| {
            link.header.flags = LinkFlags::Up;
            link.header.change_mask = LinkFlags::Up;
        });
    }

    /// Sets the link down.
    pub fn down(&self, name: &str) {
        self.change(name, |link| link.header.change_mask = LinkFlags::Up);
    }

    /// Gives the link, which must be down, another name.
    pub fn rename(&self, name: &str, to: &str) {
        self.change(name, |link| link.attributes.push(LinkAttribute::IfName(to.to_owned())));
    }

    /// Gives the link to another host; it is down there and has no address.
    pub fn give(&self, name: &str, to: &Self) {
        let end = to.net.as_raw_fd();
        self.change(name, |link| link.attributes.push(LinkAttribute::NetNsFd(end)));
    }

    /// Sets the octets that a packet may have.
    pub fn mtu(&self, name: &str, octets: u32) {
        self.change(name, |link| link.attributes.push(LinkAttribute::Mtu(octets)));
    }

    /// Deletes the link, and the other end of its cable.
    pub fn delete(&self, name: &str) {
        self.run(|| request(RouteNetlinkMessage::DelLink(indexed(name)), 0))
            .unwrap_or_else(|e| panic!("link {name}: {e}"));
    }

    /// The link's index.
    #[must_use]
    pub fn index(&self, name: &str) -> u32 {
        self.run(|| if_nametoindex(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Adds an address with its prefix length.
    pub fn address(&self, name: &str, address: &str) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.run(|| request(RouteNetlinkMessage::NewAddress(with(name, address)), flags))
            .unwrap_or_else(|e| panic!("{name} {address}: {e}"));
    }

    /// Adds an IPv4 address of a point-to-point link, whose other end is `peer`.
    pub fn peer_address(&self, name: &str, address: &str, peer: &str) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.run(|| {
            let mut message = with(name, &format!("{address}/32"));
            message.attributes = vec![
                AddressAttribute::Local(super::ip(address)),
                AddressAttribute::Address(super::ip(peer)),
            ];
            request(RouteNetlinkMessage::NewAddress(message), flags)
        })
        .unwrap_or_else(|e| panic!("{name} {address} peer {peer}: {e}"));
    }

    /// Takes an address away.
    pub fn remove_address(&self, name: &str, address: &str) {
        self.run(|| request(RouteNetlinkMessage::DelAddress(with(name, address)), 0))
            .unwrap_or_else(|e| panic!("{name} {address}: {e}"));
    }

    /// Waits until the link has a link-local address that it may use.
    pub fn settle(&self, name: &str) {
        wait_for(&format!("{name} has a link-local address"), || {
            let table = self.proc_net("if_inet6");
            let mine =
                |line: &&str| line.ends_with(&format!(" {name}")) && line.starts_with("fe80");
            let usable = |line: &str| {
                let flags = line.split_whitespace().nth(4)?;
                u32::from_str_radix(flags, 16).ok().filter(|f| f & libc::IFA_F_TENTATIVE == 0)
            };
            table.lines().find(mine).and_then(usable)
        });
    }
}

fn with(name: &str, address: &str) -> AddressMessage {
    let net: IpNet = address.parse().unwrap_or_else(|e| panic!("{address}: {e}"));
    let mut message = AddressMessage::default();
    message.header.index = if_nametoindex(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    message.header.prefix_len = net.prefix_len();
    message.header.family = match net.addr() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes =
        vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    message
}
