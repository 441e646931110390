//! The table, and how a connection is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::orders::OrdersError;

/// How long a call waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a file that others write is asked to have a write-ahead log.
const WAL_TRIES: usize = 100;

/// What makes each version of the table, in the file's `user_version`, of the one before.
const VERSIONS: [&str; 2] = [TABLE, HOLDS];

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

/// Which web app publishes an order that is not published, and until when.
const HOLDS: &str = "
    ALTER TABLE orders ADD COLUMN held_by INTEGER;
    ALTER TABLE orders ADD COLUMN held_until INTEGER NOT NULL DEFAULT 0;";

/// Opens a file, and makes the table of what is there.
///
/// # Errors
/// If that fails, or the table is of a later version.
pub(super) fn open(path: &Path) -> Result<Connection, OrdersError> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    write_ahead(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let expected = VERSIONS.len() as i64;
    let is_ours = usize::try_from(version).ok().and_then(|made| VERSIONS.get(made..));
    let Some(missing) = is_ours else {
        return Err(OrdersError::Version { found: version, expected });
    };
    for (step, version) in missing.iter().zip(version + 1..) {
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
    }
    transaction.commit()?;
    Ok(connection)
}

/// Gives the file a write-ahead log. SQLite does not wait for others there, and says at once that the
/// file is locked; so this waits for a turn, and asks again.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    let ask = || connection.pragma_update(None, "journal_mode", "WAL");
    for _ in 1..WAL_TRIES {
        match ask() {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                connection.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
            }
            answer => return answer,
        }
    }
    ask()
}
