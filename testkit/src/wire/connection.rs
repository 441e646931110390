//! One connection: requests are answered in their order, one at a time, as Kafka does.

use std::io;

use bytes::Buf as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
        served = answer(stream, &peer) => served,
    };
    if let Err(error) = served
        && error.kind() == io::ErrorKind::InvalidData
    {
        peer.cluster.refused(format!("{}: {error}", peer.address));
    }
}

async fn answer(mut stream: TcpStream, peer: &Peer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let counts = Counts { connection: peer.cluster.next_connection() };
    match faults::greet(peer, counts).await {
        Reply::Cut => return Ok(()),
        Reply::Stall => return stall(stream).await,
        _ => {}
    }
    let mut frames = Frames::new(peer.cluster.settings().frame_max_bytes);
    while let Some(frame) = frames.next(&mut stream).await? {
        let answered = faults::answer(peer, counts, frame).await;
        let refused = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
        match answered.map_err(refused)? {
            Reply::Whole(id, answer) => stream.write_all_buf(&mut answer.frame(id)).await?,
            Reply::Half(id, answer) => {
                let frame = answer.frame(id);
                let half = frame.remaining() / 2;
                return stream.write_all_buf(&mut frame.take(half)).await;
            }
            Reply::Nothing => {}
            Reply::Stall => return stall(stream).await,
            Reply::Cut => return Ok(()),
        }
    }
    Ok(())
}

/// Reads and answers nothing until the client goes.
async fn stall(mut stream: TcpStream) -> io::Result<()> {
    let mut ignored = [0; 4096];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(())
}
