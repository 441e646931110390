//! The door: from another machine only who has the token comes in.

use crate::client::{ask, get};
use crate::service::{Shows, from_afar, open};

const TOKEN: &str = "open sesame";

#[tokio::test]
async fn without_the_token_there_is_a_door_and_nothing_behind_it() {
    let service = open(Some(TOKEN), Shows::Content).await;
    let wrong: [&[(&str, &str)]; 5] = [
        &[],
        &[("authorization", "Bearer open sesam")],
        &[("authorization", TOKEN)],
        &[("cookie", "mailjob-page=open sesame")],
        &[("cookie", "mailjob-page=")],
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
    assert_eq!(from_afar(&service, "/?token=open%20sesam", &[]).await.status, 401);
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
    let entered = ask(service.address, "POST", "/enter", &form, "token=open+sesame").await;
    let linked = from_afar(&service, "/?token=open%20sesame", &[]).await;
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
    let bearer = [("authorization", "Bearer open sesame")];
    assert_eq!(from_afar(&service, "/snapshot", &bearer).await.status, 200);
}
