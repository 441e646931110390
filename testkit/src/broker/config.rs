//! Configurations: entries with Kafka's names and limits, and what is said of them.

use std::collections::BTreeMap;

/// What values an entry takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Text(&'static [&'static str]),
    /// At least and at most.
    Int(i32, i32),
    Long(i64),
    Double(f64, f64),
    List(&'static [&'static str]),
    Short,
    Class,
    Password,
}

impl Kind {
    /// As DescribeConfigs numbers it.
    pub(crate) const fn number(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::Text(_) => 2,
            Self::Int(..) => 3,
            Self::Long(_) => 5,
            Self::Double(..) => 6,
            Self::List(_) => 7,
            Self::Short => 4,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Says what is wrong with a value.
    fn check(self, name: &str, value: &str) -> Result<(), String> {
        let invalid =
            |why: &str| Err(format!("Invalid value {value} for configuration {name}: {why}"));
        let number = |kind: &str| format!("Not a number of type {kind}");
        match self {
            Self::Boolean => match value.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => invalid("Expected value to be either true or false"),
            },
            Self::Text(known) if known.is_empty() || known.contains(&value) => Ok(()),
            Self::Text(known) => invalid(&format!("String must be one of: {}", known.join(", "))),
            Self::Int(least, most) => match value.trim().parse::<i32>() {
                Err(_) => invalid(&number("INT")),
                Ok(found) if found < least => invalid(&format!("Value must be at least {least}")),
                Ok(found) if found > most => invalid(&format!("Value must be no more than {most}")),
                Ok(_) => Ok(()),
            },
            Self::Long(least) => match value.trim().parse::<i64>() {
                Err(_) => invalid(&number("LONG")),
                Ok(found) if found < least => invalid(&format!("Value must be at least {least}")),
                Ok(_) => Ok(()),
            },
            Self::Short => match value.trim().parse::<i16>() {
                Err(_) => invalid(&number("SHORT")),
                Ok(_) => Ok(()),
            },
            Self::Class => invalid(&format!("Class {value} could not be found.")),
            Self::Password => Ok(()),
            Self::Double(least, most) => match value.trim().parse::<f64>() {
                Err(_) => invalid(&number("DOUBLE")),
                Ok(found) if found < least => invalid(&format!("Value must be at least {least}")),
                Ok(found) if found > most => invalid(&format!("Value must be no more than {most}")),
                Ok(_) => Ok(()),
            },
            Self::List(known) => {
                let mut words =
                    value.split(',').map(str::trim).filter(|_| !value.trim().is_empty());
                match words.find(|word| !known.is_empty() && !known.contains(word)) {
                    Some(_) => {
                        let known = known.join(", ");
                        invalid(&format!("String must be one of: {known}"))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

pub(super) fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What Kafka knows of one entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConfigEntry {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// The name of the same in a broker's configuration.
    pub(crate) of_broker: &'static str,
}

pub(crate) const fn entry(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    of_broker: &'static str,
) -> ConfigEntry {
    ConfigEntry { name, kind, default, of_broker }
}

/// What is said of the entries of a resource; of the others the defaults hold.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// What the resource is called in messages.
    resource: &'static str,
    find: fn(&str) -> Option<ConfigEntry>,
    values: BTreeMap<&'static str, String>,
}

impl Said {
    pub(crate) const fn nothing(
        resource: &'static str,
        find: fn(&str) -> Option<ConfigEntry>,
    ) -> Self {
        Self { resource, find, values: BTreeMap::new() }
    }

    fn entry(&self, name: &str) -> Result<ConfigEntry, String> {
        let unknown = || format!("Unknown {} config name: {name}", self.resource);
        (self.find)(name).ok_or_else(unknown)
    }

    /// What was said of an entry.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Sets an entry.
    ///
    /// # Errors
    /// Says what is wrong with the name or the value; nothing has changed then.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let entry = self.entry(name)?;
        entry.kind.check(name, value)?;
        self.values.insert(entry.name, value.to_owned());
        Ok(())
    }

    /// Lets the default hold again. As in Kafka it is no error if there is no such entry.
    pub(crate) fn unset(&mut self, name: &str) {
        self.values.remove(name);
    }

    /// Says that an entry is no list, to which words could be added.
    pub(crate) fn check_list(&self, name: &str, adds: bool) -> Result<(), String> {
        let operation = if adds { "APPEND" } else { "SUBTRACT" };
        match self.entry(name)?.kind {
            Kind::List(_) => Ok(()),
            _ => Err(format!("Can't {operation} to key {name} because its type is not LIST.")),
        }
    }

    /// Adds words to a list, or takes them out.
    ///
    /// # Errors
    /// If there is no such entry, it is no list, or a word is none of those that it takes.
    pub(crate) fn change_list(
        &mut self,
        name: &str,
        value: &str,
        adds: bool,
    ) -> Result<(), String> {
        self.check_list(name, adds)?;
        let entry = self.entry(name)?;
        let now = self.get(name).unwrap_or(entry.default);
        let mut list: Vec<_> = words(now).map(str::to_owned).collect();
        for word in value.split(',').map(str::trim) {
            match list.iter().position(|known| known == word) {
                Some(place) if !adds => drop(list.remove(place)),
                None if adds => list.push(word.to_owned()),
                _ => {}
            }
        }
        self.set(name, &list.join(","))
    }
}
