//! The door: from another machine only who has the token comes in.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::client::{ask, get};
use crate::service::{Service, Shows, from_afar, open};

const TOKEN: &str = "open sesame, open";

#[tokio::test]
async fn without_the_token_there_is_a_door_and_nothing_behind_it() {
    let service = open(Some(TOKEN), Shows::Content).await;
    let wrong: [&[(&str, &str)]; 5] = [
        &[],
        &[("authorization", "Bearer open sesame, opem")],
        &[("authorization", TOKEN)],
        &[("cookie", "jobstream-page=open sesame, open")],
        &[("cookie", "jobstream-page=")],
    ];
    for headers in wrong {
        for path in ["/snapshot", "/events", "/fates/1", "/none"] {
            let answer = from_afar(&service, path, headers).await;
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            assert!(answer.body.starts_with("a token is needed"), "{}", answer.body);
        }
        let door = from_afar(&service, "/", headers).await;
        assert_eq!(door.status, 401, "{headers:?}");
        assert!(door.body.contains(r#"<form method="post" action="/enter">"#), "{}", door.body);
    }
    assert_eq!(from_afar(&service, "/?token=open%20sesame,%20opem", &[]).await.status, 401);
    assert_eq!(
        from_afar(&service, "/assets/page.css", &[]).await.status,
        200,
        "what it looks like"
    );
    assert_eq!(get(service.address, "/snapshot").await.status, 401, "on this machine, too");
}

#[tokio::test]
async fn with_the_token_a_browser_gets_a_cookie_and_comes_in() {
    let service = open(Some(TOKEN), Shows::Nothing).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let entered = ask(service.address, "POST", "/enter", &form, "token=open+sesame%2C+open").await;
    let linked = from_afar(&service, "/?token=open%20sesame,%20open", &[]).await;
    for answer in [entered, linked] {
        assert_eq!((answer.status, answer.header("location")), (303, Some("/")));
        let cookie = answer.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!cookie.contains("sesame"), "{cookie}");
        let pass = cookie.split(';').next().unwrap();
        let cookies = format!("other=1; {pass}");
        for path in ["/", "/snapshot"] {
            let answer = from_afar(&service, path, &[("cookie", &cookies)]).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        let foreign = [("cookie", &*cookies), ("origin", "https://evil.example")];
        assert_eq!(from_afar(&service, "/snapshot", &foreign).await.status, 403);
    }
    let wrong = ask(service.address, "POST", "/enter", &form, "token=guess").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, None));
}

#[tokio::test]
async fn a_program_comes_in_with_a_bearer_token() {
    let service = open(Some(TOKEN), Shows::Nothing).await;
    let bearer = [("authorization", "Bearer open sesame, open")];
    assert_eq!(from_afar(&service, "/snapshot", &bearer).await.status, 200);
}

#[tokio::test]
async fn guesses_are_limited_by_client_and_each_wrong_token_counts_once() {
    let service = open(Some(TOKEN), Shows::Nothing).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let right = [("authorization", "Bearer open sesame, open")];
    let stale = [("cookie", "jobstream-page=stale")];
    for _ in 0..30 {
        assert_eq!(from_afar(&service, "/events", &stale).await.status, 401, "it is no guess");
    }
    for number in 0..3 {
        let bearer = format!("Bearer {number}");
        let cookie =
            format!("jobstream-page={number}; jobstream-page=first; jobstream-page=second");
        let linked = format!("/?token={number}{number}");
        assert_eq!(from_afar(&service, "/", &[("authorization", &bearer)]).await.status, 401);
        assert_eq!(from_afar(&service, "/fates/1", &[("cookie", &cookie)]).await.status, 401);
        assert_eq!(from_afar(&service, &linked, &[]).await.status, 401);
    }
    // The stale one and nine others: that was the tenth.
    for (path, headers) in [("/snapshot", &right), ("/?token=x", &right), ("/", &stale)] {
        let refused = from_afar(&service, path, headers).await;
        assert_eq!(refused.status, 429, "{path}");
        assert!(refused.header("retry-after").is_some_and(|it| it.parse::<u64>().is_ok()));
    }
    let entered = ask(service.address, "POST", "/enter", &form, "token=open+sesame%2C+open").await;
    assert_eq!((entered.status, entered.header("set-cookie")), (429, None));
    assert_eq!(from_afar(&service, "/", &[]).await.status, 401, "the door is still shown");

    let other = from_machine(2, &service, "/snapshot", &right).await;
    assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
}

#[tokio::test]
async fn what_is_sent_to_the_door_is_small() {
    let service = open(Some(TOKEN), Shows::Nothing).await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let large = format!("token={}", "a".repeat(32 << 10));
    assert_eq!(ask(service.address, "POST", "/enter", &form, &large).await.status, 413);
}

/// What the machine 127.0.0.N is answered.
async fn from_machine(
    number: u8,
    service: &Service,
    path: &str,
    headers: &[(&str, &str)],
) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, number], 0))).unwrap();
    let mut stream = socket.connect(service.address).await.unwrap();
    let headers: String = headers.iter().map(|(name, it)| format!("{name}: {it}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
