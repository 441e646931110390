//! A browser as the server sees it: HTTP/1.1 over TCP, one connection a request, with cookies.
#![allow(dead_code, reason = "not every test binary does all of it")]
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// What is chosen, as a form has it.
pub(crate) const PIZZA: [(&str, &str); 6] = [
    ("sauce", "Tomato"),
    ("cheese", "Mozzarella"),
    ("main_topping", "Pepperoni"),
    ("extra_toppings", "Mushroom"),
    ("extra_toppings", "Black olives"),
    ("extra_toppings", "Green pepper"),
];

/// A browser.
#[derive(Clone)]
pub(crate) struct Visitor {
    address: SocketAddr,
    pub(crate) cookies: BTreeMap<String, String>,
}

/// What a server answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    /// A header's first value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Where the browser is sent.
    pub(crate) fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{self:?}");
        self.header("location").expect("a redirection says where to")
    }

    /// The token of the forms on the page.
    pub(crate) fn token(&self) -> String {
        let (_, rest) = self.body.split_once(r#"name="token" value=""#).expect("a form");
        rest.split('"').next().unwrap().to_owned()
    }
}

impl Visitor {
    pub(crate) fn of(address: SocketAddr) -> Self {
        Self { address, cookies: BTreeMap::new() }
    }

    /// A visitor who has logged in.
    pub(crate) async fn named(address: SocketAddr, name: &str) -> Self {
        let mut visitor = Self::of(address);
        let token = visitor.get("/login").await.token();
        let answer = visitor.post("/login", &[("token", &token), ("name", name)]).await;
        assert_eq!(answer.location(), "/");
        visitor
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let stream = self.open(path).await;
        self.answer(stream).await
    }

    /// Posts a form.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let stream = self.begin_post(path, fields).await;
        self.answer(stream).await
    }

    /// Posts a form, with the token of the page at `from`.
    pub(crate) async fn submit(
        &mut self,
        from: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let token = self.get(from).await.token();
        let mut all = vec![("token", token.as_str())];
        all.extend(fields);
        self.post(path, &all).await
    }

    /// Asks for a page, and leaves the answer in the connection.
    pub(crate) async fn open(&self, path: &str) -> BufReader<TcpStream> {
        self.send(&format!("GET {path} HTTP/1.1\r\n{}\r\n", self.head())).await
    }

    /// Posts a form, and leaves the answer in the connection.
    pub(crate) async fn begin_post(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> BufReader<TcpStream> {
        let pairs =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let (head, length) = (self.head(), body.len());
        let kind = "content-type: application/x-www-form-urlencoded\r\n";
        let length = format!("content-length: {length}\r\n");
        self.send(&format!("POST {path} HTTP/1.1\r\n{head}{kind}{length}\r\n{body}")).await
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        BufReader::new(stream)
    }

    fn head(&self) -> String {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        format!("host: {}\r\nconnection: close\r\ncookie: {cookies}\r\n", self.address)
    }

    /// Reads an answer to its end.
    pub(crate) async fn answer(&mut self, mut stream: BufReader<TcpStream>) -> Answer {
        let (status, headers) = head(&mut stream).await;
        let mut body = String::new();
        stream.read_to_string(&mut body).await.unwrap();
        for (_, cookie) in headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, rest) = cookie.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
        Answer { status, headers, body }
    }
}

/// Reads the status and the headers, in lower case.
pub(crate) async fn head(stream: &mut BufReader<TcpStream>) -> (u16, Vec<(String, String)>) {
    let mut status = String::new();
    stream.read_line(&mut status).await.unwrap();
    let status = status.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    (status, headers)
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
