//! A real sshd for tests: throw-away keys and configuration, a port of its own on 127.0.0.1, the current user.

use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use rand::SeedableRng;
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{KeyPair, Login, SshCommunicator, SshTarget, connect_with_retries, generate_key};
use crate::communicator::{Communicator, ExitStatus, OutputSink, OutputStream};
use crate::domain::config::communicator::KeyPairType;

const SSHD: &str = "/usr/sbin/sshd";

pub(crate) struct Sshd {
    child: Child,
    pub(crate) folder: TempDir,
    pub(crate) key: KeyPair,
    pub(crate) port: u16,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

pub(crate) fn key(seed: u64) -> KeyPair {
    generate_key(KeyPairType::Ed25519, None, &mut rand::rngs::StdRng::seed_from_u64(seed)).unwrap()
}

pub(crate) fn current_user() -> String {
    let output = Process::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::start_on(free_port(), 100, "Subsystem sftp internal-sftp")
    }

    pub(crate) fn start_on(port: u16, host_key_seed: u64, extra: &str) -> Self {
        assert!(fs::exists(SSHD).unwrap(), "{SSHD} is missing: install openssh-server to run these tests");
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let key_pair = key(1);
        let host_key = at.join("host_key");
        fs::write(&host_key, key(host_key_seed).private_openssh.expose_secret()).unwrap();
        fs::set_permissions(&host_key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(at.join("authorized_keys"), format!("{}\n", key_pair.public_openssh)).unwrap();
        // sshd started by root wants its separation folder, which packages make at boot only.
        let _ = fs::create_dir_all("/run/sshd");
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\n\
             PidFile none\nPermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             MaxStartups 100\n{extra}\n",
            host = host_key.display(),
            keys = at.join("authorized_keys").display(),
        );
        fs::write(at.join("sshd_config"), config).unwrap();
        let child = Process::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(at.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(at.join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, folder, key: key_pair, port }
    }

    pub(crate) fn target(&self) -> SshTarget {
        target(self.port, &self.key)
    }

    pub(crate) async fn connect(&self) -> SshCommunicator {
        connect_with_retries(&self.target(), Duration::from_secs(20), &|_| {}, &CancellationToken::new())
            .await
            .unwrap_or_else(|error| {
                panic!("{error}; sshd says: {}", fs::read_to_string(self.folder.path().join("log")).unwrap_or_default())
            })
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn target(port: u16, key: &KeyPair) -> SshTarget {
    SshTarget {
        host: "127.0.0.1".to_owned(),
        port,
        login: Login { username: current_user(), private_key: Some(key.private_openssh.clone()), ..Login::default() },
        bastion: None,
        tunnel: None,
        ciphers: Vec::new(),
        key_exchange: Vec::new(),
        keep_alive_interval: Duration::from_secs(5),
        expected_host_key: None,
    }
}

/// Keeps what a command printed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Collected {
    both: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
    pub(crate) changed: Arc<tokio::sync::Notify>,
}

impl Collected {
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.both.lock().unwrap().0).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.both.lock().unwrap().1).into_owned()
    }

    /// Waits until a line has been printed.
    pub(crate) async fn first_line(&self) -> String {
        loop {
            let notified = self.changed.notified();
            if let Some((line, _)) = self.stdout().split_once('\n') {
                return line.trim().to_owned();
            }
            notified.await;
        }
    }
}

#[async_trait]
impl OutputSink for Collected {
    async fn write(&self, stream: OutputStream, bytes: &[u8]) {
        let mut both = self.both.lock().unwrap();
        match stream {
            OutputStream::Stdout => both.0.extend_from_slice(bytes),
            OutputStream::Stderr => both.1.extend_from_slice(bytes),
        }
        drop(both);
        self.changed.notify_one();
    }
}

/// Runs a command to its end.
pub(crate) async fn run(ssh: &dyn Communicator, text: &str) -> (ExitStatus, String, String) {
    let output = Collected::default();
    let command = crate::communicator::Command::new(text);
    let status = ssh.run(&command, &output, &CancellationToken::new()).await.unwrap();
    (status, output.stdout(), output.stderr())
}
