//! A row of the table.

use rusqlite::Row;

use crate::order_id::OrderId;
use crate::orders::{OrdersError, StoredOrder, Track};
use crate::status::{Progress, Status};

/// The columns that [`stored`] and [`track`] read, in their order.
pub(super) const COLUMNS: &str =
    "status, furthest, progressed_at, is_published, id, content, ordered_at";

/// The order's id.
pub(super) fn id(text: &str) -> Result<OrderId, OrdersError> {
    text.parse().map_err(|_| corrupt(text, "an id of its own", "five hexadecimal characters"))
}

/// What became of the order.
pub(super) fn track(row: &Row<'_>) -> Result<Track, rusqlite::Error> {
    let status = Status::from_code(row.get(0)?);
    let furthest = Status::from_code(row.get(1)?);
    Ok(Track {
        progress: Progress { status, furthest },
        progressed_at: row.get(2)?,
        is_published: row.get(3)?,
    })
}

/// The order, which must have been added.
pub(super) fn stored(row: &Row<'_>) -> Result<StoredOrder, OrdersError> {
    let (text, content): (String, String) = (row.get(4)?, row.get(5)?);
    let order = serde_json::from_str(&content);
    Ok(StoredOrder {
        id: id(&text)?,
        order: order.map_err(|error| corrupt(&text, &error.to_string(), "an order in JSON"))?,
        ordered_at: row.get(6)?,
        track: track(row)?,
    })
}

fn corrupt(id: &str, found: &str, expected: &'static str) -> OrdersError {
    OrdersError::Corrupt { id: id.to_owned(), found: found.to_owned(), expected }
}
