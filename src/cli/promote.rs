//! `ingot promote`, `demote` and `rollback`: what moves the pointer that a stage has for a family.

use clap::Args;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::CliResult;
use super::exit::Exit;
use super::image_name::ImageName;
use super::wire::Promotion;
use super::{Context, given};

#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// The image: its id, an AMI's id, or FAMILY#NUMBER (also FAMILY/NUMBER).
    #[arg(value_name = "IMAGE")]
    image: ImageName,
    /// The stage.
    #[arg(long, value_name = "STAGE")]
    to: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
pub struct DemoteArgs {
    /// The image: its id, an AMI's id, or FAMILY#NUMBER (also FAMILY/NUMBER).
    #[arg(value_name = "IMAGE")]
    image: ImageName,
    /// The stage; by default the highest that holds the image.
    #[arg(long, value_name = "STAGE")]
    from: Option<String>,
    #[command(flatten)]
    change: Change,
}

#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The stage.
    #[arg(value_name = "STAGE")]
    stage: String,
    /// The line of images.
    #[arg(long, value_name = "NAME")]
    family: String,
    #[command(flatten)]
    change: Change,
}

/// What all of them take.
#[derive(Debug, Args)]
struct Change {
    /// Why, for the history.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// Only when nobody else has changed the stage since: the generation that `ingot stages show` told.
    #[arg(long, value_name = "N")]
    expected_generation: Option<i64>,
}

impl PromoteArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        let image = self.image.id(&client).await?;
        change(context, &client, &["images", &image, "promote"], &self.change.body("to", Some(&self.to))).await
    }
}

impl DemoteArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        let image = self.image.id(&client).await?;
        change(context, &client, &["images", &image, "demote"], &self.change.body("from", self.from.as_deref())).await
    }
}

impl RollbackArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        let body = self.change.body("family", Some(&self.family));
        change(context, &client, &["stages", &self.stage, "rollback"], &body).await
    }
}

impl Change {
    fn body(&self, name: &str, value: Option<&str>) -> Map<String, Value> {
        given([
            (name, json!(value)),
            ("comment", json!(self.comment)),
            ("expected_generation", json!(self.expected_generation)),
        ])
    }
}

async fn change(context: &Context, client: &Client, path: &[&str], body: &Map<String, Value>) -> CliResult<Exit> {
    // Once, however often it has to be sent: a second rollback would go back two images.
    let answer: Value = client.post_once(path, Some(&body.clone().into())).await?;
    context.print_answer(client, &answer, told)?;
    Ok(Exit::Success)
}

fn told(promotion: &Promotion) -> String {
    let Promotion { family, stage, generation, .. } = promotion;
    let before = promotion.previous_image.as_ref();
    let before = before.map_or_else(|| "nothing".to_owned(), |image| format!("{family} #{}", image.number));
    let now = match &promotion.image {
        None => format!("{stage} holds no image of {family} now"),
        Some(image) => {
            let amis =
                if image.ami_ids.is_empty() { String::new() } else { format!(" ({})", image.ami_ids.join(", ")) };
            let when = if promotion.action == "rollback" { "again" } else { "now" };
            format!("{family} #{}{amis} is in {stage} {when}", image.number)
        }
    };
    format!("{now} (generation {generation}, before: {before})\n")
}

#[cfg(test)]
mod tests {
    use wiremock::matchers::{body_json, header_exists, method, path};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::test_support::{context, parsed};
    use super::*;

    fn promotion(action: &str, image: &Value, previous: &Value) -> Value {
        json!({"action": action, "family": "web", "stage": "staging", "generation": 4, "image": image,
            "previous_image": previous, "principal": "ada", "comment": null, "at": "2026-07-29T10:00:00Z", "tags_pending": true})
    }

    #[test]
    fn what_changed_is_said_in_a_line() {
        let told = |value: Value| told(&serde_json::from_value(value).unwrap());
        let seven = json!({"id": "i7", "family": "web", "number": 7, "ami_ids": ["ami-7a", "ami-7b"]});
        let six = json!({"id": "i6", "number": 6, "ami_ids": ["ami-6"]});
        let all = [
            told(promotion("promote", &seven, &six)),
            told(promotion("promote", &seven, &Value::Null)),
            told(promotion("rollback", &six, &seven)),
            told(promotion("demote", &Value::Null, &seven)),
        ];
        insta::assert_snapshot!(all.concat(), @"
        web #7 (ami-7a, ami-7b) is in staging now (generation 4, before: web #6)
        web #7 (ami-7a, ami-7b) is in staging now (generation 4, before: nothing)
        web #6 (ami-6) is in staging again (generation 4, before: web #7)
        staging holds no image of web now (generation 4, before: web #7)
        ");
    }

    #[tokio::test]
    async fn a_promotion_is_repeated_under_one_key() {
        let server = MockServer::start().await;
        let promote =
            || Mock::given(method("POST")).and(path("/v1/images/ami-7/promote")).and(header_exists("idempotency-key"));
        let away = ResponseTemplate::new(503).set_body_json(json!({"title": "Service Unavailable", "status": 503}));
        promote().respond_with(away).up_to_n_times(1).mount(&server).await;
        promote()
            .and(body_json(json!({"to": "staging", "comment": "good", "expected_generation": 3})))
            .respond_with(ResponseTemplate::new(200).set_body_json(promotion("promote", &Value::Null, &Value::Null)))
            .expect(1)
            .mount(&server)
            .await;
        let args: PromoteArgs = parsed("ami-7 --to staging --comment good --expected-generation 3");
        assert_eq!(args.run(&context(&server)).await.unwrap(), Exit::Success);
        let sent = server.received_requests().await.unwrap();
        assert_eq!(sent.len(), 2);
        assert_eq!(sent[0].headers["idempotency-key"], sent[1].headers["idempotency-key"]);
    }

    #[tokio::test]
    async fn demotions_and_rollbacks_say_what_was_given() {
        let server = MockServer::start().await;
        for (to, body) in [
            ("/v1/images/ami-7/demote", json!({})),
            ("/v1/images/ami-7/demote", json!({"from": "dev"})),
            ("/v1/stages/prod/rollback", json!({"family": "web", "comment": "bad"})),
        ] {
            Mock::given(path(to))
                .and(body_json(body))
                .respond_with(ResponseTemplate::new(200).set_body_json(promotion("demote", &Value::Null, &Value::Null)))
                .expect(1)
                .mount(&server)
                .await;
        }
        let context = context(&server);
        parsed::<DemoteArgs>("ami-7").run(&context).await.unwrap();
        parsed::<DemoteArgs>("ami-7 --from dev").run(&context).await.unwrap();
        parsed::<RollbackArgs>("prod --family web --comment bad").run(&context).await.unwrap();
    }
}
