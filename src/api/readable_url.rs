//! Paths and queries that are not text are refused at the door: what is not UTF-8 no handler can read, and U+0000 no
//! database column can hold.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::problem;

/// Lets requests through whose URL can be read.
pub async fn layer(request: Request, next: Next) -> Response {
    let uri = request.uri();
    if is_text(uri.path()) && uri.query().is_none_or(is_text) {
        return next.run(request).await;
    }
    let detail = "The URL is not text: behind its % signs it must be UTF-8, without U+0000.";
    problem::document(StatusCode::BAD_REQUEST, "url-invalid", detail.to_owned(), &[])
}

fn is_text(encoded: &str) -> bool {
    if !encoded.contains('%') {
        return true;
    }
    let bytes = encoded.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, after @ ..] = rest {
        let escaped = (*first == b'%').then(|| after.get(..2)).flatten().and_then(|hex| {
            let hex = std::str::from_utf8(hex).ok()?;
            u8::from_str_radix(hex, 16).ok()
        });
        decoded.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    !decoded.contains(&0) && std::str::from_utf8(&decoded).is_ok()
}

#[cfg(test)]
mod tests {
    use super::is_text;

    #[test]
    fn text_is_told_from_bytes() {
        for good in ["/v1/runs", "a=%C3%A4", "100%", "%zz", "a%2"] {
            assert!(is_text(good), "{good}");
        }
        for bad in ["/v1/images/%00", "%ff", "a=%C3", "x%00y"] {
            assert!(!is_text(bad), "{bad}");
        }
    }
}
