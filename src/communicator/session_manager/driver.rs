//! Moves bytes between a session's websocket and its stream, and replaces the websocket when it breaks.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::channel::{Channel, Event};
use super::stream::Ending;
use super::trouble::Trouble;
use super::websocket::{self, Socket};
use super::{SessionFailure, SessionGrant, SessionStream, Tunnel, payload};

/// Between the stream and the driver, each way.
const PIPE: usize = 64 * 1024;
/// Bytes that the stream's reader has not taken: from here on nothing more is read from the websocket, which holds the
/// machine up. While our own messages are unacknowledged, up to [`MOST_UNREAD`] are, for the acknowledgements among them:
/// otherwise both ends could wait for each other. The windows of SSH's channels stay below that.
const UNREAD: usize = 4 * 1024 * 1024;
const MOST_UNREAD: usize = 32 * 1024 * 1024;
/// Frames go out within this time, else the network is gone.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How often a websocket without traffic is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_secs(20);
/// A websocket on which nothing came for this long is dead, pings are answered.
const SILENCE: Duration = Duration::from_secs(50);
/// For one call of the opener. It may wait for a lease, which is not renewed any more once the build is over.
const CALL_LIMIT: Duration = Duration::from_secs(45);
/// For a farewell.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

/// Starts a session and waits for the agent's handshake. Dropping the future ends what was started.
///
/// # Errors
/// Why there is no session.
pub async fn open(tunnel: &Tunnel) -> Result<SessionStream, SessionFailure> {
    open_within(tunnel, UNREAD).await
}

/// As [`open`], with another limit of what may wait for the stream's reader.
pub(super) async fn open_within(tunnel: &Tunnel, most_waiting: usize) -> Result<SessionStream, SessionFailure> {
    let (near, far) = tokio::io::duplex(PIPE);
    let (reader, writer) = tokio::io::split(far);
    let (opened, wait) = oneshot::channel();
    let (ending, gone) = (Ending::default(), CancellationToken::new());
    let stream = SessionStream { bytes: near, ending: ending.clone(), _guard: gone.clone().drop_guard() };
    // A task of its own: a session that is being started when the caller gives up must be ended, too.
    let pipe = Pipe { reader, writer, most_waiting };
    tokio::spawn(run(tunnel.clone(), pipe, opened, ending, gone));
    match wait.await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(SessionFailure::Failed("the session's task was stopped".to_owned())),
    }
}

type Opened = oneshot::Sender<Result<(), SessionFailure>>;

async fn called(
    call: impl Future<Output = Result<SessionGrant, SessionFailure>>,
) -> Result<SessionGrant, SessionFailure> {
    let late = |_| SessionFailure::Failed("no answer in time".to_owned());
    tokio::time::timeout(CALL_LIMIT, call).await.map_err(late).flatten()
}

/// The driver's end of the stream.
struct Pipe {
    reader: ReadHalf<DuplexStream>,
    writer: WriteHalf<DuplexStream>,
    most_waiting: usize,
}

async fn run(tunnel: Tunnel, pipe: Pipe, opened: Opened, ending: Ending, gone: CancellationToken) {
    let grant = match called(tunnel.opener.start()).await {
        Ok(grant) => grant,
        Err(failure) => {
            // Who asked may have given up.
            let _ = opened.send(Err(failure));
            return;
        }
    };
    let session_id = grant.session_id.clone();
    tracing::debug!(session_id, "a Session Manager session was started");
    let mut driver = Driver {
        channel: Channel::new(tunnel.clock.clone()),
        client_id: Uuid::new_v4(),
        tunnel,
        session_id,
        reader: Some(pipe.reader),
        writer: pipe.writer,
        most_waiting: pipe.most_waiting,
        unread: VecDeque::new(),
        unread_bytes: 0,
        opened: Some(opened),
        trouble: Trouble::default(),
        gone,
    };
    let failure = driver.session(grant).await;
    let ended_here = driver.gone.is_cancelled();
    tracing::debug!(session_id = driver.session_id, ?failure, ended_here, "a Session Manager session has ended");
    if let Some(failure) = failure {
        ending.set(failure.clone());
        if let Some(opened) = driver.opened.take() {
            let _ = opened.send(Err(failure));
        }
    }
    let Driver { tunnel, session_id, reader, writer, .. } = driver;
    // The stream ends for its owner now, not when the service has answered.
    drop((reader, writer));
    if tokio::time::timeout(CALL_LIMIT, tunnel.opener.terminate(&session_id)).await.is_err() {
        tracing::debug!(session_id, "a session was not ended in time; it ends with its instance");
    }
}

struct Driver {
    tunnel: Tunnel,
    session_id: String,
    /// The same on all websockets of the session.
    client_id: Uuid,
    channel: Channel,
    /// What the stream's owner writes; `None` when they are done.
    reader: Option<ReadHalf<DuplexStream>>,
    writer: WriteHalf<DuplexStream>,
    /// What came from the machine and the stream's owner has not taken yet.
    unread: VecDeque<Bytes>,
    unread_bytes: usize,
    most_waiting: usize,
    opened: Option<Opened>,
    trouble: Trouble,
    /// The stream was dropped.
    gone: CancellationToken,
}

/// Why the work on one websocket ended.
enum Stop {
    /// The stream was dropped.
    Gone,
    /// The websocket broke.
    Broken(String),
    Ended(SessionFailure),
}

impl From<SessionFailure> for Stop {
    fn from(failure: SessionFailure) -> Self {
        Self::Ended(failure)
    }
}

impl Driver {
    /// All of a session; `None` when it was ended by the stream's owner.
    async fn session(&mut self, grant: SessionGrant) -> Option<SessionFailure> {
        let gone = self.gone.clone();
        let first = tokio::select! {
            first = self.connect(&grant) => first,
            () = gone.cancelled() => return None,
        };
        let mut socket = match first {
            Ok(socket) => socket,
            Err(failure) => return Some(failure),
        };
        loop {
            match self.work(&mut socket).await {
                Stop::Gone => {
                    self.farewell(&mut socket).await;
                    return None;
                }
                Stop::Ended(failure) => {
                    self.hand_over().await;
                    let _ = tokio::time::timeout(FAREWELL_LIMIT, socket.close(None)).await;
                    return Some(failure);
                }
                Stop::Broken(why) => {
                    tracing::info!(session_id = self.session_id, why, "the websocket of a session broke");
                    drop(socket);
                    socket = tokio::select! {
                        resumed = self.resume(&why) => match resumed {
                            Ok(socket) => socket,
                            Err(failure) => {
                                self.hand_over().await;
                                return Some(failure);
                            }
                        },
                        () = gone.cancelled() => return None,
                    };
                }
            }
        }
    }

    async fn connect(&self, grant: &SessionGrant) -> Result<Socket, SessionFailure> {
        let mut socket = websocket::connect(grant).await?;
        let hello = payload::open_data_channel(grant.token.expose_secret(), self.client_id);
        send(&mut socket, [Frame::text(hello)]).await.map_err(SessionFailure::Failed)?;
        Ok(socket)
    }

    /// A new websocket for the same session, to which is sent what the old one may have lost.
    async fn resume(&mut self, why: &str) -> Result<Socket, SessionFailure> {
        let mut last = "it breaks again and again".to_owned();
        loop {
            let Some(delay) = self.trouble.attempt(Instant::now()) else {
                return Err(SessionFailure::Failed(format!("{why}; the session can't be resumed ({last})")));
            };
            tokio::time::sleep(delay).await;
            let socket = match called(self.tunnel.opener.resume(&self.session_id)).await {
                Ok(grant) => self.connect(&grant).await,
                Err(failure) => Err(failure),
            };
            last = match socket {
                Ok(mut socket) => {
                    let again = self.channel.resumed(Instant::now());
                    match send(&mut socket, again.into_iter().map(Frame::binary)).await {
                        Ok(()) => return Ok(socket),
                        Err(last) => last,
                    }
                }
                Err(SessionFailure::Failed(last)) => last,
                // A session of a machine that is gone does not come back.
                Err(SessionFailure::Refused(last) | SessionFailure::NotConnected(last)) => {
                    return Err(SessionFailure::Failed(format!("{why}; the session can't be resumed: {last}")));
                }
            };
        }
    }

    /// Moves bytes both ways until something ends it.
    async fn work(&mut self, socket: &mut Socket) -> Stop {
        let mut buffer = vec![0; 16 * 1024];
        let gone = self.gone.clone();
        let began = Instant::now();
        let (mut heard, mut pinged) = (began, began);
        loop {
            let now = Instant::now();
            let room = self.channel.room(now).min(buffer.len());
            let limit = if self.channel.has_unacknowledged() { MOST_UNREAD } else { self.most_waiting };
            let listens = self.unread_bytes < limit;
            let ping_at = pinged + PING_EVERY;
            let timer = self.channel.due_at(now).map_or(ping_at, |due| due.min(ping_at));
            // Silence is no sign while nobody listens.
            if !listens {
                heard = now;
            }
            self.trouble.lives(began, heard);
            let result = tokio::select! {
                () = gone.cancelled() => return Stop::Gone,
                frame = socket.next(), if listens => {
                    heard = Instant::now();
                    self.frame(frame, socket).await
                }
                written = self.writer.write(front(&self.unread)), if !self.unread.is_empty() => {
                    self.taken(written.unwrap_or_default())
                }
                read = read(&mut self.reader, &mut buffer[..room]), if room > 0 && self.reader.is_some() => {
                    self.given(&buffer[..read], socket).await
                }
                () = tokio::time::sleep_until(timer) => {
                    self.timer(heard, &mut pinged, socket).await
                }
            };
            if let Err(stop) = result {
                return stop;
            }
        }
    }

    async fn frame(
        &mut self,
        frame: Option<Result<Frame, tokio_tungstenite::tungstenite::Error>>,
        socket: &mut Socket,
    ) -> Result<(), Stop> {
        let bytes = match frame {
            Some(Ok(Frame::Binary(bytes))) => bytes,
            Some(Ok(Frame::Text(text))) => text.into(),
            Some(Ok(Frame::Close(close))) => {
                let why = close.map(|close| format!(" ({}: {})", close.code, close.reason)).unwrap_or_default();
                return Err(Stop::Broken(format!("the service closed the websocket{why}")));
            }
            // Pongs are answered by the library with the next frame that is sent.
            Some(Ok(_)) => return flush(socket).await.map_err(Stop::Broken),
            Some(Err(error)) => return Err(Stop::Broken(format!("the websocket broke: {error}"))),
            None => return Err(Stop::Broken("the websocket ended".to_owned())),
        };
        let mut frames = Vec::new();
        let mut ended = None;
        for event in self.channel.received(&bytes, Instant::now()) {
            match event {
                Event::Send(bytes) => frames.push(Frame::binary(bytes)),
                Event::Data(bytes) => {
                    self.unread_bytes += bytes.len();
                    self.unread.push_back(bytes);
                }
                Event::Opened => {
                    if let Some(opened) = self.opened.take() {
                        let _ = opened.send(Ok(()));
                    }
                }
                Event::Ended(failure) => ended = Some(failure),
            }
        }
        let sent = send(socket, frames).await;
        match ended {
            Some(failure) => Err(failure.into()),
            None => sent.map_err(Stop::Broken),
        }
    }

    /// The stream's owner took some of what had come; none: they are not there any more.
    fn taken(&mut self, count: usize) -> Result<(), Stop> {
        if count == 0 {
            return Err(Stop::Gone);
        }
        self.unread_bytes -= count;
        if let Some(front) = self.unread.front_mut() {
            let _ = front.split_to(count.min(front.len()));
            if front.is_empty() {
                self.unread.pop_front();
            }
        }
        Ok(())
    }

    /// The stream's owner wrote something; nothing: they won't any more, but may still read.
    async fn given(&mut self, bytes: &[u8], socket: &mut Socket) -> Result<(), Stop> {
        if bytes.is_empty() {
            self.reader = None;
            return Ok(());
        }
        let frames = self.channel.send(bytes, Instant::now()).into_iter().map(Frame::binary);
        send(socket, frames).await.map_err(Stop::Broken)
    }

    async fn timer(&mut self, heard: Instant, pinged: &mut Instant, socket: &mut Socket) -> Result<(), Stop> {
        let now = Instant::now();
        if now.saturating_duration_since(heard) > SILENCE {
            return Err(Stop::Broken("nothing comes from the service any more".to_owned()));
        }
        let mut frames = Vec::new();
        if now >= *pinged + PING_EVERY {
            *pinged = now;
            frames.push(Frame::Ping(Bytes::new()));
        }
        frames.extend(self.channel.overdue(now).into_iter().map(Frame::binary));
        send(socket, frames).await.map_err(Stop::Broken)
    }

    /// The session is over, but its last words are for the stream's owner, who may be slow.
    async fn hand_over(&mut self) {
        let writing = async {
            while let Some(bytes) = self.unread.pop_front() {
                if self.writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = writing => {}
            () = self.gone.cancelled() => {}
        }
    }

    /// The stream was dropped: what its owner wrote last still goes out, such as SSH's farewell.
    async fn farewell(&mut self, socket: &mut Socket) {
        let goodbye = async {
            let mut rest = vec![0; PIPE];
            while let room @ 1.. = self.channel.room(Instant::now()).min(rest.len()) {
                let count = read(&mut self.reader, &mut rest[..room]).await;
                if count == 0 {
                    break;
                }
                let frames = self.channel.send(&rest[..count], Instant::now());
                send(socket, frames.into_iter().map(Frame::binary)).await?;
            }
            send(socket, [Frame::binary(self.channel.terminate(Instant::now()))]).await?;
            socket.close(None).await.map_err(|error| error.to_string())?;
            // A connection that is dropped with something unread takes with it what was sent.
            while let Some(Ok(_)) = socket.next().await {}
            Ok::<_, String>(())
        };
        if let Ok(Err(error)) = tokio::time::timeout(FAREWELL_LIMIT, goodbye).await {
            tracing::debug!(error, "the agent was not told that a session is over");
        }
    }
}

fn front(unread: &VecDeque<Bytes>) -> &[u8] {
    unread.front().map_or(&[], |bytes| &bytes[..])
}

/// Nothing when the stream's owner is done.
async fn read(reader: &mut Option<ReadHalf<DuplexStream>>, into: &mut [u8]) -> usize {
    match reader {
        Some(reader) => reader.read(into).await.unwrap_or_default(),
        None => 0,
    }
}

async fn send(socket: &mut Socket, frames: impl IntoIterator<Item = Frame>) -> Result<(), String> {
    let sending = async {
        for frame in frames {
            socket.feed(frame).await?;
        }
        socket.flush().await
    };
    within(sending).await
}

async fn flush(socket: &mut Socket) -> Result<(), String> {
    within(socket.flush()).await
}

async fn within(
    sending: impl Future<Output = Result<(), tokio_tungstenite::tungstenite::Error>>,
) -> Result<(), String> {
    match tokio::time::timeout(SEND_LIMIT, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(format!("the websocket broke: {error}")),
        Err(_) => Err("the network takes nothing any more".to_owned()),
    }
}
