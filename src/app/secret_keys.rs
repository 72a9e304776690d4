//! `ingot secrets`: the keys of the secrets at rest change in steps, each of which leaves every server able to read.

use std::fmt::Write as _;

use super::{Database, block_on, data_dir_error, printed, with_config};
use crate::cli::exit::Exit;
use crate::cli::server::{KeyArgs, SecretsAction};
use crate::config::Config;
use crate::domain::error::{Error, Result};
use crate::store::key_file::KeyFile;
use crate::store::resealing::KeyUse;

/// Secrets of one transaction of `reseal`.
const BATCH: i64 = 200;

/// Carries one of the commands out.
pub(super) fn command(action: SecretsAction) -> Exit {
    match action {
        SecretsAction::Keys(file) => with_config(&file, |config| block_on(keys(config))),
        SecretsAction::AddKey(file) => with_config(&file, |config| block_on(async move { add(&config) })),
        SecretsAction::Use(KeyArgs { key, config }) => {
            with_config(&config, |config| block_on(async move { make_current(&config, &key) }))
        }
        SecretsAction::Reseal(file) => with_config(&file, |config| block_on(reseal(config))),
        SecretsAction::DropKey(KeyArgs { key, config }) => {
            with_config(&config, |config| block_on(drop_key(config, key)))
        }
    }
}

fn key_file(config: &Config) -> Result<KeyFile> {
    std::fs::create_dir_all(&config.data_dir).map_err(|error| data_dir_error(&config.data_dir, &error))?;
    KeyFile::open(&config.key_file())
}

async fn in_use(config: &Config) -> Result<Vec<KeyUse>> {
    let database = Database::open(config).await?;
    let found = database.store.secrets_by_key().await;
    database.close().await;
    found
}

async fn keys(config: Config) -> Result<Exit> {
    let file = key_file(&config)?;
    let found = in_use(&config).await?;
    Ok(printed(&table(&file, &found)))
}

/// One line a key: those of the file in its order, then those that only the database knows.
fn table(file: &KeyFile, found: &[KeyUse]) -> String {
    let mut text = format!("{:<12} {:<24} {:>8} {:>10}\n", "KEY", "IN THE FILE", "BUILDS", "SCHEDULES");
    let mut line = |id: &str, state: &str| {
        let one = found.iter().find(|one| one.key_id == id);
        let (builds, schedules) = one.map_or((0, 0), |one| (one.builds, one.schedules));
        // Writing to a string does not fail.
        let _ = writeln!(text, "{id:<12} {state:<24} {builds:>8} {schedules:>10}");
    };
    for (at, id) in file.ids().enumerate() {
        line(id, if at == 0 { "seals and opens" } else { "opens" });
    }
    for one in found.iter().filter(|one| file.ids().all(|id| id != one.key_id)) {
        line(&one.key_id, "missing: can't be opened");
    }
    text
}

fn add(config: &Config) -> Result<Exit> {
    let id = key_file(config)?.add()?;
    Ok(printed(&format!(
        "The key {id} was added to {}. Once all servers have the file and were restarted: ingot secrets use {id}\n",
        config.key_file().display()
    )))
}

fn make_current(config: &Config, key: &str) -> Result<Exit> {
    key_file(config)?.make_current(key)?;
    Ok(printed(&format!(
        "Servers that are started with {} from now on seal with the key {key}. Then: ingot secrets reseal\n",
        config.key_file().display()
    )))
}

async fn reseal(config: Config) -> Result<Exit> {
    let database = Database::open(&config).await?;
    let done = reseal_all(&database).await;
    let found = database.store.secrets_by_key().await;
    database.close().await;
    let (done, found) = (done?, found?);
    let file = key_file(&config)?;
    let current = file.ids().next().unwrap_or_default();
    let mut text = format!("{done} secrets were sealed anew with the key {current}.\n");
    for id in file.ids().skip(1).filter(|id| found.iter().all(|one| one.key_id != *id)) {
        let _ = writeln!(text, "Nothing needs the key {id} any more: ingot secrets drop-key {id}");
    }
    Ok(printed(&text))
}

async fn reseal_all(database: &Database) -> Result<u64> {
    let mut all = 0;
    loop {
        match database.store.reseal(BATCH).await? {
            0 => return Ok(all),
            some => all += some,
        }
    }
}

async fn drop_key(config: Config, key: String) -> Result<Exit> {
    let found = in_use(&config).await?;
    if let Some(one) = found.iter().find(|one| one.key_id == key) {
        let public = format!(
            "The key {key} still seals {} secrets of builds and {} of schedules; seal them anew first: ingot secrets reseal.",
            one.builds, one.schedules
        );
        return Err(Error::conflict("secret-key-needed", public));
    }
    key_file(&config)?.remove(&key)?;
    Ok(printed(&format!("The key {key} was removed from {}.\n", config.key_file().display())))
}
