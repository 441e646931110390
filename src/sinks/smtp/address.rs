//! Addresses, as RFC 5321 section 4.1.2 and RFC 6531 section 3.3 allow them.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use lettre::Address;

/// The longest local part, in octets (RFC 5321 section 4.5.3.1.1).
pub const LOCAL_PART_LIMIT_OCTETS: usize = 64;

/// The longest domain, in octets, as A-labels (RFC 5321 section 4.5.3.1.2).
pub const DOMAIN_LIMIT_OCTETS: usize = 255;

/// The longest label of a domain, in octets, as an A-label (RFC 1035 section 2.3.4).
pub const LABEL_LIMIT_OCTETS: usize = 63;

/// A Mailbox of RFC 5321: a local part (quoted or not) and a domain, which is held as A-labels.
///
/// lettre's `Address` is wider (address literals) and its `Mailbox` is narrower (it trims, and
/// refuses quoted local parts), hence this one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Mailbox {
    text: String,
    at: usize,
}

/// Why a text is no [`Mailbox`]. It never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// U+0000 to U+001F, U+007F, or a control character beyond ASCII.
    #[error("found a control character, expected none")]
    ControlCharacter,
    /// A character that is not seen, or turns the direction of those that are: one with Unicode's
    /// property `Default_Ignorable_Code_Point` or `Bidi_Control`, or a noncharacter. The joiners
    /// (U+200C, U+200D) and the selectors of a variation are none of them.
    #[error("found the invisible character U+{:04X}, expected none", u32::from(*.0))]
    InvisibleCharacter(char),
    /// `=?` in the local part of an address that stands in a header: readers would take it for an
    /// encoded word (RFC 2047).
    #[error("found `=?` in the local part, expected none in a header")]
    EncodedWord,
    /// No `@` behind the local part.
    #[error("found no local part and domain, expected `local-part@domain`")]
    MissingParts,
    /// The local part is neither a dot-string nor a quoted string.
    #[error("found a local part that RFC 5321 does not allow")]
    LocalPart,
    /// The domain is none.
    #[error("found a domain that RFC 5321 does not allow")]
    Domain,
    /// `[192.0.2.1]`
    #[error("found an address literal, expected a domain")]
    Literal,
    /// One of the parts is too long.
    #[error("found a {part} of {found} octets, expected at most {limit}")]
    TooLong {
        /// Which part.
        part: &'static str,
        /// Its length, in octets.
        found: usize,
        /// The longest allowed, in octets.
        limit: usize,
    },
}

impl Mailbox {
    /// Reads a mailbox: no display name, no angle brackets, nothing is trimmed. A non-ASCII domain
    /// becomes A-labels (IDNA, UTS 46).
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_ascii() {
            if text.bytes().any(|b| b.is_ascii_control()) {
                return Err(AddressError::ControlCharacter);
            }
        } else {
            // UTS 46 passes over some of them, so that another domain would be left.
            text.chars().try_for_each(check_character)?;
        }
        let at = local_part_end(text)?;
        let (local, domain) = (&text[..at], &text[at + 1..]);
        limit("local part", local.len(), LOCAL_PART_LIMIT_OCTETS)?;
        let text = match a_labels(domain)? {
            Cow::Borrowed(_) => text.to_owned(),
            Cow::Owned(domain) => [local, "@", &domain].concat(),
        };
        Ok(Self { text, at })
    }

    /// Reads a mailbox that will stand in a header.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub(super) fn parse_for_header(text: &str) -> Result<Self, AddressError> {
        let mailbox = Self::parse(text)?;
        if mailbox.local_part().contains("=?") {
            return Err(AddressError::EncodedWord);
        }
        Ok(mailbox)
    }

    /// What stands before the `@`, with its quotes if it has any.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// The domain, as A-labels, in the case in which it was given.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// Whether it can only be sent with SMTPUTF8 (RFC 6531): its local part is not ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        !self.text.is_ascii()
    }

    /// The whole, as it goes into commands and headers.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same as lettre's commands take it.
    pub(super) fn to_lettre(&self) -> Address {
        Address::new_dangerous(self.local_part(), self.domain())
    }
}

/// No control character, and none that is not seen or turns the direction of the text.
///
/// # Errors
/// See [`AddressError`].
pub(super) fn check_character(c: char) -> Result<(), AddressError> {
    match c {
        _ if is_invisible(c) => Err(AddressError::InvisibleCharacter(c)),
        _ if c.is_control() => Err(AddressError::ControlCharacter),
        _ => Ok(()),
    }
}

/// What has Unicode's property `Default_Ignorable_Code_Point` or `Bidi_Control`, or is no character.
/// Without those that writing needs: the joiners, and the selectors of a variation (U+FE00 to U+FE0F,
/// and Mongolian's).
const fn is_invisible(c: char) -> bool {
    let is_ignorable = matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    let turns = matches!(c, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
    let is_none = matches!(c, '\u{fdd0}'..='\u{fdef}') || c as u32 & 0xfffe == 0xfffe;
    is_ignorable || turns || is_none
}

/// A domain as A-labels.
///
/// # Errors
/// See [`AddressError`].
pub(super) fn a_labels(domain: &str) -> Result<Cow<'_, str>, AddressError> {
    if domain.starts_with('[') {
        return Err(AddressError::Literal);
    }
    let ascii = if domain.is_ascii() {
        Cow::Borrowed(domain)
    } else {
        Uts46::new()
            .to_ascii(
                domain.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Ignore,
            )
            .map_err(|_| AddressError::Domain)?
    };
    limit("domain", ascii.len(), DOMAIN_LIMIT_OCTETS)?;
    for label in ascii.split('.') {
        check_label(label)?;
    }
    Ok(ascii)
}

fn check_label(label: &str) -> Result<(), AddressError> {
    let allowed = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if label.is_empty() || !allowed || label.starts_with('-') || label.ends_with('-') {
        return Err(AddressError::Domain);
    }
    limit("label", label.len(), LABEL_LIMIT_OCTETS)
}

/// Where the `@` behind the local part stands.
fn local_part_end(text: &str) -> Result<usize, AddressError> {
    let at = if text.starts_with('"') {
        quoted_string_end(text)?
    } else {
        let at = text.find('@').ok_or(AddressError::MissingParts)?;
        if !text[..at].split('.').all(is_atom) {
            return Err(AddressError::LocalPart);
        }
        at
    };
    if text[at..].starts_with('@') { Ok(at) } else { Err(AddressError::MissingParts) }
}

/// Where the quoted string ends, past its quote.
fn quoted_string_end(text: &str) -> Result<usize, AddressError> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped && !c.is_ascii() => return Err(AddressError::LocalPart),
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(at + 1),
            _ if !c.is_ascii() && c.is_whitespace() => return Err(AddressError::LocalPart),
            _ => {}
        }
    }
    Err(AddressError::LocalPart)
}

fn is_atom(atom: &str) -> bool {
    !atom.is_empty() && atom.chars().all(is_atext)
}

fn is_atext(c: char) -> bool {
    match c {
        _ if c.is_ascii_alphanumeric() => true,
        _ if c.is_ascii() => "!#$%&'*+-/=?^_`{|}~".contains(c),
        _ => !c.is_whitespace(),
    }
}

fn limit(part: &'static str, found: usize, limit: usize) -> Result<(), AddressError> {
    if found > limit { Err(AddressError::TooLong { part, found, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::{AddressError, Mailbox};

    #[test]
    fn what_rfc_5321_allows_is_taken_as_it_is() {
        for text in [
            "a@b",
            "user@example.com",
            "User.Name+tag@Sub.Example.COM",
            "!#$%&'*+-/=?^_`{|}~@example.com",
            "\"a b\"@example.com",
            "\"a@b\"@example.com",
            "\"a\\\"b\\\\\"@example.com",
            "\"\"@example.com",
            "user@xn--bcher-kva.example",
            "user@1a.2b.com",
            "jos\u{e9}@example.com",
            "\"jos\u{e9} x\"@example.com",
        ] {
            let mailbox = Mailbox::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(mailbox.as_str(), text);
        }
    }

    #[test]
    fn what_rfc_5321_forbids_is_refused() {
        use AddressError::{ControlCharacter, Domain, Literal, LocalPart, MissingParts};
        for (text, expected) in [
            ("", MissingParts),
            ("user", MissingParts),
            ("user@", Domain),
            ("@example.com", LocalPart),
            (" user@example.com", LocalPart),
            ("user@example.com ", Domain),
            ("user @example.com", LocalPart),
            ("User <user@example.com>", LocalPart),
            ("<user@example.com>", LocalPart),
            (".user@example.com", LocalPart),
            ("us..er@example.com", LocalPart),
            ("user.@example.com", LocalPart),
            ("a b@example.com", LocalPart),
            ("a,b@example.com", LocalPart),
            ("a@b@example.com", Domain),
            ("user@example..com", Domain),
            ("user@example.com.", Domain),
            ("user@-example.com", Domain),
            ("user@example-.com", Domain),
            ("user@exa_mple.com", Domain),
            ("user@[192.0.2.1]", Literal),
            ("user@[IPv6:2001:db8::1]", Literal),
            ("\"a\"b@example.com", MissingParts),
            ("\"ab@example.com", LocalPart),
            ("\"a\\\"@example.com", LocalPart),
            ("\"a\"", MissingParts),
            ("us\u{a0}er@example.com", LocalPart),
            ("us\u{2028}er@example.com", LocalPart),
            ("user@example.com\r\nRCPT TO:<x@y>", ControlCharacter),
            ("us\0er@example.com", ControlCharacter),
            ("us\u{7f}er@example.com", ControlCharacter),
            ("\"a\tb\"@example.com", ControlCharacter),
            ("us\u{85}er@example.com", ControlCharacter),
            ("user@exa mple.\u{e9}", Domain),
        ] {
            assert_eq!(Mailbox::parse(text).err(), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_seen_is_refused_anywhere_in_an_address() {
        let bidi = ['\u{61c}', '\u{200e}', '\u{200f}'];
        let bidi = bidi.into_iter().chain('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for c in ['\u{200b}', '\u{2060}', '\u{feff}'].into_iter().chain(bidi) {
            for text in [
                format!("us{c}er@example.com"),
                format!("{c}user@example.com"),
                format!("\"us{c}er\"@example.com"),
                format!("user@exam{c}ple.com"),
                format!("user@example.com{c}"),
                format!("jos\u{e9}@b\u{fc}cher{c}.example"),
            ] {
                let expected = AddressError::InvisibleCharacter(c);
                assert_eq!(Mailbox::parse(&text).err(), Some(expected), "{text:?}");
            }
        }
        // Writing systems need these.
        assert!(Mailbox::parse("a\u{200c}b@example.com").is_ok());
        assert!(Mailbox::parse("a\u{200d}b@example.com").is_ok());
    }

    #[test]
    fn what_is_not_seen_is_no_character_of_an_address_or_a_name_and_what_writing_needs_is() {
        let refused = "\u{ad}\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180e}\u{2064}\u{3164}\u{fdd0}\u{ffa0}\
                       \u{fffe}\u{ffff}\u{1d173}\u{1fffe}\u{e0001}\u{e0100}\u{e0fff}\u{10ffff}";
        for c in refused.chars() {
            let expected = Err(AddressError::InvisibleCharacter(c));
            assert_eq!(super::check_character(c), expected, "{c:?}");
        }
        for c in "a \u{e9}\u{200c}\u{200d}\u{fe0f}\u{fffc}\u{fffd}\u{1f355}\u{10fffd}".chars() {
            assert_eq!(super::check_character(c), Ok(()), "{c:?}");
        }
    }

    #[test]
    fn what_looks_like_an_encoded_word_is_refused_in_a_header_only() {
        for text in ["=?utf-8?q?a?=@example.com", "\"=?utf-8?q?a?=\"@example.com", "a=?b@c.example"]
        {
            assert!(Mailbox::parse(text).is_ok());
            assert_eq!(Mailbox::parse_for_header(text).err(), Some(AddressError::EncodedWord));
        }
        assert!(Mailbox::parse_for_header("a=b?c@example.com").is_ok());
    }

    #[test]
    fn each_part_has_its_limit() {
        let parse = |local: usize, label: usize| {
            Mailbox::parse(&format!("{}@{}.example", "a".repeat(local), "b".repeat(label)))
        };
        assert!(parse(64, 63).is_ok());
        assert!(matches!(parse(65, 63), Err(AddressError::TooLong { part: "local part", .. })));
        assert!(matches!(parse(64, 64), Err(AddressError::TooLong { part: "label", .. })));
        let domain = |last: usize| {
            format!("a@{}.{}", ["b".repeat(63).as_str(); 3].join("."), "c".repeat(last))
        };
        assert!(Mailbox::parse(&domain(63)).is_ok());
        let long = format!("{}.d", domain(63));
        assert!(matches!(
            Mailbox::parse(&long),
            Err(AddressError::TooLong { part: "domain", found: 257, .. })
        ));
        assert!(Mailbox::parse(&format!("{}@example.com", "\u{e9}".repeat(32))).is_ok());
        assert!(Mailbox::parse(&format!("{}@example.com", "\u{e9}".repeat(33))).is_err());
    }

    #[test]
    fn a_domain_becomes_a_labels_and_only_a_local_part_needs_smtputf8() {
        let mailbox = Mailbox::parse("user@b\u{fc}cher.example").unwrap();
        assert_eq!(mailbox.as_str(), "user@xn--bcher-kva.example");
        assert_eq!(mailbox.domain(), "xn--bcher-kva.example");
        assert_eq!(mailbox.local_part(), "user");
        assert!(!mailbox.needs_smtputf8());
        assert!(Mailbox::parse("b\u{fc}cher@example.com").unwrap().needs_smtputf8());
    }
}
