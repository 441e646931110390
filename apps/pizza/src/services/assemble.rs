//! Assembles what was ordered, once: an order that comes again is known by its id.

use std::sync::Arc;

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::{Executed, Topology};
use tokio::time::sleep;
use tracing::info;

use super::Service;
use super::event::AssembledEvent;
use super::keyed::{ByOrder, Keyed};
use super::memory::{DONE, Memory};
use crate::order::OrderEvent;
use crate::speed::Speed;
use crate::status::Status;
use crate::topics;

/// The service's name in its log.
pub const NAME: &str = "msvc_assemble";

/// Takes orders, and hands each on with the time that it is to be baked; but no order twice.
pub fn topology(speed: Speed) -> Topology {
    super::builder()
        .decode(Json::<OrderEvent>::new())
        .stage(ByOrder)
        .execute_with_state(Arc::new(Assemble { speed }))
        .filter("known", |executed: &Executed<_, Assembled>| {
            executed.outcome != Ok(Assembled::Before)
        })
        .encode(|_: &ConsumerRecord, executed: Executed<Keyed<OrderEvent>, Assembled>| {
            let Keyed { id, event } = executed.input;
            if executed.outcome.is_err() {
                return Ok(vec![super::told(id, Status::FAILED)]);
            }
            let assembled = AssembledEvent { baking_time: event.order.baking_time().as_secs() };
            Ok(vec![
                super::record(topics::ASSEMBLED, id).value(assembled.to_json()),
                super::told(id, Status::IN_THE_OVEN),
            ])
        })
}

/// The service that runs it.
pub fn service(speed: Speed) -> Service {
    Service::new(NAME, "pizza-assemble", &[topics::ORDERED], topology(speed))
        .remembering(topics::ASSEMBLIES)
}

/// When an order was assembled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Assembled {
    Now,
    Before,
}

struct Assemble {
    speed: Speed,
}

#[async_trait]
impl StatefulJobSink<Keyed<OrderEvent>, Assembled> for Assemble {
    async fn execute(
        &self,
        Keyed { id, event }: &Keyed<OrderEvent>,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<Assembled, JobError> {
        let memory = Memory::at(record, state);
        if memory.of(*id)?.is_some() {
            super::passed_over(NAME, *id);
            return Ok(Assembled::Before);
        }
        let time = event.order.assembling_time();
        let seconds = time.as_secs();
        info!(service = NAME, "Preparing order '{id}', assembling time is {seconds} second(s)");
        sleep(self.speed.of(time)).await;
        info!(service = NAME, "Order '{id}' is assembled!");
        memory.keep(*id, DONE);
        Ok(Assembled::Now)
    }
}
