//! The text of HTML, for readers that show none.
//!
//! html5gum reads it as browsers do, tag by tag. No tree is built: with one, a megabyte of nested
//! tags takes minutes and gigabytes. So time and text are bounded by the length of the HTML.

use html5gum::{DefaultEmitter, EndTag, StartTag, Token, Tokenizer};

/// Elements whose content is not shown.
const HIDDEN: [&[u8]; 6] = [b"script", b"style", b"template", b"textarea", b"title", b"select"];

/// Elements with an empty line before and behind them.
const APART: [&[u8]; 14] = [
    b"blockquote",
    b"dl",
    b"h1",
    b"h2",
    b"h3",
    b"h4",
    b"h5",
    b"h6",
    b"hr",
    b"ol",
    b"p",
    b"pre",
    b"table",
    b"ul",
];

/// Elements on lines of their own.
const LINES: [&[u8]; 14] = [
    b"address", b"article", b"body", b"caption", b"center", b"dd", b"div", b"dt", b"footer",
    b"header", b"li", b"main", b"section", b"tr",
];

/// Schemes of links that are worth showing.
const SCHEMES: [&str; 4] = ["https:", "http:", "mailto:", "tel:"];

/// The text of HTML: paragraphs, lines and lists as they would be shown, the address of a link
/// behind its text, the words that stand for a picture. It ends with a line feed, or is empty.
pub(super) fn text_of(html: &str) -> String {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut text = Text::default();
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        match token {
            Token::StartTag(tag) => text.start(&tag),
            Token::EndTag(tag) => text.end(&tag),
            Token::String(string) => text.string(&String::from_utf8_lossy(&string)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    text.finish()
}

#[derive(Debug, Default)]
struct Text {
    text: String,
    /// Line feeds that stand before what comes next.
    line_feeds: usize,
    /// Whether a space does.
    space: bool,
    /// The hidden element that is open, and how often.
    hidden: Option<(Vec<u8>, usize)>,
    /// How many elements are open that keep their spaces and line ends.
    preformatted: usize,
    /// The address of the link that is open, and where its text begins.
    link: Option<(String, usize)>,
}

impl Text {
    fn start(&mut self, tag: &StartTag<()>) {
        let name = &**tag.name;
        if let Some((hidden, depth)) = &mut self.hidden {
            *depth += usize::from(hidden == name);
            return;
        }
        let attribute = |name: &[u8]| {
            let value = tag.attributes.get(name)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        self.begin_line(name);
        match name {
            _ if HIDDEN.contains(&name) => self.hidden = Some((name.to_owned(), 1)),
            b"br" => self.line_feeds = (self.line_feeds + 1).min(2),
            b"hr" => {
                self.write("--------");
                self.line_feeds = 2;
            }
            b"li" => self.write("* "),
            b"td" | b"th" => self.space = true,
            b"pre" => self.preformatted += 1,
            b"img" => self.string(&attribute(b"alt").unwrap_or_default()),
            b"a" => {
                self.end_link();
                let address = attribute(b"href").and_then(|href| address(&href));
                self.link = address.map(|address| (address, self.text.len()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: &EndTag<()>) {
        let name = &**tag.name;
        if let Some((hidden, depth)) = &mut self.hidden {
            *depth -= usize::from(hidden == name);
            self.hidden.take_if(|(_, depth)| *depth == 0);
            return;
        }
        match name {
            b"pre" => self.preformatted = self.preformatted.saturating_sub(1),
            b"a" => self.end_link(),
            _ => {}
        }
        self.begin_line(name);
    }

    /// What comes next stands on another line, if the element is one that asks for it.
    fn begin_line(&mut self, name: &[u8]) {
        let line_feeds = match name {
            _ if APART.contains(&name) => 2,
            _ if LINES.contains(&name) => 1,
            _ => return,
        };
        self.line_feeds = self.line_feeds.max(line_feeds);
    }

    fn string(&mut self, string: &str) {
        if self.hidden.is_some() {
            return;
        }
        for part in string.split_inclusive(is_space) {
            let word = part.trim_end_matches(is_space);
            if !word.is_empty() {
                self.write(word);
            }
            match &part[word.len()..] {
                "" => {}
                "\n" if self.preformatted > 0 => self.line_feeds += 1,
                space if self.preformatted > 0 => self.write(space),
                _ => self.space = true,
            }
        }
    }

    /// Writes a word, behind the line feeds or the space that it waits for.
    fn write(&mut self, word: &str) {
        if self.text.is_empty() {
            // Nothing stands before the first word.
        } else if self.line_feeds > 0 {
            self.text.truncate(self.text.trim_end_matches([' ', '\t']).len());
            self.text.extend(std::iter::repeat_n('\n', self.line_feeds));
        } else if self.space && !self.text.ends_with([' ', '\n']) {
            self.text.push(' ');
        }
        self.line_feeds = 0;
        self.space = false;
        self.text.push_str(word);
    }

    /// The address stands behind the text of the link, unless it is that text.
    fn end_link(&mut self) {
        let Some((address, at)) = self.link.take() else { return };
        let shown = self.text.get(at..).unwrap_or_default().trim();
        let is_shown = shown == address || address.strip_prefix("mailto:") == Some(shown);
        if !is_shown {
            self.space = true;
            self.write(&format!("<{address}>"));
        }
    }

    fn finish(mut self) -> String {
        self.end_link();
        self.text.truncate(self.text.trim_end().len());
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text
    }
}

/// Spaces that are one to HTML, and the one that is not to be broken at.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c' | '\u{a0}')
}

/// The address of a link that is worth showing, on one line.
fn address(href: &str) -> Option<String> {
    let href: String = href.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let is_of = |scheme: &str| {
        href.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    SCHEMES.into_iter().any(is_of).then_some(href)
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn what_a_browser_shows_is_the_text() {
        for (html, text) in [
            ("", ""),
            ("Hello", "Hello\n"),
            ("<p>One\n two</p><p>Three", "One two\n\nThree\n"),
            ("a<br>b<br/><br>c", "a\nb\n\nc\n"),
            ("<b>1</b>&nbsp;&lt;2 &amp; 3&euro;&#x1f355;", "1 <2 & 3\u{20ac}\u{1f355}\n"),
            ("<title>T</title><style>p{}</style><script>if(a<b)x()</script>seen", "seen\n"),
            ("<template><template>x</template>y</template>seen", "seen\n"),
            ("<!-- <p>no --><p>yes<!-->", "yes\n"),
            ("<ul><li>one<li>two</ul>", "* one\n* two\n"),
            ("<table><tr><td>a<td>b<tr><td>c</table>d", "a b\nc\n\nd\n"),
            ("<pre>a  b\n  c</pre>", "a  b\n  c\n"),
            ("<img alt='Our logo' src=x> &copy;", "Our logo \u{a9}\n"),
            (
                "<a href='https://e.example/?a=1&amp;b=2'>Reset</a>!",
                "Reset <https://e.example/?a=1&b=2>!\n",
            ),
            ("<a href=https://e.example>https://e.example</a>", "https://e.example\n"),
            ("<a href=mailto:a@b.example>a@b.example</a>", "a@b.example\n"),
            ("<a href=javascript:x>x</a> <a href=#top>top</a>", "x top\n"),
            ("<a href='HTTP://e.example/\n\tx'><img src=x></a>", "<HTTP://e.example/x>\n"),
            ("\u{65e5}\u{672c}<p>\u{8a9e}", "\u{65e5}\u{672c}\n\n\u{8a9e}\n"),
            ("a<", "a<\n"),
        ] {
            assert_eq!(text_of(html), text, "{html}");
        }
    }

    /// With a tree, most of them would not come to an end.
    #[test]
    fn hostile_html_comes_to_an_end_and_makes_little_text() {
        const BYTES: usize = 1 << 20;
        let numbered = |begin: &str, end: &str| {
            let numbers = 0..BYTES / (begin.len() + end.len() + 6);
            numbers.map(|number| format!("{begin}{number}{end}")).collect::<String>()
        };
        for html in [
            "<div>".repeat(BYTES / 5),
            "<hr>".repeat(BYTES / 4),
            "<table><tr><td>".repeat(BYTES / 15),
            "<ul><li>".repeat(BYTES / 8),
            "<template>".repeat(BYTES / 10),
            "<a href=https://e.example>".repeat(BYTES / 26),
            numbered("<b x", ">") + &"<p>x".repeat(1000),
            format!("<p {}>", numbered("a", " ")),
            "&".repeat(BYTES),
            "&#x".repeat(BYTES / 3),
            "<".repeat(BYTES),
            "<!--".repeat(BYTES / 4),
            "<a href=\"".to_owned() + &"x".repeat(BYTES),
        ] {
            let text = text_of(&html);
            assert!(text.len() <= 3 * html.len(), "{html:.40}: {}", text.len());
        }
    }
}
