//! One connection: requests are answered in their order, one at a time, as Kafka does.

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::select;

use super::call::Peer;
use super::frame::Frames;

/// Serves a client until it goes, or sends what can't be answered. Of what it has not read, the
/// broker keeps one answer, whose batches are the log's own.
pub(super) async fn serve(stream: TcpStream, peer: Peer) {
    if let Err(error) = answer(stream, &peer).await
        && error.kind() == io::ErrorKind::InvalidData
    {
        peer.cluster.refused(format!("{}: {error}", peer.address));
    }
}

async fn answer(mut stream: TcpStream, peer: &Peer) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut frames = Frames::new(peer.cluster.settings().frame_max_bytes);
    while let Some(frame) = frames.next(&mut stream).await? {
        let answered = select! {
            biased;
            answered = peer.cluster.table().answer(peer, frame) => answered,
            () = frames.end(&mut stream) => return Ok(()),
        };
        let refused = |reason| io::Error::new(io::ErrorKind::InvalidData, reason);
        let (correlation_id, answer) = answered.map_err(refused)?;
        if let Some(answer) = answer {
            stream.write_all_buf(&mut answer.frame(correlation_id)).await?;
        }
    }
    Ok(())
}
