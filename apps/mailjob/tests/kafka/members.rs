//! Several members of one group.

use std::net::SocketAddr;

use tokio::time::{sleep, timeout};

use crate::load::{none_lost, none_twice, under_load};
use crate::stage::{DELIVERIES, LIMIT, LOOK_AGAIN_AFTER, Stage, inbox};

/// A stage for several members with work for a while.
async fn stage(server: SocketAddr, delivery: &str) -> Stage {
    let mut stage = Stage::new(server).await;
    stage.set("JOB_DELIVERY", delivery);
    stage.set("MAIL_RATE", "100");
    stage.set("JOB_IN_FLIGHT", "100");
    stage
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_member_that_is_paused_past_its_session_is_replaced_and_works_again_when_it_wakes() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let stage = stage(server.address(), delivery).await;
        let (mut paused, mut other) = (stage.start("paused"), stage.start("other"));
        let pausing_and_waking = async {
            paused.said("Job finished", 20).await;
            other.said("Job finished", 20).await;
            paused.signal("STOP");
            let replaced = async {
                while other.lines("Partition assigned") - other.lines("Partition given up") < 6 {
                    sleep(LOOK_AGAIN_AFTER).await;
                }
            };
            let replaced = timeout(LIMIT, replaced).await;
            assert!(replaced.is_ok(), "all partitions with the other member:\n{}", other.log());
            let done = paused.lines("Job finished");
            paused.signal("CONT");
            // What it had in flight may still end; the rest is work that it was given anew.
            paused.said("Job finished", done + 200).await;
        };
        let ((), jobs) = under_load(&stage, &server, pausing_and_waking).await;
        none_lost(&stage.results_of(jobs).await, jobs);
        other.terminate().await.succeeded();
        paused.terminate().await.succeeded();
        if delivery == "exactly-once" {
            none_twice(&stage.records("results").await);
        }
    }
}
