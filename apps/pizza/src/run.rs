//! Runs a shop until a signal ends it.

use std::io;
use std::pin::pin;

use jobstream_service::{PropertyError, SettingsError, Signals};
use pizza::on_kafka::KafkaError;
use pizza::orders::OrdersError;
use pizza::shop::{Shop, ShopError};
use pizza::web::SessionKeyError;
use tokio::sync::watch;

use crate::{EXIT_ABORTED, EXIT_FAILURE, EXIT_USAGE};

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
    #[error("signals can't be heard: {0}")]
    Signals(io::Error),
    #[error("ended at once by a second signal: what was in flight will be done again")]
    Aborted,
}

impl CommandError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Property(_) | Self::ConfigLine(..) | Self::SessionKey(_) => {
                EXIT_USAGE
            }
            Self::Aborted => EXIT_ABORTED,
            _ => EXIT_FAILURE,
        }
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
    let mut signals = Signals::new().map_err(CommandError::Signals)?;
    let shop = tokio::select! {
        biased;
        shop = open => shop?,
        () = signals.next() => return Ok(()),
    };
    let closing = watch::Sender::new(false);
    let mut run = pin!(shop.run(closing.clone()));
    tokio::select! {
        biased;
        ended = &mut run => return Ok(ended?),
        () = signals.next() => {}
    }
    closing.send_replace(true);
    tokio::select! {
        biased;
        ended = run => Ok(ended?),
        () = signals.next() => Err(CommandError::Aborted),
    }
}
