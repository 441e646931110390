//! What a service has to show besides.

use serde::Serialize;

/// What a service has to show besides, in a card of its own.
pub trait Panel: Send + Sync {
    /// What it is about.
    fn title(&self) -> &'static str;

    /// What there is to see now, row by row: names and values. Asked ten times a second.
    fn rows(&self) -> Vec<(&'static str, String)>;
}

/// A panel, as it is now.
#[derive(Debug, Serialize)]
pub(super) struct PanelView {
    title: &'static str,
    rows: Vec<(&'static str, String)>,
}

impl PanelView {
    pub(super) fn of(panel: &dyn Panel) -> Self {
        Self { title: panel.title(), rows: panel.rows() }
    }
}
