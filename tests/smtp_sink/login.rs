//! TLS and logins: what travels how, and what is never shown.

use std::sync::Arc;

use jobstream::sinks::smtp::{
    ConfigError, Login, MailConfig, MailSink, Phase, ServerFaultKind, TlsMode,
};
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Extension, Misfortune, Moment, SmtpServer, SmtpServerBuilder, Tls};

use super::peer::{Log, Memory, OTHER, config, send, sink};

const PASSWORD: &str = "correct horse";
const USER: &str = "AKIAEXAMPLE";

/// AUTH PLAIN's initial response, and the password as LOGIN sends it.
const ENCODED: [&str; 2] = ["AEFLSUFFWEFNUExFAGNvcnJlY3QgaG9yc2U=", "Y29ycmVjdCBob3JzZQ=="];

fn started(builder: SmtpServerBuilder) -> Arc<SmtpServer> {
    Arc::new(builder.in_memory().expect("a server in memory"))
}

fn with_login(tls: TlsMode, server: &SmtpServer) -> MailConfig {
    config()
        .tls(tls)
        .tls_ca_pem(server.ca_pem().map(|pem| pem.as_bytes().to_vec()))
        .login(Some(Login::new(USER, PASSWORD)))
}

/// The same settings for another host.
fn at_host(config: &MailConfig, host: &str) -> MailConfig {
    let mut config = config.clone();
    host.clone_into(&mut config.relays[0].host);
    config
}

#[tokio::test(start_paused = true)]
async fn mails_go_by_starttls_and_by_implicit_tls_with_either_login() {
    for (mode, tls) in [
        (TlsMode::Opportunistic, Tls::StartTls),
        (TlsMode::StartTls, Tls::StartTls),
        (TlsMode::Implicit, Tls::Implicit),
    ] {
        for lacking in [Extension::AuthPlain, Extension::AuthLogin] {
            let builder = SmtpServer::builder().tls(tls).login(USER, PASSWORD).without(lacking);
            let server = started(builder.require_login().login_needs_tls());
            let sink = sink(&server, &with_login(mode, &server));
            for id in ["1", "2"] {
                send(&sink, id, OTHER).await.unwrap_or_else(|error| panic!("{mode:?}: {error}"));
            }
            let mails = server.inbox().mails();
            assert!(mails.iter().all(|mail| mail.tls && mail.login.as_deref() == Some(USER)));
            assert_eq!(server.connections().total, 1);
            let report = sink.check().await.unwrap();
            assert!(report.encrypted && report.logged_in && report.pipelining);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_never_travels_in_clear_unless_allowed() {
    let builder = || SmtpServer::builder().login(USER, PASSWORD);
    for mode in [TlsMode::Opportunistic, TlsMode::StartTls] {
        let server = started(builder());
        let sink = sink(&server, &with_login(mode, &server));
        let error = send(&sink, "1", OTHER).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Unavailable);
        assert!(server.conversation().iter().all(|exchange| exchange.moment != Moment::Auth));
        if mode == TlsMode::Opportunistic {
            assert!(error.reason().contains("MAIL_ALLOW_PLAINTEXT_AUTH"), "{error}");
            assert_eq!(sink.check().await.unwrap_err().kind(), ServerFaultKind::Plaintext);
        } else {
            assert_eq!(sink.check().await.unwrap_err().kind(), ServerFaultKind::Tls);
        }
    }
    let server = started(builder());
    let refused = MailSink::new(&with_login(TlsMode::None, &server)).unwrap_err();
    assert_eq!(refused, ConfigError::PlaintextAuth);
    assert!(refused.to_string().contains("MAIL_ALLOW_PLAINTEXT_AUTH"));
    for mode in [TlsMode::Opportunistic, TlsMode::None] {
        let config = with_login(mode, &server).allow_plaintext_auth(true);
        assert!(send(&sink(&server, &config), "1", OTHER).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_must_hold_unless_it_need_not() {
    let builder = || SmtpServer::builder().tls(Tls::StartTls);
    let server = started(builder());
    let good = with_login(TlsMode::Opportunistic, &server).login(None);
    let stranger = started(builder());
    let other_ca = stranger.ca_pem().map(|pem| pem.as_bytes().to_vec());
    let bad_ca = good.clone().tls_ca_pem(other_ca);
    let bad_name = at_host(&good, "mail.example.org");
    for config in [&bad_ca, &bad_name] {
        let sink = sink(&server, config);
        assert_eq!(send(&sink, "1", OTHER).await.unwrap_err().kind(), JobErrorKind::Unavailable);
        let fault = sink.check().await.unwrap_err();
        assert_eq!((fault.phase(), fault.kind()), (Phase::Tls, ServerFaultKind::Certificate));
        let unverified = config.clone().tls_verify(false);
        assert!(send(&super::peer::sink(&server, &unverified), "1", OTHER).await.is_ok());
    }
    assert!(send(&sink(&server, &good), "1", OTHER).await.is_ok());
    let authority = server.ca_pem().unwrap();
    let with_key = format!("{authority}{}", include_str!("../keys/ed25519.pem"));
    for (pem, found) in [("nothing", "no certificate in PEM"), (&with_key, "a private key in PEM")]
    {
        let refused = MailSink::new(&good.clone().tls_ca_pem(Some(pem.as_bytes().to_vec())));
        assert_eq!(refused.err(), Some(ConfigError::CaPem(found.to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_the_server_has_made_for_itself_is_trusted_if_it_is_the_one_named() {
    for (names, common_name) in [(&["localhost"][..], "whoever"), (&[], "localhost")] {
        let builder = || SmtpServer::builder().tls(Tls::Implicit).tls_names(names.iter().copied());
        let server = started(builder().self_made_certificate(common_name));
        let named = with_login(TlsMode::Implicit, &server).login(None);
        assert!(send(&sink(&server, &named), "1", OTHER).await.is_ok(), "{names:?}");

        let other_host = at_host(&named, "mail.example.org");
        let stranger = started(builder().self_made_certificate(common_name));
        let other = with_login(TlsMode::Implicit, &stranger).relays[0].tls_ca_pem.clone();
        let other = named.clone().tls_ca_pem(other);
        let nobody = named.tls_ca_pem(None);
        for (config, advice) in [
            (other_host, "MAIL_SERVER_HOST"),
            (other, "MAIL_TLS_CA_FILE"),
            (nobody, "MAIL_TLS_CA_FILE"),
        ] {
            let fault = sink(&server, &config).check().await.unwrap_err();
            assert_eq!(fault.kind(), ServerFaultKind::Certificate, "{fault}");
            assert!(fault.to_string().contains(advice), "{fault}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn login_is_tried_where_plain_is_offered_and_then_unknown() {
    let server = started(SmtpServer::builder().tls(Tls::StartTls).login(USER, PASSWORD));
    let unknown = Misfortune::at(Moment::Auth).nth(1).reply(504, "unknown mechanism");
    server.misfortunes().push(unknown);
    let sink = sink(&server, &with_login(TlsMode::StartTls, &server));
    assert!(send(&sink, "1", OTHER).await.is_ok());
    assert_eq!(server.inbox().mails()[0].login.as_deref(), Some(USER));

    let builder = SmtpServer::builder().tls(Tls::StartTls).login(USER, PASSWORD);
    let server = started(builder.without(Extension::AuthLogin));
    server.misfortunes().push(Misfortune::at(Moment::Auth).reply(504, "unknown mechanism"));
    let sink = super::peer::sink(&server, &with_login(TlsMode::StartTls, &server));
    assert_eq!(sink.check().await.unwrap_err().kind(), ServerFaultKind::Mechanism);
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_opens_the_circuit_and_shows_no_credential() {
    for lacking in [Extension::AuthPlain, Extension::AuthLogin] {
        let server = started(
            SmtpServer::builder().tls(Tls::StartTls).login(USER, PASSWORD).without(lacking),
        );
        let echo = format!("bad: AUTH PLAIN {} {PASSWORD} {}", ENCODED[0], ENCODED[1]);
        server.misfortunes().push(Misfortune::at(Moment::Auth).times(2).reply(535, echo));
        let log = Arc::new(Log::default());
        let config = with_login(TlsMode::StartTls, &server);
        let connect = Arc::new(Memory(Arc::clone(&server)));
        let sink = MailSink::with(&config, connect, Arc::clone(&log) as _).unwrap();
        let error = send(&sink, "1", OTHER).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Unavailable);
        let fault = sink.check().await.unwrap_err();
        assert_eq!(fault.kind(), ServerFaultKind::Login);
        let shown = format!("{error:?} {fault:?} {config:?} {sink:?} {:?}", log.changes);
        for secret in [PASSWORD, ENCODED[0], ENCODED[1]] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert!(shown.contains("535"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_set_is_tried_by_the_next_probe_and_a_wrong_one_is_refused_here() {
    let server = started(SmtpServer::builder().tls(Tls::StartTls).login(USER, "rotated"));
    let sink = sink(&server, &with_login(TlsMode::StartTls, &server));
    let error = send(&sink, "1", OTHER).await.unwrap_err();
    assert_eq!(error.kind(), JobErrorKind::Unavailable);
    let relay = sink.relays().next().unwrap();
    assert_eq!(relay.set_login(Login::new(USER, "a\0b")), Err(ConfigError::LoginNul));
    assert!(sink.unavailable_reason().is_some());
    relay.set_login(Login::new(USER, "rotated")).unwrap();
    sink.ready().await;
    assert!(send(&sink, "1", OTHER).await.is_ok());
    assert_eq!(server.inbox().mails()[0].login.as_deref(), Some(USER));
}

#[tokio::test(start_paused = true)]
async fn a_server_without_the_mechanisms_is_named_so() {
    let server = started(SmtpServer::builder().tls(Tls::StartTls));
    let sink = sink(&server, &with_login(TlsMode::StartTls, &server));
    assert_eq!(sink.check().await.unwrap_err().kind(), ServerFaultKind::Mechanism);
}

#[tokio::test(start_paused = true)]
async fn the_phases_are_told_in_order() {
    let server = started(SmtpServer::builder().tls(Tls::StartTls).login(USER, PASSWORD));
    let log = Arc::new(Log::default());
    let connect = Arc::new(Memory(Arc::clone(&server)));
    let config = with_login(TlsMode::StartTls, &server);
    let sink = MailSink::with(&config, connect, Arc::clone(&log) as _).unwrap();
    assert!(send(&sink, "1", OTHER).await.is_ok());
    let expected =
        ["connect", "greeting", "ehlo", "tls", "ehlo", "auth", "envelope", "body", "final reply"];
    assert_eq!(*log.phases.lock().unwrap(), expected);
}
