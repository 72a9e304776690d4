//! `ingot token`: create, list, rotate, revoke. `token create --local` works on the database of this machine's configuration,
//! which is how a fresh installation gets its first token; `app` carries that out.

use clap::{Args, Subcommand};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::{CliError, CliResult};
use super::exit::Exit;
use super::lists::{Filters, print_list};
use super::server::ConfigFile;
use super::table::Table;
use super::wire::Token;
use super::{Context, given, typed};
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
    /// Give a token a new secret, printed once; the one before may be honoured for a while.
    Rotate {
        /// Its name or id, as `token list` shows them.
        #[arg(value_name = "NAME_OR_ID")]
        name_or_id: String,
        /// How long the secret before stays valid, such as 1h; by default it ends at once.
        #[arg(long, value_name = "DURATION")]
        keep_old_for: Option<String>,
        /// When the token ends from now on, such as 90d; by default as before.
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
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
                let body = given([
                    ("name", json!(args.name)),
                    ("role", json!(args.role)),
                    ("description", json!(args.description)),
                    ("expires_in", json!(args.expires_in)),
                ]);
                print_secret(context, &client, &["tokens"], body).await?;
            }
            Action::List { limit } => {
                print_list(context, &client, &["tokens"], (&Filters::default(), limit), table).await?;
            }
            Action::Rotate { name_or_id, keep_old_for, expires_in } => {
                let body = given([("keep_old_for", json!(keep_old_for)), ("expires_in", json!(expires_in))]);
                print_secret(context, &client, &["tokens", &name_or_id, "rotate"], body).await?;
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

/// Asks for a secret and prints it.
async fn print_secret(context: &Context, client: &Client, path: &[&str], body: Map<String, Value>) -> CliResult<()> {
    // Not repeated when the answer gets lost: a secret that nobody knows would stay.
    let answer: Value = client.post(path, Some(&body.into()), None).await?;
    if context.json() {
        return context.print_json(&answer);
    }
    let made: Token = typed(client, &answer)?;
    let secret = made.token.as_ref().ok_or_else(|| CliError::NotIngot {
        server: client.server().to_owned(),
        reason: "the answer holds no token".into(),
    })?;
    if let Some(until) = &made.previous_valid_until {
        eprintln!("The secret before is honoured until {until}.");
    }
    tell(&made.name, &made.role, &made.id, made.expires_at.as_deref());
    context.print(&format!("{}\n", secret.expose_secret()))
}

/// On standard error, so that `TOKEN=$(ingot token create …)` holds the token alone.
pub fn tell(name: &str, role: &str, id: &str, expires_at: Option<&str>) {
    let until = expires_at.map_or_else(|| "without end".to_owned(), |at| format!("until {at}"));
    eprintln!("Token {name:?} ({role}, id {id}) is valid {until}. It is shown only now:");
}

fn table(tokens: &[Token]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "CREATED BY", "EXPIRES", "LAST USED", "ROTATED", "REVOKED"]);
    for token in tokens {
        let or_never = |value: &Option<String>, never: &str| value.clone().unwrap_or_else(|| never.to_owned());
        table.row([
            token.id.clone(),
            token.name.clone(),
            token.role.clone(),
            or_never(&token.created_by, ""),
            or_never(&token.expires_at, "never"),
            or_never(&token.last_used_at, "never"),
            or_never(&token.rotated_at, ""),
            or_never(&token.revoked_at, ""),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_json, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::test_support::{context, parsed};
    use super::*;

    #[tokio::test]
    async fn a_rotation_says_what_was_given_and_is_not_repeated() {
        let server = MockServer::start().await;
        let rotated = json!({"id": "t1", "name": "ci", "role": "builder", "rotated_at": "2026-07-29T10:00:00Z",
            "previous_valid_until": "2026-07-29T11:00:00Z", "token": "ingot_x"});
        let rotate = || Mock::given(method("POST")).and(path("/v1/tokens/ci/rotate"));
        rotate()
            .and(body_json(json!({"keep_old_for": "1h", "expires_in": "90d"})))
            .respond_with(ResponseTemplate::new(200).set_body_json(rotated))
            .expect(1)
            .mount(&server)
            .await;
        let away = ResponseTemplate::new(503).set_body_json(json!({"title": "Service Unavailable", "status": 503}));
        rotate().and(body_json(json!({}))).respond_with(away).expect(1).mount(&server).await;
        let context = context(&server);
        let given: TokenArgs = parsed("rotate ci --keep-old-for 1h --expires-in 90d");
        assert_eq!(given.run(&context).await.unwrap(), Exit::Success);
        assert!(parsed::<TokenArgs>("rotate ci").run(&context).await.is_err());
    }

    #[test]
    fn tokens_in_a_table() {
        let token = serde_json::from_value(
            json!({"id": "t1", "name": "ci", "role": "builder", "description": "", "created_by": "admin",
            "created_at": "2026-07-29T10:00:00Z", "expires_at": null, "revoked_at": null, "last_used_at": "2026-07-29T11:00:00Z",
            "rotated_at": "2026-07-29T10:30:00Z", "previous_valid_until": null}),
        );
        insta::assert_snapshot!(table(&[token.unwrap()]).render(), @"
        ID  NAME  ROLE     CREATED BY  EXPIRES  LAST USED             ROTATED               REVOKED
        t1  ci    builder  admin       never    2026-07-29T11:00:00Z  2026-07-29T10:30:00Z
        ");
    }
}
