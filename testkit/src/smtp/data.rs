//! The octets between DATA and the final dot (RFC 5321 section 4.5.2).

use memchr::memchr;

/// Takes the dots out again that the client put before lines that begin with one, and finds the
/// end. Only CRLF.CRLF is the end; a CR or an LF alone is an octet like any other, so that no
/// mail can be smuggled inside another.
///
/// What exceeds the limits is counted and thrown away, so that memory stays bounded while the
/// client goes on until its final dot.
#[derive(Debug)]
pub(super) struct DataDecoder {
    state: State,
    text: Vec<u8>,
    size: u64,
    size_limit: u64,
    line: usize,
    line_limit: usize,
    line_too_long: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// After CRLF, and at the very beginning.
    LineStart,
    /// After a dot at the start of a line. The dot itself is not part of the text.
    Dot,
    /// After a dot and a CR at the start of a line.
    DotCr,
    /// Inside a line, after anything but a CR.
    Line,
    /// Inside a line, after a CR.
    LineCr,
    /// After the final CRLF.
    End,
}

/// What was wrong with the data, if anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// More octets than the size limit.
    Size,
    /// A line of more octets than the line limit, its CRLF included.
    Line,
}

impl DataDecoder {
    pub(super) fn new(size_limit: u64, line_limit: usize) -> Self {
        Self {
            state: State::LineStart,
            text: Vec::new(),
            size: 0,
            size_limit,
            line: 0,
            line_limit,
            line_too_long: false,
        }
    }

    /// Takes octets up to and including the final dot's line, and says how many.
    pub(super) fn feed(&mut self, input: &[u8]) -> usize {
        let mut used = 0;
        while used < input.len() && self.state != State::End {
            used += self.step(&input[used..]);
        }
        used
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// The text without the stuffed dots, or what it exceeded.
    pub(super) fn finish(self) -> Result<Vec<u8>, Excess> {
        if self.size > self.size_limit {
            return Err(Excess::Size);
        }
        if self.line_too_long { Err(Excess::Line) } else { Ok(self.text) }
    }

    fn step(&mut self, input: &[u8]) -> usize {
        match (self.state, input[0]) {
            (State::LineStart, b'.') => self.state = State::Dot,
            (State::Dot, b'\r') => self.state = State::DotCr,
            (State::DotCr, b'\n') => self.state = State::End,
            (State::DotCr, _) => {
                self.emit(b"\r");
                self.state = State::LineCr;
                return 0;
            }
            (State::End, _) => {}
            (State::LineStart | State::Dot | State::Line | State::LineCr, _) => {
                return self.step_line(input);
            }
        }
        1
    }

    /// Takes the rest of the line, or all there is of it.
    fn step_line(&mut self, input: &[u8]) -> usize {
        let Some(feed) = memchr(b'\n', input) else {
            self.emit(input);
            self.state = if input.ends_with(b"\r") { State::LineCr } else { State::Line };
            return input.len();
        };
        let after_cr = match feed.checked_sub(1) {
            Some(before) => input[before] == b'\r',
            None => self.state == State::LineCr,
        };
        self.emit(&input[..=feed]);
        self.state = State::Line;
        if after_cr {
            self.state = State::LineStart;
            self.line = 0;
        }
        feed + 1
    }

    fn emit(&mut self, octets: &[u8]) {
        self.line += octets.len();
        self.line_too_long |= self.line > self.line_limit;
        self.size += octets.len() as u64;
        if self.size <= self.size_limit {
            self.text.extend_from_slice(octets);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_assert_eq, proptest};

    use super::*;

    fn decoded(wire: &[u8]) -> (Vec<u8>, usize, bool) {
        let mut decoder = DataDecoder::new(1 << 20, 1 << 20);
        let used = decoder.feed(wire);
        let complete = decoder.is_complete();
        (decoder.finish().unwrap(), used, complete)
    }

    /// What a client does before it sends a text.
    fn stuffed(text: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        let mut line_start = true;
        for (at, octet) in text.iter().enumerate() {
            if line_start && *octet == b'.' {
                wire.push(b'.');
            }
            wire.push(*octet);
            line_start = text[..=at].ends_with(b"\r\n");
        }
        if !line_start {
            wire.extend(b"\r\n");
        }
        wire.extend(b".\r\n");
        wire
    }

    /// Texts in which the octets that matter are frequent.
    fn texts() -> impl Strategy<Value = Vec<u8>> {
        let octet = proptest::prop_oneof![
            3 => proptest::sample::select(b"\r\n.".to_vec()),
            1 => any::<u8>(),
        ];
        proptest::collection::vec(octet, 0..80)
    }

    #[test]
    fn a_lone_dot_is_the_end_of_an_empty_text() {
        assert_eq!(decoded(b".\r\nQUIT\r\n"), (vec![], 3, true));
    }

    #[test]
    fn no_bare_line_end_ends_the_data() {
        for end in ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r\n", "\r.\r", "\r\n.\r", "\r\n.\r\r\n"] {
            let wire = format!("text{end}more");
            assert!(!decoded(wire.as_bytes()).2, "{end:?} ended the data");
        }
    }

    #[test]
    fn excess_is_thrown_away_and_told() {
        let mut decoder = DataDecoder::new(10, 1000);
        decoder.feed(b"0123456789\r\n.\r\n");
        assert!(decoder.text.len() <= 10);
        assert_eq!(decoder.finish(), Err(Excess::Size));
        let mut decoder = DataDecoder::new(1000, 10);
        decoder.feed(b"012345678\r\n.\r\n");
        assert_eq!(decoder.finish(), Err(Excess::Line));
        let mut decoder = DataDecoder::new(1000, 11);
        decoder.feed(b"..12345678\r\nshort\r\n.\r\n");
        assert_eq!(decoder.finish(), Ok(b".12345678\r\nshort\r\n".to_vec()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_text_round_trips_whatever_the_split_of_the_writes(
            text in texts(), cuts in proptest::collection::vec(1usize..9, 1..20),
        ) {
            let wire = stuffed(&text);
            let mut decoder = DataDecoder::new(1 << 20, 1 << 20);
            let mut rest = &wire[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*cut).min(rest.len()));
                prop_assert_eq!(decoder.feed(chunk), chunk.len());
                prop_assert_eq!(decoder.is_complete(), after.is_empty());
                rest = after;
            }
            let mut expected = text.clone();
            if !text.is_empty() && !text.ends_with(b"\r\n") {
                expected.extend(b"\r\n");
            }
            prop_assert_eq!(decoder.finish().unwrap(), expected);
        }

        #[test]
        fn the_end_is_where_the_first_crlf_dot_crlf_is(wire in texts()) {
            let mut framed = b"\r\n".to_vec();
            framed.extend(&wire);
            let end = framed.windows(5).position(|window| window == b"\r\n.\r\n");
            let (_, used, complete) = decoded(&wire);
            prop_assert_eq!(complete, end.is_some());
            prop_assert_eq!(used, end.map_or(wire.len(), |at| at + 3));
        }
    }
}
