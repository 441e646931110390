//! A fake SMTP server to send mail to: prints a line a mail, and keeps them as files if asked.
//!
//! ```text
//! inbox --listen 127.0.0.1:2525 --mails mails
//! ```

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind as Misuse;
use clap::{CommandFactory as _, Parser, ValueEnum};
use jobstream_testkit::smtp::{Inbox, Mail, Misfortune, SmtpServer, SmtpServerBuilder, Tls};
use tokio::io::{AsyncWriteExt, BufWriter, stderr, stdout};
use tokio::signal::unix::{SignalKind, signal};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A fake SMTP server: accepts every mail, and misbehaves on request.
#[derive(Debug, Parser)]
#[command(name = "inbox")]
struct Options {
    /// Where to listen; port 0 is a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write each mail to this directory as NUMBER.eml, as received, dots unstuffed. That is a moment
    /// after its 250: a mail whose line is not printed yet may be lost if the inbox is killed.
    #[arg(long, value_name = "DIR")]
    mails: Option<PathBuf>,
    /// Offer AUTH, and require it.
    #[arg(long, value_name = "USER:PASSWORD", value_parser = login)]
    auth: Option<(String, String)>,
    /// Speak TLS, with a certificate made at start.
    #[arg(long)]
    tls: Option<TlsOption>,
    /// Where to write the certificate of the CA that signed the server's.
    #[arg(long, value_name = "FILE", default_value = "inbox-ca.pem", requires = "tls")]
    ca: PathBuf,
    /// A host name or IP address for the certificate, besides localhost; may be repeated.
    #[arg(long, value_name = "NAME", requires = "tls")]
    tls_name: Vec<String>,
    /// What goes wrong, one misfortune a line, such as `dot nth=2 accept-then-disconnect`.
    #[arg(long, value_name = "FILE")]
    misfortunes: Option<PathBuf>,
    /// What misfortunes with a probability are drawn from.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// How long lines are gathered before they are written.
const GATHERING: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlsOption {
    Starttls,
    Implicit,
}

fn login(text: &str) -> Result<(String, String), String> {
    let named = text.split_once(':').filter(|(user, _)| !user.is_empty());
    let (user, password) = named.ok_or("expected USER:PASSWORD")?;
    Ok((user.to_owned(), password.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = Options::parse();
    let server = match builder(&options) {
        Ok(server) => server,
        Err(mistake) => Options::command().error(Misuse::ValueValidation, mistake).exit(),
    };
    match run(&options, server).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where not even this can be written, the exit code says it.
            let _ = stderr().write_all(format!("inbox: {failure}\n").as_bytes()).await;
            ExitCode::FAILURE
        }
    }
}

/// Completes after SIGINT or SIGTERM, when all mails that were accepted before it are written.
async fn run(options: &Options, server: SmtpServerBuilder) -> Result<(), Failure> {
    // Before anybody knows that it runs, so that none is missed.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let server = server.listen_on(options.listen).await?;
    let mut out = BufWriter::new(stdout());
    let mut say = format!("listening on {}\n", server.address());
    if let Some(pem) = server.ca_pem() {
        let written = tokio::fs::write(&options.ca, pem).await;
        written.map_err(|error| named("--ca", &options.ca, error))?;
        say += &format!("CA certificate in {}\n", options.ca.display());
    }
    if let Some(folder) = &options.mails {
        let made = tokio::fs::create_dir_all(folder).await;
        made.map_err(|error| named("--mails", folder, error))?;
    }
    out.write_all(say.as_bytes()).await?;
    out.flush().await?;
    let inbox = server.inbox();
    loop {
        let end = tokio::select! {
            biased;
            _ = interrupted.recv() => true,
            _ = terminated.recv() => true,
            () = arrivals(&inbox) => false,
        };
        for mail in inbox.take() {
            if let Some(folder) = &options.mails {
                let file = folder.join(format!("{:06}.eml", mail.number));
                let written = tokio::fs::write(&file, &mail.raw).await;
                written.map_err(|error| named("--mails", &file, error))?;
            }
            out.write_all(line(&mail).as_bytes()).await?;
        }
        out.flush().await?;
        if end {
            server.shutdown().await;
            return Ok(());
        }
    }
}

/// Completes a moment after the first mail, so that what arrives with it is written with it.
async fn arrivals(inbox: &Inbox) {
    inbox.wait_for(1).await;
    tokio::time::sleep(GATHERING).await;
}

fn builder(options: &Options) -> Result<SmtpServerBuilder, String> {
    let mut builder = SmtpServer::builder().seed(options.seed).exchanges_kept(0);
    if let Some((user, password)) = &options.auth {
        builder = builder.login(user, password).require_login();
    }
    builder = match options.tls {
        Some(TlsOption::Starttls) => builder.tls(Tls::StartTls),
        Some(TlsOption::Implicit) => builder.tls(Tls::Implicit),
        None => builder,
    };
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    builder = builder.tls_names(names.into_iter().chain(options.tls_name.iter().cloned()));
    if let Some(file) = &options.misfortunes {
        let text =
            std::fs::read_to_string(file).map_err(|error| named("--misfortunes", file, error))?;
        let misfortunes =
            Misfortune::parse_script(&text).map_err(|error| named("--misfortunes", file, error))?;
        builder = misfortunes.into_iter().fold(builder, SmtpServerBuilder::misfortune);
    }
    Ok(builder)
}

fn named(option: &str, path: &Path, error: impl std::fmt::Display) -> String {
    format!("{option} {}: {error}", path.display())
}

fn line(mail: &Mail) -> String {
    let Mail { number, sender, raw, .. } = mail;
    let to = mail.recipients.join(",");
    let subject = mail.subject().unwrap_or_default();
    format!("mail {number} from=<{sender}> to=<{to}> octets={} subject={subject:?}\n", raw.len())
}
