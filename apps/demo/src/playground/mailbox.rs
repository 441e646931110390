//! The mails that have arrived, as a person who reads all of them would keep them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jobstream_testkit::smtp::{Inbox, Mail};

use super::mail_view::MailLine;

/// Mails that are kept; of older ones their `Message-ID` is remembered.
const KEPT_MAILS: usize = 1_000;
/// The same in bytes.
const KEPT_BYTES: usize = 128 << 20;
/// Mails that are listed.
const LISTED_MAILS: usize = 100;

/// The last mails, the newest first, and how often each has come.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    mails: VecDeque<(Arc<Mail>, u64)>,
    copies_of: BTreeMap<String, u64>,
    count: u64,
    /// The bytes of those that are kept.
    bytes: usize,
}

impl Mailbox {
    /// Takes what is in the inbox.
    pub(super) fn collect(&mut self, inbox: &Inbox) {
        for mail in inbox.take() {
            let id = mail.message_id().unwrap_or_default().to_owned();
            let copies = self.copies_of.entry(id).or_default();
            *copies += 1;
            self.count += 1;
            self.bytes += mail.raw.len();
            self.mails.push_front((mail, *copies));
            while self.mails.len() > KEPT_MAILS || self.bytes > KEPT_BYTES {
                let Some((oldest, _)) = self.mails.pop_back() else { break };
                self.bytes -= oldest.raw.len();
            }
        }
    }

    /// How many have arrived.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// How many of them came after another one with the same `Message-ID`.
    pub(super) fn copies(&self) -> u64 {
        self.count - self.copies_of.len() as u64
    }

    /// Whether a mail of that `Message-ID` has arrived, given without angle brackets.
    pub(super) fn has(&self, message_id: &str) -> bool {
        self.copies_of.contains_key(message_id)
    }

    pub(super) fn lines(&self) -> Vec<MailLine> {
        let lines = self.mails.iter().take(LISTED_MAILS);
        lines.map(|(mail, copy)| MailLine::of(mail, *copy)).collect()
    }

    pub(super) fn mail(&self, number: u64) -> Option<Arc<Mail>> {
        let found = self.mails.iter().find(|(mail, _)| mail.number == number);
        found.map(|(mail, _)| mail.clone())
    }
}
