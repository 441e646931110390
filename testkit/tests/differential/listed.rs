//! What differs, and has to: each with its reason.

use super::operation::Operation;

/// Why these answers differ, if that is known and stays so.
pub(crate) fn why(operation: &Operation, found: &str, expected: &str) -> Option<&'static str> {
    match operation {
        Operation::Partition(_) | Operation::Session(_) if names_more(found, expected) => Some(
            "Fetch: Kafka names aborted transactions up to the next entry of its index, which may be \
             some kilobytes on; the listener names those of the batches that it sends",
        ),
        Operation::Produce(_) | Operation::Transaction(_)
            if found.replace("InvalidTxnState", "TransactionAbortable")
                == expected.replace("InvalidTxnState", "TransactionAbortable") =>
        {
            Some(
                "Produce and TxnOffsetCommit in old versions: Kafka asks the coordinator for several \
                 clients at once, and answers all of them as the first one's version wants it",
            )
        }
        _ => None,
    }
}

/// Whether both have read the same, and one has been told of more aborted transactions.
fn names_more(found: &str, expected: &str) -> bool {
    let parts = |text: &str| {
        let (head, rest) = text.split_once(") [")?;
        let (aborted, rest) = rest.split_once("] ")?;
        Some((head.to_owned(), aborted.to_owned(), rest.to_owned()))
    };
    match (parts(found), parts(expected)) {
        (Some((head, few, rest)), Some((other_head, many, other_rest))) => {
            head == other_head && rest == other_rest && many.starts_with(&few)
        }
        _ => false,
    }
}
