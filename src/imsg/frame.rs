//! Frames: a length of four octets, then a message in bincode.
//!
//! The highest bit of the length tells that a descriptor comes with the frame, so that each lands on
//! its own frame however the stream is cut.
//!
//! bincode reads a sequence of empty elements for as long as its count says, whatever the limit:
//! no message may hold a `Vec` of a type that takes no octets.

use std::io::{self, Read};
use std::marker::PhantomData;

use bincode::config::{self, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ctl::{Reply, Request};
use super::{Notice, Order};

/// Octets of an [`Order`] at most.
pub const MAX_FRAME_FROM_ENGINE: usize = 64 << 10;
/// Octets of a [`Notice`] at most: a configuration in whole.
pub const MAX_FRAME_FROM_PARENT: usize = 32 << 20;
/// Octets of a [`Request`] at most.
pub const MAX_FRAME_CTL_REQUEST: usize = 64 << 10;
/// Octets of a [`Reply`] at most.
pub const MAX_FRAME_CTL_REPLY: usize = 1 << 20;

/// Octets of the length before a frame.
const HEADER: usize = 4;
/// Set in the length of a frame that a descriptor comes with.
const WITH_DESCRIPTOR: u32 = 1 << 31;
/// Octets read at once.
const CHUNK: usize = 16 << 10;
/// bincode's limit counts the values in memory, of which one octet can make eight.
const EXPANSION: usize = 8;

/// What can be framed, with its bound.
pub trait Message: Serialize + DeserializeOwned {
    /// Octets of an encoded message at most.
    const LIMIT: usize;
    /// The codec's settings.
    fn config() -> impl Config;
}

macro_rules! message {
    ($type:ty, $limit:expr) => {
        impl Message for $type {
            const LIMIT: usize = $limit;
            fn config() -> impl Config {
                config::standard().with_limit::<{ EXPANSION * $limit }>()
            }
        }
    };
}
message!(Order, MAX_FRAME_FROM_ENGINE);
message!(Notice, MAX_FRAME_FROM_PARENT);
message!(Request, MAX_FRAME_CTL_REQUEST);
message!(Reply, MAX_FRAME_CTL_REPLY);

/// Why bytes are no frame, or a message cannot be one.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it is")]
pub enum FrameError {
    #[error("frame of {0} octets is over the limit")]
    TooLong(usize),
    #[error("frame does not decode: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    #[error("frame does not encode: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    #[error("frame has {0} octets too many")]
    Trailing(usize),
    #[error("frame claims a descriptor")]
    Descriptor,
}

/// Appends the message's octets, without a length.
pub fn encode<T: Message>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    let encoded = bincode::serde::encode_into_std_write(message, out, T::config());
    let result = match encoded {
        Ok(len) if len <= T::LIMIT => return Ok(()),
        Ok(len) => FrameError::TooLong(len),
        Err(e) => e.into(),
    };
    out.truncate(start);
    Err(result)
}

/// The message that is exactly these octets.
pub fn decode<T: Message>(bytes: &[u8]) -> Result<T, FrameError> {
    let (message, used) = bincode::serde::decode_from_slice(bytes, T::config())?;
    match bytes.len().saturating_sub(used) {
        0 => Ok(message),
        rest => Err(FrameError::Trailing(rest)),
    }
}

/// Appends a frame.
pub fn write_frame<T: Message>(message: &T, out: &mut Vec<u8>) -> Result<(), FrameError> {
    write_flagged(message, false, out)
}

/// Appends a frame that says whether a descriptor comes with it.
pub(super) fn write_flagged<T: Message>(
    message: &T,
    with_descriptor: bool,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER]);
    if let Err(e) = encode(message, out) {
        out.truncate(start);
        return Err(e);
    }
    let len = out.len().saturating_sub(start + HEADER);
    let flag = if with_descriptor { WITH_DESCRIPTOR } else { 0 };
    let header = u32::try_from(len).map_err(|_| FrameError::TooLong(len))? | flag;
    if let Some(place) = out.get_mut(start..).and_then(|b| b.first_chunk_mut()) {
        *place = header.to_be_bytes();
    }
    Ok(())
}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct FrameReader<T> {
    buffer: Vec<u8>,
    start: usize,
    message: PhantomData<fn() -> T>,
}

impl<T> Default for FrameReader<T> {
    fn default() -> Self {
        Self { buffer: Vec::new(), start: 0, message: PhantomData }
    }
}

impl<T: Message> FrameReader<T> {
    /// Reads once; returns how many octets, 0 at the end of the stream. Call [`Self::take`] until it
    /// gives `None` after each.
    pub fn read_from(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.fill(|space| stream.read(space))
    }

    pub(super) fn fill(
        &mut self,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + CHUNK, 0);
        let result = read(self.buffer.get_mut(held..).unwrap_or_default());
        self.buffer.truncate(held + *result.as_ref().unwrap_or(&0));
        result
    }

    /// The next whole message; `None` when more must be read first.
    pub fn take(&mut self) -> Result<Option<T>, FrameError> {
        match self.take_flagged()? {
            Some((_, true)) => Err(FrameError::Descriptor),
            Some((message, false)) => Ok(Some(message)),
            None => Ok(None),
        }
    }

    /// The next whole message, with whether a descriptor comes with it.
    pub(super) fn take_flagged(&mut self) -> Result<Option<(T, bool)>, FrameError> {
        let rest = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else {
            self.release();
            return Ok(None);
        };
        let header = u32::from_be_bytes(*header);
        let len = usize::try_from(header & !WITH_DESCRIPTOR).unwrap_or(usize::MAX);
        if len > T::LIMIT {
            return Err(FrameError::TooLong(len));
        }
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        let message = decode(payload)?;
        self.start += HEADER + len;
        Ok(Some((message, header & WITH_DESCRIPTOR != 0)))
    }

    /// Gives back the memory of a long frame once nothing is held.
    fn release(&mut self) {
        if self.start == self.buffer.len() && self.buffer.capacity() > 2 * CHUNK {
            self.buffer = Vec::new();
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Af;

    fn frame(order: &Order) -> Vec<u8> {
        let mut out = Vec::new();
        write_frame(order, &mut out).unwrap();
        out
    }

    fn read(mut bytes: &[u8]) -> Result<Vec<Order>, FrameError> {
        let mut reader = FrameReader::<Order>::default();
        let mut orders = Vec::new();
        while reader.read_from(&mut bytes).unwrap() > 0 {
            while let Some(order) = reader.take()? {
                orders.push(order);
            }
        }
        Ok(orders)
    }

    #[test]
    fn the_layout_is_a_big_endian_length_then_bincode() {
        // bincode's specification: an enum is its variant's number, then its fields, as varints.
        assert_eq!(frame(&Order::ReadCounters(Af::Ip6)), [0, 0, 0, 2, 5, 1]);
    }

    #[test]
    fn frames_survive_any_cut() {
        let orders = [Order::Ready, Order::Pong(77), Order::AddVif { family: Af::Ip4, ifindex: 3 }];
        let bytes: Vec<u8> = orders.iter().flat_map(frame).collect();
        for cut in 0..=bytes.len() {
            let (mut a, mut b) = bytes.split_at(cut);
            let mut reader = FrameReader::<Order>::default();
            let mut seen = Vec::new();
            for part in [&mut a, &mut b] {
                reader.read_from(part).unwrap();
                while let Some(order) = reader.take().unwrap() {
                    seen.push(order);
                }
            }
            assert_eq!(seen, orders, "cut at {cut}");
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_header() {
        let bytes = 65_537u32.to_be_bytes();
        assert!(matches!(read(&bytes), Err(FrameError::TooLong(65_537))));
    }

    #[test]
    fn trailing_octets_are_refused() {
        let bytes = [0, 0, 0, 3, 5, 1, 0];
        assert!(matches!(read(&bytes), Err(FrameError::Trailing(1))));
    }

    #[test]
    fn a_claimed_descriptor_is_refused_where_none_can_come() {
        let bytes = [0x80, 0, 0, 2, 5, 1];
        assert!(matches!(read(&bytes), Err(FrameError::Descriptor)));
    }

    #[test]
    fn a_message_over_the_limit_is_not_written() {
        let reason = "x".repeat(MAX_FRAME_CTL_REPLY);
        let mut out = vec![1];
        let reply = Reply::Refused(vec![reason]);
        assert!(matches!(write_frame(&reply, &mut out), Err(FrameError::TooLong(_))));
        assert_eq!(out, [1]);
    }

    #[test]
    fn a_full_frame_of_small_numbers_decodes() {
        // 250 is the greatest number that bincode writes in one octet; in memory it takes eight.
        let lines = vec![String::new(); MAX_FRAME_CTL_REPLY - 6];
        let mut out = Vec::new();
        encode(&Reply::Text(lines), &mut out).unwrap();
        assert!(matches!(decode::<Reply>(&out).unwrap(), Reply::Text(_)));
    }
}
