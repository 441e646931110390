//! Commands and their arguments (RFC 5321 section 4.1).

use super::reply::Reply;

/// The longest local part, in octets (RFC 5321 section 4.5.3.1.1).
const LOCAL_OCTETS_MAX: usize = 64;
/// The longest domain, in octets (RFC 5321 section 4.5.3.1.2).
const DOMAIN_OCTETS_MAX: usize = 255;

/// The first word of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Ehlo,
    Helo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Rset,
    Noop,
    Vrfy,
    Quit,
    /// A command of some RFC that this server does not have: 502.
    Other,
    /// No command at all: 500.
    Unknown,
}

/// A command line, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command<'a> {
    pub(super) verb: Verb,
    pub(super) argument: &'a str,
}

impl<'a> Command<'a> {
    /// Any line gives a command: what is none is [`Verb::Unknown`].
    pub(super) fn parse(line: &'a str) -> Self {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        Self { verb: Verb::parse(word), argument: argument.trim_matches(' ') }
    }

    /// The address of MAIL or RCPT, if that is what this is and it can be read.
    pub(super) fn address(&self) -> Option<String> {
        let path = match self.verb {
            Verb::Mail => Path::parse_sender(self.argument),
            Verb::Rcpt => Path::parse_recipient(self.argument),
            _ => return None,
        };
        path.ok().map(|path| path.address)
    }
}

impl Verb {
    fn parse(word: &str) -> Self {
        const VERBS: [(&str, Verb); 17] = [
            ("EHLO", Verb::Ehlo),
            ("HELO", Verb::Helo),
            ("STARTTLS", Verb::StartTls),
            ("AUTH", Verb::Auth),
            ("MAIL", Verb::Mail),
            ("RCPT", Verb::Rcpt),
            ("DATA", Verb::Data),
            ("RSET", Verb::Rset),
            ("NOOP", Verb::Noop),
            ("VRFY", Verb::Vrfy),
            ("QUIT", Verb::Quit),
            ("EXPN", Verb::Other),
            ("HELP", Verb::Other),
            ("BDAT", Verb::Other),
            ("ETRN", Verb::Other),
            ("TURN", Verb::Other),
            ("SEND", Verb::Other),
        ];
        let known = VERBS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        known.map_or(Self::Unknown, |(_, verb)| *verb)
    }
}

/// The argument of MAIL or RCPT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// Without the angle brackets; empty for the null sender.
    pub(super) address: String,
    /// Each as it was sent, such as `BODY=8BITMIME`.
    pub(super) parameters: Vec<String>,
}

impl Path {
    pub(super) fn parse_sender(argument: &str) -> Result<Self, Reply> {
        const BAD: Reply = Reply::new(501, "5.1.7", "bad sender, expected MAIL FROM:<address>");
        let path = Self::parse(argument, "FROM:").ok_or(BAD)?;
        if path.address.is_empty() || is_mailbox(&path.address) { Ok(path) } else { Err(BAD) }
    }

    pub(super) fn parse_recipient(argument: &str) -> Result<Self, Reply> {
        const BAD: Reply = Reply::new(501, "5.1.3", "bad recipient, expected RCPT TO:<address>");
        let path = Self::parse(argument, "TO:").ok_or(BAD)?;
        let postmaster = path.address.eq_ignore_ascii_case("postmaster");
        if postmaster || is_mailbox(&path.address) { Ok(path) } else { Err(BAD) }
    }

    fn parse(argument: &str, keyword: &str) -> Option<Self> {
        let head = argument.get(..keyword.len())?;
        let rest = argument[keyword.len()..].strip_prefix('<')?;
        if !head.eq_ignore_ascii_case(keyword) {
            return None;
        }
        let end = closing_bracket(rest)?;
        let (path, parameters) = (&rest[..end], &rest[end + 1..]);
        if !parameters.is_empty() && !parameters.starts_with(' ') {
            return None;
        }
        Some(Self {
            address: without_source_route(path)?.to_owned(),
            parameters: parameters.split_ascii_whitespace().map(str::to_owned).collect(),
        })
    }
}

/// Where the path ends: the first `>` outside a quoted string.
fn closing_bracket(path: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    path.bytes().position(|octet| {
        let end = octet == b'>' && !quoted;
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        end
    })
}

/// `@a,@b:user@c` means `user@c` (RFC 5321 section 4.1.1.3: accepted and ignored).
fn without_source_route(path: &str) -> Option<&str> {
    if path.starts_with('@') {
        path.split_once(':').map(|(_, mailbox)| mailbox)
    } else {
        Some(path)
    }
}

fn is_mailbox(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let local_ok = match local.strip_prefix('"') {
        Some(rest) => is_quoted_rest(rest),
        None => local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char)),
    };
    local_ok
        && local.len() <= LOCAL_OCTETS_MAX
        && domain.len() <= DOMAIN_OCTETS_MAX
        && is_domain(domain)
}

/// What follows the opening quote, up to and including the closing one.
fn is_quoted_rest(rest: &str) -> bool {
    let mut chars = rest.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' => return chars.next().is_none(),
            '\\' => match chars.next() {
                Some(' '..='~') => {}
                _ => return false,
            },
            char if char.is_control() => return false,
            _ => {}
        }
    }
    false
}

fn is_atom_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(char) || is_beyond_ascii(char)
}

fn is_domain(domain: &str) -> bool {
    if let Some(literal) = domain.strip_prefix('[') {
        return literal.strip_suffix(']').is_some_and(|inner| {
            !inner.is_empty()
                && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b".:-".contains(&b))
        });
    }
    domain.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || is_beyond_ascii(c))
    })
}

fn is_beyond_ascii(char: char) -> bool {
    !char.is_ascii() && !char.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_is_a_mailbox_or_null() {
        for (argument, address) in [
            ("FROM:<>", ""),
            ("from:<a@example.com>", "a@example.com"),
            ("FROM:<\"a b\\\"@>\"@example.com>", "\"a b\\\"@>\"@example.com"),
            ("FROM:<@one,@two:a@example.com>", "a@example.com"),
            ("FROM:<a@[127.0.0.1]>", "a@[127.0.0.1]"),
            ("FROM:<grüße@bücher.example>", "grüße@bücher.example"),
        ] {
            let path = Path::parse_sender(argument).unwrap();
            assert_eq!((path.address.as_str(), path.parameters.len()), (address, 0), "{argument}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let long = format!("FROM:<{}@example.com>", "x".repeat(65));
        for argument in [
            "",
            "FROM",
            "FROM:",
            "FROM:a@b",
            "FROM: <a@b>",
            "TO:<a@b>",
            "FROM:<a@b",
            "FROM:<a>",
            "FROM:<a@>",
            "FROM:<@b>",
            "FROM:<a@b>x",
            "FROM:<a..b@c>",
            "FROM:<a b@c>",
            "FROM:<a@b..c>",
            "FROM:<\"a@b>",
            "FROM:<a@-b>",
            &long,
        ] {
            assert_eq!(
                Path::parse_sender(argument).map_err(|reply| reply.code()),
                Err(501),
                "{argument}"
            );
        }
        assert!(Path::parse_recipient("TO:<>").is_err());
        assert!(Path::parse_recipient("TO:<Postmaster>").is_ok());
    }

    #[test]
    fn parameters_are_kept_as_they_were_sent() {
        let path = Path::parse_sender("FROM:<a@b> SIZE=12 body=8BITMIME").unwrap();
        assert_eq!(path.parameters, ["SIZE=12", "body=8BITMIME"]);
    }
}
