//! Several members of one group.

use std::net::SocketAddr;

use crate::load::{none_lost, none_twice, one_mail_each, under_load};
use crate::stage::{DELIVERIES, Stage, inbox};

/// A stage for several members with work for a while.
async fn stage(server: SocketAddr, delivery: &str) -> Stage {
    let mut stage = Stage::new(server).await;
    stage.set("JOB_DELIVERY", delivery);
    stage.set("MAIL_RATE", "100");
    stage.set("JOB_IN_FLIGHT", "100");
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_the_work_and_a_third_joins_and_leaves_without_a_loss_or_a_repeat() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let stage = stage(server.address(), delivery).await;
        let (mut first, mut second) = (stage.start("first"), stage.start("second"));
        let joining_and_leaving = async {
            first.said("Job finished", 20).await;
            second.said("Job finished", 20).await;
            let mut third = stage.start("third");
            third.said("Job finished", 20).await;
            third.terminate().await.succeeded();
        };
        let ((), jobs) = under_load(&stage, &server, joining_and_leaving).await;
        stage.results_of(jobs).await;
        first.terminate().await.succeeded();
        second.terminate().await.succeeded();
        one_mail_each(&server, jobs);
        let results = stage.records("results").await;
        none_lost(&results, jobs);
        none_twice(&results);
    }
}
