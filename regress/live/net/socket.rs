//! Receivers and senders: ordinary kernel sockets in a [`Host`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::{
    IpMulticastTtl, Ipv6MulticastHops, RcvBuf, RcvBufForce, ReuseAddr,
};
use nix::sys::socket::{
    AddressFamily, SetSockOpt, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket,
};
use nix::{setsockopt_impl, sockopt_impl};

use super::{Host, any};

/// The port that every flow goes to.
pub const PORT: u16 = 5000;

/// Receive buffer of a receiver; room for several thousand datagrams, where the system grants it.
const RECEIVE_BUFFER: usize = 4 << 20;

/// `struct ip_mreqn`, ip(7).
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Ip4Interface {
    group: [u8; 4],
    address: [u8; 4],
    ifindex: i32,
}

/// `struct group_source_req` of RFC 3678; [`SockaddrStorage`] is a `struct sockaddr_storage`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GroupSource {
    interface: u32,
    group: SockaddrStorage,
    source: SockaddrStorage,
}

/// `struct group_req` of RFC 3678.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GroupRequest {
    interface: u32,
    group: SockaddrStorage,
}

sockopt_impl!(Ip4Output, SetOnly, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, Ip4Interface);
sockopt_impl!(Ip6Output, SetOnly, libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF, u32);
sockopt_impl!(Ip4Only, SetOnly, libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, libc::c_int);
/// Linux's `IPV6_MULTICAST_ALL`, which the libc crate lacks.
const IPV6_MULTICAST_ALL: libc::c_int = 29;
sockopt_impl!(Ip6Only, SetOnly, libc::IPPROTO_IPV6, IPV6_MULTICAST_ALL, libc::c_int);

macro_rules! membership {
    ($($four:ident $six:ident $option:ident $value:ty;)*) => {$(
        sockopt_impl!($four, SetOnly, libc::IPPROTO_IP, libc::$option, $value);
        sockopt_impl!($six, SetOnly, libc::IPPROTO_IPV6, libc::$option, $value);
    )*};
}
membership! {
    Join4 Join6 MCAST_JOIN_GROUP GroupRequest;
    Leave4 Leave6 MCAST_LEAVE_GROUP GroupRequest;
    JoinSource4 JoinSource6 MCAST_JOIN_SOURCE_GROUP GroupSource;
    LeaveSource4 LeaveSource6 MCAST_LEAVE_SOURCE_GROUP GroupSource;
    Block4 Block6 MCAST_BLOCK_SOURCE GroupSource;
    Unblock4 Unblock6 MCAST_UNBLOCK_SOURCE GroupSource;
}

fn udp(like: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let family = match like {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    let fd: OwnedFd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, ReuseAddr, &true)?;
    let at = SockaddrStorage::from(SocketAddr::new(like, port));
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &at)?;
    Ok(fd.into())
}

/// A socket that wants one group on one interface.
pub struct Receiver {
    socket: UdpSocket,
    interface: u32,
    group: IpAddr,
    /// Numbers received so far, in order of arrival.
    got: Vec<u64>,
}

impl Receiver {
    /// A receiver that has joined nothing yet.
    fn new(host: &Host, interface: &str, group: IpAddr) -> Self {
        let index = host.index(interface);
        let socket = host.run(|| udp(any(group), PORT)).expect("a receiver's socket");
        socket.set_nonblocking(true).expect("non-blocking");
        // A user namespace gets what net.core.rmem_max allows: some hundred.
        setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER)
            .or_else(|_| setsockopt(&socket, RcvBuf, &RECEIVE_BUFFER))
            .expect("a receive buffer");
        set(&socket, group, (Ip4Only, Ip6Only), &0);
        Self { socket, interface: index, group, got: Vec::new() }
    }

    /// Joins the group from any source.
    #[must_use]
    pub fn join(host: &Host, interface: &str, group: IpAddr) -> Self {
        let receiver = Self::new(host, interface, group);
        set(&receiver.socket, group, (Join4, Join6), &receiver.request());
        receiver
    }

    /// Joins the group from one source.
    #[must_use]
    pub fn join_source(host: &Host, interface: &str, group: IpAddr, source: IpAddr) -> Self {
        let receiver = Self::new(host, interface, group);
        receiver.add_source(source);
        receiver
    }

    /// Wants one source more.
    pub fn add_source(&self, source: IpAddr) {
        set(&self.socket, self.group, (JoinSource4, JoinSource6), &self.of(source));
    }

    /// Wants one source less.
    pub fn drop_source(&self, source: IpAddr) {
        set(&self.socket, self.group, (LeaveSource4, LeaveSource6), &self.of(source));
    }

    /// Wants every source but this.
    pub fn block(&self, source: IpAddr) {
        set(&self.socket, self.group, (Block4, Block6), &self.of(source));
    }

    /// Wants this source again.
    pub fn unblock(&self, source: IpAddr) {
        set(&self.socket, self.group, (Unblock4, Unblock6), &self.of(source));
    }

    /// Leaves the group; the socket stays, and so does what it received.
    pub fn leave(&self) {
        set(&self.socket, self.group, (Leave4, Leave6), &self.request());
    }

    /// The numbers received so far, in order of arrival.
    pub fn got(&mut self) -> &[u64] {
        let mut datagram = [0; 8];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            assert_eq!(length, datagram.len(), "a datagram that no sender here made");
            self.got.push(u64::from_be_bytes(datagram));
        }
        &self.got
    }

    /// Forgets what was received so far.
    pub fn clear(&mut self) {
        self.got();
        self.got.clear();
    }

    fn request(&self) -> GroupRequest {
        GroupRequest { interface: self.interface, group: storage(self.group) }
    }

    fn of(&self, source: IpAddr) -> GroupSource {
        GroupSource {
            interface: self.interface,
            group: storage(self.group),
            source: storage(source),
        }
    }
}

fn storage(address: IpAddr) -> SockaddrStorage {
    SockaddrStorage::from(SocketAddr::new(address, 0))
}

/// Sets the option of the family of `like`.
fn set<V, F, S>(socket: &impl AsFd, like: IpAddr, (four, six): (F, S), value: &V)
where
    F: SetSockOpt<Val = V>,
    S: SetSockOpt<Val = V>,
{
    let done = match like {
        IpAddr::V4(_) => setsockopt(socket, four, value),
        IpAddr::V6(_) => setsockopt(socket, six, value),
    };
    done.unwrap_or_else(|e| panic!("socket option for {like}: {e}"));
}

/// A socket that sends numbered datagrams to one group.
pub struct Sender {
    socket: UdpSocket,
    to: SocketAddr,
    next: u64,
}

impl Sender {
    /// Sends out of the interface from `source` with a TTL of 16.
    #[must_use]
    pub fn new(host: &Host, interface: &str, source: IpAddr, group: IpAddr) -> Self {
        Self::with_ttl(host, interface, source, group, 16)
    }

    /// [`Sender::new`] with a TTL or hop limit of its own.
    #[must_use]
    pub fn with_ttl(host: &Host, interface: &str, source: IpAddr, group: IpAddr, ttl: u8) -> Self {
        let index = host.index(interface);
        let socket = host.run(|| udp(source, 0)).unwrap_or_else(|e| panic!("{source}: {e}"));
        match group {
            IpAddr::V4(_) => {
                let ifindex = i32::try_from(index).expect("a small interface index");
                let address = Ipv4Addr::UNSPECIFIED.octets();
                let output = Ip4Interface { group: address, address, ifindex };
                setsockopt(&socket, Ip4Output, &output).expect("IP_MULTICAST_IF");
                setsockopt(&socket, IpMulticastTtl, &ttl).expect("IP_MULTICAST_TTL");
            }
            IpAddr::V6(_) => {
                setsockopt(&socket, Ip6Output, &index).expect("IPV6_MULTICAST_IF");
                setsockopt(&socket, Ipv6MulticastHops, &ttl.into()).expect("IPV6_MULTICAST_HOPS");
            }
        }
        Self { socket, to: SocketAddr::new(group, PORT), next: 0 }
    }

    /// Sends the next `count` datagrams at once.
    pub fn send(&mut self, count: u64) {
        for _ in 0..count {
            self.socket.send_to(&self.next.to_be_bytes(), self.to).expect("send");
            self.next += 1;
        }
    }

    /// Numbers its datagrams from here on.
    #[must_use]
    pub const fn counting_from(mut self, number: u64) -> Self {
        self.next = number;
        self
    }

    /// How many were sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.next
    }

    /// Sends `rate` datagrams a second until the flow is stopped or dropped.
    #[must_use]
    pub fn flow(mut self, rate: u32) -> Flow {
        let stop = Arc::new(AtomicBool::new(false));
        let sent = Arc::new(AtomicU64::new(self.next));
        let (stopped, count) = (stop.clone(), sent.clone());
        let thread = thread::spawn(move || {
            let (gap, mut due) = (Duration::from_secs(1) / rate, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                self.send(1);
                count.store(self.next, Ordering::Relaxed);
                due += gap;
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            self
        });
        Flow { stop, sent, thread: Some(thread) }
    }
}

/// A sender at work.
pub struct Flow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<Sender>>,
}

impl Flow {
    /// How many were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops, and gives the sender back.
    #[must_use]
    pub fn stop(mut self) -> Sender {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().expect("stopped once").join().expect("the sender's thread")
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
