//! The far end of a tunnel: VXLAN with the Generic Protocol Extension carries IP without Ethernet
//! (draft-ietf-nvo3-vxlan-gpe, section 3.1).

use std::net::{IpAddr, UdpSocket};

use super::{Host, any};

/// Where [`Host::tunnel`] takes packets.
pub const PORT: u16 = 4790;

/// What sends packets into the tunnel device of another host.
pub struct Tunnel(UdpSocket);

impl Tunnel {
    /// At this host, to the one that has the address.
    #[must_use]
    pub fn new(host: &Host, to: IpAddr) -> Self {
        let socket = host.run(|| UdpSocket::bind((any(to), 0))).expect("a socket");
        socket.connect((to, PORT)).expect("a route");
        Self(socket)
    }

    /// Sends an IP packet.
    pub fn send(&self, packet: &[u8]) {
        let next = if packet[0] >> 4 == 4 { 1 } else { 2 };
        // Flags: the network identifier, which is 0, and the next protocol are valid.
        let header = [0x0c, 0, 0, next, 0, 0, 0, 0];
        self.0.send(&[&header, packet].concat()).expect("send");
    }
}
