//! What a machine says it runs: `/etc/os-release` (<https://www.freedesktop.org/software/systemd/man/os-release.html>).

/// The fields an image's record uses. Missing ones are empty, but for the defaults that the format gives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OsRelease {
    /// Such as `ubuntu`; `linux` when missing.
    pub id: String,
    /// Such as `Ubuntu`; `Linux` when missing.
    pub name: String,
    /// Such as `24.04`; rolling distributions have none.
    pub version_id: String,
    /// Such as `Ubuntu 24.04.1 LTS`; `Linux` when missing.
    pub pretty_name: String,
}

/// Reads the file's text. Lines that are no assignments are passed over, the last assignment to a name counts.
#[must_use]
pub fn parse(text: &str) -> OsRelease {
    let mut found = OsRelease {
        id: "linux".to_owned(),
        name: "Linux".to_owned(),
        pretty_name: "Linux".to_owned(),
        ..OsRelease::default()
    };
    for line in text.lines() {
        let line = line.trim();
        let Some((name, value)) = line.split_once('=') else { continue };
        let field = match name {
            "ID" => &mut found.id,
            "NAME" => &mut found.name,
            "VERSION_ID" => &mut found.version_id,
            "PRETTY_NAME" => &mut found.pretty_name,
            _ => continue,
        };
        *field = unquote(value);
    }
    found
}

/// A value as a shell would read it: single quotes keep all, double quotes and bare text know the backslash.
fn unquote(value: &str) -> String {
    let mut text = String::new();
    let mut quote = None;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (Some('"'), '\\') => match characters.next() {
                Some(escaped @ ('"' | '\\' | '$' | '`')) => text.push(escaped),
                Some(other) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            (None, '\\') => text.extend(characters.next()),
            // What follows a blank is not part of the value.
            (None, blank) if blank.is_whitespace() => break,
            (_, other) => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ubuntu_and_amazon_linux() {
        let ubuntu = parse(
            "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n",
        );
        let expected = OsRelease {
            id: "ubuntu".into(),
            name: "Ubuntu".into(),
            version_id: "24.04".into(),
            pretty_name: "Ubuntu 24.04.1 LTS".into(),
        };
        assert_eq!(ubuntu, expected);
        let amazon = parse("# comment\r\nNAME='Amazon Linux'\r\nID=\"amzn\"\r\nVERSION_ID=2023\r\n");
        assert_eq!(
            (amazon.id.as_str(), amazon.name.as_str(), amazon.version_id.as_str()),
            ("amzn", "Amazon Linux", "2023")
        );
    }

    #[test]
    fn quotes_escapes_defaults_and_nonsense() {
        let odd = parse(
            r#"
NAME="A \"quoted\" \$name with \n kept"
PRETTY_NAME='single \ kept'
ID=a\ b # rest
not an assignment
VERSION_ID="unclosed
"#,
        );
        assert_eq!(odd.name, r#"A "quoted" $name with \n kept"#);
        assert_eq!(odd.pretty_name, r"single \ kept");
        assert_eq!((odd.id.as_str(), odd.version_id.as_str()), ("a b", "unclosed"));
        let empty = parse("");
        assert_eq!((empty.id.as_str(), empty.pretty_name.as_str(), empty.version_id.as_str()), ("linux", "Linux", ""));
    }
}
