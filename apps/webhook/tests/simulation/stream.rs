//! A connection in memory on which every write is an effect.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use jobstream_testkit::simulation::World;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, split};
use tokio::io::{ReadHalf, WriteHalf};

/// The effect: a member can crash before the receiver can read what is written, and after.
pub(crate) const POST: &str = "webhook post";

/// A client's side of a connection.
pub(crate) struct EffectfulStream {
    read: ReadHalf<DuplexStream>,
    write: Arc<Mutex<Option<WriteHalf<DuplexStream>>>>,
    world: World,
    writing: Option<BoxFuture<'static, io::Result<usize>>>,
}

impl EffectfulStream {
    pub(crate) fn new(world: &World, stream: DuplexStream) -> Self {
        let (read, write) = split(stream);
        let write = Arc::new(Mutex::new(Some(write)));
        Self { read, write, world: world.clone(), writing: None }
    }

    /// Writes octets, as an effect.
    fn begin(&self, octets: &[u8]) -> BoxFuture<'static, io::Result<usize>> {
        let (world, write, octets) = (self.world.clone(), self.write.clone(), octets.to_vec());
        Box::pin(async move {
            let written = world.effect(POST, async {
                let mut half = write.lock().unwrap().take().expect("one write at a time");
                let written = half.write_all(&octets).await;
                *write.lock().unwrap() = Some(half);
                written
            });
            written.await.map(|()| octets.len())
        })
    }
}

impl AsyncRead for EffectfulStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.read).poll_read(cx, buffer)
    }
}

impl AsyncWrite for EffectfulStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut writing = self.writing.take().unwrap_or_else(|| self.begin(octets));
        match writing.as_mut().poll(cx) {
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => {
                self.writing = Some(writing);
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = self.write.lock().unwrap();
        let Some(half) = half.as_mut() else { return Poll::Ready(Ok(())) };
        ready!(Pin::new(half).poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }
}
