//! Lists that come in pages.

/// Asks for page after page. Pages name the token of the next one; IAM's have markers.
macro_rules! all_pages {
    (marked: $call:expr, $request:expr, $items:ident, $convert:expr) => {
        all_pages!($call, $request, $items, $convert, set_marker, page => page.marker().filter(|_| page.is_truncated()))
    };
    ($call:expr, $request:expr, $items:ident, $convert:expr) => {
        all_pages!($call, $request, $items, $convert, set_next_token, page => page.next_token())
    };
    ($call:expr, $request:expr, $items:ident, $convert:expr, $set_token:ident, $page:ident => $next:expr) => {{
        let (call, request) = ($call, $request);
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            if token.is_some() {
                call.count();
            }
            let $page = call.read(|| request.clone().$set_token(token.clone()).send()).await?;
            found.extend($page.$items().iter().map($convert));
            token = $next.filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break $crate::cloud::CloudResult::Ok(found);
            }
        }
    }};
}

pub(super) use all_pages;
