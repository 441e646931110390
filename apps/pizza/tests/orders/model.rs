//! The two stores are each other's model: whatever is done to both, both answer the same.

use jobstream::record::Timestamp;
use pizza::customer_id::CustomerId;
use pizza::orders::{Hold, InMemoryOrders, Orders, SqliteOrders};
use pizza::status::Status;
use proptest::prelude::*;

use crate::{START, id, order_of};

/// Few ids, names and times, so that they meet.
#[derive(Clone, Debug)]
enum Call {
    Add(u32, &'static str, Timestamp),
    Publish(u32, Timestamp),
    Progress(u32, i64, Timestamp),
    Lose(u32, Timestamp),
    Hold(Vec<u32>, u64, Timestamp),
}

fn steps() -> impl Strategy<Value = Vec<Call>> {
    let (id, time) = (0..4_u32, START..START + 50);
    let name = prop::sample::select(vec!["Ann", "Bob"]);
    let code = prop::sample::select(vec![100, 200, 300, 400, 0, -100, -200, -500, -999, 7]);
    let step = prop_oneof![
        (id.clone(), name, time.clone()).prop_map(|(id, name, at)| Call::Add(id, name, at)),
        (id.clone(), time.clone()).prop_map(|(id, at)| Call::Publish(id, at)),
        (id.clone(), code, time.clone()).prop_map(|(id, code, at)| Call::Progress(id, code, at)),
        (id.clone(), time.clone()).prop_map(|(id, at)| Call::Lose(id, at)),
        (prop::collection::vec(id, 0..4), 0..2_u64, time)
            .prop_map(|(ids, holder, at)| Call::Hold(ids, holder, at)),
    ];
    prop::collection::vec(step, 1..30)
}

/// Takes a step, and says everything that can be asked afterwards.
async fn take(orders: &dyn Orders, step: &Call) -> String {
    let answer = match *step {
        Call::Add(bits, name, at) => {
            format!("{:?}", orders.add(id(bits), &order_of(name), at).await.unwrap())
        }
        Call::Publish(bits, at) => {
            format!("{:?}", orders.mark_published(id(bits), at).await.unwrap())
        }
        Call::Progress(bits, code, at) => {
            let status = Status::from_code(code);
            format!("{:?}", orders.progress(id(bits), status, at).await.unwrap())
        }
        Call::Lose(bits, at) => format!("{:?}", orders.mark_lost(id(bits), at).await.unwrap()),
        Call::Hold(ref bits, holder, from) => {
            let ids: Vec<_> = bits.iter().copied().map(id).collect();
            format!("{:?}", orders.hold(&ids, Hold { holder, from, until: from + 10 }).await)
        }
    };
    let mut said = vec![answer];
    for bits in 0..4 {
        said.push(format!("{:?}", orders.get(id(bits)).await.unwrap()));
    }
    for name in ["Ann", "Bob"] {
        said.push(format!("{:?}", orders.of_customer(&CustomerId::of(name), 3).await.unwrap()));
    }
    for time in [START + 10, START + 40] {
        said.push(format!("{:?}", orders.unpublished(time).await.unwrap()));
        said.push(format!("{:?}", orders.overdue(time).await.unwrap()));
    }
    said.join("\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_file_answers_as_memory_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let in_memory = InMemoryOrders::new();
            let in_file = SqliteOrders::open(folder.path().join("orders")).unwrap();
            for step in &steps {
                prop_assert_eq!(take(&in_file, step).await, take(&in_memory, step).await);
            }
            Ok(())
        })?;
    }
}
