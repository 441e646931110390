//! What signs the mails.

use jobstream::sinks::smtp::{Dkim, DkimError, Mailbox, Secret};
use jobstream_service::{SettingsError, Variables};

const SELECTOR: &str = "MAIL_DKIM_SELECTOR";
const DOMAIN: &str = "MAIL_DKIM_DOMAIN";
const KEY: &str = "MAIL_DKIM_KEY";
const KEY_EXPECTED: &str = "an RSA key of 2048 to 4096 bits or an Ed25519 key, in PEM (PKCS #8 or \
                            PKCS #1) without a password";

/// The key with its names in the DNS, if one is set. Its domain is that of the service's own
/// address where nothing else is.
///
/// # Errors
/// If one of them is wrong, or there without the others.
pub(super) fn read(
    variables: &Variables<'_>,
    mail_from: &str,
) -> Result<Option<Dkim>, SettingsError> {
    let (selector, domain) = (variables.text(SELECTOR), variables.text(DOMAIN));
    let Some(key) = variables.secret(KEY)? else {
        let alone = [(SELECTOR, selector), (DOMAIN, domain)];
        return match alone.into_iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) => {
                Err(SettingsError::missing(KEY, &format!("{KEY_EXPECTED}, beside {name}")))
            }
            None => Ok(None),
        };
    };
    let Some(selector) = selector else {
        let expected = "the name in the DNS at which the key's public half stands";
        return Err(SettingsError::missing(SELECTOR, expected));
    };
    let domain = match domain {
        Some(domain) => domain,
        None => Mailbox::parse(mail_from)
            .map(|mailbox| mailbox.domain().to_owned())
            .map_err(|error| SettingsError::invalid("MAIL_FROM", mail_from, error.to_string()))?,
    };
    // An environment may have no line ends.
    let pem = Secret::new(key.replace("\\n", "\n"));
    Dkim::new(&selector, &domain, &pem).map(Some).map_err(|error| refused(variables, error))
}

/// The same refusal with the names of variables.
fn refused(variables: &Variables<'_>, error: DkimError) -> SettingsError {
    match error {
        DkimError::Selector { found, error } => {
            let expected = "letters, digits and hyphens, with dots between";
            SettingsError::invalid(SELECTOR, &found, format!("{expected}: {error}"))
        }
        DkimError::Domain { found, error } => {
            SettingsError::invalid(DOMAIN, &found, format!("a domain: {error}"))
        }
        DkimError::Key(found) => {
            let of_file = format!("{KEY}_FILE");
            let name = if variables.text(KEY).is_some() { KEY } else { &of_file };
            SettingsError::wrong(name, found, KEY_EXPECTED)
        }
    }
}
