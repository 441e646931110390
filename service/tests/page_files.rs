//! The page's files, as a browser gets them.

#[path = "../../tests/contrast/mod.rs"]
mod contrasts;

const STYLE: &str = include_str!("../assets/page.css");
const PAGE: &str = include_str!("../assets/page.html");
const DOOR: &str = include_str!("../assets/door.html");

/// Text and what it is written on, by the names of their colours.
const TEXTS: [(&str, &str); 20] = [
    ("ink", "paper"),
    ("ink", "card"),
    ("ink", "soft"),
    ("ink", "busy-soft"),
    ("muted", "paper"),
    ("muted", "card"),
    ("muted", "soft"),
    ("muted", "busy-soft"),
    ("accent", "card"),
    ("accent", "busy-soft"),
    ("on-accent", "accent"),
    ("good", "card"),
    ("good", "good-soft"),
    ("good", "paper"),
    ("warn", "card"),
    ("warn", "warn-soft"),
    ("bad", "card"),
    ("bad", "bad-soft"),
    ("bad", "soft"),
    ("card", "bad"),
];

/// Lines, and what they are drawn on.
const LINES: [(&str, &str); 5] = [
    ("field", "card"),
    ("field", "soft"),
    ("accent", "card"),
    ("accent", "paper"),
    ("bad", "card"),
];

#[test]
fn every_text_has_the_contrast_that_it_needs() {
    contrasts::check(STYLE, &TEXTS, &LINES);
}

#[test]
fn no_page_needs_what_its_policy_forbids() {
    for page in [PAGE, DOOR] {
        for forbidden in [" style=", "<style", "<script>", " onclick=", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
}
