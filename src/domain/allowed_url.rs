//! A place on the web that templates may read from.

use std::fmt;

/// A scheme, a host with its port, and the beginning of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedUrl {
    scheme: String,
    host: String,
    port: u16,
    /// Begins with `/`.
    path: String,
}

/// The parts of a URL that decide whether it is allowed.
#[derive(Debug, Clone, Copy)]
pub struct UrlParts<'a> {
    pub scheme: &'a str,
    /// In lower case.
    pub host: &'a str,
    pub port: u16,
    /// With its dot segments resolved.
    pub path: &'a str,
}

impl AllowedUrl {
    /// Reads `https://host[:port][/path]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address such as \"https://example.com/versions/\"");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return Err(wrong()),
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if path.contains(['?', '#', '%', '\\']) || path.split('/').any(|part| part == "." || part == "..") {
            return Err(format!("{text:?} must be a plain path, without ?, #, % and dot segments"));
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, default_port),
        };
        if host.is_empty() || host.contains(['@', '*', ' ']) {
            return Err(wrong());
        }
        Ok(Self { scheme: scheme.to_owned(), host: host.to_lowercase(), port, path: path.to_owned() })
    }

    /// Whether a URL is below this one: the same scheme, host and port, and a path that is this one's or goes on after it
    /// at a `/`.
    #[must_use]
    pub fn allows(&self, url: UrlParts<'_>) -> bool {
        let below = || {
            let rest = url.path.strip_prefix(self.path.as_str())?;
            // An escaped slash or dot may mean more to the other server than it does here.
            let plain = !rest.to_lowercase().contains("%2f") && !rest.to_lowercase().contains("%2e");
            Some(plain && (rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')))
        };
        self.scheme == url.scheme && self.host == url.host && self.port == url.port && below().unwrap_or(false)
    }
}

impl fmt::Display for AllowedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = if self.scheme == "https" { 443 } else { 80 };
        write!(f, "{}://{}", self.scheme, self.host)?;
        if self.port != usual {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(scheme: &'a str, host: &'a str, port: u16, path: &'a str) -> UrlParts<'a> {
        UrlParts { scheme, host, port, path }
    }

    #[test]
    fn a_path_allows_what_is_below_it() {
        let allowed = AllowedUrl::parse("https://Example.com/versions").unwrap();
        for (scheme, host, port, path, yes) in [
            ("https", "example.com", 443, "/versions", true),
            ("https", "example.com", 443, "/versions/a.json", true),
            ("https", "example.com", 443, "/versions2", false),
            ("https", "example.com", 443, "/", false),
            ("https", "example.com", 443, "/versions/%2e%2E/secret", false),
            ("https", "example.com", 8443, "/versions", false),
            ("http", "example.com", 443, "/versions", false),
            ("https", "example.com.evil.org", 443, "/versions", false),
        ] {
            assert_eq!(allowed.allows(parts(scheme, host, port, path)), yes, "{scheme} {host} {port} {path}");
        }
        let whole = AllowedUrl::parse("http://127.0.0.1:8000").unwrap();
        assert!(whole.allows(parts("http", "127.0.0.1", 8000, "/any/thing")));
        assert_eq!(whole.to_string(), "http://127.0.0.1:8000/");
        assert!(AllowedUrl::parse("http://[::1]/x").unwrap().allows(parts("http", "[::1]", 80, "/x")));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "example.com",
            "ftp://a/",
            "https://",
            "https://u@h/",
            "https://*.a/",
            "https://a/../b",
            "https://a:b/",
        ] {
            assert!(AllowedUrl::parse(bad).is_err(), "{bad}");
        }
    }
}
