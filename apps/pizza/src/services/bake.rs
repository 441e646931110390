//! Bakes what was assembled.

use std::sync::Arc;
use std::time::Duration;

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
use crate::speed::Speed;
use crate::status::Status;
use crate::topics;

/// The service's name in its log.
pub const NAME: &str = "msvc_bake";

/// Its consumer group.
pub const GROUP: &str = "pizza-bake";

/// Takes assembled pizzas, and hands each on when it is baked.
pub fn topology(speed: Speed) -> Topology {
    super::builder()
        .decode(Json::<AssembledEvent>::new())
        .stage(ByOrder)
        .execute(Arc::new(Bake { speed }))
        .encode(|_: &ConsumerRecord, executed: Executed<Keyed<AssembledEvent>, ()>| {
            let id = executed.input.id;
            Ok(vec![super::record(topics::BAKED, id), super::told(id, Status::OUT_FOR_DELIVERY)])
        })
}

/// The service that runs it.
pub fn service(speed: Speed) -> Service {
    Service::new(NAME, GROUP, &[topics::ASSEMBLED], topology(speed))
}

struct Bake {
    speed: Speed,
}

#[async_trait]
impl JobSink<Keyed<AssembledEvent>, ()> for Bake {
    async fn execute(
        &self,
        Keyed { id, event }: &Keyed<AssembledEvent>,
        _: &ConsumerRecord,
    ) -> Result<(), JobError> {
        let seconds = event.baking_time;
        info!(service = NAME, "Preparing order '{id}', baking time is {seconds} second(s)");
        sleep(self.speed.of(Duration::from_secs(seconds))).await;
        info!(service = NAME, "Order '{id}' is baked!");
        Ok(())
    }
}
