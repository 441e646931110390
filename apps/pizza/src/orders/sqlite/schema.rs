//! The table, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::orders::OrdersError;

/// How long a call waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The version of the table, in the file's `user_version`.
const VERSION: i64 = 1;

/// `content` is null of an id that is only known from a status; `change` ascends with every change
/// of any row.
const TABLE: &str = "
    CREATE TABLE orders (
        id            TEXT PRIMARY KEY
            CHECK (id GLOB '[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'),
        customer_id   TEXT,
        content       TEXT,
        ordered_at    INTEGER NOT NULL,
        status        INTEGER NOT NULL,
        furthest      INTEGER NOT NULL,
        progressed_at INTEGER NOT NULL,
        is_published  INTEGER NOT NULL,
        is_waiting    INTEGER NOT NULL,
        change        INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX orders_by_change ON orders (change);
    CREATE INDEX orders_of_customer ON orders (customer_id, ordered_at, id);
    CREATE INDEX orders_unpublished ON orders (ordered_at) WHERE is_published = 0;
    CREATE INDEX orders_waiting ON orders (progressed_at) WHERE is_waiting = 1;";

/// Opens a file and makes the table if it is not there.
///
/// # Errors
/// If that fails, or the table is of another version.
pub(super) fn open(path: &Path) -> Result<Connection, OrdersError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        VERSION => {}
        0 => {
            transaction.execute_batch(TABLE)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        found => return Err(OrdersError::Version { found, expected: VERSION }),
    }
    transaction.commit()?;
    Ok(connection)
}
