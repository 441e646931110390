//! Text can be read, in light and in dark.

const STYLE: &str = include_str!("../../assets/pizza.css");

/// Text and what it is written on, by the names of their colours.
const PAIRS: [(&str, &str); 13] = [
    ("ink", "paper"),
    ("ink", "card"),
    ("ink", "tomato-soft"),
    ("ink", "amber-soft"),
    ("ink", "basil-soft"),
    ("muted", "paper"),
    ("muted", "card"),
    ("link", "paper"),
    ("link", "card"),
    ("link", "tomato-soft"),
    ("on-tomato", "tomato"),
    ("on-tomato", "tomato-deep"),
    ("card", "basil"),
];

/// Lines, and what they are drawn on.
const LINES: [(&str, &str); 4] =
    [("field", "paper"), ("focus", "paper"), ("field", "card"), ("focus", "card")];

#[test]
fn every_text_has_the_contrast_that_it_needs() {
    crate::contrasts::check(STYLE, &PAIRS, &LINES);
}
