//! What each command does and answers, without any input or output.

use super::auth::{AuthState, Challenge, Login};
use super::builder::Config;
use super::command::{Command, Path, Verb};
use super::data::{DataDecoder, Excess};
use super::extension::Extension;
use super::mail::Mail;
use super::reply::Reply;
use super::tls::Tls;

/// What comes after the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Command,
    Data,
    StartTls,
    Close,
}

/// The state of a conversation.
#[derive(Debug)]
pub(super) struct Protocol<'a> {
    config: &'a Config,
    tls: bool,
    client: Option<String>,
    extended: bool,
    login: Option<String>,
    transaction: Option<MailTransaction>,
    /// The greeting was a refusal: everything but QUIT gets 503 (RFC 5321 section 3.1).
    refused: bool,
}

#[derive(Debug)]
struct MailTransaction {
    path: Path,
    utf8: bool,
    recipients: Vec<String>,
}

impl<'a> Protocol<'a> {
    pub(super) fn new(config: &'a Config, tls: bool) -> Self {
        let (client, login, transaction) = Default::default();
        Self { config, tls, client, extended: false, login, transaction, refused: false }
    }

    pub(super) fn refuse(&mut self) {
        self.refused = true;
    }

    pub(super) fn is_tls(&self) -> bool {
        self.tls
    }

    /// The address of the MAIL in force.
    pub(super) fn sender(&self) -> Option<&str> {
        self.transaction.as_ref().map(|transaction| transaction.path.address.as_str())
    }

    /// The recipients that were accepted.
    pub(super) fn recipients(&self) -> &[String] {
        self.transaction.as_ref().map_or(&[], |transaction| &transaction.recipients)
    }

    /// Obeys any command but AUTH, which has an exchange of its own.
    pub(super) fn obey(&mut self, command: &Command<'_>) -> (Reply, Next) {
        if let Some(refusal) = self.refusal(command.verb) {
            return (refusal, Next::Command);
        }
        let bare = command.argument.is_empty();
        let reply = match command.verb {
            Verb::StartTls => return self.start_tls(bare),
            Verb::Data => return self.data(bare),
            Verb::Quit if bare => return (Reply::new(221, "2.0.0", "bye"), Next::Close),
            Verb::Ehlo => self.ehlo(command.argument),
            Verb::Helo => self.helo(command.argument),
            Verb::Mail => self.mail(command.argument),
            Verb::Rcpt => self.rcpt(command.argument),
            Verb::Rset if bare => {
                self.transaction = None;
                Reply::new(250, "2.0.0", "ok")
            }
            Verb::Quit | Verb::Rset => Reply::new(501, "5.5.4", "expected no argument"),
            Verb::Noop => Reply::new(250, "2.0.0", "ok"),
            Verb::Vrfy if bare => Reply::new(501, "5.5.4", "expected VRFY address"),
            Verb::Vrfy => Reply::new(252, "2.0.0", "cannot verify, send some mail and see"),
            Verb::Other => Reply::new(502, "5.5.1", "command not implemented"),
            Verb::Auth | Verb::Unknown => Reply::new(500, "5.5.1", "command unknown"),
        };
        (reply, Next::Command)
    }

    fn refusal(&self, verb: Verb) -> Option<Reply> {
        if self.refused && verb != Verb::Quit {
            return Some(Reply::new(503, "5.5.1", "the greeting was a refusal, expected QUIT"));
        }
        let clear = matches!(
            verb,
            Verb::Ehlo | Verb::Helo | Verb::StartTls | Verb::Noop | Verb::Rset | Verb::Quit
        );
        if self.config.tls_required && !self.tls && !clear {
            return Some(Reply::new(530, "5.7.0", "must issue a STARTTLS command first"));
        }
        let sends = matches!(verb, Verb::Mail | Verb::Rcpt | Verb::Data | Verb::Vrfy);
        if self.config.login_required && self.login.is_none() && sends {
            return Some(Reply::new(530, "5.7.0", "authentication required"));
        }
        None
    }

    fn helo(&mut self, client: &str) -> Reply {
        self.hello(client, false, |config| config.name.clone())
    }

    fn ehlo(&mut self, client: &str) -> Reply {
        let (tls, auth) = (self.tls, self.auth_offer());
        self.hello(client, true, |config| {
            let mut text = config.name.clone();
            let has = |extension| config.extensions.has(extension);
            let size = format!("SIZE {}", config.size_limit);
            let lines = [
                (has(Extension::Pipelining), "PIPELINING"),
                (has(Extension::Size), size.as_str()),
                (has(Extension::EightBitMime), "8BITMIME"),
                (has(Extension::SmtpUtf8), "SMTPUTF8"),
                (has(Extension::EnhancedStatusCodes), "ENHANCEDSTATUSCODES"),
                (config.tls == Some(Tls::StartTls) && !tls, "STARTTLS"),
                (!auth.is_empty(), auth.as_str()),
            ];
            for (_, line) in lines.iter().filter(|(offered, _)| *offered) {
                text.push('\n');
                text.push_str(line);
            }
            text
        })
    }

    fn hello(&mut self, client: &str, extended: bool, text: impl Fn(&Config) -> String) -> Reply {
        if client.is_empty() {
            return Reply::plain(501, "expected the client's name");
        }
        self.transaction = None;
        self.client = Some(client.to_owned());
        self.extended = extended;
        Reply::plain(250, text(self.config))
    }

    /// The line of the reply to EHLO; empty where no login would be accepted now.
    fn auth_offer(&self) -> String {
        let mechanisms = [(Extension::AuthPlain, " PLAIN"), (Extension::AuthLogin, " LOGIN")];
        let offered: String = mechanisms
            .iter()
            .filter(|(extension, _)| self.config.extensions.has(*extension))
            .map(|(_, mechanism)| *mechanism)
            .collect();
        let closed = self.config.login_needs_tls && !self.tls;
        if self.config.logins.is_empty() || closed || offered.is_empty() {
            return String::new();
        }
        format!("AUTH{offered}")
    }

    fn start_tls(&self, bare: bool) -> (Reply, Next) {
        let reply = match self.config.tls {
            _ if self.tls => Reply::new(503, "5.5.1", "TLS is active already"),
            Some(Tls::StartTls) if bare => {
                return (Reply::new(220, "2.0.0", "go ahead"), Next::StartTls);
            }
            Some(Tls::StartTls) => Reply::new(501, "5.5.4", "expected no argument"),
            _ => Reply::new(502, "5.5.1", "STARTTLS is not offered"),
        };
        (reply, Next::Command)
    }

    /// Begins AUTH, or refuses to.
    pub(super) fn begin_auth(&self, argument: &str) -> AuthState {
        if let Some(refusal) = self.refusal(Verb::Auth) {
            return AuthState::Failed(refusal);
        }
        let mut words = argument.split_ascii_whitespace();
        let (mechanism, initial, more) = (words.next(), words.next(), words.next());
        let refusal = match mechanism {
            _ if self.config.logins.is_empty() => Reply::new(502, "5.5.1", "AUTH is not offered"),
            _ if self.config.login_needs_tls && !self.tls => {
                Reply::new(538, "5.7.11", "encryption required for authentication")
            }
            _ if !self.extended => Reply::new(503, "5.5.1", "expected EHLO first"),
            _ if self.login.is_some() => Reply::new(503, "5.5.1", "authenticated already"),
            _ if self.transaction.is_some() => Reply::new(503, "5.5.1", "a mail is under way"),
            None => Reply::new(501, "5.5.4", "expected AUTH mechanism"),
            _ if more.is_some() => Reply::new(501, "5.5.4", "expected AUTH mechanism response"),
            Some(mechanism) => {
                let extension = Challenge::extension(mechanism);
                if extension.is_some_and(|extension| self.config.extensions.has(extension)) {
                    return Challenge::begin(mechanism, initial);
                }
                Reply::new(504, "5.5.4", "unknown mechanism")
            }
        };
        AuthState::Failed(refusal)
    }

    /// Ends AUTH.
    pub(super) fn claim(&mut self, login: Login) -> Reply {
        if !self.config.logins.contains(&login) {
            return Reply::new(535, "5.7.8", "authentication credentials invalid");
        }
        self.login = Some(login.user);
        Reply::new(235, "2.7.0", "authenticated")
    }

    fn mail(&mut self, argument: &str) -> Reply {
        if self.client.is_none() {
            return Reply::new(503, "5.5.1", "expected EHLO or HELO first");
        }
        if self.transaction.is_some() {
            return Reply::new(503, "5.5.1", "a mail is under way already");
        }
        let path = match Path::parse_sender(argument) {
            Ok(path) => path,
            Err(refusal) => return refusal,
        };
        if let Some(refusal) =
            path.parameters.iter().find_map(|parameter| self.mail_parameter(parameter))
        {
            return refusal;
        }
        let utf8 = path.parameters.iter().any(|it| it.eq_ignore_ascii_case("SMTPUTF8"));
        if !path.address.is_ascii() && !utf8 {
            return Reply::new(553, "5.6.7", "a sender beyond ASCII needs SMTPUTF8");
        }
        self.transaction = Some(MailTransaction { path, utf8, recipients: Vec::new() });
        Reply::new(250, "2.1.0", "sender ok")
    }

    /// What is wrong with a parameter of MAIL, if anything.
    fn mail_parameter(&self, parameter: &str) -> Option<Reply> {
        const UNKNOWN: Reply = Reply::new(555, "5.5.4", "parameter not offered");
        const BAD: Reply = Reply::new(501, "5.5.4", "bad value of a parameter");
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let has = |extension| self.config.extensions.has(extension);
        match key.to_ascii_uppercase().as_str() {
            "SIZE" if has(Extension::Size) => match value.parse::<u64>() {
                Ok(size) if size <= self.config.size_limit => None,
                Ok(_) => Some(Reply::new(552, "5.3.4", "larger than the size limit")),
                Err(_) => Some(BAD),
            },
            "BODY" if has(Extension::EightBitMime) => {
                let known = ["7BIT", "8BITMIME"].iter().any(|it| it.eq_ignore_ascii_case(value));
                (!known).then_some(BAD)
            }
            "SMTPUTF8" if has(Extension::SmtpUtf8) => (parameter.contains('=')).then_some(BAD),
            "AUTH" if !self.auth_offer().is_empty() => value.is_empty().then_some(BAD),
            _ => Some(UNKNOWN),
        }
    }

    fn rcpt(&mut self, argument: &str) -> Reply {
        let Some(transaction) = &mut self.transaction else {
            return Reply::new(503, "5.5.1", "expected MAIL first");
        };
        let path = match Path::parse_recipient(argument) {
            Ok(path) => path,
            Err(refusal) => return refusal,
        };
        if !path.parameters.is_empty() {
            return Reply::new(555, "5.5.4", "parameter not offered");
        }
        if !path.address.is_ascii() && !transaction.utf8 {
            return Reply::new(553, "5.6.7", "a recipient beyond ASCII needs SMTPUTF8");
        }
        if transaction.recipients.len() == self.config.recipients_limit {
            return Reply::new(452, "4.5.3", "too many recipients");
        }
        transaction.recipients.push(path.address);
        Reply::new(250, "2.1.5", "recipient ok")
    }

    fn data(&self, bare: bool) -> (Reply, Next) {
        let reply = match &self.transaction {
            _ if !bare => Reply::new(501, "5.5.4", "expected no argument"),
            None => Reply::new(503, "5.5.1", "expected MAIL first"),
            Some(transaction) if transaction.recipients.is_empty() => {
                Reply::new(503, "5.5.1", "expected RCPT first")
            }
            Some(_) => return (Reply::plain(354, "end with <CRLF>.<CRLF>"), Next::Data),
        };
        (reply, Next::Command)
    }

    /// What takes the text.
    pub(super) fn decoder(&self) -> DataDecoder {
        DataDecoder::new(self.config.size_limit, self.config.line_limit)
    }

    /// Gives up the mail under way.
    pub(super) fn reset(&mut self) {
        self.transaction = None;
    }

    /// Ends the mail under way, whatever becomes of it.
    pub(super) fn end_mail(&mut self, text: DataDecoder, connection: u64) -> Result<Mail, Reply> {
        let transaction = self.transaction.take().filter(|it| !it.recipients.is_empty());
        let Some(transaction) = transaction else {
            return Err(Reply::new(554, "5.5.1", "no valid recipients"));
        };
        let raw = text.finish().map_err(|excess| match excess {
            Excess::Size => Reply::new(552, "5.3.4", "larger than the size limit"),
            Excess::Line => Reply::new(500, "5.5.2", "a line is longer than the line limit"),
        })?;
        Ok(Mail {
            number: 0,
            connection,
            client: self.client.clone().unwrap_or_default(),
            sender: transaction.path.address,
            parameters: transaction.path.parameters,
            recipients: transaction.recipients,
            raw: raw.into(),
            tls: self.tls,
            login: self.login.clone(),
        })
    }
}
