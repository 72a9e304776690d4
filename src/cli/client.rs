//! The API over HTTP. Requests that are safe to repeat are repeated a few times while the server can't be reached: reads,
//! and POSTs with an `Idempotency-Key`.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{CliError, CliResult};
use super::problem::Problem;

/// For a connection to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For a whole answer that is not a stream: a bundle of the largest size over a slow link takes its time.
const REQUEST_LIMIT: Duration = Duration::from_mins(5);
/// Pauses before the repetitions.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
/// What is read of an answer that is not Ingot's, in bytes.
const EXCERPT: usize = 200;

/// A server and who we are to it.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<SecretString>,
    pauses: Vec<Duration>,
}

impl Client {
    /// A client of the server at `server` (`http://host:port`, with a path when it is behind one).
    ///
    /// # Errors
    /// When the URL is not one of HTTP.
    pub fn new(server: &str, token: Option<SecretString>) -> CliResult<Self> {
        let wrong = |why: String| CliError::Usage(format!("--server {server:?} is not a server's URL: {why}"));
        let url = Url::parse(server).map_err(|error| wrong(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong("write http://host:port or https://host".into()));
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ingot/", env!("CARGO_PKG_VERSION")));
        if url.host_str().is_some_and(is_loopback) {
            // A proxy of the environment can't know our own machine.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| CliError::Local(format!("no HTTP client: {error}")))?;
        Ok(Self { http, server: url, token, pauses: PAUSES.into() })
    }

    /// The server's URL, for messages.
    #[must_use]
    pub fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// For tests: without waiting between repetitions.
    #[cfg(test)]
    #[must_use]
    pub(super) fn impatient(mut self) -> Self {
        self.pauses = vec![Duration::ZERO; PAUSES.len()];
        self
    }

    /// `GET`, repeated when the server can't be reached.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> CliResult<T> {
        let response =
            self.send(true, || Ok(self.request(Method::GET, path).query(query).timeout(REQUEST_LIMIT))).await?;
        self.json(response).await
    }

    /// `GET` of text.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn get_text(&self, path: &[&str]) -> CliResult<String> {
        let request = || Ok(self.request(Method::GET, path).header(ACCEPT, "text/plain").timeout(REQUEST_LIMIT));
        let response = self.send(true, request).await?;
        response.text().await.map_err(|error| self.unreachable(&error))
    }

    /// `POST` of JSON. With `idempotency_key` it is repeated when the server can't be reached.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: Option<&Value>,
        idempotency_key: Option<&str>,
    ) -> CliResult<T> {
        let request = || {
            let mut request = self.request(Method::POST, path).timeout(REQUEST_LIMIT);
            if let Some(body) = body {
                request = request.json(body);
            }
            Ok(with_key(request, idempotency_key))
        };
        self.json(self.send(idempotency_key.is_some(), request).await?).await
    }

    /// `POST` of JSON under a key of its own: repeated when the server can't be reached, and done once.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn post_once<T: DeserializeOwned>(&self, path: &[&str], body: Option<&Value>) -> CliResult<T> {
        self.post(path, body, Some(&new_idempotency_key())).await
    }

    /// `PATCH` of JSON, repeated when the server can't be reached: what is set twice is the same.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn patch<T: DeserializeOwned>(&self, path: &[&str], body: &Value) -> CliResult<T> {
        let request = || Ok(self.request(Method::PATCH, path).timeout(REQUEST_LIMIT).json(body));
        self.json(self.send(true, request).await?).await
    }

    /// `POST` of a multipart form, repeated when the server can't be reached.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn post_form<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        form: impl Fn() -> CliResult<reqwest::multipart::Form>,
        idempotency_key: &str,
    ) -> CliResult<T> {
        let request = || {
            let request = self.request(Method::POST, path).query(query).timeout(REQUEST_LIMIT).multipart(form()?);
            Ok(with_key(request, Some(idempotency_key)))
        };
        self.json(self.send(true, request).await?).await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn delete(&self, path: &[&str]) -> CliResult<()> {
        self.send(true, || Ok(self.request(Method::DELETE, path).timeout(REQUEST_LIMIT))).await.map(drop)
    }

    /// Opens a stream of server-sent events. Not repeated here: whoever follows decides.
    ///
    /// # Errors
    /// See [`CliError`].
    pub async fn events(&self, path: &[&str], last_event_id: Option<&str>) -> CliResult<Response> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
        if let Some(id) = last_event_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert("last-event-id", id);
        }
        let response = self.send(false, || Ok(self.request(Method::GET, path).headers(headers.clone()))).await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            Ok(response)
        } else {
            Err(self.not_ingot(format!("{kind:?} where an event stream was expected")))
        }
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.server.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    async fn send(&self, repeat: bool, request: impl Fn() -> CliResult<RequestBuilder>) -> CliResult<Response> {
        let mut pauses = self.pauses.iter();
        loop {
            let failure = match request()?.send().await {
                Ok(response) if repeat && is_passing(response.status()) => self.refusal(response).await,
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => return Err(self.refusal(response).await),
                Err(error) if error.is_builder() => {
                    return Err(CliError::Usage(format!("the request can't be made: {}", reason(&error))));
                }
                Err(error) => self.unreachable(&error),
            };
            let Some(pause) = pauses.next().filter(|_| repeat) else { return Err(failure) };
            tokio::time::sleep(*pause).await;
        }
    }

    async fn refusal(&self, response: Response) -> CliError {
        let status = response.status();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return self.unreachable(&error),
        };
        match serde_json::from_slice::<Problem>(&body) {
            Ok(mut problem) if !problem.title.is_empty() => {
                problem.status = status.as_u16();
                CliError::Problem(Box::new(problem))
            }
            _ => {
                let excerpt: String = String::from_utf8_lossy(&body).chars().take(EXCERPT).collect();
                self.not_ingot(format!("{status}: {}", excerpt.trim()))
            }
        }
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> CliResult<T> {
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.not_ingot(error.to_string()))
    }

    fn unreachable(&self, error: &reqwest::Error) -> CliError {
        CliError::Unreachable { server: self.server().to_owned(), reason: reason(error) }
    }

    fn not_ingot(&self, reason: String) -> CliError {
        CliError::NotIngot { server: self.server().to_owned(), reason }
    }
}

/// The innermost cause, which says more than `reqwest`'s own text (`Connection refused (os error 111)`).
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// Answers that another try may change: somebody between us and the server, or the server without its database.
fn is_passing(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A key that no other request has.
pub(super) fn new_idempotency_key() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn with_key(request: RequestBuilder, key: Option<&str>) -> RequestBuilder {
    match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{body_json, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;
    use crate::cli::exit::Exit;

    #[tokio::test]
    async fn a_server_that_is_away_for_a_moment_is_asked_again() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path("/prefix/v1/runs/a%2Fb"))
            .respond_with(
                ResponseTemplate::new(503).set_body_json(json!({"title": "The database is away", "status": 503})),
            )
            .up_to_n_times(2)
            .mount(&server)
            .await;
        Mock::given(method("GET"))
            .and(header("authorization", "Bearer ingot_x"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"fine": true})))
            .mount(&server)
            .await;
        let url = format!("{}/prefix/", server.uri());
        let client = Client::new(&url, Some(SecretString::from("ingot_x"))).unwrap().impatient();
        let answer: Value = client.get(&["runs", "a/b"], &[]).await.unwrap();
        assert_eq!(answer, json!({"fine": true}));
    }

    #[tokio::test]
    async fn what_has_no_key_is_not_repeated() {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(ResponseTemplate::new(503).set_body_string("<html>"))
            .expect(1)
            .mount(&server)
            .await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let error = client.post::<Value>(&["tokens"], Some(&json!({})), None).await.unwrap_err();
        assert!(matches!(&error, CliError::NotIngot { reason, .. } if reason.contains("<html>")), "{error}");
    }

    #[tokio::test]
    async fn a_change_of_fields_is_repeated() {
        let server = MockServer::start().await;
        let away = ResponseTemplate::new(503).set_body_json(json!({"title": "Service Unavailable", "status": 503}));
        Mock::given(method("PATCH")).respond_with(away).up_to_n_times(1).mount(&server).await;
        Mock::given(method("PATCH"))
            .and(path("/v1/schedules/web"))
            .and(body_json(json!({"cron": "0 6 * * 1"})))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"fine": true})))
            .mount(&server)
            .await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let answer: Value = client.patch(&["schedules", "web"], &json!({"cron": "0 6 * * 1"})).await.unwrap();
        assert_eq!(answer, json!({"fine": true}));
    }

    #[tokio::test]
    async fn nobody_there_is_exit_code_three() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let client = Client::new(&format!("http://{address}"), None).unwrap().impatient();
        let error = client.get::<Value>(&["runs"], &[]).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Unreachable);
        assert!(error.to_string().contains("refused"), "{error}");
    }

    #[test]
    fn only_urls_of_http_name_a_server() {
        for wrong in ["localhost:8080", "ftp://x", "", "http://"] {
            assert_eq!(Client::new(wrong, None).unwrap_err().exit(), Exit::Usage, "{wrong}");
        }
        assert!(is_loopback("[::1]") && is_loopback("127.0.0.1") && !is_loopback("example.com"));
    }
}
