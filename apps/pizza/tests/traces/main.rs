//! Traces of the shop on the testkit's listener, in five processes, as the OpenTelemetry Collector takes them.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../../tests/in_memory_broker/mod.rs"]
mod broker;
#[path = "../../../../tests/otlp_collector/mod.rs"]
mod otlp_collector;
mod shop;
#[path = "../web/visitor.rs"]
mod visitor;

use otlp_collector::{Collector, Span, tree};
use shop::Shop;
use visitor::Visitor;

const PIZZA: [(&str, &str); 3] =
    [("sauce", "Tomato"), ("cheese", "Mozzarella"), ("main_topping", "Pepperoni")];

/// What an order becomes when deliver hears of it before it is baked: of what it only remembers it
/// has nothing to say.
const ORDER: [&str; 38] = [
    "POST /orders (webapp)",
    "  send pizza-ordered",
    "    process pizza-ordered (msvc_assemble)",
    "      decode",
    "      encode",
    "      execute",
    "      filter",
    "      send pizza-assembled",
    "        process pizza-assembled (msvc_bake)",
    "          decode",
    "          encode",
    "          execute",
    "          filter",
    "          send pizza-baked",
    "            process pizza-baked (msvc_delivery)",
    "              decode",
    "              encode",
    "              execute",
    "              filter",
    "              send pizza-status",
    "                process pizza-status (msvc_status)",
    "                  decode",
    "                  encode",
    "                  execute",
    "                  filter",
    "          send pizza-status",
    "            process pizza-status (msvc_status)",
    "              decode",
    "              encode",
    "              execute",
    "              filter",
    "      send pizza-status",
    "        process pizza-status (msvc_status)",
    "          decode",
    "          encode",
    "          execute",
    "          filter",
    "    process pizza-ordered (msvc_delivery)",
];
const REMEMBERED: [&str; 4] = ["      decode", "      encode", "      execute", "      filter"];

fn order(spans: &[Span]) -> Option<&Span> {
    spans.iter().find(|span| span.name == "POST /orders")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Go to build the OpenTelemetry Collector"]
async fn one_order_is_one_trace_across_five_services() {
    for protocol in ["http/protobuf", "grpc"] {
        let collector = Collector::start().await;
        let mut shop = Shop::open(collector.settings(protocol)).await;
        shop.start("deliver");
        let mut italo = Visitor::named(shop.address, "Italo").await;
        let answer = italo.submit("/", "/orders", &PIZZA).await;
        let id = answer.location().strip_prefix("/orders/").unwrap().to_owned();
        // The two topics of deliver have no order between them: here they have.
        shop.said("deliver", &format!("Early warning to deliver order '{id}'")).await;
        for part in ["assemble", "bake", "status"] {
            shop.start(part);
        }

        let expected: Vec<_> = ORDER.into_iter().chain(REMEMBERED).collect();
        let is_complete =
            |spans: &[Span]| order(spans).is_some_and(|order| tree(spans, order) == expected);
        let spans = collector.spans_when(is_complete).await;
        let order = order(&spans).unwrap();
        assert_eq!((order.kind, order.parent.as_str()), (2, ""));
        assert_eq!(order.attributes["http.response.status_code"], "303");
        let of_it: Vec<_> = spans.iter().filter(|span| span.trace_id == order.trace_id).collect();
        assert_eq!(of_it.len(), expected.len(), "{of_it:#?}");
        assert!(of_it.iter().all(|span| !span.has_failed), "{of_it:#?}");
        for process in of_it.iter().filter(|span| span.name.starts_with("process ")) {
            assert_eq!(process.links, [(order.trace_id.clone(), process.parent.clone())]);
        }
        let told = format!("trace_id={}", order.trace_id);
        for (part, text) in [("bake", "is baked!"), ("deliver", "delivered to customer_id")] {
            let log = shop.log(part);
            let line = log.lines().find(|line| line.contains(&id) && line.contains(text));
            assert!(line.is_some_and(|line| line.ends_with(&told)), "{part}: {told}\n{log}");
        }
        let all = format!("{spans:?}");
        assert!(!all.contains("Italo") && !all.contains(&id), "{all}");
        shop.close().await;
    }
}
