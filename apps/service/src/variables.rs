//! The variables that settings are read from: names and values, whatever file they came from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::dotenv;
use crate::encoding::foreign_encoding;
use crate::error::SettingsError;
use crate::names::is_secret;

/// Where files are read from: the file system, or a test's table.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The default of `TOPICS_FILE`.
const TOPICS_FILE: &str = "./.env.topics";
const DOTENV: &str = ".env";

/// Names and values, none empty; remembers which were asked for.
pub struct Variables<'a> {
    values: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
    read: ReadFile<'a>,
}

impl<'a> Variables<'a> {
    /// The environment, then `.env`, then `TOPICS_FILE`: the first value that is not empty counts.
    ///
    /// # Errors
    /// If a file can't be read; those that nobody named may be missing.
    pub fn read(
        environment: &BTreeMap<String, String>,
        read: ReadFile<'a>,
    ) -> Result<Self, SettingsError> {
        let (values, asked) = (BTreeMap::new(), RefCell::default());
        let mut variables = Self { values, asked, read };
        for (name, value) in environment {
            let value = if is_secret(name) { value } else { dotenv::without_quotes(value) };
            variables.add(name, value);
        }
        if let Some(text) = variables.default_file(DOTENV)? {
            variables.add_file(DOTENV, &text)?;
        }
        match variables.text("TOPICS_FILE") {
            Some(path) => {
                let text = variables.file("TOPICS_FILE", &path)?;
                variables.add_file(&path, &text)?;
            }
            None => {
                if let Some(text) = variables.default_file(TOPICS_FILE)? {
                    variables.add_file(TOPICS_FILE, &text)?;
                }
            }
        }
        Ok(variables)
    }

    fn add(&mut self, name: &str, value: &str) {
        if !value.is_empty() && !self.values.contains_key(name) {
            self.values.insert(name.to_owned(), value.to_owned());
        }
    }

    fn add_file(&mut self, path: &str, text: &str) -> Result<(), SettingsError> {
        let mut settings = dotenv::parse(path, text)?;
        // Within a file the last one counts.
        settings.reverse();
        settings.iter().for_each(|(name, value)| self.add(name, value));
        Ok(())
    }

    /// A file that may be missing.
    fn default_file(&self, path: &str) -> Result<Option<String>, SettingsError> {
        match (self.read)(Path::new(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => utf8(path, path, read).map(Some),
        }
    }

    /// A text file that the variable `name` names.
    pub fn file(&self, name: &str, path: &str) -> Result<String, SettingsError> {
        utf8(name, path, (self.read)(Path::new(path)))
    }

    /// The value of a variable, if it has one.
    pub fn text(&self, name: &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        self.values.get(name).cloned()
    }

    /// The value of a variable, or another one.
    pub fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|| default.to_owned())
    }

    /// The value of a variable that must have one.
    pub fn required(&self, name: &str, expected: &str) -> Result<String, SettingsError> {
        self.text(name).ok_or_else(|| SettingsError::missing(name, expected))
    }

    /// A secret: the variable's value, or that of the file that `NAME_FILE` names, without the line
    /// end after it. An editor's byte order mark would be a part of it, and is refused.
    pub fn secret(&self, name: &str) -> Result<Option<String>, SettingsError> {
        let file_name = format!("{name}_FILE");
        let (name, secret) = match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => return Err(SettingsError::Both { name: name.to_owned() }),
            (None, None) => return Ok(None),
            (Some(value), None) => (name, value),
            (None, Some(path)) => {
                let text = self.file(&file_name, &path)?;
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                (&*file_name, text.to_owned())
            }
        };
        match foreign_encoding(secret.as_bytes()) {
            Some(found) => Err(SettingsError::wrong(name, found, "the secret alone, in UTF-8")),
            None => Ok(Some(secret).filter(|secret| !secret.is_empty())),
        }
    }

    /// A number, within a range.
    pub fn number<T>(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
        default: T,
    ) -> Result<T, SettingsError>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        Ok(self.number_if_any(name, range)?.unwrap_or(default))
    }

    /// A number within a range, if there is one.
    pub fn number_if_any<T>(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<Option<T>, SettingsError>
    where
        T: FromStr + PartialOrd + std::fmt::Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| SettingsError::invalid(name, &text, expected()))
    }

    /// A time in seconds, such as `25` or `0.5`, within a range of seconds.
    pub fn seconds(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<f64>,
        default: Duration,
    ) -> Result<Duration, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let seconds = text.parse().ok().filter(|seconds| range.contains(seconds));
        let expected = || format!("seconds from {} to {}", range.start(), range.end());
        let seconds = seconds.ok_or_else(|| SettingsError::invalid(name, &text, expected()))?;
        Ok(Duration::from_secs_f64(seconds))
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool, SettingsError> {
        self.choice(name, &[("true", true), ("false", false)], default)
    }

    /// One of several words, in any case.
    pub fn choice<T: Copy>(
        &self,
        name: &str,
        choices: &[(&str, T)],
        default: T,
    ) -> Result<T, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let found = choices.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            SettingsError::invalid(name, &text, words.join(" or "))
        })
    }

    /// The names that begin with a prefix, in order.
    pub fn names(&self, prefix: &str) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// The names that were asked for, in order, whether they have a value or not.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().iter().cloned().collect()
    }

    /// The names that begin with one of the prefixes and that nobody has asked for.
    pub fn unknown(&self, prefixes: &[&str]) -> Vec<String> {
        let asked = self.asked.borrow();
        let ours = |name: &&String| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let names = self.values.keys().filter(ours);
        names.filter(|name| !asked.contains(*name)).cloned().collect()
    }
}

fn utf8(name: &str, path: &str, read: io::Result<Vec<u8>>) -> Result<String, SettingsError> {
    let text = |bytes: Vec<u8>| {
        let foreign = foreign_encoding(&bytes).unwrap_or("not UTF-8");
        String::from_utf8(bytes).map_err(|_| io::Error::other(foreign))
    };
    read.and_then(text).map_err(|error| SettingsError::File {
        name: name.to_owned(),
        path: path.into(),
        error,
    })
}

impl std::fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables").field("names", &self.values.keys()).finish_non_exhaustive()
    }
}
