//! `data "http"`: the server asks, so only for what its configuration allows.

use std::time::Duration;

use futures::StreamExt as _;
use indexmap::IndexMap;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Url};

use crate::domain::allowed_url::{AllowedUrl, UrlParts};

/// For the whole request.
const LIMIT: Duration = Duration::from_secs(15);
/// Longer bodies are refused; a template's data is small.
const LONGEST_BODY: usize = 1 << 20;
/// As many as browsers follow, about.
const MOST_REDIRECTS: usize = 10;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Question {
    pub url: String,
    pub method: String,
    pub headers: IndexMap<String, String>,
    pub body: String,
}

/// What came back, with status 200.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub body: String,
    /// By their names in HTTP's usual spelling; several of one name are joined by `, `.
    pub headers: IndexMap<String, String>,
}

fn allowed(list: &[AllowedUrl], url: &Url) -> bool {
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { return false };
    let parts = UrlParts { scheme: url.scheme(), host, port, path: url.path() };
    list.iter().any(|one| one.allows(parts))
}

/// Asks.
///
/// # Errors
/// Why there is no answer, as a sentence: the address is not allowed, or what went wrong.
pub async fn ask(question: &Question, list: &[AllowedUrl]) -> Result<Answer, String> {
    let url = Url::parse(&question.url).map_err(|error| format!("{:?} is no URL: {error}", question.url))?;
    if !allowed(list, &url) {
        let instead = "the server asks for nothing but what an administrator allows ([data_sources] http_allow); \
            give the value as a variable instead, or have the address allowed";
        return Err(format!("{} must not be asked for: {instead}", without_query(&url)));
    }
    let method = Method::from_bytes(question.method.to_uppercase().as_bytes())
        .map_err(|_| format!("{:?} is no HTTP method", question.method))?;
    let list = list.to_vec();
    let follow = Policy::custom(move |attempt| {
        if attempt.previous().len() > MOST_REDIRECTS {
            attempt.error("it redirects too often")
        } else if allowed(&list, attempt.url()) {
            attempt.follow()
        } else {
            let to = without_query(attempt.url());
            attempt.error(format!("it redirects to {to}, which is not allowed"))
        }
    });
    let client = Client::builder()
        .redirect(follow)
        .timeout(LIMIT)
        .user_agent(concat!("ingot/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| reason(&error))?;
    let request = client.request(method, url.clone()).headers(headers(&question.headers)?);
    let request = if question.body.is_empty() { request } else { request.body(question.body.clone()) };
    let answer =
        request.send().await.map_err(|error| format!("{} did not answer: {}", without_query(&url), reason(&error)))?;
    if answer.status() != 200 {
        return Err(format!("{} answered with status {}", without_query(&url), answer.status()));
    }
    let mut received: IndexMap<String, String> = IndexMap::new();
    for (name, value) in answer.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        let all = received.entry(usual_spelling(name.as_str())).or_default();
        *all = if all.is_empty() { value.into_owned() } else { format!("{all}, {value}") };
    }
    let mut bytes = Vec::new();
    let mut parts = answer.bytes_stream();
    while let Some(part) = parts.next().await {
        bytes.extend_from_slice(&part.map_err(|error| format!("the answer broke off: {}", reason(&error)))?);
        if bytes.len() > LONGEST_BODY {
            return Err(format!("the answer is larger than {} KiB", LONGEST_BODY >> 10));
        }
    }
    let body = String::from_utf8(bytes).map_err(|_| "the answer is not UTF-8 text".to_owned())?;
    Ok(Answer { body, headers: received })
}

fn headers(given: &IndexMap<String, String>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let bad = || format!("the request header {name:?} can't be sent");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| bad())?);
    }
    Ok(headers)
}

/// `content-type` as `Content-Type`, which is what templates expect of a Go program.
fn usual_spelling(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect::<Vec<_>>().join("-")
}

/// A query may hold a token.
fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both can only fail for URLs without a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The innermost reason, which is the telling one; never the URL.
fn reason(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_string, header, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::*;

    fn get(url: &str) -> Question {
        Question { url: url.to_owned(), method: "GET".to_owned(), headers: IndexMap::new(), body: String::new() }
    }

    #[tokio::test]
    async fn only_what_is_allowed_is_asked_for() {
        let server = MockServer::start().await;
        let said = |status: u16| ResponseTemplate::new(status);
        Mock::given(method("GET"))
            .and(path("/v/a"))
            .respond_with(said(200).set_body_string("1.2.3").insert_header("x-a", "b"))
            .mount(&server)
            .await;
        Mock::given(path("/v/away")).respond_with(said(302).insert_header("location", "/secret")).mount(&server).await;
        Mock::given(path("/v/on")).respond_with(said(302).insert_header("location", "/v/a")).mount(&server).await;
        Mock::given(path("/v/large"))
            .respond_with(said(200).set_body_bytes(vec![b'x'; LONGEST_BODY + 1]))
            .mount(&server)
            .await;
        Mock::given(path("/secret"))
            .respond_with(said(200).set_body_string("swordfish"))
            .expect(0)
            .mount(&server)
            .await;
        Mock::given(method("POST"))
            .and(path("/v/post"))
            .and(header("a", "b"))
            .and(body_string("q"))
            .respond_with(said(200))
            .mount(&server)
            .await;
        let list = [AllowedUrl::parse(&format!("{}/v/", server.uri())).unwrap()];
        let ask = async |path: &str| ask(&get(&format!("{}{path}", server.uri())), &list).await;

        let answer = ask("/v/a").await.unwrap();
        assert_eq!((answer.body.as_str(), answer.headers["X-A"].as_str()), ("1.2.3", "b"));
        assert_eq!(ask("/v/on").await.unwrap().body, "1.2.3");
        let refused = |text: Result<Answer, String>| text.unwrap_err();
        assert!(refused(ask("/secret").await).contains("[data_sources] http_allow"));
        assert!(refused(ask("/v/../secret").await).contains("must not be asked for"));
        assert!(refused(ask("/v/away?token=t").await).contains("/secret, which is not allowed"));
        let missing = refused(ask("/v/none?token=swordfish").await);
        assert!(missing.contains("404") && !missing.contains("swordfish"), "{missing}");
        assert!(refused(ask("/v/large").await).contains("larger than 1024 KiB"));

        let mut post = get(&format!("{}/v/post", server.uri()));
        post.method = "post".to_owned();
        post.body = "q".to_owned();
        post.headers.insert("a".to_owned(), "b".to_owned());
        assert_eq!(super::ask(&post, &list).await.unwrap().body, "");
        assert!(super::ask(&get("file:///etc/passwd"), &list).await.unwrap_err().contains("must not be asked for"));
        assert!(super::ask(&get("not a url"), &list).await.unwrap_err().contains("is no URL"));
    }
}
