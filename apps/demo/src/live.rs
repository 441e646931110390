//! The demo on a page, to be broken by hand.

use std::convert::Infallible;
use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use jobstream_service::Signals;
use jobstream_service::page::{Access, Page, Token};
#[cfg(feature = "kafka")]
use jobstream_testkit::broker::Broker;
use jobstream_testkit::smtp::Keep;
#[cfg(feature = "kafka")]
use jobstream_testkit::wire::Listener;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::Cli;
use crate::demo::{DemoError, shown};
use crate::inbox;
use crate::input::Input;
use crate::playground::{Account, Playground, Verdict};

/// Jobs that are submitted and not finished, at most: a long run needs no more memory.
const BACKLOG: u64 = 5_000;
/// Jobs that are submitted at once.
const CHUNK: u64 = 500;

/// Runs until Ctrl-C, and shows it on a page.
pub(crate) async fn run(input: &Input, args: &Cli, address: SocketAddr) -> Result<(), DemoError> {
    let mut signals = Signals::new()?;
    let cannot_show = |error| DemoError::Page(address, error);
    let listener = TcpListener::bind(address).await.map_err(cannot_show)?;
    let address = listener.local_addr().map_err(cannot_show)?;
    let token = (!address.ip().is_loopback()).then(Token::random);
    say_where(address, token.as_ref())?;
    let Ok(access) = Access::new(address, token) else {
        unreachable!("where other machines come there is a token")
    };

    let misfortunes = matches!(input, Input::Fixtures(_));
    let server = inbox::start(misfortunes, Keep::Mails, args.smtp).await?;
    if args.smtp.is_some() {
        say(format_args!("The mail server is on {}.", server.address()))?;
    }
    let playground = Arc::new(Playground::new(server));
    // It listens until it is dropped.
    #[cfg(feature = "kafka")]
    let _listener = match args.kafka {
        Some(address) => Some(open(playground.broker(), address).await?),
        None => None,
    };
    let page = Page::to_play_with(playground.feed().clone(), playground.clone(), access);
    let stop = watch::Sender::new(false);
    let play = async {
        tokio::select! {
            biased;
            ended = async {
                let served = async {
                    page.serve(listener, stopped(&stop)).await;
                    Ok(())
                };
                tokio::try_join!(playground.run(stopped(&stop)), served)
            } => ended.map(drop).map_err(DemoError::from),
            never = submit(&playground, input) => match never {},
        }
    };
    let end = || _ = stop.send_replace(true);
    signals.stop_at_next(play, end).await?;
    conclude(&playground.account())
}

/// Completes when it is to stop.
fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut stopped = stop.subscribe();
    async move {
        // Without its sender nothing is left that waits for an end.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }
}

/// Submits the jobs, no faster than they are finished.
async fn submit(playground: &Playground, input: &Input) -> Infallible {
    let mut number = 0;
    while number < input.len() {
        playground.until(|account| account.unfinished() < BACKLOG).await;
        let chunk = number..input.len().min(number + CHUNK);
        let jobs: Vec<Bytes> = chunk.clone().map(|number| input.job(number)).collect();
        playground.submit_in_time(jobs).await;
        number = chunk.end;
    }
    std::future::pending().await
}

fn say_where(address: SocketAddr, token: Option<&Token>) -> Result<(), DemoError> {
    let token = token.map(|token| format!("?token={}", token.reveal())).unwrap_or_default();
    say(format_args!("The page is on http://{address}/{token} until Ctrl-C."))
}

fn say(line: fmt::Arguments<'_>) -> Result<(), DemoError> {
    let mut out = anstream::stdout().lock();
    shown(writeln!(out, "{line}").and_then(|()| out.flush()))
}

/// Opens the broker to clients in other processes.
#[cfg(feature = "kafka")]
async fn open(broker: &Broker, address: SocketAddr) -> Result<Listener, DemoError> {
    let listener = broker.listen(address).await;
    let listener = listener.map_err(|error| DemoError::Kafka(address, error))?;
    say(format_args!("The broker is on {}.", listener.bootstrap()))?;
    Ok(listener)
}

/// Says what has become of the records.
fn conclude(account: &Account) -> Result<(), DemoError> {
    let (all, unfinished) = (account.records(), account.unfinished());
    match account.verdict() {
        Verdict::Broken => Err(DemoError::Broken(format!("{account:?}"))),
        _ if unfinished > 0 => Err(DemoError::Interrupted { finished: all - unfinished, all }),
        _ => say(format_args!("{all} records have met their fate, and it adds up.")),
    }
}
