//! A question whose answer says whether a service is well.

use std::fmt;

use serde::Serialize;

/// What is found, in words: that all is well, or what is not.
pub type Finding = Result<String, String>;

/// A question with a name; it is answered from memory, at once.
pub struct Check {
    name: &'static str,
    ask: Box<dyn Fn() -> Finding + Send + Sync>,
}

impl Check {
    /// Asks `ask` each time.
    pub fn new(name: &'static str, ask: impl Fn() -> Finding + Send + Sync + 'static) -> Self {
        Self { name, ask: Box::new(ask) }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Check").field(&self.name).finish()
    }
}

/// What a probe is answered.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) ok: bool,
    checks: Vec<Checked>,
}

#[derive(Debug, Serialize)]
struct Checked {
    name: &'static str,
    ok: bool,
    reason: String,
}

impl Answer {
    /// Asks every question; all is well if every answer says so.
    pub(super) fn of(checks: &[Check]) -> Self {
        let ask = |Check { name, ask }: &Check| {
            let found = ask();
            let ok = found.is_ok();
            Checked { name, ok, reason: found.unwrap_or_else(|reason| reason) }
        };
        let checks: Vec<_> = checks.iter().map(ask).collect();
        Self { ok: checks.iter().all(|checked| checked.ok), checks }
    }
}
