//! Lists that come in pages.

/// Asks for page after page.
macro_rules! all_pages {
    ($call:expr, $request:expr, $items:ident, $convert:expr) => {{
        let (call, request) = ($call, $request);
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            if token.is_some() {
                call.count();
            }
            let page = call.read(|| request.clone().set_next_token(token.clone()).send()).await?;
            found.extend(page.$items().iter().map($convert));
            token = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            if token.is_none() {
                break Ok(found);
            }
        }
    }};
}

pub(super) use all_pages;
