//! A reply that is there before its command, or its message, was written is no answer to it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::future::join_all;
use jobstream::sinks::JobErrorKind::{Ambiguous, Permanent, Unavailable};
use jobstream::sinks::JobSink as _;
use jobstream::sinks::smtp::{Connect, Stream};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

use super::peer::{job_with, kind_of, paused, sink_over, with_connections};

const MAILS: usize = 6;

/// What stands in a connection, in bytes: less than the last write of a large message.
const CONNECTION_BYTES: usize = 4096;

/// Behind which reply the server says one more.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Greeting,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// In the midst of the message.
    Line,
    Dot,
}

const STEPS: [Step; 7] =
    [Step::Greeting, Step::Ehlo, Step::Mail, Step::Rcpt, Step::Data, Step::Line, Step::Dot];

const EXTRAS: [&str; 8] = [
    "220 hello\r\n",
    "250 ok\r\n",
    "354 go on\r\n",
    "421 closing\r\n",
    "450 later\r\n",
    "535 log in\r\n",
    "554 no\r\n",
    "garbage\r\n",
];

/// Says one reply too many at a step, and takes each mail whose recipient is none of `refused`.
#[derive(Clone)]
struct Ahead {
    step: Step,
    extra: &'static str,
    pipelining: bool,
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Ahead {
    async fn say(&self, server: &mut BufReader<DuplexStream>, step: Step, text: &str) -> bool {
        let extra = if step == self.step { self.extra } else { "" };
        server.write_all(format!("{text}{extra}").as_bytes()).await.is_ok()
    }

    async fn serve(self, server: DuplexStream) {
        let mut server = BufReader::new(server);
        let (mut line, mut to, mut lines) = (String::new(), String::new(), None);
        let mut goes_on = self.say(&mut server, Step::Greeting, "220 hello\r\n").await;
        while goes_on {
            line.clear();
            if !matches!(server.read_line(&mut line).await, Ok(1..)) {
                return;
            }
            let (step, text) = match (&line[..], lines) {
                (".\r\n", Some(_)) => {
                    lines = None;
                    (Step::Dot, self.judge(&to))
                }
                (_, Some(number)) => {
                    lines = Some(number + 1);
                    if number > 0 {
                        continue;
                    }
                    (Step::Line, "")
                }
                (command, None) => match &command[..4] {
                    "EHLO" if self.pipelining => (Step::Ehlo, "250-me\r\n250 PIPELINING\r\n"),
                    "EHLO" => (Step::Ehlo, "250 me\r\n"),
                    "MAIL" => (Step::Mail, "250 ok\r\n"),
                    "RCPT" => {
                        command.clone_into(&mut to);
                        (Step::Rcpt, "250 ok\r\n")
                    }
                    "DATA" => {
                        lines = Some(0);
                        (Step::Data, "354 go on\r\n")
                    }
                    "QUIT" => return,
                    _ => {
                        goes_on = server.write_all(b"250 ok\r\n").await.is_ok();
                        continue;
                    }
                },
            };
            goes_on = self.say(&mut server, step, text).await;
        }
    }

    fn judge(&self, to: &str) -> &'static str {
        if to.contains("refused") {
            return "554 looks like spam\r\n";
        }
        *self.taken.lock().expect("no panic").entry(to.to_owned()).or_default() += 1;
        "250 taken\r\n"
    }

    /// How often it has taken the mail to this address.
    fn taken(&self, to: &str) -> usize {
        let taken = self.taken.lock().expect("no panic");
        taken.iter().filter(|(line, _)| line.contains(to)).map(|(_, count)| count).sum()
    }
}

#[async_trait]
impl Connect for Ahead {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let (client, server) = duplex(CONNECTION_BYTES);
        tokio::spawn(self.clone().serve(server));
        Ok(Box::new(client))
    }
}

/// Sends mails at once: of each the answer is true, whatever the server says too early.
async fn each_answer_is_true(server: &Ahead, connections: usize, message: &str) {
    let sink = sink_over(server.clone(), &with_connections(connections));
    let to = |number: usize| match number % 3 {
        1 => format!("refused{number}@example.net"),
        _ => format!("taken{number}@example.net"),
    };
    let kinds = join_all((0..MAILS).map(|number| {
        let (job, record) =
            job_with(&number.to_string(), "a@example.com", &to(number), "", message);
        let sink = &sink;
        async move { sink.execute(&job, &record).await.err().map(|error| error.kind()) }
    }))
    .await;
    let Ahead { step, extra, pipelining, .. } = server;
    for (number, kind) in kinds.into_iter().enumerate() {
        let (to, taken) = (to(number), server.taken(&to(number)));
        let case = format!("{extra:?} at {step:?}, {pipelining} {connections}: {to} {kind:?}");
        match kind {
            None => assert_eq!(taken, 1, "{case}"),
            Some(Ambiguous) => assert!(taken <= 1, "{case}"),
            Some(Permanent) => {
                let in_the_midst = *step == Step::Line && extra.starts_with("554");
                assert!(taken == 0 && (to.starts_with("refused") || in_the_midst), "{case}");
            }
            Some(_) => assert_eq!(taken, 0, "{case}"),
        }
    }
}

#[test]
fn no_reply_is_taken_for_that_of_a_later_command_or_message() {
    let (small, large) = ("A line".to_owned(), "A line\n".repeat(11_000));
    for step in STEPS {
        for extra in EXTRAS {
            for pipelining in [false, true] {
                for connections in [1, 3] {
                    let taken = Arc::default();
                    let server = Ahead { step, extra, pipelining, taken };
                    // What the server says in the midst of a small one may arrive behind its end.
                    let message = if step == Step::Line { &large } else { &small };
                    paused(each_answer_is_true(&server, connections, message));
                }
            }
        }
    }
}

#[test]
fn a_server_that_answers_before_a_message_has_not_got_it_and_is_asked_again() {
    for extra in ["250 taken\r\n", "450 later\r\n", "554 no\r\n"] {
        for pipelining in [false, true] {
            let server = Ahead { step: Step::Data, extra, pipelining, taken: Arc::default() };
            let sink = sink_over(server.clone(), &with_connections(1));
            let kind = paused(kind_of(&sink, "1", "to@example.net"));
            assert_eq!(kind, Some(Unavailable), "{extra:?}");
            assert_eq!(server.taken("to@example.net"), 0);
        }
    }
}
