//! A client that sends exactly what a test gives it.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream};

use jobstream_testkit::smtp::{SmtpServer, SmtpServerBuilder};

pub(crate) struct Client<S> {
    stream: BufStream<S>,
}

/// A server in memory, and a client that has read its greeting.
pub(crate) async fn connected(builder: SmtpServerBuilder) -> (SmtpServer, Client<DuplexStream>) {
    let server = builder.in_memory().unwrap();
    let mut client = Client::new(server.connect().unwrap());
    assert_eq!(client.reply().await, "220 localhost ESMTP jobstream-testkit");
    (server, client)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream: BufStream::new(stream) }
    }

    pub(crate) fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    /// Sends octets as they are.
    pub(crate) async fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads a reply, its lines joined by line feeds; empty at the end of the connection.
    pub(crate) async fn reply(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                match self.stream.read_u8().await {
                    Ok(octet) => line.push(octet),
                    Err(_) => return reply,
                }
            }
            let line = String::from_utf8(line).unwrap();
            reply.push_str(line.trim_end());
            if line.as_bytes()[3] == b' ' {
                return reply;
            }
            reply.push('\n');
        }
    }

    /// Sends a line and reads its reply.
    pub(crate) async fn say(&mut self, line: impl AsRef<[u8]>) -> String {
        self.send([line.as_ref(), b"\r\n"].concat()).await;
        self.reply().await
    }

    /// Sends a line and reads the code of its reply; 0 at the end of the connection.
    pub(crate) async fn code(&mut self, line: impl AsRef<[u8]>) -> u16 {
        code(&self.say(line).await)
    }

    /// Sends a mail and reads the code after the final dot.
    pub(crate) async fn mail(&mut self, to: &str, text: &str) -> u16 {
        self.code("EHLO me").await;
        self.code("MAIL FROM:<me@a.example>").await;
        self.code(format!("RCPT TO:<{to}>")).await;
        self.code("DATA").await;
        self.code(format!("{text}\r\n.")).await
    }
}

pub(crate) fn code(reply: &str) -> u16 {
    reply.get(..3).map_or(0, |code| code.parse().unwrap())
}
