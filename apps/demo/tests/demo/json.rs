//! JSON as RFC 8259 has it, read without any library, so that the model agrees with nobody by
//! accident: every value with its place in the text, repeated names kept.

use std::ops::Range;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Range<usize>,
    pub(crate) value: Value,
}

/// A value. A string is `None` where its escapes are no Unicode.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool,
    Number,
    String(Option<String>),
    Array,
    Object(Vec<(Option<String>, Node)>),
}

/// The one value of a text, nested no deeper than `levels`; `None` if it is none.
pub(crate) fn parse(text: &str, levels: usize) -> Option<Node> {
    let mut parser = Parser { text, at: 0 };
    let node = parser.value(levels)?;
    parser.space();
    (parser.at == text.len()).then_some(node)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, literal: &str) -> Option<()> {
        self.text[self.at..].starts_with(literal).then(|| self.at += literal.len())
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, levels: usize) -> Option<Node> {
        self.space();
        let start = self.at;
        let value = match self.peek()? {
            b'n' => self.eat("null").map(|()| Value::Null),
            b't' => self.eat("true").map(|()| Value::Bool),
            b'f' => self.eat("false").map(|()| Value::Bool),
            b'"' => self.string().map(Value::String),
            b'[' => self.array(levels.checked_sub(1)?),
            b'{' => self.object(levels.checked_sub(1)?),
            _ => self.number(),
        }?;
        Some(Node { at: start..self.at, value })
    }

    fn array(&mut self, levels: usize) -> Option<Value> {
        self.eat("[")?;
        self.space();
        if self.eat("]").is_some() {
            return Some(Value::Array);
        }
        loop {
            self.value(levels)?;
            self.space();
            if self.eat("]").is_some() {
                return Some(Value::Array);
            }
            self.eat(",")?;
        }
    }

    fn object(&mut self, levels: usize) -> Option<Value> {
        let mut fields = Vec::new();
        self.eat("{")?;
        self.space();
        if self.eat("}").is_some() {
            return Some(Value::Object(fields));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.space();
            self.eat(":")?;
            fields.push((name, self.value(levels)?));
            self.space();
            if self.eat("}").is_some() {
                return Some(Value::Object(fields));
            }
            self.eat(",")?;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Value> {
        let _ = self.eat("-");
        if self.eat("0").is_none() {
            self.digits()?;
        }
        if self.eat(".").is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Value::Number)
    }

    /// The outer `None` is no string at all, the inner one a string that is no Unicode.
    fn string(&mut self) -> Option<Option<String>> {
        self.eat("\"")?;
        let mut units: Vec<u16> = Vec::new();
        loop {
            let c = self.text[self.at..].chars().next()?;
            self.at += c.len_utf8();
            match c {
                '"' => return Some(String::from_utf16(&units).ok()),
                '\\' => units.push(self.escape()?),
                '\0'..='\x1f' => return None,
                c => units.extend_from_slice(c.encode_utf16(&mut [0; 2])),
            }
        }
    }

    fn escape(&mut self) -> Option<u16> {
        let escape = self.peek()?;
        self.at += 1;
        Some(match escape {
            b'"' | b'\\' | b'/' => u16::from(escape),
            b'b' => 8,
            b't' => 9,
            b'n' => 10,
            b'f' => 12,
            b'r' => 13,
            b'u' => {
                let hex = self.text.get(self.at..self.at + 4)?;
                self.at += 4;
                let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
                u16::from_str_radix(hex, 16).ok().filter(|_| is_hex)?
            }
            _ => return None,
        })
    }
}
