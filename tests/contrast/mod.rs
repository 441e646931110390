//! Text can be read: WCAG 2's contrast of at least 4.5 to 1 (level AA), in light and in dark.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::collections::BTreeMap;

type Colours<'a> = BTreeMap<&'a str, [f64; 3]>;

/// The colours of the first block after `start`, over those of `colours`.
fn colours<'a>(style: &'a str, start: &str, mut colours: Colours<'a>) -> Colours<'a> {
    let (_, rest) = style.split_once(start).unwrap();
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

/// Whether each text (the first of a pair) can be read on what is behind it, and each line be seen,
/// by the names of their colours.
pub(crate) fn check(style: &str, texts: &[(&str, &str)], lines: &[(&str, &str)]) {
    assert!((contrast([1.0; 3], [0.0; 3]) - 21.0).abs() < 1e-9);
    let light = colours(style, ":root {", Colours::new());
    let dark = colours(style, "@media (prefers-color-scheme: dark) {", light.clone());
    for (scheme, colours) in [("light", light), ("dark", dark)] {
        for (pairs, least) in [(texts, 4.5), (lines, 3.0)] {
            for (one, on) in pairs {
                let found = contrast(colours[one], colours[on]);
                assert!(found >= least, "{scheme}: {one} on {on} has {found:.2}, expected {least}");
            }
        }
    }
}
