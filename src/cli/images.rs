//! `ingot images`: the registry's entries.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::Context;
use super::error::CliResult;
use super::exit::Exit;
use super::image_name::ImageName;
use super::inputs::assignment;
use super::lists::{Filters, Limit, instant, print_list};
use super::table::{Table, facts, number, places};
use super::wire::{Copy, Image, ImageEvent, Stob};

#[derive(Debug, Args)]
pub struct ImagesArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The newest images (also without `list`).
    List(Box<ListArgs>),
    /// One image with its copies.
    Show {
        /// Its id, an AMI's id, or FAMILY#NUMBER (also FAMILY/NUMBER).
        #[arg(value_name = "IMAGE")]
        image: ImageName,
    },
    /// What happened to an image, the newest first.
    History {
        /// Its id, an AMI's id, or FAMILY#NUMBER (also FAMILY/NUMBER).
        #[arg(value_name = "IMAGE")]
        image: ImageName,
        #[command(flatten)]
        limit: Limit,
    },
}

#[derive(Debug, Default, Args)]
struct ListArgs {
    #[command(flatten)]
    limit: Limit,
    /// Only this family.
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
    /// Only the one with this number in its family.
    #[arg(long, value_name = "N")]
    number: Option<i64>,
    /// Only images that this stage holds.
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// building, built or incomplete.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only images with a copy in this region.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Only images with a copy in this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only images with a copy for this architecture.
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// Only images of this commit.
    #[arg(long, value_name = "SHA")]
    sha: Option<String>,
    /// Only images with this tag; may be repeated.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = assignment)]
    tags: Vec<(String, String)>,
    /// Only images made after this time (RFC 3339, or a date in UTC).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    created_after: Option<String>,
    /// Only images made before this time (RFC 3339, or a date in UTC).
    #[arg(long, value_name = "TIME", value_parser = instant)]
    created_before: Option<String>,
}

impl ImagesArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action.unwrap_or_else(|| Action::List(Box::default())) {
            Action::Show { image } => {
                let answer: Value = client.get(&["images", &image.id(&client).await?], &[]).await?;
                context.print_answer(&client, &answer, shown)?;
            }
            Action::History { image, limit } => {
                let path = ["images", &image.id(&client).await?, "history"];
                print_list(context, &client, &path, (&Filters::default(), limit.count), history).await?;
            }
            Action::List(args) => {
                let limit = args.limit.count;
                print_list(context, &client, &["images"], (&args.filters(), limit), table).await?;
            }
        }
        Ok(Exit::Success)
    }
}

impl ListArgs {
    fn filters(self) -> Filters {
        let options = [
            ("family", self.family),
            ("number", self.number.map(|number| number.to_string())),
            ("stage", self.stage),
            ("state", self.state),
            ("region", self.region),
            ("account", self.account),
            ("arch", self.arch),
            ("sha", self.sha),
            ("created_after", self.created_after),
            ("created_before", self.created_before),
        ];
        Filters::new(options).with("tag.", self.tags)
    }
}

fn table(images: &[Image]) -> Table {
    let mut table = Table::new(&["ID", "IMAGE", "STATE", "STAGE", "SHA", "OS", "CREATED", "COPIES"]);
    for image in images {
        let stob = image.stob.as_ref();
        table.row([
            image.id.clone(),
            format!("{} #{}", image.family, image.number),
            image.state.clone(),
            image.stage.clone().unwrap_or_default(),
            stob.and_then(|stob| stob.sha.clone()).unwrap_or_default().chars().take(12).collect(),
            stob.and_then(|stob| stob.os.clone()).unwrap_or_default(),
            image.created_at.clone().unwrap_or_default(),
            places(&image.copies),
        ]);
    }
    table
}

fn shown(image: &Image) -> String {
    let source = image.source_image.as_ref().map(|source| match source {
        Value::String(id) => id.clone(),
        source => source["ami_id"].as_str().map_or_else(|| source.to_string(), str::to_owned),
    });
    let tags = match &image.tags_error {
        Some(error) => Some(format!("not written yet: {error}")),
        None => image.tags_pending.then(|| "being written".to_owned()),
    };
    let mut lines = vec![
        ("image", Some(format!("{} #{}", image.family, image.number))),
        ("id", Some(image.id.clone())),
        ("state", Some(image.state.clone())),
        ("stages", Some(image.stages.join(", "))),
        ("tags", tags),
    ];
    lines.extend(stob_facts(image.stob.as_ref()));
    lines.extend([
        ("source", source.filter(|source| source != "null")),
        ("run", image.run_id.clone()),
        ("created", image.created_at.clone()),
    ]);
    let mut text = facts(&lines);
    if !image.copies.is_empty() {
        let _ = write!(text, "\n{}", copies_table(&image.copies).render());
    }
    text
}

/// The four facts of an image.
pub(super) fn stob_facts(stob: Option<&Stob>) -> [(&'static str, Option<String>); 4] {
    let fact = |of: fn(&Stob) -> &Option<String>| stob.and_then(|stob| of(stob).clone());
    [
        ("sha", fact(|stob| &stob.sha)),
        ("time", fact(|stob| &stob.time)),
        ("os", fact(|stob| &stob.os)),
        ("builder", fact(|stob| &stob.builder)),
    ]
}

/// The AMIs of an image.
pub(super) fn copies_table(copies: &[Copy]) -> Table {
    let mut table = Table::new(&["BUILD", "REGION", "AMI", "ARCH", "ACCOUNT", "STATE"]);
    for copy in copies {
        table.row([
            copy.build.clone().unwrap_or_default(),
            copy.region.clone(),
            copy.ami_id.clone(),
            copy.arch.clone().unwrap_or_default(),
            copy.account.clone().unwrap_or_default(),
            copy.state.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn history(events: &[ImageEvent]) -> Table {
    let mut table = Table::new(&["AT", "EVENT", "STAGE", "GEN", "BY", "COMMENT"]);
    for event in events {
        table.row([
            event.at.clone(),
            event.event.clone(),
            event.stage.clone().unwrap_or_default(),
            number(event.generation),
            event.principal.clone().unwrap_or_default(),
            event.comment.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::test_support::parsed;
    use super::*;

    fn image() -> Value {
        json!({"id": "i1", "family": "web", "number": 7, "state": "built", "stage": null,
            "stages": [], "stob": {"sha": "0123456789abcdef", "time": "2026-07-29T10:00:00Z", "os": "Debian 12", "builder": "ingot/0.1.0"},
            "source_image": {"ami_id": "ami-0"}, "copies": [{"build": "amazon-ebs.a", "platform": "linux", "arch": "x86_64",
            "account": "default", "region": "eu-west-1", "ami_id": "ami-1", "snapshot_ids": [], "state": "available"}], "tags": {},
            "run_id": "r1", "created_at": "2026-07-29T10:00:00Z"})
    }

    #[test]
    fn images_as_people_read_them() {
        let image: Image = serde_json::from_value(image()).unwrap();
        insta::assert_snapshot!(format!("{}\n{}", table(std::slice::from_ref(&image)).render(), shown(&image)), @"
        ID  IMAGE   STATE  STAGE  SHA           OS         CREATED               COPIES
        i1  web #7  built         0123456789ab  Debian 12  2026-07-29T10:00:00Z  eu-west-1:ami-1

        image    web #7
        id       i1
        state    built
        sha      0123456789abcdef
        time     2026-07-29T10:00:00Z
        os       Debian 12
        builder  ingot/0.1.0
        source   ami-0
        run      r1
        created  2026-07-29T10:00:00Z

        BUILD         REGION     AMI    ARCH    ACCOUNT  STATE
        amazon-ebs.a  eu-west-1  ami-1  x86_64  default  available
        ");
    }
    #[test]
    fn stages_and_tags_that_are_not_written_yet() {
        let lines = |changes: &Value| {
            let mut image = image();
            for (name, value) in changes.as_object().unwrap() {
                image[name] = value.clone();
            }
            let text = shown(&serde_json::from_value(image).unwrap());
            text.lines()
                .filter(|line| line.starts_with("stage") || line.starts_with("tags"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let held = json!({"stage": "staging", "stages": ["dev", "staging"], "tags_pending": true, "tags_error": null});
        insta::assert_snapshot!(lines(&held), @"
        stages   dev, staging
        tags     being written
        ");
        insta::assert_snapshot!(lines(&json!({"tags_pending": true, "tags_error": "EC2 said no."})), @"
        tags     not written yet: EC2 said no.
        ");
    }

    #[test]
    fn what_happened_to_an_image() {
        let events: Vec<ImageEvent> = serde_json::from_value(json!([
            {"at": "2026-07-29T11:00:00Z", "event": "promoted", "principal": "ada", "stage": "dev", "generation": 4,
             "comment": "good", "data": {}},
            {"at": "2026-07-29T10:00:00Z", "event": "built", "principal": "ci", "stage": null, "generation": null,
             "comment": null, "data": {}}]))
        .unwrap();
        insta::assert_snapshot!(history(&events).render(), @"
        AT                    EVENT     STAGE  GEN  BY   COMMENT
        2026-07-29T11:00:00Z  promoted  dev    4    ada  good
        2026-07-29T10:00:00Z  built                 ci
        ");
    }

    #[test]
    fn filters_are_what_was_given() {
        let args: ListArgs = parsed("--family web --number 7 --stage dev --created-after 2026-07-29 --tag team=a");
        let expected = [
            ("family", "web"),
            ("number", "7"),
            ("stage", "dev"),
            ("created_after", "2026-07-29T00:00:00Z"),
            ("tag.team", "a"),
        ];
        assert_eq!(args.filters(), Filters::new(expected.map(|(name, value)| (name, Some(value.to_owned())))));
    }
}
