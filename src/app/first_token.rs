//! The first admin token of a fresh installation.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{data_dir_error, local_actor};
use crate::auth::PlainToken;
use crate::config::Config;
use crate::domain::clock::Clock;
use crate::domain::error::{ErrorKind, Result};
use crate::domain::ids::TokenId;
use crate::domain::role::Role;
use crate::engine::accept::{Random, new_id};
use crate::store::Store;
use crate::store::tokens::NewToken;

/// The file in `data_dir` that the token is written to.
const ADMIN_TOKEN_FILE: &str = "admin.token";

/// A fresh installation without a bootstrap token would let nobody in: it makes an admin token and leaves it in a file
/// that only the server's user can read. Returns the file's path when it made one.
pub(super) async fn make(
    config: &Config,
    store: &Store,
    clock: &dyn Clock,
    random: &Random,
) -> Result<Option<PathBuf>> {
    if config.auth.bootstrap_token.is_some() || store.any_admin_token_ever().await? {
        return Ok(None);
    }
    let path = config.data_dir.join(ADMIN_TOKEN_FILE);
    let token = PlainToken::from_random(random());
    // The file first: a token in the database that nobody knows would lock everybody out.
    write_private(&path, &format!("{}\n", token.expose())).map_err(|error| data_dir_error(&path, &error))?;
    let new = NewToken {
        id: TokenId(new_id(clock.now(), random)),
        name: "first-admin".to_owned(),
        description: "Made by the server at its first start.".to_owned(),
        role: Role::Admin,
        expires_at: None,
    };
    match store.insert_token(&new, token.hash().0, &local_actor()).await {
        Ok(_) => Ok(Some(path)),
        // Another server of the same installation was faster, and its file holds the token.
        Err(error) if error.kind == ErrorKind::Conflict => {
            let _ = fs::remove_file(&path);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    // A draft of an earlier start may have any mode.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_private_file_is_whole_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.token");
        fs::write(dir.path().join("admin.new"), "left over").unwrap();
        fs::set_permissions(dir.path().join("admin.new"), fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "one\n").unwrap();
        write_private(&path, "two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left");
    }
}
