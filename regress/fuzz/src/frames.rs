//! What holds of every frame that is taken, whatever the bytes.

use std::fmt::Debug;

use mcast_proxy::imsg::frame::{FrameReader, Message, decode, write_frame};

/// Reads the bytes as a stream, whole and in two parts, and as the payload of one frame; what is
/// taken says the same when it is written again. Returns the messages.
pub fn check<T: Message + PartialEq + Debug>(bytes: &[u8]) -> Vec<T> {
    let mut messages = read(&[bytes]);
    for cut in [bytes.len() / 2, bytes.len().min(3)] {
        let (head, tail) = bytes.split_at(cut);
        assert_eq!(read::<T>(&[head, tail]), messages);
    }
    if let Ok(message) = decode(bytes) {
        messages.push(message);
        assert!(decode::<T>(&[bytes, &[0]].concat()).is_err(), "an octet too many");
    }
    for message in &messages {
        let mut frame = Vec::new();
        write_frame(message, &mut frame).expect("no longer than what it was read from");
        assert_eq!(read::<T>(&[&frame]).as_slice(), std::slice::from_ref(message));
    }
    messages
}

/// The messages up to the first that is none.
fn read<T: Message>(parts: &[&[u8]]) -> Vec<T> {
    let mut reader = FrameReader::default();
    let mut messages = Vec::new();
    for mut part in parts.iter().copied() {
        while reader.read_from(&mut part).expect("a slice can be read") > 0 {
            loop {
                match reader.take() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return messages,
                }
            }
        }
    }
    messages
}
