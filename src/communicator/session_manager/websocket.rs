//! The websocket. Its HTTP request goes as all of the server's others do: the same TLS, roots and proxies.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use reqwest::{Client, Response, StatusCode, Url};
use secrecy::ExposeSecret;
use sha1::{Digest, Sha1};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::{SessionFailure, SessionGrant, message};

pub(super) type Socket = WebSocketStream<reqwest::Upgraded>;

/// For connection, TLS and the answer.
const LIMIT: Duration = Duration::from_secs(15);
/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// Opens the websocket of a session. Errors never show its URL or headers, which may hold a signature.
///
/// # Errors
/// [`SessionFailure::Refused`] when the service says that whoever asks may not.
pub(super) async fn connect(grant: &SessionGrant) -> Result<Socket, SessionFailure> {
    let answer = asked(grant).await.map_err(SessionFailure::Failed)?;
    if matches!(answer.response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(SessionFailure::Refused(answer.refusal()));
    }
    answer.socket().await.map_err(SessionFailure::Failed)
}

/// What came for the request of a websocket.
struct Answer {
    response: Response,
    key: String,
}

async fn asked(grant: &SessionGrant) -> Result<Answer, String> {
    let url = url(&grant.stream_url)?;
    let key = STANDARD.encode(uuid::Uuid::new_v4().as_bytes());
    let request = client(&url)?.get(url).headers(headers(grant, &key)?).send();
    match tokio::time::timeout(LIMIT, request).await {
        Ok(Ok(response)) => Ok(Answer { response, key }),
        Ok(Err(error)) => Err(chain(&error.without_url())),
        Err(_) => Err("the service's websocket endpoint does not answer".to_owned()),
    }
}

impl Answer {
    fn refusal(&self) -> String {
        format!("the service refused the websocket (HTTP {})", self.response.status().as_u16())
    }

    async fn socket(self) -> Result<Socket, String> {
        if self.response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self.refusal());
        }
        let expected = accept(&self.key);
        let accepted = self.response.headers().get(ACCEPT);
        if accepted.is_none_or(|value| value.as_bytes() != expected.as_bytes()) {
            return Err("what answers is no websocket".to_owned());
        }
        let upgraded = self.response.upgrade().await.map_err(|error| chain(&error.without_url()))?;
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config())).await)
    }
}

/// Of both ends: what is sent is small, and a stranger's message may not be large.
pub(super) fn config() -> WebSocketConfig {
    let most = message::MOST_PAYLOAD + 1024;
    WebSocketConfig::default().max_message_size(Some(most)).max_frame_size(Some(most))
}

pub(super) fn accept(key: &str) -> String {
    STANDARD.encode(Sha1::digest(format!("{key}{GUID}")))
}

fn url(stream_url: &str) -> Result<Url, String> {
    let http = match stream_url.split_once("://") {
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(("ws", rest)) => format!("http://{rest}"),
        _ => return Err("the session's stream URL is none of a websocket".to_owned()),
    };
    Url::parse(&http).map_err(|_| "the session's stream URL can't be read".to_owned())
}

fn headers(grant: &SessionGrant, key: &str) -> Result<HeaderMap, String> {
    let invalid = || "the websocket's request can't be written".to_owned();
    let mut headers = HeaderMap::new();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(VERSION, HeaderValue::from_static("13"));
    headers.insert(KEY, HeaderValue::from_str(key).map_err(|_| invalid())?);
    for (name, value) in &grant.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| invalid())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// A proxy of the environment can't know our own machine.
fn client(url: &Url) -> Result<Client, String> {
    static CLIENTS: [OnceLock<Client>; 2] = [OnceLock::new(), OnceLock::new()];
    let local = url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
    let place = &CLIENTS[usize::from(local)];
    if let Some(client) = place.get() {
        return Ok(client.clone());
    }
    let builder = Client::builder().http1_only().redirect(reqwest::redirect::Policy::none()).connect_timeout(LIMIT);
    let builder = if local { builder.no_proxy() } else { builder };
    let client = builder.build().map_err(|error| chain(&error))?;
    Ok(place.get_or_init(|| client).clone())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut texts: Vec<String> =
        std::iter::successors(Some(error), |cause| cause.source()).map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_key_is_the_standards() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_websockets_are_opened() {
        assert_eq!(url("wss://ssmmessages.eu-west-1.amazonaws.com/v1/x?role=y").unwrap().scheme(), "https");
        assert_eq!(url("ws://127.0.0.1:1/x").unwrap().scheme(), "http");
        for other in ["https://a", "file:///etc/passwd", "", "wss://"] {
            assert!(url(other).is_err(), "{other}");
        }
    }
}
