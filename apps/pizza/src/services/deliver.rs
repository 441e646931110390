//! Delivers what was baked to whom it belongs.
//!
//! The two topics have no order between them, so it remembers, in the keyed state of the order's
//! partition, what it has heard first: the customer, or that the pizza is baked. Both records of an
//! order have one key, so that they are never worked on at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::codec::{CodecError, Raw};
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::{Executed, Topology};
use tokio::time::sleep;
use tracing::info;

use super::Service;
use super::keyed::{ByOrder, Keyed};
use super::notice::{Notice, ReadNotice};
use crate::customer_id::CustomerId;
use crate::order_id::OrderId;
use crate::speed::Speed;
use crate::status::Status;
use crate::topics;

/// The service's name in its log.
pub const NAME: &str = "msvc_delivery";

/// Takes orders and baked pizzas, and delivers each pizza once both are there: in double time if
/// the pizza had to wait for its order.
///
/// Its members need the same partitions of both topics, as the assignor `range` gives them.
pub fn topology(speed: Speed) -> Topology {
    super::builder()
        .decode(Raw)
        .stage(ReadNotice)
        .stage(ByOrder)
        .execute_with_state(Arc::new(Deliver { speed }))
        .encode(|_: &ConsumerRecord, executed: Executed<Keyed<Notice>, Option<Status>>| {
            let status = executed.outcome.unwrap_or(Some(Status::FAILED));
            let told = status.map(|status| super::told(executed.input.id, status));
            Ok(told.into_iter().collect())
        })
}

/// The service that runs it.
pub fn service(speed: Speed) -> Service {
    Service::new(NAME, "pizza-deliver", &[topics::ORDERED, topics::BAKED], topology(speed))
        .remembering(topics::DELIVERIES)
}

struct Deliver {
    speed: Speed,
}

#[async_trait]
impl StatefulJobSink<Keyed<Notice>, Option<Status>> for Deliver {
    /// Gives the status that the order has reached, if any.
    async fn execute(
        &self,
        Keyed { id, event }: &Keyed<Notice>,
        _: &ConsumerRecord,
        state: &State,
    ) -> Result<Option<Status>, JobError> {
        match event {
            Notice::Ordered(customer) => {
                info!(
                    service = NAME,
                    "Early warning to deliver order '{id}' to customer_id '{customer}'"
                );
                if Memory::of(*id, state)? == Some(Memory::Baked) {
                    self.deliver(*id, customer, customer.delivery_time() * 2).await;
                    state.remove(id.as_bytes());
                    return Ok(Some(Status::DELIVERED));
                }
                Memory::Customer(customer.clone()).keep(*id, state);
                Ok(None)
            }
            Notice::Baked => {
                if let Some(Memory::Customer(customer)) = Memory::of(*id, state)? {
                    self.deliver(*id, &customer, customer.delivery_time()).await;
                    state.remove(id.as_bytes());
                    return Ok(Some(Status::DELIVERED));
                }
                Memory::Baked.keep(*id, state);
                Ok(Some(Status::PENDING))
            }
        }
    }
}

impl Deliver {
    async fn deliver(&self, id: OrderId, customer: &CustomerId, time: Duration) {
        let seconds = time.as_secs();
        info!(
            service = NAME,
            "Deliverying order '{id}' for customer_id '{customer}', \
             delivery time is {seconds} second(s)"
        );
        sleep(self.speed.of(time)).await;
        info!(service = NAME, "Order '{id}' delivered to customer_id '{customer}'");
    }
}

/// What is remembered of an order that is not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Memory {
    /// It belongs to this customer, and is not baked yet.
    Customer(CustomerId),
    /// It is baked, and nobody knows yet whose it is.
    Baked,
}

impl Memory {
    const BAKED: &str = "baked";

    fn of(id: OrderId, state: &State) -> Result<Option<Self>, JobError> {
        let Some(value) = state.get(id.as_bytes()) else { return Ok(None) };
        let read = Self::read(&value);
        read.map(Some).map_err(|error| JobError::permanent(format!("the state of {id}: {error}")))
    }

    fn read(value: &[u8]) -> Result<Self, CodecError> {
        if value == Self::BAKED.as_bytes() {
            return Ok(Self::Baked);
        }
        let customer = CustomerId::try_from(String::from_utf8_lossy(value).into_owned());
        customer.map(Self::Customer).map_err(|error| CodecError::new(error.to_string()))
    }

    fn keep(&self, id: OrderId, state: &State) {
        let value = match self {
            Self::Customer(customer) => customer.as_str(),
            Self::Baked => Self::BAKED,
        };
        state.put(id.as_bytes(), value.as_bytes());
    }
}
