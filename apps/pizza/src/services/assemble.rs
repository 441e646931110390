//! Assembles what was ordered.

use std::sync::Arc;

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Executed, Topology};
use tokio::time::sleep;
use tracing::info;

use super::Service;
use super::event::AssembledEvent;
use super::keyed::{ByOrder, Keyed};
use crate::order::OrderEvent;
use crate::speed::Speed;
use crate::status::Status;
use crate::topics;

/// The service's name in its log.
pub const NAME: &str = "msvc_assemble";

/// Takes orders, and hands each on with the time that it is to be baked.
pub fn topology(speed: Speed) -> Topology {
    super::builder()
        .decode(Json::<OrderEvent>::new())
        .stage(ByOrder)
        .execute(Arc::new(Assemble { speed }))
        .encode(|_: &ConsumerRecord, executed: Executed<Keyed<OrderEvent>, ()>| {
            let Keyed { id, event } = executed.input;
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
}

struct Assemble {
    speed: Speed,
}

#[async_trait]
impl JobSink<Keyed<OrderEvent>, ()> for Assemble {
    async fn execute(
        &self,
        Keyed { id, event }: &Keyed<OrderEvent>,
        _: &ConsumerRecord,
    ) -> Result<(), JobError> {
        let time = event.order.assembling_time();
        let seconds = time.as_secs();
        info!(service = NAME, "Preparing order '{id}', assembling time is {seconds} second(s)");
        sleep(self.speed.of(time)).await;
        info!(service = NAME, "Order '{id}' is assembled!");
        Ok(())
    }
}
