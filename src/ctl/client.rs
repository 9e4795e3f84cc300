//! The connection to the daemon's control socket.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::Failure;
use crate::imsg::ctl::{Reply, Request};
use crate::imsg::frame::{FrameReader, write_frame};

/// How long the daemon may take for a reply; a monitor waits without end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection, for one request after the other.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    reader: FrameReader<Reply>,
}

impl Client {
    /// Connects to the socket at `path`.
    ///
    /// # Errors
    /// [`Failure::NoDaemon`] when nothing listens there.
    pub fn connect(path: &Path) -> Result<Self, Failure> {
        let stream = UnixStream::connect(path).map_err(|e| {
            let hint = if e.kind() == io::ErrorKind::PermissionDenied {
                "be root or in the socket's group"
            } else {
                "is mcast-proxy running?"
            };
            Failure::NoDaemon(format!("{}: {e}: {hint}", path.display()))
        })?;
        Ok(Self { stream, reader: FrameReader::default() })
    }

    /// Sends a request and gives each reply to `take` until the last one.
    ///
    /// # Errors
    /// [`Failure::Refused`] with the daemon's reasons, or what `take` returns.
    pub fn ask(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Reply) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let lost = |e: &dyn std::fmt::Display| Failure::NoDaemon(format!("control socket: {e}"));
        let patience = (*request != Request::Monitor).then_some(PATIENCE);
        self.stream.set_read_timeout(patience).map_err(|e| lost(&e))?;
        let mut frame = Vec::new();
        write_frame(request, &mut frame).map_err(|e| Failure::Usage(e.to_string()))?;
        self.stream.write_all(&frame).map_err(|e| lost(&e))?;
        loop {
            while let Some(reply) = self.reader.take().map_err(|e| lost(&e))? {
                match reply {
                    Reply::Done => return Ok(()),
                    Reply::Refused(reasons) => return Err(Failure::Refused(reasons)),
                    Reply::Rows(_) | Reply::Text(_) | Reply::Event(_) => take(reply)?,
                }
            }
            match self.reader.read_from(&mut self.stream) {
                Ok(0) => return Err(lost(&"the daemon closed the connection")),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(lost(&format!("no answer in {} s", PATIENCE.as_secs())));
                }
                Err(e) => return Err(lost(&e)),
            }
        }
    }
}
