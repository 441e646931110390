//! What is in a name: secrets, properties.

/// Begins every name that sets a property of librdkafka.
pub(crate) const KAFKA_PREFIX: &str = "KAFKA_";

/// Properties that are not to be seen.
const SECRET_PROPERTIES: [&str; 8] = [
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.password",
    "sasl.username",
    "ssl.certificate.pem",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

/// The one property with an underscore in its name that a value can be given.
const LOG_LEVEL: &str = "log_level";

/// The property that a name sets: `KAFKA_SECURITY_PROTOCOL` sets `security.protocol`.
pub(crate) fn property(name: &str) -> Option<String> {
    let property = name.strip_prefix(KAFKA_PREFIX).filter(|rest| !rest.is_empty())?;
    let property = property.to_ascii_lowercase();
    Some(if property == LOG_LEVEL { property } else { property.replace('_', ".") })
}

/// The name that sets a property.
pub(crate) fn of_property(property: &str) -> String {
    format!("{KAFKA_PREFIX}{}", property.to_ascii_uppercase().replace('.', "_"))
}

/// Whether a property is not to be seen.
pub(crate) fn is_secret_property(property: &str) -> bool {
    SECRET_PROPERTIES.contains(&property)
}

/// Whether a name sets a property that is not to be seen.
pub(crate) fn is_secret(name: &str) -> bool {
    property(name).is_some_and(|name| is_secret_property(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_set_by_its_name() {
        assert_eq!(of_property("security.protocol"), "KAFKA_SECURITY_PROTOCOL");
        assert_eq!(of_property("log_level"), "KAFKA_LOG_LEVEL");
    }

    #[test]
    fn a_name_sets_the_property_that_it_spells() {
        assert_eq!(property("KAFKA_SECURITY_PROTOCOL").as_deref(), Some("security.protocol"));
        assert_eq!(property("KAFKA_"), None);
        assert_eq!(property("KAFKA_LOG_LEVEL").as_deref(), Some("log_level"));
        assert!(is_secret("KAFKA_SASL_PASSWORD"));
        assert!(!is_secret("KAFKA_BROKERS") && !is_secret("KAFKA_SASL_PASSWORD_FILE"));
    }
}
