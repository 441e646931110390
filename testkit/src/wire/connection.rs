//! One connection: requests are answered in their order, one at a time, as Kafka does.

use std::io;

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::select;

use super::call::Peer;
use super::faults::{self, Counts, Reply};
use super::frame::Frames;

/// Serves a client until it goes, sends what can't be answered, or its node goes away. Of what it has
/// not read, the broker keeps one answer, whose batches are the log's own.
pub(super) async fn serve(stream: TcpStream, peer: Peer) {
    let mut departures = peer.cluster.placement().departures();
    let gone = async {
        while !peer.cluster.placement().is_away(peer.node_id) {
            if departures.changed().await.is_err() {
                return;
            }
        }
    };
    let served = select! {
        biased;
        () = gone => return,
        served = encrypted(stream, &peer) => served,
    };
    if let Err(error) = served
        && error.kind() == io::ErrorKind::InvalidData
    {
        peer.cluster.refused(format!("{}: {error}", peer.address));
    }
}

/// Shakes hands first, if the listener speaks TLS.
async fn encrypted(stream: TcpStream, peer: &Peer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match peer.cluster.certificate() {
        Some(certificate) => answer(certificate.acceptor.accept(stream).await?, peer).await,
        None => answer(stream, peer).await,
    }
}

async fn answer<S>(mut stream: S, peer: &Peer) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let counts = Counts { connection: peer.cluster.next_connection() };
    match faults::greet(peer, counts).await {
        Reply::Cut => return Ok(()),
        Reply::Stall => return stall(stream).await,
        _ => {}
    }
    let mut frames = Frames::new(peer.cluster.settings().frame_max_bytes);
    while let Some(frame) = frames.next(&mut stream).await? {
        let answered = select! {
            biased;
            answered = faults::answer(peer, counts, frame) => answered,
            () = frames.end(&mut stream) => return Ok(()),
        };
        let refused = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
        match answered.map_err(refused)? {
            Reply::Whole(id, answer) => {
                stream.write_all_buf(&mut answer.frame(id)).await?;
                // What is encrypted is kept back otherwise.
                stream.flush().await?;
            }
            Reply::Half(id, answer) => {
                let frame = answer.frame(id);
                let half = frame.remaining() / 2;
                stream.write_all_buf(&mut frame.take(half)).await?;
                return stream.shutdown().await;
            }
            Reply::Nothing => {}
            Reply::Stall => return stall(stream).await,
            Reply::Cut => return Ok(()),
        }
    }
    Ok(())
}

/// Reads and answers nothing until the client goes.
async fn stall(mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut ignored = [0; 4096];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
