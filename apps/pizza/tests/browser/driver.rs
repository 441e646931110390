//! WebDriver (W3C), as far as these tests need it, to a chromedriver of their own.

use std::env;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// How long an element is waited for, in milliseconds.
const FOUND_WITHIN_MS: u32 = 120_000;

/// The name of an element's id (W3C WebDriver, 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A chromedriver; it ends with this.
pub(crate) struct Driver {
    port: u16,
    _process: Child,
}

/// A browser with one window and a profile of its own; it ends with its driver.
pub(crate) struct Window {
    port: u16,
    session: String,
}

impl Driver {
    pub(crate) async fn start() -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("chromium-driver is installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver says its port");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        Self { port, _process: process }
    }

    /// Opens a browser of that size, with scripts or without.
    pub(crate) async fn window(&self, (width, height): (u32, u32), has_scripts: bool) -> Window {
        let scripts = if has_scripts { 1 } else { 2 };
        let metrics = json!({"width": width, "height": height, "pixelRatio": 1, "touch": false});
        let options = json!({
            "args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            "prefs": {"profile.managed_default_content_settings.javascript": scripts},
            "mobileEmulation": {"deviceMetrics": metrics},
        });
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"implicit": FOUND_WITHIN_MS},
        }}});
        let session = call(self.port, "POST", "/session", Some(&wanted)).await;
        let session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        Window { port: self.port, session }
    }
}

impl Window {
    async fn post(&self, command: &str, body: Value) -> Value {
        call(self.port, "POST", &format!("{}{command}", self.session), Some(&body)).await
    }

    async fn get(&self, command: &str) -> Value {
        call(self.port, "GET", &format!("{}{command}", self.session), None).await
    }

    pub(crate) async fn go(&self, url: &str) {
        self.post("/url", json!({"url": url})).await;
    }

    /// The path of the page that is shown.
    pub(crate) async fn path(&self) -> String {
        let url = self.get("/url").await;
        let path = url.as_str().unwrap().splitn(4, '/').nth(3).unwrap();
        format!("/{path}")
    }

    /// Waits until there is an element of that XPath.
    pub(crate) async fn find(&self, xpath: &str) -> String {
        let found = self.post("/element", json!({"using": "xpath", "value": xpath})).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    pub(crate) async fn click(&self, xpath: &str) {
        let element = self.find(xpath).await;
        // As a hand does: not below what sticks to the window's edges.
        let script = "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})";
        self.post("/execute/sync", json!({"script": script, "args": [{ELEMENT: element}]})).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    pub(crate) async fn text(&self, xpath: &str) -> String {
        let element = self.find(xpath).await;
        self.get(&format!("/element/{element}/text")).await.as_str().unwrap().to_owned()
    }

    /// Presses keys, wherever the focus is.
    pub(crate) async fn press(&self, keys: &str) {
        let key = |key: char| ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key}));
        let actions: Vec<Value> = keys.chars().flat_map(key).collect();
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": actions});
        self.post("/actions", json!({"actions": [keyboard]})).await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// What the browser has complained of: errors, and what the policy of the page forbade.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"})).await;
        log.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// Takes a picture, if somebody wants to see it.
    pub(crate) async fn picture(&self, name: &str) {
        let Some(folder) = env::var_os("PIZZA_SCREENSHOTS") else { return };
        let picture = self.get("/screenshot").await;
        let picture = STANDARD.decode(picture.as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), picture).unwrap();
    }
}

/// Sends a command, and gives its value.
async fn call(port: u16, method: &str, path: &str, body: Option<&Value>) -> Value {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut stream = BufReader::new(stream);
    stream.write_all(request.as_bytes()).await.unwrap();
    // Chromedriver keeps the connection open.
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        stream.read_line(&mut head).await.unwrap();
        match head[start..].trim_end().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap(),
            None if start > 0 => break,
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let value = &serde_json::from_slice::<Value>(&body).unwrap()["value"];
    assert!(head.starts_with("HTTP/1.1 200"), "{method} {path}: {value:#}");
    value.clone()
}
