//! The server over socket pairs, with a fake core.

use std::io::Read;

use super::*;
use crate::imsg::ctl::{Check, EventKind, GroupRow, Mode, Outcome, SourceRow};
use crate::imsg::frame::Message;
use crate::wire::Af;

/// A table of so many groups, each with so many sources.
struct Fake {
    groups: u64,
    sources: usize,
}

impl Tables for Fake {
    fn show(&self, _: Table, cursor: u64) -> (Rows, Option<u64>) {
        let end = self.groups.min(cursor + MAX_ROWS as u64);
        let rows = (cursor..end).map(|_| row(self.sources)).collect();
        (Rows::Groups(rows), (end < self.groups).then_some(end))
    }
    fn config(&self) -> String {
        "ipv4 yes\n".repeat(300)
    }
    fn explain(&self, _: IpAddr, _: Option<IpAddr>) -> Vec<CheckRow> {
        let detail = String::from("no host has asked for it");
        let (check, result) = (Check::Member, Outcome::Note);
        vec![CheckRow { check, result, interface: None, detail, advice: None }]
    }
}

fn row(sources: usize) -> GroupRow {
    let source = SourceRow {
        source: std::net::Ipv6Addr::LOCALHOST.into(),
        expire: Some(100_000),
        forwarding: true,
    };
    GroupRow {
        interface: "em0".into(),
        family: Af::Ip6,
        group: "ff0e::1".parse().unwrap(),
        filter_mode: Mode::Include,
        version: 2,
        expire: None,
        up_time: 0,
        last_reporter: None,
        is_static: false,
        sources: vec![source; sources],
    }
}

fn event(time: u64) -> Event {
    Event {
        time,
        event: EventKind::Start,
        interface: None,
        family: None,
        group: None,
        source: None,
        outgoing_interfaces: Vec::new(),
        reason: Some("x".repeat(1000)),
    }
}

/// A client's end of the connection.
struct Peer {
    stream: UnixStream,
    reader: FrameReader<Reply>,
}

impl Peer {
    fn new(server: &mut Server) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        server.adopt(Tick(0), theirs);
        ours.set_nonblocking(true).unwrap();
        Self { stream: ours, reader: FrameReader::default() }
    }

    fn ask(&mut self, request: &Request) {
        let mut frame = Vec::new();
        write_frame(request, &mut frame).unwrap();
        self.stream.write_all(&frame).unwrap();
    }

    fn replies(&mut self) -> Vec<Reply> {
        let mut replies = Vec::new();
        while self.reader.read_from(&mut self.stream).is_ok_and(|len| len > 0) {
            replies.extend(std::iter::from_fn(|| self.reader.take().unwrap()));
        }
        replies
    }

    fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok()
    }
}

fn server() -> Server {
    Server::new(nix::unistd::getuid().as_raw())
}

fn turn(server: &mut Server, tables: &Fake) -> Vec<(u32, Request)> {
    let ids: Vec<u32> = server.clients().map(|(id, ..)| id).collect();
    ids.into_iter().for_each(|id| server.read(id));
    server.serve(Tick(0), tables)
}

/// The rows and other replies to a request for a table, read as they come.
fn show(server: &mut Server, tables: &Fake, table: Table) -> (u64, usize, Vec<Reply>) {
    let mut peer = Peer::new(server);
    peer.ask(&Request::Show(table));
    let (mut rows, mut most, mut others) = (0, 0, Vec::new());
    while others.last() != Some(&Reply::Done) {
        turn(server, tables);
        most = most.max(server.clients.values().map(Client::queued).max().unwrap());
        for reply in peer.replies() {
            if let Reply::Rows(Rows::Groups(some)) = reply {
                rows += some.len() as u64;
            } else {
                others.push(reply);
            }
        }
    }
    (rows, most, others)
}

#[test]
fn a_long_table_comes_whole_and_is_never_held_whole() {
    let (rows, most, others) =
        show(&mut server(), &Fake { groups: 100_001, sources: 0 }, Table::Groups);
    assert_eq!((rows, others), (100_001, vec![Reply::Done]));
    assert!(most < 2 * ENOUGH, "{most} octets");
}

#[test]
fn rows_too_long_for_one_frame_come_in_several() {
    // 128 rows with 1024 sources of 17 octets and more are over a frame's limit.
    const { assert!(128 * 1024 * 17 > Reply::LIMIT) };
    let (rows, ..) = show(&mut server(), &Fake { groups: 130, sources: 1024 }, Table::Groups);
    assert_eq!(rows, 130);
}

#[test]
fn the_configuration_comes_as_lines() {
    let (_, _, replies) = show(&mut server(), &Fake { groups: 0, sources: 0 }, Table::Config);
    let lines = replies.iter().map(|r| if let Reply::Text(t) = r { t.len() } else { 0 });
    assert_eq!(lines.sum::<usize>(), 300);
}

#[test]
fn a_client_that_does_not_read_is_closed_and_costs_little() {
    let (mut server, tables) = (server(), Fake { groups: u64::MAX, sources: 0 });
    let mut peer = Peer::new(&mut server);
    peer.ask(&Request::Show(Table::Groups));
    (0..1000).for_each(|_| assert!(turn(&mut server, &tables).is_empty()));
    assert!(server.clients[&0].queued() < 2 * ENOUGH);
    assert_eq!(server.next_deadline(), Some(Tick(10_000)));
    server.close_stalled(Tick(9_999));
    assert_eq!(server.clients().count(), 1);
    server.close_stalled(Tick(10_000));
    assert_eq!(server.clients().count(), 0);
    assert!(peer.is_closed());
}

#[test]
fn a_client_that_floods_is_closed() {
    let (mut server, tables) = (server(), Fake { groups: u64::MAX, sources: 0 });
    let mut peer = Peer::new(&mut server);
    (0..MAX_REQUESTS).for_each(|_| peer.ask(&Request::Reload));
    assert_eq!(turn(&mut server, &tables), [(0, Request::Reload)]);
    peer.ask(&Request::Reload);
    assert!(turn(&mut server, &tables).is_empty());
    peer.ask(&Request::Reload);
    turn(&mut server, &tables);
    assert!(peer.is_closed());
}

#[test]
fn garbage_closes_its_client_only() {
    let (mut server, tables) = (server(), Fake { groups: 1, sources: 0 });
    let (mut good, mut bad) = (Peer::new(&mut server), Peer::new(&mut server));
    bad.stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    good.ask(&Request::Reload);
    assert_eq!(turn(&mut server, &tables), [(0, Request::Reload)]);
    assert!(bad.is_closed());
    server.reply(Tick(0), 0, &Reply::Refused(vec!["no".into()]));
    assert_eq!(good.replies(), [Reply::Refused(vec!["no".into()])]);
}

#[test]
fn who_may_only_read_cannot_change_anything() {
    let (mut server, tables) = (server(), Fake { groups: 1, sources: 0 });
    let mut peer = Peer::new(&mut server);
    assert!(server.clients[&0].privileged);
    server.clients.get_mut(&0).unwrap().privileged = false;
    let flush = Request::Flush { group: None, source: None };
    for request in [Request::Stop, Request::Reload, flush, Request::Log { verbose: true }] {
        peer.ask(&request);
        assert!(turn(&mut server, &tables).is_empty());
        assert!(matches!(peer.replies()[..], [Reply::Refused(_)]), "{request:?}");
    }
    peer.ask(&Request::Show(Table::Groups));
    turn(&mut server, &tables);
    assert!(matches!(peer.replies()[..], [Reply::Rows(_), Reply::Done]));
}

#[test]
fn routes_are_told_with_fresh_counts() {
    let (mut server, tables) = (server(), Fake { groups: 1, sources: 0 });
    let mut peer = Peer::new(&mut server);
    let asked = Request::Show(Table::Routes);
    for _ in 0..2 {
        peer.ask(&asked);
        assert_eq!(turn(&mut server, &tables), [(0, asked.clone())]);
        assert!(turn(&mut server, &tables).is_empty() && peer.replies().is_empty());
        server.counted(0);
        assert!(turn(&mut server, &tables).is_empty());
        assert!(matches!(peer.replies()[..], [Reply::Rows(_), Reply::Done]));
    }
    server.counted(0);
    server.counted(7);
    assert!(turn(&mut server, &tables).is_empty() && peer.replies().is_empty());
}

#[test]
fn the_user_at_the_other_end_is_told() {
    let (stream, _other) = UnixStream::pair().unwrap();
    assert_eq!(peer(&stream).unwrap(), nix::unistd::getuid().as_raw());
}

#[test]
fn an_idle_client_makes_room() {
    let (mut server, tables) = (server(), Fake { groups: 1, sources: 0 });
    let mut first = Peer::new(&mut server);
    let mut second = Peer::new(&mut server);
    first.ask(&Request::Monitor);
    turn(&mut server, &tables);
    let _others: Vec<Peer> = (0..MAX_CLIENTS - 1).map(|_| Peer::new(&mut server)).collect();
    assert_eq!(server.clients().count(), MAX_CLIENTS);
    assert!(second.is_closed() && !first.is_closed());
}

#[test]
fn who_monitors_slowly_loses_events() {
    const SENT: u64 = 2000;
    let (mut server, tables) = (server(), Fake { groups: 1, sources: 0 });
    let (mut slow, mut fast) = (Peer::new(&mut server), Peer::new(&mut server));
    slow.ask(&Request::Monitor);
    fast.ask(&Request::Monitor);
    turn(&mut server, &tables);
    let mut seen = Vec::new();
    for time in 0..SENT {
        server.event(Tick(0), event(time));
        seen.extend(fast.replies());
    }
    assert_eq!(seen.len() as u64, SENT);
    assert!(server.clients[&0].queued() < 2 * MAX_EVENTS_QUEUED);
    assert!((slow.replies().len() as u64) < SENT);
    let mut reader = Peer::new(&mut server);
    reader.ask(&Request::Show(Table::Events));
    let mut told = Vec::new();
    while !told.contains(&Reply::Done) {
        turn(&mut server, &tables);
        told.extend(reader.replies());
    }
    let events = told.iter().flat_map(|reply| {
        if let Reply::Rows(Rows::Events(events)) = reply { events.clone() } else { Vec::new() }
    });
    let times: Vec<u64> = events.map(|e| e.time).collect();
    assert_eq!(times, (SENT - MAX_EVENTS as u64..SENT).collect::<Vec<_>>());
}
