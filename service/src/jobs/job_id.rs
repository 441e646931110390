//! The `Id` of a job, for people.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};

/// The longest part of an `Id` that is shown.
const ID_LIMIT_CHARS: usize = 100;

/// The first 100 characters of the first `Id` of a record's value, whether or not it is a job: what
/// follows the `Id` is not read.
pub fn job_id(value: Option<&[u8]>) -> Option<String> {
    let mut id = None;
    // An object of which the rest was left unread is an error to the parser.
    let _ = serde_json::Deserializer::from_slice(value?).deserialize_map(UpToId(&mut id));
    let id = id?;
    let end = id.char_indices().nth(ID_LIMIT_CHARS).map_or(id.len(), |(at, _)| at);
    Some(id[..end].to_owned())
}

struct UpToId<'s, 'de>(&'s mut Option<Cow<'de, str>>);

impl<'de> Visitor<'de> for UpToId<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an Id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = fields.next_key()? {
            if name == "Id" {
                let Text(id) = fields.next_value()?;
                *self.0 = Some(id);
                return Ok(());
            }
            fields.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::missing_field("Id"))
    }
}

/// A string, borrowed where nothing in it is escaped.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_is_shown_wherever_it_stands() {
        for value in [
            r#"{"Id":"a1","Status":3}"#,
            r#"{"Status":3,"JobData":{"Id":"other"},"Id":"a1"}"#,
            r#"{"\u0049d":"\u00611","Id":"second"}"#,
            r#"{"Id":"a1","Status":"#,
        ] {
            assert_eq!(job_id(Some(value.as_bytes())).as_deref(), Some("a1"), "{value}");
        }
    }

    #[test]
    fn what_has_no_id_has_none() {
        for value in
            ["", "null", "[]", "{}", r#"{"Id":1}"#, r#"{"id":"a"}"#, r#"{"Id":"a"#, "\u{1}"]
        {
            assert_eq!(job_id(Some(value.as_bytes())), None, "{value}");
        }
        assert_eq!(job_id(Some(b"{\"Id\":\"\xff\"}")), None);
        assert_eq!(job_id(None), None);
    }

    #[test]
    fn a_long_one_is_cut_between_two_characters() {
        let value = format!(r#"{{"Id":"{}"}}"#, "\u{fc}".repeat(ID_LIMIT_CHARS + 1));
        assert_eq!(job_id(Some(value.as_bytes())).unwrap(), "\u{fc}".repeat(ID_LIMIT_CHARS));
    }
}
