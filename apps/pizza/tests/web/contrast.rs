//! Text can be read: WCAG 2's contrast of at least 4.5 to 1 (level AA), in light and in dark.

use std::collections::BTreeMap;

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

type Colours = BTreeMap<&'static str, [f64; 3]>;

/// The colours of the first block after `start`, over those of `colours`.
fn colours(start: &str, mut colours: Colours) -> Colours {
    let (_, rest) = STYLE.split_once(start).unwrap();
    let block = rest.split('}').next().unwrap();
    for (name, value) in block.lines().filter_map(|line| line.trim().split_once(": #")) {
        let value = u32::from_str_radix(value.trim_end_matches(';'), 16).unwrap();
        let channel = |shift: u32| f64::from(value >> shift & 0xff) / 255.0;
        colours.insert(name.trim_start_matches("--"), [channel(16), channel(8), channel(0)]);
    }
    colours
}

fn luminance(colour: [f64; 3]) -> f64 {
    let linear = |c: f64| if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
    let [red, green, blue] = colour.map(linear);
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    if one > other { one / other } else { other / one }
}

#[test]
fn every_text_has_the_contrast_that_it_needs() {
    assert!((contrast([1.0; 3], [0.0; 3]) - 21.0).abs() < 1e-9);
    let light = colours(":root {", Colours::new());
    let dark = colours("@media (prefers-color-scheme: dark) {", light.clone());
    for (scheme, colours) in [("light", light), ("dark", dark)] {
        for (text, on) in PAIRS {
            let found = contrast(colours[text], colours[on]);
            assert!(found >= 4.5, "{scheme}: {text} on {on} has {found:.2}, expected 4.5");
        }
        for on in ["paper", "card"] {
            for line in ["field", "focus"] {
                let found = contrast(colours[line], colours[on]);
                assert!(found >= 3.0, "{scheme}: {line} on {on} has {found:.2}, expected 3");
            }
        }
    }
}
