//! `ingot latest`: the approved AMI, for scripts.

use clap::Args;
use serde_json::Value;

use super::Context;
use super::client::Client;
use super::error::CliResult;
use super::exit::Exit;
use super::images::{copies_table, stob_facts};
use super::inputs::assignment;
use super::lists::Filters;
use super::table::facts;
use super::wire::Latest;

#[derive(Debug, Args)]
pub struct LatestArgs {
    /// The line of images.
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// The stage that approves it; by default the last one.
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// The region that it has to be in.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The account that it has to be in.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The architecture that it has to be for.
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// A tag that it has to have; may be repeated.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = assignment)]
    tags: Vec<(String, String)>,
    /// Some lines about it instead of its id alone.
    #[arg(short = 'v', long)]
    long: bool,
}

impl LatestArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        let long = self.long;
        let answer = self.ask(&client).await?;
        let text = |latest: &Latest| if long { shown(latest) } else { format!("{}\n", latest.ami_id) };
        context.print_answer(&client, &answer, text)?;
        Ok(Exit::Success)
    }

    async fn ask(self, client: &Client) -> CliResult<Value> {
        let options = [
            ("family", self.family),
            ("stage", self.stage),
            ("region", self.region),
            ("account", self.account),
            ("arch", self.arch),
        ];
        client.get(&["images", "latest"], &Filters::new(options).with("tag.", self.tags).query()).await
    }
}

fn shown(latest: &Latest) -> String {
    let image = &latest.image;
    let generation = latest.generation.map(|generation| format!("generation {generation}"));
    let since = latest.since.as_ref().map(|since| format!("since {since}"));
    let details: Vec<String> = generation.into_iter().chain(since).collect();
    let stage = latest
        .stage
        .as_ref()
        .map(|stage| if details.is_empty() { stage.clone() } else { format!("{stage} ({})", details.join(", ")) });
    let mut lines = vec![
        ("ami", Some(latest.ami_id.clone())),
        ("image", Some(format!("{} #{}", image.family, image.number))),
        ("id", Some(image.id.clone())),
        ("stage", stage),
        ("region", latest.region.clone()),
        ("account", latest.account.clone()),
        ("arch", latest.arch.clone()),
        ("platform", latest.platform.clone()),
    ];
    lines.extend(stob_facts(image.stob.as_ref()));
    let mut text = facts(&lines);
    // One copy is what the lines above say already.
    if latest.copies.len() > 1 {
        text.push('\n');
        text.push_str(&copies_table(&latest.copies).render());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wiremock::matchers::{path, query_param};
    use wiremock::{Mock, MockServer, ResponseTemplate};

    use super::super::complaint::Sources;
    use super::super::error::CliError;
    use super::super::test_support::parsed;
    use super::*;

    #[tokio::test]
    async fn all_that_is_asked_goes_to_the_server() {
        let server = MockServer::start().await;
        Mock::given(path("/v1/images/latest"))
            .and(query_param("family", "web"))
            .and(query_param("stage", "prod"))
            .and(query_param("region", "eu-west-1"))
            .and(query_param("account", "main"))
            .and(query_param("arch", "arm64"))
            .and(query_param("tag.team", "a"))
            .respond_with(ResponseTemplate::new(200).set_body_json(json!({"ami_id": "ami-1"})))
            .mount(&server)
            .await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let line = "--family web --stage prod --region eu-west-1 --account main --arch arm64 --tag team=a";
        assert_eq!(parsed::<LatestArgs>(line).ask(&client).await.unwrap(), json!({"ami_id": "ami-1"}));
    }

    #[tokio::test]
    async fn nothing_approved_is_a_problem_with_its_reasons() {
        let server = MockServer::start().await;
        Mock::given(path("/v1/images/latest"))
            .respond_with(ResponseTemplate::new(404).set_body_json(json!({
                "type": "urn:ingot:problem:no-approved-image", "title": "Not Found", "status": 404,
                "detail": "prod holds no image of web in ap-south-1.", "instance": "urn:request:0190-abc",
                "errors": [{"message": "web #7 is in prod, with copies in eu-west-1 and us-east-1"},
                           {"message": "web #8 has a copy in ap-south-1, and is in staging"}]})))
            .mount(&server)
            .await;
        let client = Client::new(&server.uri(), None).unwrap().impatient();
        let error = parsed::<LatestArgs>("--region ap-south-1").ask(&client).await.unwrap_err();
        assert_eq!(error.exit(), Exit::Failed);
        let CliError::Problem(problem) = error else { panic!("{error}") };
        insta::assert_snapshot!(problem.render(&Sources::new(), false), @"
        error: prod holds no image of web in ap-south-1. (404 no-approved-image)

        web #7 is in prod, with copies in eu-west-1 and us-east-1

        web #8 has a copy in ap-south-1, and is in staging

          request id: 0190-abc
        ");
    }

    #[test]
    fn some_lines_about_it() {
        let copy = |region: &str, ami: &str| {
            json!({"build": "amazon-ebs.a", "arch": "x86_64", "account": "default", "region": region, "ami_id": ami,
                "state": "available"})
        };
        let mut latest = json!({"ami_id": "ami-1", "region": "eu-west-1", "account": "default", "arch": "x86_64",
            "platform": "linux", "stage": "prod", "generation": 4, "since": "2026-07-29T10:00:00Z",
            "image": {"id": "i1", "family": "web", "number": 7, "state": "built", "stob": {"sha": "abc",
                "time": "2026-07-28T10:00:00Z", "os": "Debian 12", "builder": "ingot/0.1.0"}},
            "copies": [copy("eu-west-1", "ami-1")]});
        insta::assert_snapshot!(shown(&serde_json::from_value(latest.clone()).unwrap()), @"
        ami       ami-1
        image     web #7
        id        i1
        stage     prod (generation 4, since 2026-07-29T10:00:00Z)
        region    eu-west-1
        account   default
        arch      x86_64
        platform  linux
        sha       abc
        time      2026-07-28T10:00:00Z
        os        Debian 12
        builder   ingot/0.1.0
        ");
        latest["copies"] = json!([copy("eu-west-1", "ami-1"), copy("us-east-1", "ami-2")]);
        let several = shown(&serde_json::from_value(latest).unwrap());
        assert!(several.contains("\n\nBUILD") && several.contains("us-east-1  ami-2"), "{several}");
    }
}
