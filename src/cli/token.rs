//! `ingot token`: create, list, revoke. `token create --local` works on the database of this machine's configuration,
//! which is how a fresh installation gets its first token; `app` carries that out.

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::server::ConfigFile;
use super::table::Table;
use super::wire::Token;
use super::{Context, list, typed};
use crate::domain::role::Role;

#[derive(Debug, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token. It is printed once and can't be shown again.
    Create(CreateArgs),
    /// All tokens, without their secrets.
    List {
        /// How many at most.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// Take a token's rights away for good.
    Revoke {
        /// Its id, as `token list` shows it.
        id: String,
    },
}

/// What a new token is to be.
#[derive(Debug, Clone, Args)]
pub struct CreateArgs {
    /// Whom or what it is for.
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// viewer, builder, promoter or admin.
    #[arg(long, value_name = "ROLE")]
    pub role: Role,
    /// More words on what it is for.
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// When it ends, such as 30d or 12h; by default never.
    #[arg(long, value_name = "DURATION")]
    pub expires_in: Option<String>,
    /// Write it into the database of the configuration, without a server: for the first token of an installation.
    #[arg(long)]
    pub local: bool,
    #[command(flatten)]
    pub config: ConfigFile,
}

impl TokenArgs {
    /// The arguments of `token create --local`.
    #[must_use]
    pub fn local(&self) -> Option<&CreateArgs> {
        match &self.action {
            Action::Create(args) if args.local => Some(args),
            _ => None,
        }
    }

    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action {
            Action::Create(args) => {
                let mut body =
                    Map::from_iter([("name".to_owned(), json!(args.name)), ("role".to_owned(), json!(args.role))]);
                let options = [("description", args.description), ("expires_in", args.expires_in)];
                body.extend(options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
                // Not repeated when the answer gets lost: a token that nobody knows would stay.
                let answer: Value = client.post(&["tokens"], Some(&body.into()), None).await?;
                if context.json() {
                    context.print_json(&answer)?;
                } else {
                    let made: Token = typed(&client, &answer)?;
                    let secret = made.token.as_ref().ok_or_else(|| CliError::NotIngot {
                        server: client.server().to_owned(),
                        reason: "the answer holds no token".into(),
                    })?;
                    tell(&made.name, &made.role, &made.id, made.expires_at.as_deref());
                    context.print(&format!("{}\n", secret.expose_secret()))?;
                }
            }
            Action::List { limit } => {
                let items = list(&client, &["tokens"], &[], limit).await?;
                if context.json() {
                    context.print_json(&Value::Array(items))?;
                } else {
                    let tokens = items.iter().map(|item| typed(&client, item)).collect::<CliResult<Vec<Token>>>()?;
                    context.print(&table(&tokens).render())?;
                }
            }
            Action::Revoke { id } => {
                client.delete(&["tokens", &id]).await?;
                if !context.json() {
                    context.print(&format!("Token {id} is revoked.\n"))?;
                }
            }
        }
        Ok(Exit::Success)
    }
}

/// On standard error, so that `TOKEN=$(ingot token create …)` holds the token alone.
pub fn tell(name: &str, role: &str, id: &str, expires_at: Option<&str>) {
    let until = expires_at.map_or_else(|| "without end".to_owned(), |at| format!("until {at}"));
    eprintln!("Token {name:?} ({role}, id {id}) is valid {until}. It is shown only now:");
}

fn table(tokens: &[Token]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "CREATED BY", "EXPIRES", "LAST USED", "REVOKED"]);
    for token in tokens {
        let or_never = |value: &Option<String>, never: &str| value.clone().unwrap_or_else(|| never.to_owned());
        table.row([
            token.id.clone(),
            token.name.clone(),
            token.role.clone(),
            or_never(&token.created_by, ""),
            or_never(&token.expires_at, "never"),
            or_never(&token.last_used_at, "never"),
            or_never(&token.revoked_at, ""),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_in_a_table() {
        let token = serde_json::from_value(
            json!({"id": "t1", "name": "ci", "role": "builder", "description": "", "created_by": "admin",
            "created_at": "2026-07-29T10:00:00Z", "expires_at": null, "revoked_at": null, "last_used_at": "2026-07-29T11:00:00Z"}),
        );
        insta::assert_snapshot!(table(&[token.unwrap()]).render(), @"
        ID  NAME  ROLE     CREATED BY  EXPIRES  LAST USED             REVOKED
        t1  ci    builder  admin       never    2026-07-29T11:00:00Z
        ");
    }
}
