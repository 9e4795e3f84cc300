//! What an engine that was taken over, or a parent, would try first.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use caps::{CapSet, Capability};
use mcast_proxy::engine::packet;
use mcast_proxy::imsg::Transmit;
use mcast_proxy::wire::Af;
use nix::sys::signal::kill;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{ForkResult, Uid, chroot, fork, setresuid};

use crate::confined::Outcome::{self, Done, Killed, Refused};
use crate::confined::{ELSEWHERE, Held, OFF_THE_LIST, READABLE, REMOVABLE, Who, alone, outcome};

fn check(attempt: fn(&Held) -> io::Result<()>, engine: Outcome, parent: Outcome) {
    assert_eq!(outcome(Who::Engine, &attempt), engine);
    assert_eq!(outcome(Who::Parent, &attempt), parent);
    let anyone = outcome(Who::Anyone, &attempt);
    assert!(anyone != engine && (anyone != parent || parent == Done), "unconfined: {anyone:?}");
}

/// A test for each attempt: what comes of it for an engine, then for a parent.
macro_rules! attempts {
    ($($name:ident($engine:expr, $parent:expr) $attempt:expr;)*) => {
        $(#[test]
        fn $name() {
            alone(concat!("attempts::", stringify!($name)), || check($attempt, $engine, $parent));
        })*
    };
}

attempts! {
    read_a_file(Killed, Refused(libc::EACCES)) |_| File::open(path(ELSEWHERE)).map(drop);
    list_a_folder(Killed, Refused(libc::EACCES)) |_| fs::read_dir(ELSEWHERE).map(drop);
    change_the_configuration(Killed, Refused(libc::EACCES)) |_| {
        OpenOptions::new().write(true).open(path(READABLE)).map(drop)
    };
    make_a_file(Killed, Refused(libc::EACCES)) |_| {
        File::create_new(format!("{REMOVABLE}/another")).map(drop)
    };
    remove_a_file(Killed, Refused(libc::EACCES)) |_| fs::remove_file(path(ELSEWHERE));
    make_a_folder(Killed, OFF_THE_LIST) |_| fs::create_dir(format!("{REMOVABLE}/folder"));
    open_a_socket(Killed, Done) |_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(drop);
    open_a_packet_socket(Killed, OFF_THE_LIST) |_| open(AddressFamily::Packet);
    open_a_netlink_socket(Killed, OFF_THE_LIST) |_| open(AddressFamily::Netlink);
    connect_by_tcp(Killed, Refused(libc::EACCES)) |_| {
        TcpStream::connect((Ipv4Addr::LOCALHOST, 9)).map(drop)
    };
    listen_by_tcp(Killed, Refused(libc::EACCES)) |_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map(drop)
    };
    fork_a_process(Killed, Done) |_| {
        // SAFETY: the child ends at once.
        if matches!(unsafe { fork() }?, ForkResult::Child) {
            std::process::exit(0);
        }
        Ok(())
    };
    start_a_thread(Killed, Done) |_| std::thread::Builder::new().spawn(|| ()).map(drop);
    execute_a_program(Killed, Refused(libc::EACCES)) |_| Err(Command::new("/bin/true").exec());
    trace_a_process(Killed, OFF_THE_LIST) |_| Ok(nix::sys::ptrace::traceme()?);
    signal_a_process(Killed, Refused(libc::EPERM)) |held| Ok(kill(held.starter, None)?);
    become_root(Killed, Done) |_| {
        let root = Uid::from_raw(0);
        Ok(setresuid(root, root, root)?)
    };
    regain_a_capability(Killed, Refused(libc::EPERM)) |_| {
        let all = [Capability::CAP_SYS_ADMIN].into();
        caps::set(None, CapSet::Effective, &all).map_err(|_| io::Error::last_os_error())
    };
    change_the_root(Killed, Done) |_| Ok(chroot("/")?);
    mount_a_file_system(Killed, OFF_THE_LIST) |_| {
        let flags = nix::mount::MsFlags::empty();
        Ok(nix::mount::mount(Some("x"), REMOVABLE, Some("tmpfs"), flags, None::<&str>)?)
    };
    execute_memory(Killed, Done) |_| map(libc::PROT_READ | libc::PROT_EXEC);
    route_ipv4(Killed, Done) |held| option(&held.raw, libc::IPPROTO_IP, MRT_INIT, 1);
    route_ipv6(Killed, Done) |held| option(&held.icmp6, libc::IPPROTO_IPV6, MRT_INIT, 1);
    lift_the_filter(Killed, Done) |held| option(&held.icmp6, libc::IPPROTO_ICMPV6, 1, 0);
    ask_for_an_interface(Killed, Done) |held| {
        let mut request = [0u8; 64];
        request[..2].copy_from_slice(b"lo");
        let fd = held.igmp.as_raw_fd();
        // SAFETY: ifreq has 40 octets at most, and begins with the name.
        let result = unsafe { libc::ioctl(fd, libc::SIOCGIFFLAGS, request.as_mut_ptr()) };
        checked(result)
    };
    hold_many_descriptors(Refused(libc::EMFILE), Refused(libc::EMFILE)) |held| {
        let igmp = held.igmp.as_fd();
        (0..300).map(|_| igmp.try_clone_to_owned()).collect::<io::Result<Vec<_>>>().map(drop)
    };
}

/// The sockets that an engine is given cannot send; those of a parent, which can, show that it is
/// not the address that is refused.
#[test]
fn send_to_a_foreign_address() {
    const TO: [IpAddr; 2] =
        [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
    let packet = |destination| {
        // As long as the longer header.
        let mut bytes = vec![0; 40];
        bytes[0] = 0x45;
        Transmit { ifindex: 0, source: destination, destination, bytes }
    };
    let by_engine = |held: &Held| {
        let sent = [&held.igmp, &held.icmp6].map(AsFd::as_fd).into_iter().zip(TO);
        let sent = sent.map(|(socket, to)| packet::send(socket, &packet(to)));
        let errors = sent.map(|result| result.map_err(|e| e.raw_os_error()));
        match errors.collect::<Vec<_>>()[..] {
            [Err(Some(libc::EPIPE)), Err(Some(libc::EPIPE))] => {
                Err(io::Error::from_raw_os_error(libc::EPIPE))
            }
            _ => Ok(()),
        }
    };
    let by_parent = |_: &Held| {
        let mut both = [Af::Ip4, Af::Ip6].into_iter().zip(TO);
        both.try_for_each(|(family, to)| {
            packet::send(packet::open_sender(family)?.as_fd(), &packet(to))
        })
    };
    alone("attempts::send_to_a_foreign_address", || {
        assert_eq!(outcome(Who::Engine, &by_engine), Refused(libc::EPIPE));
        assert_eq!(outcome(Who::Anyone, &by_parent), Done);
    });
}

/// The first option of multicast routing, in both families. linux/mroute.h, linux/mroute6.h.
const MRT_INIT: i32 = 200;

fn path(folder: &str) -> String {
    format!("{folder}/file")
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn open(family: AddressFamily) -> io::Result<()> {
    Ok(socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).map(drop)?)
}

fn option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let (pointer, len) = ((&raw const value).cast(), 4);
    // SAFETY: the value outlives the call and has this length.
    checked(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, len) })
}

fn map(protection: i32) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping that nothing uses.
    let place = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    checked(if place == libc::MAP_FAILED { -1 } else { 0 })
}
