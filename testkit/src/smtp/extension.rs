//! What the reply to EHLO offers.

/// An extension of SMTP that the server offers and understands unless it is switched off by
/// [`SmtpServerBuilder::without`](super::SmtpServerBuilder::without). STARTTLS is offered by a
/// server with [`Tls::StartTls`](super::Tls::StartTls), AUTH by one that knows a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Extension {
    /// RFC 2920. Without it a command that arrives before the previous one was answered gets 503.
    Pipelining,
    /// RFC 1870, with the limit of [`size_limit`](super::SmtpServerBuilder::size_limit).
    Size,
    /// RFC 6152.
    EightBitMime,
    /// RFC 6531. Without it an address that is not ASCII gets 553.
    SmtpUtf8,
    /// RFC 2034.
    EnhancedStatusCodes,
    /// The mechanism PLAIN of AUTH (RFC 4616).
    AuthPlain,
    /// The mechanism LOGIN of AUTH, which no RFC describes and everybody speaks.
    AuthLogin,
}

impl Extension {
    /// All of them, in the order of the reply to EHLO.
    pub const ALL: [Self; 7] = [
        Self::Pipelining,
        Self::Size,
        Self::EightBitMime,
        Self::SmtpUtf8,
        Self::EnhancedStatusCodes,
        Self::AuthPlain,
        Self::AuthLogin,
    ];
}

/// The set of the extensions that are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extensions([bool; Extension::ALL.len()]);

impl Extensions {
    pub(super) const ALL: Self = Self([true; Extension::ALL.len()]);

    pub(super) fn remove(&mut self, extension: Extension) {
        self.0[extension as usize] = false;
    }

    pub(super) fn has(self, extension: Extension) -> bool {
        self.0[extension as usize]
    }
}
