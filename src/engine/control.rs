//! The control server: clients of the control socket, their requests and the tables they read.
//!
//! A client costs bounded memory and time whatever it does: tables are made as it reads them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use log::debug;

use crate::imsg::ctl::{CheckRow, Event, MAX_ROWS, Reply, Request, Rows, Table};
use crate::imsg::frame::{FrameError, FrameReader, write_frame};
use crate::sys::passing::would_block;
use crate::sys::time::{Millis, Tick};

/// Clients at once; one more takes the place of the first that asks for nothing.
pub const MAX_CLIENTS: usize = 64;
/// Clients accepted in one turn.
const ACCEPTS: usize = 16;
/// Requests of one client that wait for their turn; one more closes it.
const MAX_REQUESTS: usize = 64;
/// Octets that wait for a client above which no more rows are made for it.
const ENOUGH: usize = 64 << 10;
/// Octets that wait for a monitoring client above which it loses events.
const MAX_EVENTS_QUEUED: usize = 64 << 10;
/// Replies made for one client in one turn.
const REPLIES: usize = 4;
/// A client that takes nothing of what waits for it for so long is closed.
const STALL: Millis = Millis::from_secs(10);
/// Events that `show events` tells.
pub const MAX_EVENTS: usize = 256;

/// What tables are made from.
pub trait Tables {
    /// At most [`MAX_ROWS`] rows from `cursor` on, and where to go on; 0 begins.
    fn show(&self, table: Table, cursor: u64) -> (Rows, Option<u64>);
    /// The configuration in force as text.
    fn config(&self) -> String;
    /// Why a group is or is not forwarded.
    fn explain(&self, group: IpAddr, source: Option<IpAddr>) -> Vec<CheckRow>;
}

/// What a client waits for.
#[derive(Debug)]
enum Task {
    /// Nothing: its next request begins.
    None,
    /// The core's reply.
    Reply,
    /// Fresh counts of routes, which the answer to the request is made with.
    Counts(Request),
    /// Rows of a table, from the cursor on.
    Rows(Table, u64),
    /// Lines of text.
    Lines(VecDeque<String>),
    /// Each event, without end.
    Monitor,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    privileged: bool,
    reader: FrameReader<Request>,
    requests: VecDeque<Request>,
    task: Task,
    /// The counts of routes are fresh, for the next request.
    counted: bool,
    queue: Vec<u8>,
    written: usize,
    /// When it last took octets or had none to take.
    moved: Tick,
}

/// Why a client is closed.
#[derive(Debug, thiserror::Error)]
enum Closed {
    #[error("closed by the client")]
    End,
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{MAX_REQUESTS} requests wait")]
    Flood,
    #[error("it does not read")]
    Stall,
}

/// The listening socket and its clients.
#[derive(Debug)]
pub struct Server {
    listener: Option<UnixListener>,
    clients: BTreeMap<u32, Client>,
    next: u32,
    events: VecDeque<Event>,
    owner: u32,
}

impl Server {
    /// Without a socket yet. `owner` is the user that may change things besides root.
    #[must_use]
    pub fn new(owner: u32) -> Self {
        Self { listener: None, clients: BTreeMap::new(), next: 0, events: VecDeque::new(), owner }
    }

    /// Takes the listening socket.
    ///
    /// # Errors
    /// When it cannot be made non-blocking.
    pub fn listen(&mut self, socket: OwnedFd) -> io::Result<()> {
        crate::sys::set_nonblocking(socket.as_fd())?;
        self.listener = Some(socket.into());
        Ok(())
    }

    /// The listening socket.
    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// The clients, each with its number and whether it waits for octets that can be written.
    pub fn clients(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>, bool)> {
        self.clients.iter().map(|(id, client)| (*id, client.stream.as_fd(), client.wants_write()))
    }

    /// When [`Self::close_stalled`] is due.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.clients.values().filter(|c| c.queued() > 0).map(|c| c.moved + STALL).min()
    }

    /// Accepts who waits.
    pub fn accept(&mut self, now: Tick) {
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok((stream, _)) => self.adopt(now, stream),
                Err(e) if would_block(&e) => return,
                Err(e) => return debug!("control socket: {e}"),
            }
        }
    }

    /// Takes an accepted client.
    pub fn adopt(&mut self, now: Tick, stream: UnixStream) {
        if self.clients.len() >= MAX_CLIENTS {
            let idle = self.clients.iter().find(|(_, c)| c.is_idle()).map(|(id, _)| *id);
            let Some(id) = idle else {
                return debug!("control socket: {MAX_CLIENTS} clients are busy");
            };
            self.clients.remove(&id);
        }
        let ready = peer(&stream).and_then(|uid| {
            crate::sys::set_nonblocking(stream.as_fd())?;
            Ok(uid)
        });
        match ready {
            Ok(uid) => {
                let privileged = uid == 0 || uid == self.owner;
                self.clients.insert(self.next, Client::new(now, stream, privileged));
                self.next = self.next.wrapping_add(1);
            }
            Err(e) => debug!("control client: {e}"),
        }
    }

    /// Reads what the client sent, which waits until [`Self::serve`].
    pub fn read(&mut self, id: u32) {
        let result = self.clients.get_mut(&id).map_or(Ok(()), Client::read);
        self.keep(id, result);
    }

    /// Goes on with every client that can go on; returns what they ask of the core.
    pub fn serve(&mut self, now: Tick, tables: &impl Tables) -> Vec<(u32, Request)> {
        let mut asked = Vec::new();
        let ids: Vec<u32> = self.clients.keys().copied().collect();
        for id in ids {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            let result = client.serve(now, tables, &self.events);
            let result = result.map(|request| asked.extend(request.map(|r| (id, r))));
            self.keep(id, result);
        }
        asked
    }

    /// Sends a reply of the core.
    pub fn reply(&mut self, now: Tick, id: u32, reply: &Reply) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        let result = client.send(now, reply);
        self.keep(id, result);
    }

    /// The routes were counted for a client that waits for it.
    pub fn counted(&mut self, id: u32) {
        let Some(client) = self.clients.get_mut(&id) else { return };
        if let Task::Counts(request) = &client.task {
            client.requests.push_front(request.clone());
            (client.task, client.counted) = (Task::None, true);
        }
    }

    /// Tells an event to those who monitor, and keeps it for `show events`. A client that reads too
    /// slowly loses it.
    pub fn event(&mut self, now: Tick, event: Event) {
        let ids: Vec<u32> = self.clients.keys().copied().collect();
        for id in ids {
            let Some(client) = self.clients.get_mut(&id) else { continue };
            if matches!(client.task, Task::Monitor) && client.queued() < MAX_EVENTS_QUEUED {
                let result = client.send(now, &Reply::Event(event.clone()));
                self.keep(id, result);
            }
        }
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Closes who took nothing for too long.
    pub fn close_stalled(&mut self, now: Tick) {
        self.clients.retain(|id, client| {
            let stalled = client.queued() > 0 && client.moved + STALL <= now;
            if stalled {
                debug!("control client {id}: {}", Closed::Stall);
            }
            !stalled
        });
    }

    fn keep(&mut self, id: u32, result: Result<(), Closed>) {
        if let Err(why) = result {
            debug!("control client {id}: {why}");
            self.clients.remove(&id);
        }
    }
}

impl Client {
    fn new(now: Tick, stream: UnixStream, privileged: bool) -> Self {
        Self {
            stream,
            privileged,
            reader: FrameReader::default(),
            requests: VecDeque::new(),
            task: Task::None,
            counted: false,
            queue: Vec::new(),
            written: 0,
            moved: now,
        }
    }

    fn queued(&self) -> usize {
        self.queue.len().saturating_sub(self.written)
    }

    fn is_idle(&self) -> bool {
        matches!(self.task, Task::None) && self.requests.is_empty() && self.queued() == 0
    }

    fn wants_write(&self) -> bool {
        let makes_rows = match self.task {
            Task::None => !self.requests.is_empty(),
            Task::Rows(..) | Task::Lines(_) => true,
            Task::Reply | Task::Counts(_) | Task::Monitor => false,
        };
        self.queued() > 0 || makes_rows
    }

    fn read(&mut self) -> Result<(), Closed> {
        match self.reader.read_from(&mut self.stream) {
            Ok(0) => return Err(Closed::End),
            Ok(_) => {}
            Err(e) if would_block(&e) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        while let Some(request) = self.reader.take()? {
            if self.requests.len() >= MAX_REQUESTS {
                return Err(Closed::Flood);
            }
            self.requests.push_back(request);
        }
        Ok(())
    }

    /// Begins the next request or goes on with the current one.
    fn serve(
        &mut self,
        now: Tick,
        tables: &impl Tables,
        events: &VecDeque<Event>,
    ) -> Result<Option<Request>, Closed> {
        let mut asked = None;
        if matches!(self.task, Task::None)
            && let Some(request) = self.requests.pop_front()
        {
            asked = self.begin(request, tables, events)?;
        }
        for _ in 0..REPLIES {
            if self.queued() < ENOUGH {
                self.go_on(tables)?;
            }
            self.flush(now)?;
        }
        Ok(asked)
    }

    fn begin(
        &mut self,
        request: Request,
        tables: &impl Tables,
        events: &VecDeque<Event>,
    ) -> Result<Option<Request>, Closed> {
        if !request.reads_only() && !self.privileged {
            let why = "only root and the daemon's user may ask for this";
            self.push(&Reply::Refused(vec![why.into()]))?;
            return Ok(None);
        }
        let counted = std::mem::take(&mut self.counted);
        match request {
            Request::Show(Table::Routes) | Request::Explain { .. } if !counted => {
                self.task = Task::Counts(request.clone());
                return Ok(Some(request));
            }
            Request::Show(Table::Config) => {
                self.task = Task::Lines(tables.config().lines().map(String::from).collect());
            }
            Request::Show(Table::Events) => {
                let all: Vec<Event> = events.iter().cloned().collect();
                for some in all.chunks(MAX_ROWS) {
                    self.push_rows(Rows::Events(some.to_vec()))?;
                }
                self.push(&Reply::Done)?;
            }
            Request::Show(table) => self.task = Task::Rows(table, 0),
            Request::Explain { group, source } => {
                self.push_rows(Rows::Checks(tables.explain(group, source)))?;
                self.push(&Reply::Done)?;
            }
            Request::Monitor => self.task = Task::Monitor,
            request @ (Request::Add(_)
            | Request::Remove(_)
            | Request::Flush { .. }
            | Request::Reload
            | Request::Log { .. }
            | Request::Stop) => {
                self.task = Task::Reply;
                return Ok(Some(request));
            }
        }
        Ok(None)
    }

    /// Makes the next reply of a table or text.
    fn go_on(&mut self, tables: &impl Tables) -> Result<(), Closed> {
        match &mut self.task {
            Task::None | Task::Reply | Task::Counts(_) | Task::Monitor => Ok(()),
            Task::Rows(table, cursor) => {
                let (rows, next) = tables.show(*table, *cursor);
                if let Some(next) = next {
                    *cursor = next;
                }
                self.push_rows(rows)?;
                if next.is_none() { self.reply(&Reply::Done) } else { Ok(()) }
            }
            Task::Lines(lines) => {
                let some: Vec<String> = lines.drain(..lines.len().min(MAX_ROWS)).collect();
                let last = lines.is_empty();
                self.push(&Reply::Text(some))?;
                if last { self.reply(&Reply::Done) } else { Ok(()) }
            }
        }
    }

    /// Queues a reply; the request is over with its last one.
    fn reply(&mut self, reply: &Reply) -> Result<(), Closed> {
        if matches!(reply, Reply::Done | Reply::Refused(_)) {
            self.task = Task::None;
        }
        self.push(reply)
    }

    /// Queues rows, in halves where they are too long for one frame.
    fn push_rows(&mut self, rows: Rows) -> Result<(), Closed> {
        let reply = Reply::Rows(rows);
        match (write_frame(&reply, &mut self.queue), reply) {
            (Err(FrameError::TooLong(len)), Reply::Rows(mut rows)) => {
                let rest = rows.split_off_half().ok_or(FrameError::TooLong(len))?;
                self.push_rows(rows)?;
                self.push_rows(rest)
            }
            (result, _) => Ok(result?),
        }
    }

    fn send(&mut self, now: Tick, reply: &Reply) -> Result<(), Closed> {
        self.flush(now)?;
        self.reply(reply)?;
        self.flush(now)
    }

    fn push(&mut self, reply: &Reply) -> Result<(), Closed> {
        Ok(write_frame(reply, &mut self.queue)?)
    }

    fn flush(&mut self, now: Tick) -> Result<(), Closed> {
        while self.queued() > 0 {
            let bytes = self.queue.get(self.written..).unwrap_or_default();
            match self.stream.write(bytes) {
                Ok(sent) => {
                    self.written += sent;
                    self.moved = now;
                }
                Err(e) if would_block(&e) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
        self.queue.clear();
        self.queue.shrink_to(ENOUGH);
        self.written = 0;
        self.moved = now;
        Ok(())
    }
}

/// The user at the other end.
#[cfg(target_os = "linux")]
fn peer(stream: &UnixStream) -> io::Result<u32> {
    use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
    Ok(getsockopt(stream, PeerCredentials)?.uid())
}

/// The user at the other end.
#[cfg(not(target_os = "linux"))]
fn peer(stream: &UnixStream) -> io::Result<u32> {
    Ok(nix::unistd::getpeereid(stream)?.0.as_raw())
}

#[cfg(test)]
mod tests;
