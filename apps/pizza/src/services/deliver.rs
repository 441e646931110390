//! Delivers what was baked to whom it belongs.
//!
//! The two topics have no order between them, so it remembers, in the keyed state of the order's
//! partition, what it has heard first: the customer, or that the pizza is baked. Both records of an
//! order have one key, so that they are never worked on at once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::codec::Raw;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::{Executed, Topology};
use tokio::time::sleep;
use tracing::info;

use super::Service;
use super::keyed::{ByOrder, Keyed};
use super::memory::{DONE, Memory};
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
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<Option<Status>, JobError> {
        let memory = Memory::at(record, state);
        let (customer, time) = match (event, Known::of(*id, &memory)?) {
            (Notice::Ordered(_) | Notice::Baked, Some(Known::Delivered))
            | (Notice::Ordered(_), Some(Known::Customer(_)))
            | (Notice::Baked, Some(Known::Baked)) => {
                super::passed_over(NAME, *id);
                return Ok(None);
            }
            (Notice::Ordered(customer), None) => {
                warned(*id, customer);
                Known::Customer(customer.clone()).keep(*id, &memory);
                return Ok(None);
            }
            (Notice::Baked, None) => {
                Known::Baked.keep(*id, &memory);
                return Ok(Some(Status::PENDING));
            }
            (Notice::Ordered(customer), Some(Known::Baked)) => {
                warned(*id, customer);
                (customer.clone(), customer.delivery_time() * 2)
            }
            (Notice::Baked, Some(Known::Customer(customer))) => {
                let time = customer.delivery_time();
                (customer, time)
            }
        };
        self.deliver(*id, &customer, time).await;
        Known::Delivered.keep(*id, &memory);
        Ok(Some(Status::DELIVERED))
    }
}

fn warned(id: OrderId, customer: &CustomerId) {
    info!(service = NAME, "Early warning to deliver order '{id}' to customer_id '{customer}'");
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

/// What is remembered of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    /// It belongs to this customer, and is not baked yet.
    Customer(CustomerId),
    /// It is baked, and nobody knows yet whose it is.
    Baked,
    /// It was delivered.
    Delivered,
}

impl Known {
    const BAKED: &str = "baked";

    fn of(id: OrderId, memory: &Memory<'_>) -> Result<Option<Self>, JobError> {
        let Some(what) = memory.of(id)? else { return Ok(None) };
        match &*what {
            DONE => Ok(Some(Self::Delivered)),
            Self::BAKED => Ok(Some(Self::Baked)),
            _ => match CustomerId::try_from(what) {
                Ok(customer) => Ok(Some(Self::Customer(customer))),
                Err(error) => Err(JobError::permanent(format!("the memory of {id}: {error}"))),
            },
        }
    }

    fn keep(&self, id: OrderId, memory: &Memory<'_>) {
        let what = match self {
            Self::Customer(customer) => customer.as_str(),
            Self::Baked => Self::BAKED,
            Self::Delivered => DONE,
        };
        memory.keep(id, what);
    }
}
