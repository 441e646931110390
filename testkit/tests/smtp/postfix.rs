//! A Postfix of our own: another directory, a free port, a maildir; stopped when it is dropped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};

const MASTER: &str = "
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
";

pub(crate) struct Postfix {
    folder: TempDir,
    address: SocketAddr,
}

impl Postfix {
    /// Needs to run as root, as Postfix does.
    pub(crate) async fn start(domain: &str) -> Self {
        Self::start_with(domain, "").await
    }

    /// With further lines of `main.cf`.
    pub(crate) async fn start_with(domain: &str, settings: &str) -> Self {
        let (folder, address) = prepared(domain, settings).await;
        Self::start_in(folder, address).await
    }

    /// That takes mails of `user@DOMAIN` alone, who logs in with this password by this mechanism
    /// (RFC 4954). Needs Debian's libsasl2-modules and sasl2-bin.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) async fn start_with_login(
        domain: &str,
        settings: &str,
        mechanism: &str,
        password: &str,
    ) -> Self {
        let settings = format!(
            "{settings}smtpd_sasl_auth_enable = yes\nsmtpd_sasl_authenticated_header = yes\n\
             smtpd_recipient_restrictions = permit_sasl_authenticated, reject\n"
        );
        let (folder, address) = prepared(domain, &settings).await;
        // Debian's Postfix looks nowhere else.
        let config = folder.path().join("conf/sasl");
        std::fs::create_dir(&config).unwrap();
        let users = folder.path().join("data/users").display().to_string();
        let smtpd = format!(
            "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {users}\n\
             mech_list: {mechanism}\n"
        );
        std::fs::write(config.join("smtpd.conf"), smtpd).unwrap();
        let add = r#"printf %s "$0" | /usr/sbin/saslpasswd2 -p -c -f "$1" -u "$2" user"#;
        run(Command::new("sh").args(["-c", add, password, &users, domain]));
        run(Command::new("chown").args(["postfix", &users]));
        Self::start_in(folder, address).await
    }

    async fn start_in(folder: TempDir, address: SocketAddr) -> Self {
        let postfix = Self { folder, address };
        postfix.start_again().await;
        postfix
    }

    /// Starts it where it was stopped: what it had accepted, it delivers.
    pub(crate) async fn start_again(&self) {
        self.control("start");
        while TcpStream::connect(self.address).await.is_err() {
            let pid = self.folder.path().join("queue/pid/master.pid");
            assert!(pid.exists(), "Postfix has ended");
            tokio::task::yield_now().await;
        }
    }

    /// Kills it in the midst of what it does.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) fn abort(&self) {
        self.control("abort");
    }

    fn control(&self, command: &str) {
        let conf = self.folder.path().join("conf");
        run(Command::new("/usr/sbin/postfix").arg("-c").arg(conf).arg(command));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it delivers.
    pub(crate) fn mails(&self) -> PathBuf {
        self.folder.path().join("mail/all/new")
    }

    /// Where it keeps what it has not delivered yet.
    #[allow(dead_code, reason = "not every test asks for it")]
    pub(crate) fn queue(&self) -> PathBuf {
        self.folder.path().join("queue")
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.control("stop");
    }
}

/// The folder of a Postfix that is not started yet, and its address.
async fn prepared(domain: &str, settings: &str) -> (TempDir, SocketAddr) {
    let folder = tempfile::Builder::new().prefix("postfix").tempdir_in("/tmp").unwrap();
    let path = folder.path().display();
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for name in ["conf", "queue", "data", "mail"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    run(Command::new("chmod").arg("755").arg(folder.path()));
    run(Command::new("chown").args(["postfix", &format!("{path}/data")]));
    run(Command::new("chown").args(["65534:65534", &format!("{path}/mail")]));
    let main = main_cf(folder.path(), domain) + settings;
    std::fs::write(folder.path().join("conf/main.cf"), main).unwrap();
    let master = format!("{address} inet n - n - - smtpd{MASTER}");
    std::fs::write(folder.path().join("conf/master.cf"), master).unwrap();
    (folder, address)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

fn main_cf(folder: &Path, domain: &str) -> String {
    let folder = folder.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = /tmp
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = localhost
mydestination =
mynetworks = 127.0.0.0/8
default_transport = discard
relay_transport = discard
alias_maps =
alias_database =
local_recipient_maps =
local_header_rewrite_clients =
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = static:all/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
message_size_limit = 100000
smtpd_helo_required = yes
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 1000
smtpd_forbid_bare_newline = normalize
smtpd_forbid_bare_newline_exclusions =
"
    )
}
