//! An in-memory connection on which every write is an effect.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

use super::world::{Effect, World};
use crate::broker::When;
use crate::smtp::SmtpServer;

/// The capacity of each direction of a connection, in octets.
const DUPLEX_OCTETS: usize = 64 * 1024;

/// The commands, each with the name of a write that begins with it.
const EFFECTS: [(&[u8], Effect); 8] = [
    (b"EHLO", "smtp EHLO"),
    (b"STARTTLS", "smtp STARTTLS"),
    (b"AUTH", "smtp AUTH"),
    (b"MAIL", "smtp MAIL"),
    (b"RCPT", "smtp RCPT"),
    (b"DATA", "smtp DATA"),
    (b"RSET", "smtp RSET"),
    (b"NOOP", "smtp NOOP"),
];
/// A write that begins with the type of a TLS record (RFC 8446 section 5.1).
const TLS: Effect = "smtp TLS";
/// Any other write.
const TEXT: Effect = "smtp text";

/// A client's side of a connection to the fake SMTP server. A write yields once before the server
/// can read its octets and once after. It is an effect, named after its first command, `smtp TLS`
/// for encrypted octets, or `smtp text` for a mail. A QUIT does not yield, since the client does
/// not wait for its reply.
pub struct SmtpStream {
    inner: DuplexStream,
    world: World,
    write: Write,
}

/// The progress of the write under way.
#[derive(Clone, Copy, Debug)]
enum Write {
    None,
    /// It has yielded before the write.
    Reached(Effect),
    /// This many octets were written, and it has yielded after that.
    Written(usize),
}

impl SmtpStream {
    /// Connects to a server that is part of the outside. The server's side is polled by the
    /// scheduler and outlives a crash of the client.
    pub fn connect(world: &World, server: &SmtpServer) -> Self {
        let (client, side) = duplex(DUPLEX_OCTETS);
        world.spawn(server.serve(side));
        Self { inner: client, world: world.clone(), write: Write::None }
    }

    /// The names of its writes as effects.
    pub fn effects() -> impl Iterator<Item = Effect> {
        EFFECTS.iter().map(|(_, effect)| *effect).chain([TLS, TEXT])
    }
}

fn effect(octets: &[u8]) -> Effect {
    if matches!(octets, [20..=23, ..]) {
        return TLS;
    }
    let named = EFFECTS.iter().find(|(command, _)| octets.starts_with(command));
    named.map_or(TEXT, |(_, effect)| effect)
}

impl AsyncRead for SmtpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for SmtpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        if octets.starts_with(b"QUIT") {
            return Pin::new(&mut self.inner).poll_write(cx, octets);
        }
        match self.write {
            Write::None => {
                let effect = effect(octets);
                self.write = Write::Reached(effect);
                self.world.note_effect(effect, When::Before);
            }
            Write::Reached(effect) => {
                let written = ready!(Pin::new(&mut self.inner).poll_write(cx, octets));
                self.world.note_effect(effect, When::After);
                match written {
                    Ok(written) => self.write = Write::Written(written),
                    Err(error) => {
                        self.write = Write::None;
                        return Poll::Ready(Err(error));
                    }
                }
            }
            Write::Written(written) => {
                self.write = Write::None;
                return Poll::Ready(Ok(written));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl fmt::Debug for SmtpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpStream").field("write", &self.write).finish_non_exhaustive()
    }
}
