//! What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1).

use super::reply::Reply;

/// The extensions that matter here, and nothing of one greeting survives another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// RFC 2920
    pub(super) pipelining: bool,
    /// RFC 1870
    pub(super) size: bool,
    /// RFC 6531
    pub(super) smtputf8: bool,
    /// RFC 3207
    pub(super) starttls: bool,
    /// RFC 4616
    pub(super) auth_plain: bool,
    /// The mechanism LOGIN, which is in no RFC.
    pub(super) auth_login: bool,
}

impl Extensions {
    /// Reads the reply to EHLO: its first line is the server's name, each other one an extension.
    pub(super) fn from_reply(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        for line in reply.lines().skip(1) {
            extensions.add(line);
        }
        extensions
    }

    fn add(&mut self, line: &str) {
        // `AUTH=LOGIN` is how servers spelt it for clients older than the RFC.
        let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
        match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => self.size = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "STARTTLS" => self.starttls = true,
            "AUTH" => {
                for mechanism in words {
                    self.auth_plain |= mechanism.eq_ignore_ascii_case("PLAIN");
                    self.auth_login |= mechanism.eq_ignore_ascii_case("LOGIN");
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::Reply;
    use super::Extensions;

    #[test]
    fn keywords_are_read_in_any_case_and_the_first_line_is_a_name() {
        let reply =
            b"250-PIPELINING\r\n250-size 1000\r\n250-auth=LOGIN\r\n250 AUTH CRAM-MD5 plain\r\n";
        let (reply, _) = Reply::parse(reply).unwrap().unwrap();
        let expected =
            Extensions { size: true, auth_plain: true, auth_login: true, ..Extensions::default() };
        assert_eq!(Extensions::from_reply(&reply), expected);
    }
}
