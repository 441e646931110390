//! The pizza shop: four services chained by Kafka topics, and a web app.
