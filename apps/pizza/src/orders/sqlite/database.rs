//! The statements.

use std::path::Path;

use jobstream::record::Timestamp;
use rusqlite::{
    Connection, OptionalExtension as _, Params, Transaction, TransactionBehavior, named_params,
    params,
};

use super::row::{self, COLUMNS};
use super::schema;
use crate::customer_id::CustomerId;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::orders::{Added, Hold, OrdersError, StoredOrder, Track};
use crate::status::Status;

/// A connection, and how far the file's changes have been reported. Its methods are those of
/// [`Orders`](crate::orders::Orders), and block.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    /// The last change that was reported.
    told: i64,
    /// SQLite's number for the state in which others have left the file.
    version: i64,
    /// Whether this connection has written since the last look.
    has_written: bool,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, OrdersError> {
        let connection = schema::open(path)?;
        let version = version(&connection)?;
        let told = "SELECT coalesce(max(change), 0) FROM orders";
        let told = connection.query_row(told, [], |row| row.get(0))?;
        Ok(Self { connection, told, version, has_written: false })
    }

    pub(super) fn add(
        &mut self,
        id: OrderId,
        order: &Order,
        timestamp: Timestamp,
    ) -> Result<Added, OrdersError> {
        self.write(|transaction| {
            if track(transaction, id)?.is_some() {
                return Ok(Added::IdTaken);
            }
            insert(transaction, id, Some(order), timestamp, &Track::received(timestamp))?;
            Ok(Added::Stored)
        })
    }

    pub(super) fn get(&mut self, id: OrderId) -> Result<Option<StoredOrder>, OrdersError> {
        let orders = self.select("id = ?1 AND content IS NOT NULL", params![id.as_str()])?;
        Ok(orders.into_iter().next())
    }

    pub(super) fn of_customer(
        &mut self,
        customer_id: &CustomerId,
        limit: usize,
    ) -> Result<Vec<StoredOrder>, OrdersError> {
        let latest = "customer_id = ?1 ORDER BY ordered_at DESC, id DESC LIMIT ?2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.select(latest, params![customer_id.as_str(), limit])
    }

    pub(super) fn unpublished(
        &mut self,
        before: Timestamp,
    ) -> Result<Vec<StoredOrder>, OrdersError> {
        let oldest = "is_published = 0 AND ordered_at < ?1 ORDER BY ordered_at, id";
        self.select(oldest, params![before])
    }

    pub(super) fn hold(
        &mut self,
        mut ids: Vec<OrderId>,
        hold: Hold,
    ) -> Result<Vec<OrderId>, OrdersError> {
        let Hold { holder, from, until } = hold;
        // A number of SQLite has a sign; the bits are the same.
        let holder = holder.cast_signed();
        self.write(|transaction| {
            let free = "UPDATE orders SET held_by = ?2, held_until = ?4 WHERE id = ?1
                AND is_published = 0 AND (held_by IS ?2 OR held_until <= ?3)";
            let mut statement = transaction.prepare_cached(free)?;
            let mut held = Vec::new();
            for id in ids.drain(..) {
                if statement.execute(params![id.as_str(), holder, from, until])? > 0 {
                    held.push(id);
                }
            }
            Ok(held)
        })
    }

    pub(super) fn progress(
        &mut self,
        id: OrderId,
        status: Status,
        timestamp: Timestamp,
    ) -> Result<bool, OrdersError> {
        self.write(|transaction| {
            let Some(mut known) = track(transaction, id)? else {
                let track = Track::of_event(status, timestamp);
                return insert(transaction, id, None, timestamp, &track).map(|()| true);
            };
            let is_news = known.tell(status, timestamp);
            if is_news {
                update(transaction, id, &known)?;
            }
            Ok(is_news)
        })
    }

    pub(super) fn overdue(&mut self, since: Timestamp) -> Result<Vec<OrderId>, OrdersError> {
        let oldest = "is_waiting = 1 AND is_published = 1 AND content IS NOT NULL
                      AND progressed_at < ?1 ORDER BY ordered_at, id";
        let orders = self.select(oldest, params![since])?;
        Ok(orders.iter().map(|order| order.id).collect())
    }

    /// Changes the track of an order that is known, if `change` says so; says what it says.
    pub(super) fn change(
        &mut self,
        id: OrderId,
        change: impl FnOnce(&mut Track) -> bool,
    ) -> Result<bool, OrdersError> {
        self.write(|transaction| {
            let Some(mut known) = track(transaction, id)? else { return Ok(false) };
            let is_changed = change(&mut known);
            if is_changed {
                update(transaction, id, &known)?;
            }
            Ok(is_changed)
        })
    }

    /// The orders that have changed since the last call, by this process or another.
    pub(super) fn news(&mut self) -> Result<Vec<OrderId>, OrdersError> {
        let version = version(&self.connection)?;
        if version == self.version && !self.has_written {
            return Ok(Vec::new());
        }
        let since = "SELECT id, change FROM orders WHERE change > ?1 ORDER BY change";
        let mut statement = self.connection.prepare_cached(since)?;
        let mut rows = statement.query(params![self.told])?;
        let (mut news, mut told) = (Vec::new(), self.told);
        while let Some(row) = rows.next()? {
            news.push(row::id(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
            told = row.get(1)?;
        }
        (self.told, self.version, self.has_written) = (told, version, false);
        Ok(news)
    }

    fn select(&self, which: &str, params: impl Params) -> Result<Vec<StoredOrder>, OrdersError> {
        let sql = format!("SELECT {COLUMNS} FROM orders WHERE {which}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(params)?;
        let mut orders = Vec::new();
        while let Some(row) = rows.next()? {
            orders.push(row::stored(row)?);
        }
        Ok(orders)
    }

    /// Runs `write` in a transaction that is alone from its beginning.
    fn write<T>(
        &mut self,
        write: impl FnOnce(&Transaction<'_>) -> Result<T, OrdersError>,
    ) -> Result<T, OrdersError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let out = write(&transaction)?;
        transaction.commit()?;
        self.has_written = true;
        Ok(out)
    }
}

fn version(connection: &Connection) -> Result<i64, OrdersError> {
    let mut statement = connection.prepare_cached("PRAGMA data_version")?;
    Ok(statement.query_row([], |row| row.get(0))?)
}

fn track(transaction: &Transaction<'_>, id: OrderId) -> Result<Option<Track>, OrdersError> {
    let sql = format!("SELECT {COLUMNS} FROM orders WHERE id = ?1");
    let mut statement = transaction.prepare_cached(&sql)?;
    Ok(statement.query_row(params![id.as_str()], row::track).optional()?)
}

fn insert(
    transaction: &Transaction<'_>,
    id: OrderId,
    order: Option<&Order>,
    ordered_at: Timestamp,
    track: &Track,
) -> Result<(), OrdersError> {
    let sql = "INSERT INTO orders (id, customer_id, content, ordered_at, status, furthest,
        progressed_at, is_published, is_waiting, change) VALUES (:id, :customer_id, :content,
        :ordered_at, :status, :furthest, :progressed_at, :is_published, :is_waiting,
        (SELECT coalesce(max(change), 0) + 1 FROM orders))";
    let content = order.map(|order| {
        serde_json::to_string(order).unwrap_or_else(|_| unreachable!("an order is JSON"))
    });
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": id.as_str(),
        ":customer_id": order.map(|order| order.customer_id.as_str()),
        ":content": content,
        ":ordered_at": ordered_at,
        ":status": track.progress.status.code(),
        ":furthest": track.progress.furthest.code(),
        ":progressed_at": track.progressed_at,
        ":is_published": track.is_published,
        ":is_waiting": track.progress.status.is_waiting(),
    })?;
    Ok(())
}

fn update(transaction: &Transaction<'_>, id: OrderId, track: &Track) -> Result<(), OrdersError> {
    let sql = "UPDATE orders SET status = :status, furthest = :furthest,
        progressed_at = :progressed_at, is_published = :is_published, is_waiting = :is_waiting,
        change = (SELECT max(change) + 1 FROM orders) WHERE id = :id";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":id": id.as_str(),
        ":status": track.progress.status.code(),
        ":furthest": track.progress.furthest.code(),
        ":progressed_at": track.progressed_at,
        ":is_published": track.is_published,
        ":is_waiting": track.progress.status.is_waiting(),
    })?;
    Ok(())
}
