//! Runs a shop until a signal ends it.

use std::future::pending;
use std::io;

use jobstream_service::metrics::Told;
use jobstream_service::traces::TracesError;
use jobstream_service::{
    EXIT_FAILURE, EXIT_USAGE, PropertyError, SettingsError, SignalError, Signals,
};
use pizza::on_kafka::KafkaError;
use pizza::orders::OrdersError;
use pizza::shop::{Shop, ShopError};
use pizza::web::SessionKeyError;
use tokio::sync::watch;

/// Why a command has ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Property(#[from] PropertyError),
    #[error("{0}, line {1}: expected a property as 'name = value'")]
    ConfigLine(String, usize),
    #[error(transparent)]
    SessionKey(#[from] SessionKeyError),
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, io::Error),
    #[error(transparent)]
    Orders(#[from] OrdersError),
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error(transparent)]
    Shop(#[from] ShopError),
    #[error(transparent)]
    Traces(#[from] TracesError),
    #[error("log lines can't be written: {0}")]
    Log(io::Error),
    #[error(transparent)]
    Signal(#[from] SignalError),
}

impl CommandError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_)
            | Self::Property(_)
            | Self::ConfigLine(..)
            | Self::SessionKey(_)
            | Self::Traces(TracesError::Exporter(_)) => EXIT_USAGE,
            Self::Signal(error) => error.exit_code(),
            _ => EXIT_FAILURE,
        }
    }
}

/// Serves metrics and health, if the settings say where. Completes only if that is not possible.
pub(crate) async fn tell(told: Option<Told>) -> CommandError {
    let Some(told) = told else { return pending().await };
    let address = told.address;
    match told.tell().await {
        Err(error) => CommandError::Listen(address, error),
        Ok(()) => pending().await,
    }
}

/// Opens the shop, and runs it until a signal: then it drains. A second one ends it at once; before
/// it is open, the first one does.
///
/// # Errors
/// If it can't open, or has ended otherwise than by one signal.
pub(crate) async fn until_signal(
    open: impl Future<Output = Result<Shop, CommandError>>,
) -> Result<(), CommandError> {
    let mut signals = Signals::new()?;
    let shop = tokio::select! {
        biased;
        shop = open => shop?,
        () = signals.next() => return Ok(()),
    };
    let closing = watch::Sender::new(false);
    let run = shop.run(closing.clone());
    let close = || _ = closing.send_replace(true);
    signals.stop_at_next(async { Ok(run.await?) }, close).await
}
