//! An imitation of the service and of the agent, in memory but for the websocket on 127.0.0.1: with the agent's habits
//! (it acknowledges nothing twice, repeats only its first unacknowledged message) and with faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::Role;
use uuid::Uuid;

use super::message::{Message, MessageType, PayloadType, SYN};
use super::{SessionFailure, SessionGrant, SessionOpener, Tunnel, websocket};
use crate::domain::clock::Clock;

pub(super) struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + chrono::TimeDelta::days(20_000)
    }

    fn since_boot(&self) -> Duration {
        Duration::ZERO
    }
}

/// What goes wrong, and what was seen.
#[derive(Default)]
pub(crate) struct Behaviour {
    /// So many starts find no agent.
    pub not_connected: AtomicUsize,
    /// Starts are refused.
    pub refuses: AtomicBool,
    pub refuses_resume: AtomicBool,
    /// Websockets are.
    pub denies: AtomicBool,
    /// The agent says nothing at all.
    pub is_silent: AtomicBool,
    /// The handshake asks for encryption.
    pub asks_for_kms: AtomicBool,
    /// So many messages of the stream find the agent not ready: it keeps none of them and says nothing.
    pub not_ready: AtomicUsize,
    /// So many acknowledgements are lost.
    pub loses_acks: AtomicUsize,
    /// Each second message of the agent comes before the one before it.
    pub swaps: AtomicBool,
    /// Each message of the agent comes twice.
    pub doubles: AtomicBool,
    /// So many of the agent's messages arrive bent.
    pub bends: AtomicUsize,
    /// The websocket is cut.
    pub cut: Notify,
    /// The service says this to the client.
    pub says: Mutex<VecDeque<Bytes>>,
    pub speaks: Notify,

    pub starts: AtomicUsize,
    pub resumes: AtomicUsize,
    pub terminated: AtomicUsize,
    /// The agent was told that the session is over.
    pub farewells: AtomicUsize,
    pub inputs: AtomicUsize,
    pub hellos: Mutex<Vec<Value>>,
}

type Websocket = WebSocketStream<TcpStream>;

pub(crate) struct Service {
    pub behaviour: Arc<Behaviour>,
    address: String,
    /// A running agent's ear for new websockets, by session.
    agents: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Websocket>>>>,
    /// The machine's sshd, or whatever is there.
    port: u16,
}

impl Service {
    /// A service whose machine's port is one of this machine.
    pub(crate) fn to(port: u16) -> Arc<Self> {
        let listener = listener();
        let address = listener.local_addr().unwrap().to_string();
        let service = Arc::new(Self { behaviour: Arc::default(), address, agents: Arc::default(), port });
        let (agents, behaviour) = (service.agents.clone(), service.behaviour.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accept(stream, agents.clone(), behaviour.clone()));
            }
        });
        service
    }

    pub(crate) fn tunnel(self: &Arc<Self>) -> Tunnel {
        Tunnel { opener: self.clone(), clock: Arc::new(Fixed) }
    }

    /// The service sends whatever this is.
    pub(super) fn say_raw(&self, bytes: Vec<u8>) {
        self.behaviour.says.lock().unwrap().push_back(bytes.into());
        self.behaviour.speaks.notify_one();
    }

    /// The service says something to the client.
    pub(super) fn say(&self, kind: MessageType, payload: &Value) {
        let payload = Bytes::from(payload.to_string());
        self.behaviour.says.lock().unwrap().push_back(message(kind, 0, PayloadType::None, payload));
        self.behaviour.speaks.notify_one();
    }

    fn grant(&self, session: &str) -> SessionGrant {
        SessionGrant {
            session_id: session.to_owned(),
            stream_url: format!("ws://{}/v1/data-channel/{session}?role=publish_subscribe", self.address),
            token: SecretString::from(format!("token of {session}")),
            headers: vec![("authorization".to_owned(), SecretString::from("AWS4-HMAC-SHA256 x".to_owned()))],
        }
    }
}

/// A listener whose connections hold little, so that a test sees early who is held up.
pub(super) fn listener() -> TcpListener {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(16 * 1024).unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    socket.listen(16).unwrap()
}

fn next_word(behaviour: &Behaviour) -> Option<Bytes> {
    behaviour.says.lock().unwrap().pop_front()
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[async_trait]
impl SessionOpener for Service {
    async fn start(&self) -> Result<SessionGrant, SessionFailure> {
        let number = self.behaviour.starts.fetch_add(1, SeqCst);
        if take(&self.behaviour.not_connected) {
            return Err(SessionFailure::NotConnected("TargetNotConnected: i-1 is not connected.".to_owned()));
        }
        if self.behaviour.refuses.load(SeqCst) {
            return Err(SessionFailure::Refused("AccessDeniedException: no".to_owned()));
        }
        let session = format!("ingot-{number}");
        let (ear, websockets) = mpsc::unbounded_channel();
        self.agents.lock().unwrap().insert(session.clone(), ear);
        tokio::spawn(Agent::new(self.behaviour.clone()).serve(self.port, websockets));
        Ok(self.grant(&session))
    }

    async fn resume(&self, session_id: &str) -> Result<SessionGrant, SessionFailure> {
        self.behaviour.resumes.fetch_add(1, SeqCst);
        if self.behaviour.refuses_resume.load(SeqCst) {
            return Err(SessionFailure::Refused("DoesNotExistException: no such session".to_owned()));
        }
        Ok(self.grant(session_id))
    }

    async fn terminate(&self, session_id: &str) {
        self.behaviour.terminated.fetch_add(1, SeqCst);
        self.agents.lock().unwrap().remove(session_id);
    }
}

/// Answers the HTTP request, reads the first text and hands the websocket to its session's agent.
async fn accept(
    mut stream: TcpStream,
    agents: Arc<Mutex<BTreeMap<String, mpsc::UnboundedSender<Websocket>>>>,
    behaviour: Arc<Behaviour>,
) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).ok()?;
    let header = |name: &str| {
        let mut lines = request.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let session = request.split(['/', '?']).nth(3)?.to_owned();
    assert_eq!(header("authorization").as_deref(), Some("AWS4-HMAC-SHA256 x"), "the signature goes with the request");
    let Some(ear) = agents.lock().unwrap().get(&session).cloned() else {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await.ok()?;
        return None;
    };
    if behaviour.denies.load(SeqCst) {
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.ok()?;
        return None;
    }
    let accept = websocket::accept(&header("sec-websocket-key")?);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: \
         {accept}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).await.ok()?;
    let mut websocket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(websocket::config())).await;
    let Frame::Text(hello) = websocket.next().await?.ok()? else { return None };
    let hello: Value = serde_json::from_str(hello.as_str()).ok()?;
    assert_eq!(hello["TokenValue"], json!(format!("token of {session}")));
    behaviour.hellos.lock().unwrap().push(hello);
    ear.send(websocket).ok()
}

pub(super) fn message(kind: MessageType, sequence: i64, payload_type: PayloadType, payload: Bytes) -> Bytes {
    let flags = if sequence == 0 { SYN } else { 0 };
    Message { kind, created: 1, sequence, flags, id: Uuid::new_v4(), payload_type, payload }.encode()
}

struct Agent {
    behaviour: Arc<Behaviour>,
    websocket: Option<Websocket>,
    next: i64,
    unacknowledged: VecDeque<(i64, Bytes)>,
    expected: i64,
    early: BTreeMap<i64, Message>,
    held_back: Option<Bytes>,
    greeted: bool,
    machine: Option<mpsc::UnboundedSender<Bytes>>,
}

impl Agent {
    fn new(behaviour: Arc<Behaviour>) -> Self {
        Self {
            behaviour,
            websocket: None,
            next: 0,
            unacknowledged: VecDeque::new(),
            expected: 0,
            early: BTreeMap::new(),
            held_back: None,
            greeted: false,
            machine: None,
        }
    }

    async fn serve(mut self, port: u16, mut websockets: mpsc::UnboundedReceiver<Websocket>) {
        let Some(first) = websockets.recv().await else { return };
        self.websocket = Some(first);
        let port_number = json!({ "portNumber": "22" });
        let mut actions = vec![
            json!({ "ActionType": "SessionType", "ActionParameters": { "SessionType": "Port", "Properties": port_number } }),
        ];
        if self.behaviour.asks_for_kms.load(SeqCst) {
            actions.push(json!({ "ActionType": "KMSEncryption", "ActionParameters": { "KMSKeyId": "alias/k" } }));
        }
        let request = json!({ "AgentVersion": "3.3.0.0", "RequestedClientActions": actions });
        if !self.behaviour.is_silent.load(SeqCst) {
            self.stream(PayloadType::HandshakeRequest, request.to_string().into()).await;
        }
        let mut machine: Option<OwnedReadHalf> = None;
        let mut buffer = [0; 1024];
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            let behaviour = self.behaviour.clone();
            tokio::select! {
                websocket = websockets.recv() => match websocket {
                    Some(websocket) => self.websocket = Some(websocket),
                    None => return self.linger().await,
                },
                frame = frame(&mut self.websocket) => match frame {
                    Some(bytes) => if self.hear(&bytes).await.is_none() { return self.linger().await },
                    None => self.websocket = None,
                },
                read = read(&mut machine, &mut buffer) => match read {
                    0 => {
                        self.say(message(MessageType::ChannelClosed, 0, PayloadType::None, json!({ "Output": "" }).to_string().into())).await;
                        return self.linger().await;
                    }
                    count => self.stream(PayloadType::Output, Bytes::copy_from_slice(&buffer[..count])).await,
                },
                _ = tick.tick() => {
                    if let Some(held_back) = self.held_back.take() {
                        self.say(held_back).await;
                    } else if let Some((_, bytes)) = self.unacknowledged.front().cloned() {
                        self.say(bytes).await;
                    }
                }
                () = behaviour.cut.notified() => self.websocket = None,
                () = behaviour.speaks.notified() => {
                    while let Some(bytes) = next_word(&behaviour) {
                        self.say(bytes).await;
                    }
                }
            }
            if self.greeted && machine.is_none() {
                self.greeted = false;
                match TcpStream::connect(("127.0.0.1", port)).await {
                    Ok(stream) => {
                        let (reader, mut writer) = stream.into_split();
                        let (input, mut inputs) = mpsc::unbounded_channel::<Bytes>();
                        // The agent writes and reads at the same time.
                        tokio::spawn(async move {
                            while let Some(bytes) = inputs.recv().await {
                                if writer.write_all(&bytes).await.is_err() {
                                    return;
                                }
                            }
                        });
                        machine = Some(reader);
                        self.machine = Some(input);
                    }
                    Err(error) => {
                        let words = json!({ "Output": format!("Unable to connect to specified port: {error}") });
                        self.say(message(MessageType::ChannelClosed, 0, PayloadType::None, words.to_string().into()))
                            .await;
                        return self.linger().await;
                    }
                }
            }
        }
    }

    /// Hears the client out: a connection that is dropped with something unread takes what was sent with it.
    async fn linger(mut self) {
        while let Some(bytes) = if self.websocket.is_some() { frame(&mut self.websocket).await } else { None } {
            self.hear(&bytes).await;
        }
    }

    async fn say(&mut self, bytes: Bytes) {
        if let Some(websocket) = &mut self.websocket
            && websocket.send(Frame::binary(bytes)).await.is_err()
        {
            self.websocket = None;
        }
    }

    async fn stream(&mut self, payload_type: PayloadType, payload: Bytes) {
        let bytes = message(MessageType::Output, self.next, payload_type, payload);
        self.unacknowledged.push_back((self.next, bytes.clone()));
        self.next += 1;
        if take(&self.behaviour.bends) {
            let mut bent = bytes.to_vec();
            *bent.last_mut().unwrap() ^= 1;
            return self.say(bent.into()).await;
        }
        if self.behaviour.swaps.load(SeqCst) && self.held_back.is_none() {
            self.held_back = Some(bytes);
            return;
        }
        self.say(bytes.clone()).await;
        if self.behaviour.doubles.load(SeqCst) {
            self.say(bytes).await;
        }
        if let Some(held_back) = self.held_back.take() {
            self.say(held_back).await;
        }
    }

    async fn hear(&mut self, bytes: &Bytes) -> Option<()> {
        let message = Message::decode(bytes).unwrap();
        match message.kind {
            MessageType::Acknowledge => {
                let words: Value = serde_json::from_slice(&message.payload).unwrap();
                assert_eq!(words["AcknowledgedMessageType"], "output_stream_data");
                let number = words["AcknowledgedMessageSequenceNumber"].as_i64().unwrap();
                self.unacknowledged.retain(|(sequence, _)| *sequence != number);
            }
            MessageType::Input => {
                self.behaviour.inputs.fetch_add(1, SeqCst);
                if message.sequence < self.expected {
                    return Some(());
                }
                if message.sequence > self.expected {
                    self.acknowledge(&message).await;
                    self.early.insert(message.sequence, message);
                    return Some(());
                }
                if message.payload_type == PayloadType::Output
                    && (self.machine.is_none() || take(&self.behaviour.not_ready))
                {
                    return Some(());
                }
                self.acknowledge(&message).await;
                self.early.insert(message.sequence, message);
                while let Some(message) = self.early.remove(&self.expected) {
                    self.expected += 1;
                    self.input(message).await?;
                }
            }
            other => panic!("a client does not send {other:?}"),
        }
        Some(())
    }

    async fn input(&mut self, message: Message) -> Option<()> {
        match message.payload_type {
            PayloadType::HandshakeResponse => {
                let response: Value = serde_json::from_slice(&message.payload).unwrap();
                let actions = response["ProcessedClientActions"].as_array().unwrap();
                if let Some(failed) = actions.iter().find(|action| action["ActionStatus"] != 1) {
                    let words = json!({ "Output": failed["Error"] }).to_string();
                    let closed = self::message(MessageType::ChannelClosed, 0, PayloadType::None, words.into());
                    self.say(closed).await;
                    return None;
                }
                let complete = json!({ "HandshakeTimeToComplete": 1_000_000, "CustomerMessage": "" });
                self.stream(PayloadType::HandshakeComplete, complete.to_string().into()).await;
                self.greeted = true;
            }
            PayloadType::Output => self.machine.as_ref()?.send(message.payload).ok()?,
            PayloadType::Flag => {
                assert_eq!(&message.payload[..], [0, 0, 0, 2]);
                self.behaviour.farewells.fetch_add(1, SeqCst);
                return None;
            }
            other => panic!("a client does not send {other:?}"),
        }
        Some(())
    }

    async fn acknowledge(&mut self, of: &Message) {
        if of.payload_type == PayloadType::Output && take(&self.behaviour.loses_acks) {
            return;
        }
        let words = serde_json::to_vec(&super::payload::Acknowledge::of(of)).unwrap();
        self.say(message(MessageType::Acknowledge, 0, PayloadType::None, words.into())).await;
    }
}

/// The next message; `None` when the websocket is gone. Without a websocket there is none, ever.
async fn frame(websocket: &mut Option<Websocket>) -> Option<Bytes> {
    let Some(websocket) = websocket else { return std::future::pending().await };
    loop {
        match websocket.next().await? {
            Ok(Frame::Binary(bytes)) => return Some(bytes),
            Ok(Frame::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

async fn read(machine: &mut Option<OwnedReadHalf>, into: &mut [u8]) -> usize {
    match machine {
        Some(machine) => machine.read(into).await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}
