//! The variables that settings are read from: names and values, whatever file they came from.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use super::SettingsError;
use super::dotenv;
use super::encoding::foreign_encoding;

/// Where files are read from: the file system, or a test's table.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The default of `TOPICS_FILE`.
const TOPICS_FILE: &str = "./.env.topics";
const DOTENV: &str = ".env";

/// Names and values, none empty; remembers which were asked for.
pub struct Variables<'a> {
    /// As the environment has them: some tools pass quotes on, which are a part of a secret.
    environment: BTreeMap<String, String>,
    /// As the files have them.
    files: BTreeMap<String, String>,
    asked: RefCell<BTreeSet<String>>,
    warnings: RefCell<Vec<String>>,
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
        let set = environment.iter().filter(|(_, value)| !value.is_empty());
        let environment = set.map(|(name, value)| (name.clone(), value.clone())).collect();
        let (asked, warnings) = (RefCell::default(), RefCell::default());
        let mut variables = Self { environment, files: BTreeMap::new(), asked, warnings, read };
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

    fn add_file(&mut self, path: &str, text: &str) -> Result<(), SettingsError> {
        let mut settings = dotenv::parse(path, text)?;
        // Within a file the last one counts.
        settings.reverse();
        for (name, value) in settings.into_iter().filter(|(_, value)| !value.is_empty()) {
            self.files.entry(name).or_insert(value);
        }
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
    ///
    /// # Errors
    /// If it can't be read, or is not UTF-8.
    pub fn file(&self, name: &str, path: &str) -> Result<String, SettingsError> {
        utf8(name, path, (self.read)(Path::new(path)))
    }

    /// The value of a variable, if it has one; of one in the environment without the pair of quotes
    /// around it.
    pub fn text(&self, name: &str) -> Option<String> {
        self.value(name, dotenv::without_quotes)
    }

    fn value(&self, name: &str, of_environment: fn(&str) -> &str) -> Option<String> {
        self.asked.borrow_mut().insert(name.to_owned());
        let value = self.environment.get(name).map(|value| of_environment(value));
        let value = value.filter(|value| !value.is_empty());
        value.or_else(|| self.files.get(name).map(String::as_str)).map(str::to_owned)
    }

    /// The value of a variable, or another one.
    pub fn text_or(&self, name: &str, default: &str) -> String {
        self.text(name).unwrap_or_else(|| default.to_owned())
    }

    /// The value of a variable that must have one.
    ///
    /// # Errors
    /// If it has none.
    pub fn required(&self, name: &str, expected: &str) -> Result<String, SettingsError> {
        self.text(name).ok_or_else(|| SettingsError::missing(name, expected))
    }

    /// A secret: the variable's value, or that of the file that `NAME_FILE` names, without the line
    /// end after it. An editor's byte order mark would be a part of it, and is refused.
    ///
    /// # Errors
    /// If both are set, or the file can't be read.
    pub fn secret(&self, name: &str) -> Result<Option<String>, SettingsError> {
        let file_name = format!("{name}_FILE");
        let not_empty = |secret: String| Some(secret).filter(|secret| !secret.is_empty());
        let secret = match (self.value(name, |value| value), self.text(&file_name)) {
            (Some(_), Some(_)) => return Err(SettingsError::Both { name: name.to_owned() }),
            (None, None) => return Ok(None),
            (Some(value), None) => value,
            (None, Some(path)) => return self.secret_file(&file_name, &path).map(not_empty),
        };
        checked(name, secret).map(not_empty)
    }

    /// A secret in a file that the setting `name` names: all of it but the line end after it. An
    /// editor's byte order mark would be a part of it, and is refused.
    pub fn secret_file(&self, name: &str, path: &str) -> Result<String, SettingsError> {
        let text = self.file(name, path)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        checked(name, text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// A number, within a range.
    ///
    /// # Errors
    /// If it is none.
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
    ///
    /// # Errors
    /// If it is none.
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
    ///
    /// # Errors
    /// If it is none.
    pub fn seconds(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<f64>,
        default: Duration,
    ) -> Result<Duration, SettingsError> {
        Ok(self.seconds_if_any(name, range)?.unwrap_or(default))
    }

    /// A time in seconds within a range, if there is one.
    ///
    /// # Errors
    /// If it is none.
    pub fn seconds_if_any(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<f64>,
    ) -> Result<Option<Duration>, SettingsError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = text.parse().ok().filter(|seconds| range.contains(seconds));
        let expected = || format!("seconds from {} to {}", range.start(), range.end());
        let seconds = seconds.ok_or_else(|| SettingsError::invalid(name, &text, expected()))?;
        Ok(Some(Duration::from_secs_f64(seconds)))
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// If it is neither.
    pub fn boolean(&self, name: &str, default: bool) -> Result<bool, SettingsError> {
        self.choice(name, &[("true", true), ("false", false)], default)
    }

    /// One of several words, in any case.
    ///
    /// # Errors
    /// If it is none of them.
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
        self.all_names().into_iter().filter(move |name| name.starts_with(prefix))
    }

    fn all_names(&self) -> BTreeSet<&str> {
        self.environment.keys().chain(self.files.keys()).map(String::as_str).collect()
    }

    /// Warns of what is odd and ends nothing.
    pub fn warn(&self, text: impl Into<String>) {
        self.warnings.borrow_mut().push(text.into());
    }

    /// What was warned of so far.
    #[cfg(feature = "kafka")]
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// The names that were asked for, in order, whether they have a value or not.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().iter().cloned().collect()
    }

    /// The names that begin with one of the prefixes and that nobody has asked for.
    pub fn unknown(&self, prefixes: &[&str]) -> Vec<String> {
        let asked = self.asked.borrow();
        let ours = |name: &&str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let names = self.all_names().into_iter().filter(ours);
        names.filter(|name| !asked.contains(*name)).map(str::to_owned).collect()
    }
}

/// A secret that an editor has put nothing before.
fn checked(name: &str, secret: String) -> Result<String, SettingsError> {
    match foreign_encoding(secret.as_bytes()) {
        Some(found) => Err(SettingsError::wrong(name, found, "the secret alone, in UTF-8")),
        None => Ok(secret),
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
        f.debug_struct("Variables").field("names", &self.all_names()).finish_non_exhaustive()
    }
}
