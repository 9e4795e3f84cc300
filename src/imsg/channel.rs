//! The channel between parent and engine: frames both ways over a non-blocking stream socket, with
//! descriptors.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::frame::{FrameError, FrameReader, Message, write_flagged};
use crate::sys::passing;

/// Octets that wait to be written at most; who reads so slowly is taken for hung.
pub const MAX_QUEUED: usize = 64 << 20;
/// Reads in one [`Channel::receive`], so that one peer cannot hold the loop.
const READS: usize = 16;
/// Descriptors that arrived and whose frame is not whole yet.
const MAX_DESCRIPTORS: usize = 4;
/// Capacity that an empty queue keeps.
const KEEP: usize = 64 << 10;

/// Why a channel is of no more use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum ChannelError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the peer does not read: {MAX_QUEUED} octets wait")]
    Full,
    #[error("a frame's descriptor is missing, or one came without a frame")]
    Descriptor,
}

/// Which way descriptors go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptors {
    /// They may arrive: the engine's end.
    Accept,
    /// None may arrive: the parent's end.
    Refuse,
}

/// One end of the channel.
#[derive(Debug)]
pub struct Channel<In, Out> {
    socket: OwnedFd,
    accept: Descriptors,
    reader: FrameReader<In>,
    arrived: VecDeque<OwnedFd>,
    queue: Vec<u8>,
    written: usize,
    /// Descriptors to send, each with its frame's place in the queue.
    leaving: VecDeque<(usize, OwnedFd)>,
    message: PhantomData<fn(Out)>,
}

impl<In, Out> AsFd for Channel<In, Out> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<In: Message, Out: Message> Channel<In, Out> {
    /// Takes one end of a stream socket pair and makes it non-blocking.
    pub fn new(socket: OwnedFd, accept: Descriptors) -> io::Result<Self> {
        crate::sys::set_nonblocking(socket.as_fd())?;
        Ok(Self {
            socket,
            accept,
            reader: FrameReader::default(),
            arrived: VecDeque::new(),
            queue: Vec::new(),
            written: 0,
            leaving: VecDeque::new(),
            message: PhantomData,
        })
    }

    /// Queues a message, and a copy of the descriptor with it. [`Self::flush`] sends what is queued.
    pub fn send(
        &mut self,
        message: &Out,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        if self.queued() >= MAX_QUEUED {
            return Err(ChannelError::Full);
        }
        let place = self.queue.len();
        let descriptor = descriptor.map(|d| d.try_clone_to_owned()).transpose()?;
        write_flagged(message, descriptor.is_some(), &mut self.queue)?;
        self.leaving.extend(descriptor.map(|d| (place, d)));
        Ok(())
    }

    /// Octets that wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len().saturating_sub(self.written)
    }

    /// Whether to call [`Self::flush`] when the socket can be written to.
    #[must_use]
    pub fn wants_write(&self) -> bool {
        self.queued() > 0
    }

    /// Writes what the socket takes now; what is left waits.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.wants_write() {
            let (descriptor, end) = self.segment();
            let bytes = self.queue.get(self.written..end).unwrap_or_default();
            match passing::send(self.socket.as_fd(), bytes, descriptor) {
                Ok(sent) => {
                    if descriptor.is_some() {
                        self.leaving.pop_front();
                    }
                    self.written += sent;
                }
                Err(e) if passing::would_block(&e) => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        self.queue.clear();
        self.queue.shrink_to(KEEP);
        self.written = 0;
        Ok(())
    }

    /// The descriptor that goes with the next octet, and where the octets end that may go with it.
    fn segment(&self) -> (Option<BorrowedFd<'_>>, usize) {
        let mut places = self.leaving.iter();
        let first = places.next();
        let (descriptor, next) = match first {
            Some((place, descriptor)) if *place == self.written => {
                (Some(descriptor.as_fd()), places.next())
            }
            Some(_) | None => (None, first),
        };
        (descriptor, next.map_or(self.queue.len(), |(place, _)| *place))
    }

    /// Reads what is there and gives each whole message to `take`, with its descriptor. Returns
    /// whether the peer still has its end open.
    pub fn receive(
        &mut self,
        mut take: impl FnMut(In, Option<OwnedFd>),
    ) -> Result<bool, ChannelError> {
        for _ in 0..READS {
            match self.read() {
                Ok(0) => return Ok(false),
                Ok(_) => self.deliver(&mut take)?,
                Err(e) if passing::would_block(&e) => break,
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }

    fn read(&mut self) -> io::Result<usize> {
        let socket = self.socket.as_fd();
        let mut descriptors = Vec::new();
        let accept = match self.accept {
            Descriptors::Accept => Some(&mut descriptors),
            Descriptors::Refuse => None,
        };
        let result = self.reader.fill(|space| passing::receive(socket, space, accept));
        self.arrived.extend(descriptors);
        result
    }

    fn deliver(&mut self, take: &mut impl FnMut(In, Option<OwnedFd>)) -> Result<(), ChannelError> {
        while let Some((message, with_descriptor)) = self.reader.take_flagged()? {
            let descriptor = if with_descriptor { self.arrived.pop_front() } else { None };
            if with_descriptor && descriptor.is_none() {
                return Err(ChannelError::Descriptor);
            }
            take(message, descriptor);
        }
        if self.arrived.len() > MAX_DESCRIPTORS {
            return Err(ChannelError::Descriptor);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::imsg::{DescriptorKind, Notice, Order};

    type Parent = Channel<Order, Notice>;
    type Engine = Channel<Notice, Order>;

    fn pair() -> (Parent, Engine) {
        let (a, b) = UnixStream::pair().unwrap();
        (
            Channel::new(a.into(), Descriptors::Refuse).unwrap(),
            Channel::new(b.into(), Descriptors::Accept).unwrap(),
        )
    }

    /// A file that holds its number, so that it can be told which one arrived.
    fn numbered(number: u32) -> File {
        let path = std::env::temp_dir().join(format!("channel-{}-{number}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        write!(file, "{number}").unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn each_descriptor_lands_on_its_own_frame() {
        const FRAMES: u32 = 2000;
        let (mut parent, mut engine) = pair();
        for n in 0..FRAMES {
            // Long and short frames, so that the socket's buffer cuts them anywhere.
            let message = match n % 7 {
                0 => Notice::Descriptor(DescriptorKind::Control),
                3 => {
                    let reason = "x".repeat(30_000);
                    let key =
                        crate::kroute::RouteKey { source: None, group: [239, 0, 0, 1].into() };
                    Notice::RouteFailed { key, reason }
                }
                _ => Notice::Ping(n),
            };
            let file = (n % 7 == 0).then(|| numbered(n));
            parent.send(&message, file.as_ref().map(AsFd::as_fd)).unwrap();
        }
        let mut seen = 0;
        while seen < FRAMES {
            parent.flush().unwrap();
            let open = engine.receive(|message, descriptor| {
                assert_eq!(matches!(message, Notice::Descriptor(_)), descriptor.is_some());
                if let Some(descriptor) = descriptor {
                    let mut text = String::new();
                    File::from(descriptor).read_to_string(&mut text).unwrap();
                    assert_eq!(text, seen.to_string());
                }
                seen += 1;
            });
            assert!(open.unwrap());
        }
        assert!(!parent.wants_write());
    }

    #[test]
    fn the_parent_takes_no_descriptor() {
        let (mut parent, mut engine) = pair();
        engine.send(&Order::Ready, Some(numbered(0).as_fd())).unwrap();
        engine.flush().unwrap();
        let error = parent.receive(|_, _| panic!("delivered")).unwrap_err();
        assert!(matches!(error, ChannelError::Io(e) if e.kind() == io::ErrorKind::InvalidData));
    }

    #[test]
    fn a_claimed_descriptor_that_does_not_come_is_an_error() {
        let (a, mut b) = UnixStream::pair().unwrap();
        let mut engine = Engine::new(a.into(), Descriptors::Accept).unwrap();
        b.write_all(&[0x80, 0, 0, 2, 1, 0]).unwrap();
        assert!(matches!(engine.receive(|_, _| ()), Err(ChannelError::Descriptor)));
    }

    #[test]
    fn the_end_of_the_stream_is_told_after_the_last_message() {
        let (mut parent, mut engine) = pair();
        engine.send(&Order::Ready, None).unwrap();
        engine.flush().unwrap();
        drop(engine);
        let mut orders = Vec::new();
        assert!(!parent.receive(|order, _| orders.push(order)).unwrap());
        assert_eq!(orders, [Order::Ready]);
    }

    #[test]
    fn a_peer_that_does_not_read_is_told_apart() {
        let (mut parent, _engine) = pair();
        let key = crate::kroute::RouteKey { source: None, group: [239, 0, 0, 1].into() };
        let long = Notice::RouteFailed { key, reason: "x".repeat(8 << 20) };
        let error = std::iter::repeat_with(|| {
            parent.send(&long, None)?;
            Ok(parent.flush()?)
        })
        .take(20)
        .find_map(Result::err);
        assert!(matches!(error, Some(ChannelError::Full)));
    }
}
