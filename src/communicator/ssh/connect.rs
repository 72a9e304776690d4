//! Getting in: quick, patient attempts until sshd answers and takes the key. Waiting for a machine is where Packer loses
//! time (5 s between attempts and a probe before each), so the first attempts here follow each other at 250 ms.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client;
use russh::keys::{PublicKey, PublicKeyOrCertificate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::login::{Credentials, Login};
use super::{SshCommunicator, keys};
use crate::communicator::error::FailureCounts;
use crate::communicator::session_manager::{self, SessionFailure, Tunnel};
use crate::communicator::{CommunicatorError, ConnectFailure};

/// A SYN to a machine without a network yet is lost; the kernel repeats it after 1, 3 and 7 s. Starting over after 3 s
/// notices a machine sooner than the later repetitions do.
const TCP_LIMIT: Duration = Duration::from_secs(3);
/// For the key exchange and the authentication of one attempt (a booting machine can be slow at both).
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// After attempts that cost the machine nothing (no sshd yet).
const LONGEST_CHEAP_DELAY: Duration = Duration::from_millis(500);
/// After attempts that sshd handled: it limits and logs those.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// After refused keys. OpenSSH 9.8 and later shut an address out that fails too quickly (`PerSourcePenalties`: 5 s for each
/// failure, effective from 15 s on); with these pauses the sum stays at 12 s.
const AUTHENTICATION_DELAYS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];
/// Keep-alives that may stay unanswered before the connection counts as lost.
const KEEP_ALIVES_UNANSWERED: usize = 3;

/// AES-GCM first: it is several times faster here than the library's own first choice.
const CIPHERS: &[russh::cipher::Name] = &[
    russh::cipher::AES_256_GCM,
    russh::cipher::CHACHA20_POLY1305,
    russh::cipher::AES_256_CTR,
    russh::cipher::AES_192_CTR,
    russh::cipher::AES_128_CTR,
];

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct SshTarget {
    /// Name or address.
    pub host: String,
    pub port: u16,
    pub login: Login,
    /// The host through which the machine is reached.
    pub bastion: Option<Box<Bastion>>,
    /// Instead of a connection to `host` and `port`: a session of Session Manager for each attempt.
    pub tunnel: Option<Tunnel>,
    /// In OpenSSH's words; empty: this module's own choice.
    pub ciphers: Vec<String>,
    /// As `ciphers`.
    pub key_exchange: Vec<String>,
    /// After this much silence a keep-alive is sent; zero: never.
    pub keep_alive_interval: Duration,
    /// `ssh-ed25519 AAAA…` as recorded at the first connection; `None` trusts whatever answers.
    pub expected_host_key: Option<String>,
}

/// A host that passes the connection on. Whatever key it shows is taken: the machine's own key is what is held fast.
#[derive(Debug, Clone)]
pub struct Bastion {
    pub host: String,
    pub port: u16,
    pub login: Login,
}

/// Told after each attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectProgress {
    Failed { attempt: u32, elapsed: Duration, reason: ConnectFailure },
    Connected { attempt: u32, elapsed: Duration },
}

/// Connects, trying again until `timeout` is over. A refused key is tried again too, because cloud-init may not have
/// written it yet.
///
/// # Errors
/// `ConnectTimedOut` with the last reason and the count of each; `ConnectRefused` at once when waiting can't help (another
/// host key than expected); `InvalidKey`; `Cancelled`.
pub async fn connect_with_retries(
    target: &SshTarget,
    timeout: Duration,
    progress: &(dyn Fn(ConnectProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<SshCommunicator, CommunicatorError> {
    let way = Way::of(target)?;
    let started = Instant::now();
    let deadline = started + timeout;
    let mut counts = FailureCounts::default();
    let mut attempt: u32 = 0;
    let mut delay = FIRST_DELAY;
    let mut last: Option<ConnectFailure> = None;
    loop {
        attempt = attempt.saturating_add(1);
        let limit = deadline.saturating_duration_since(Instant::now());
        let outcome = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CommunicatorError::cancelled()),
            outcome = connect_once(target, &way, limit) => outcome,
        };
        let reason = match (outcome, last) {
            (Ok(communicator), _) => {
                progress(ConnectProgress::Connected { attempt, elapsed: started.elapsed() });
                return Ok(communicator);
            }
            // An attempt that the time limit cut off tells nothing; the one before it does.
            (Err(_), Some(before)) if Instant::now() >= deadline => {
                return Err(CommunicatorError::ConnectTimedOut { after: timeout, last: before, counts });
            }
            (Err(reason), _) => reason,
        };
        let count = counts.0.entry(reason.kind()).or_default();
        delay = next_delay(delay, &reason, *count);
        *count += 1;
        progress(ConnectProgress::Failed { attempt, elapsed: started.elapsed(), reason: reason.clone() });
        if reason.is_final() {
            return Err(CommunicatorError::ConnectRefused(reason));
        }
        if Instant::now() + delay >= deadline {
            return Err(CommunicatorError::ConnectTimedOut { after: timeout, last: reason, counts });
        }
        last = Some(reason);
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(CommunicatorError::cancelled()),
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// The pause after a failure, by what the attempt cost the machine. `earlier` counts the failures of this kind before it.
fn next_delay(delay: Duration, reason: &ConnectFailure, earlier: u32) -> Duration {
    let longest = match reason {
        ConnectFailure::Authentication { .. } => {
            return AUTHENTICATION_DELAYS[(earlier as usize).min(AUTHENTICATION_DELAYS.len() - 1)];
        }
        // With a bastion, each try is a login there; with a session, a call of the cloud.
        ConnectFailure::Bastion(_)
        | ConnectFailure::BehindBastion(_)
        | ConnectFailure::Handshake(_)
        | ConnectFailure::NotConnected(_)
        | ConnectFailure::Session(_) => LONGEST_DELAY,
        _ => LONGEST_CHEAP_DELAY,
    };
    if earlier < 4 { FIRST_DELAY } else { (delay * 3 / 2).min(longest) }
}

/// A target's secrets and names, read.
struct Way {
    login: Credentials,
    bastion: Option<Credentials>,
    expected: Option<PublicKey>,
    config: Arc<client::Config>,
}

impl Way {
    fn of(target: &SshTarget) -> Result<Self, CommunicatorError> {
        Ok(Self {
            login: Credentials::read(&target.login)?,
            bastion: target.bastion.as_ref().map(|bastion| Credentials::read(&bastion.login)).transpose()?,
            expected: target.expected_host_key.as_deref().map(keys::parse_public).transpose()?,
            config: Arc::new(config(target)?),
        })
    }
}

async fn connect_once(target: &SshTarget, way: &Way, limit: Duration) -> Result<SshCommunicator, ConnectFailure> {
    if let Some(tunnel) = &target.tunnel {
        return through_session(tunnel, way, limit).await;
    }
    let (Some(bastion), Some(credentials)) = (&target.bastion, &way.bastion) else {
        let stream = tcp(&target.host, target.port, limit).await?;
        return within(limit, handshake(way, &way.login, way.expected.as_ref(), stream, None)).await;
    };
    let through = async {
        let stream = tcp(&bastion.host, bastion.port, limit).await?;
        let (handle, _) = open(way, credentials, None, stream).await?;
        let channel = handle.channel_open_direct_tcpip(target.host.as_str(), target.port.into(), "127.0.0.1", 0).await;
        Ok::<_, ConnectFailure>((handle, channel))
    };
    let (handle, channel) =
        within(limit, through).await.map_err(|failure| ConnectFailure::Bastion(Box::new(failure)))?;
    // The bastion is there and says that the machine is not, yet.
    let channel = channel.map_err(|error| ConnectFailure::BehindBastion(error.to_string()))?;
    within(limit, handshake(way, &way.login, way.expected.as_ref(), channel.into_stream(), Some(handle))).await
}

async fn through_session(tunnel: &Tunnel, way: &Way, limit: Duration) -> Result<SshCommunicator, ConnectFailure> {
    let opening = async { session_manager::open(tunnel).await.map_err(session_failure) };
    let stream = within(limit, opening).await?;
    let ending = stream.ending();
    let outcome = within(limit, handshake(way, &way.login, way.expected.as_ref(), stream, None)).await;
    // Of a session that ended the service or the agent says why; SSH only that nothing came.
    match (outcome, ending.reason()) {
        (Err(ConnectFailure::Handshake(_)), Some(reason)) => Err(session_failure(reason)),
        (outcome, _) => outcome,
    }
}

fn session_failure(failure: SessionFailure) -> ConnectFailure {
    match failure {
        SessionFailure::NotConnected(why) => ConnectFailure::NotConnected(why),
        SessionFailure::Refused(why) => ConnectFailure::SessionRefused(why),
        SessionFailure::Failed(why) => ConnectFailure::Session(why),
    }
}

async fn tcp(host: &str, port: u16, limit: Duration) -> Result<TcpStream, ConnectFailure> {
    let stream = match tokio::time::timeout(limit.min(TCP_LIMIT), TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(tcp_failure(&error)),
        Err(_) => return Err(ConnectFailure::NoAnswer),
    };
    // Only a matter of speed: without it small requests wait for acknowledgements.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ConnectFailure>>,
) -> Result<T, ConnectFailure> {
    match tokio::time::timeout(limit.min(HANDSHAKE_LIMIT), work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectFailure::Handshake("no answer in time".to_owned())),
    }
}

async fn handshake(
    way: &Way,
    credentials: &Credentials,
    expected: Option<&PublicKey>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    bastion: Option<client::Handle<Client>>,
) -> Result<SshCommunicator, ConnectFailure> {
    let (handle, facts) = open(way, credentials, expected, stream).await?;
    let host_key = locked(&facts).host_key.clone();
    host_key
        .map(|host_key| SshCommunicator::new(handle, host_key, bastion))
        .ok_or_else(|| ConnectFailure::Handshake("the server showed no host key".to_owned()))
}

/// An authenticated connection on a stream.
async fn open(
    way: &Way,
    credentials: &Credentials,
    expected: Option<&PublicKey>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(client::Handle<Client>, Arc<Mutex<HandshakeFacts>>), ConnectFailure> {
    let facts = Arc::new(Mutex::new(HandshakeFacts::default()));
    let client = Client { expected: expected.cloned(), facts: Arc::clone(&facts) };
    let mut handle = client::connect_stream(Arc::clone(&way.config), stream, client)
        .await
        .map_err(|error| handshake_failure(&error, &facts, expected))?;
    let entered =
        credentials.authenticate(&mut handle).await.map_err(|error| handshake_failure(&error, &facts, expected))?;
    if entered {
        return Ok((handle, facts));
    }
    // The library reports a connection that ended here as a failure without further methods.
    if handle.is_closed() {
        return Err(ConnectFailure::Handshake("closed during authentication".to_owned()));
    }
    let banner = locked(&facts).banner.clone();
    Err(ConnectFailure::Authentication { username: credentials.username.clone(), banner })
}

fn config(target: &SshTarget) -> Result<client::Config, CommunicatorError> {
    let keep_alive_interval = target.keep_alive_interval;
    let unknown = |name: &String| CommunicatorError::UnknownAlgorithm(name.clone());
    let mut preferred = russh::Preferred { cipher: Cow::Borrowed(CIPHERS), ..russh::Preferred::default() };
    if !target.ciphers.is_empty() {
        let names = target.ciphers.iter();
        let names = names.map(|name| russh::cipher::Name::try_from(name.as_str()).map_err(|()| unknown(name)));
        preferred.cipher = Cow::Owned(names.collect::<Result<_, _>>()?);
    }
    if !target.key_exchange.is_empty() {
        let names = target.key_exchange.iter();
        let names = names.map(|name| russh::kex::Name::try_from(name.as_str()).map_err(|()| unknown(name)));
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        // Not algorithms but what the client can do besides.
        names.extend([russh::kex::EXTENSION_SUPPORT_AS_CLIENT, russh::kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT]);
        preferred.kex = Cow::Owned(names);
    }
    Ok(client::Config {
        client_id: russh::SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Ingot_", env!("CARGO_PKG_VERSION")))),
        keepalive_interval: (!keep_alive_interval.is_zero()).then_some(keep_alive_interval),
        keepalive_max: KEEP_ALIVES_UNANSWERED,
        preferred,
        nodelay: true,
        ..client::Config::default()
    })
}

fn tcp_failure(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        io::ErrorKind::TimedOut => ConnectFailure::NoAnswer,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            ConnectFailure::Unreachable(error.to_string())
        }
        // Name lookups fail without an operating system error number.
        _ if error.raw_os_error().is_none() => ConnectFailure::Unresolved(error.to_string()),
        _ => ConnectFailure::Handshake(error.to_string()),
    }
}

fn handshake_failure(
    error: &russh::Error,
    facts: &Mutex<HandshakeFacts>,
    expected: Option<&PublicKey>,
) -> ConnectFailure {
    match error {
        russh::Error::UnknownKey => ConnectFailure::HostKeyChanged {
            expected: expected.map(fingerprint).unwrap_or_default(),
            actual: locked(facts).host_key.as_ref().map(fingerprint).unwrap_or_default(),
        },
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            ConnectFailure::NoCommonAlgorithm(format!("{kind:?}: it offers {}", theirs.join(", ")))
        }
        other => ConnectFailure::Handshake(other.to_string()),
    }
}

fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(russh::keys::HashAlg::Sha256).to_string()
}

/// What the server told before it let us in.
#[derive(Debug, Default)]
struct HandshakeFacts {
    host_key: Option<PublicKey>,
    banner: Option<String>,
}

fn locked(facts: &Mutex<HandshakeFacts>) -> std::sync::MutexGuard<'_, HandshakeFacts> {
    facts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// russh's callbacks for one connection.
pub(super) struct Client {
    expected: Option<PublicKey>,
    facts: Arc<Mutex<HandshakeFacts>>,
}

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(&mut self, server_key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let key = match server_key {
            PublicKeyOrCertificate::PublicKey { key, .. } => key.clone(),
            // Not offered by the default preferences, so a server has no reason to send one.
            PublicKeyOrCertificate::Certificate(_) => return Ok(false),
        };
        let known = self.expected.as_ref().is_none_or(|expected| expected.key_data() == key.key_data());
        locked(&self.facts).host_key = Some(key);
        Ok(known)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut client::Session) -> Result<(), Self::Error> {
        let text: String = banner.chars().filter(|c| !c.is_control() || *c == '\n').take(500).collect();
        let text = text.trim().replace('\n', " ");
        if !text.is_empty() {
            locked(&self.facts).banner = Some(text);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_follow_each_other_quickly_and_spare_a_server_that_answers() {
        let run = |reason: &ConnectFailure| {
            let mut delay = FIRST_DELAY;
            let delays = (0..9).map(|earlier| {
                delay = next_delay(delay, reason, earlier);
                delay.as_millis()
            });
            delays.collect::<Vec<_>>()
        };
        assert_eq!(run(&ConnectFailure::Refused), [250, 250, 250, 250, 375, 500, 500, 500, 500]);
        assert_eq!(run(&ConnectFailure::Handshake(String::new())), [250, 250, 250, 250, 375, 562, 843, 1265, 1898]);
    }

    #[test]
    fn refused_keys_never_add_up_to_a_penalty_of_openssh() {
        let reason = ConnectFailure::Authentication { username: String::new(), banner: None };
        let mut penalty = Duration::ZERO;
        for earlier in 0..50 {
            penalty += Duration::from_secs(5);
            assert!(penalty < Duration::from_secs(15), "after {earlier} earlier failures: {penalty:?}");
            penalty = penalty.saturating_sub(next_delay(FIRST_DELAY, &reason, earlier));
        }
    }
}
