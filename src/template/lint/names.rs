//! Which names are those of secrets.

/// Last words of names whose values are secrets.
const SECRET_WORDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "passcode",
    "secret",
    "token",
    "apikey",
    "credential",
    "credentials",
];
/// The word before `key` that makes the key a secret.
const SECRET_KEYS: &[&str] = &[
    "access",
    "secret",
    "private",
    "api",
    "auth",
    "encryption",
    "signing",
    "account",
    "license",
    "service",
    "app",
    "application",
    "deploy",
    "master",
];

/// Whether something of that name holds a secret: `DB_PASSWORD`, `dbPassword`, `github-token`, `aws_secret_access_key`; not
/// `password_file` or `public_key`.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    if matches!(name, "PWD" | "OLDPWD") || name.len() > 128 {
        return false;
    }
    let words = words(name);
    let Some(last) = words.last() else { return false };
    let last = last.trim_end_matches(|c: char| c.is_ascii_digit());
    if SECRET_WORDS.contains(&last) {
        return true;
    }
    let before = words.len().checked_sub(2).and_then(|at| words.get(at));
    last == "key" && before.is_some_and(|before| SECRET_KEYS.contains(&before.as_str()))
}

/// The words of a name, in lower case: at `_`, `-`, `.`, spaces, and where a capital follows a small letter.
#[must_use]
pub fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for character in name.chars() {
        let new_word = character.is_ascii_uppercase() && before.is_ascii_lowercase();
        if !character.is_alphanumeric() || new_word {
            words.push(String::new());
        }
        if let Some(last) = words.last_mut()
            && character.is_alphanumeric()
        {
            last.extend(character.to_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "DB_PASSWORD",
            "dbPassword",
            "github-token",
            "aws_secret_access_key",
            "MYSQL_PWD",
            "db.pass",
            "API_KEY",
            "apiKey2",
            "password1",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PWD",
            "password_file",
            "public_key",
            "http_tokens",
            "token_ttl",
            "key",
            "ssh_key_name",
            "bypass",
            "PASS_MAX_DAYS",
            "",
            "__",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
