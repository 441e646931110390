//! Postfix's `smtp-sink`, which counts what it gets.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::process::Running;

const START_LIMIT: Duration = Duration::from_secs(10);
const BACKLOG: &str = "1000";

pub(crate) struct Server {
    process: Running,
    port: u16,
    counts: PathBuf,
}

impl Server {
    /// Completes when it listens, on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let counts = std::env::temp_dir().join(format!("kafka-bench-smtp-sink-{port}.counts"));
        let is_root = fs::metadata("/proc/self").expect("/proc is there").uid() == 0;
        let process = Running::start(
            Command::new(path())
                .args(if is_root { &["-u", "nobody"][..] } else { &[] })
                .args(["-c", &format!("127.0.0.1:{port}"), BACKLOG])
                .stdout(File::create(&counts).expect("the counts can be written"))
                .stderr(Stdio::null()),
        );
        let listens = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(START_LIMIT, listens).await.expect("smtp-sink listens");
        Self { process, port, counts }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Asserts that it has counted that many mails, neither fewer nor more.
    pub(crate) fn assert_mails(&self, expected: usize) {
        let counts = fs::read_to_string(&self.counts).expect("the counts can be read");
        let last = counts.rsplit("mesg=").next().unwrap_or_default();
        let digits: String = last.chars().take_while(char::is_ascii_digit).collect();
        assert_eq!(digits.parse().ok(), Some(expected), "mails that arrived");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A file that is left behind harms nobody.
        let _ = fs::remove_file(&self.counts);
    }
}

fn path() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut files = directories.map(|directory| directory.join("smtp-sink"));
    files.find(|file| file.is_file()).expect("smtp-sink, of Debian's package postfix, is installed")
}
