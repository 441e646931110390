//! The inbox of a demo, and how it misbehaves for the addresses of the built-in jobs.

use std::net::SocketAddr;

use jobstream_testkit::smtp::{Act, Keep, Misfortune, Moment, SmtpServer, StartError};

/// More than a job's megabyte is as a mail.
const SIZE_LIMIT_BYTES: u64 = 16 << 20;

/// Starts the inbox, on a free port of this machine if no address is given.
pub(crate) async fn start(
    misfortunes: bool,
    keep: Keep,
    address: Option<SocketAddr>,
) -> Result<SmtpServer, StartError> {
    let builder = SmtpServer::builder().name("inbox.example.com").size_limit(SIZE_LIMIT_BYTES);
    let builder = builder.keep(keep).exchanges_kept(0);
    let server = match address {
        Some(address) => builder.listen_on(address).await?,
        None => builder.listen().await?,
    };
    if misfortunes {
        let all = server.misfortunes();
        for misfortune in of_the_fixtures() {
            all.push(misfortune);
        }
    }
    Ok(server)
}

fn of_the_fixtures() -> Vec<Misfortune> {
    let rcpt = |address: &str| Misfortune::at(Moment::Rcpt).to(address);
    vec![
        rcpt("no-such-user@example.com").reply(550, "5.1.1 no such user here"),
        rcpt("greylisted@example.com").times(1).reply(451, "4.7.1 greylisted, try again"),
        rcpt("always-busy@example.com").reply(450, "4.2.1 mailbox busy"),
        Misfortune::at(Moment::Body { octets: 64 })
            .to("cut-short@example.com")
            .times(1)
            .then(Act::DisconnectBefore),
        Misfortune::at(Moment::Dot)
            .to("lost-reply@example.com")
            .times(1)
            .then(Act::AcceptThenDisconnect),
    ]
}
