//! `ingot images`: the registry's entries.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::Value;

use super::error::CliResult;
use super::exit::Exit;
use super::inputs::assignment;
use super::table::Table;
use super::wire::Image;
use super::{Context, list, typed};

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
        /// The image's id, or an AMI's.
        id: String,
    },
}

#[derive(Debug, Args)]
struct ListArgs {
    /// How many at most.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Only this family.
    #[arg(long, value_name = "NAME")]
    family: Option<String>,
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
}

impl ImagesArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action {
            Some(Action::Show { id }) => {
                let answer: Value = client.get(&["images", &id], &[]).await?;
                if context.json() {
                    context.print_json(&answer)?;
                } else {
                    context.print(&shown(&typed(&client, &answer)?))?;
                }
            }
            list_or_none => {
                let (filters, limit) = match list_or_none {
                    Some(Action::List(args)) => (args.filters(), args.limit),
                    _ => (Vec::new(), 20),
                };
                let items = list(&client, &["images"], &filters, limit).await?;
                if context.json() {
                    context.print_json(&Value::Array(items))?;
                } else {
                    let images = items.iter().map(|item| typed(&client, item)).collect::<CliResult<Vec<Image>>>()?;
                    context.print(&table(&images).render())?;
                }
            }
        }
        Ok(Exit::Success)
    }
}

impl ListArgs {
    fn filters(&self) -> Vec<(String, String)> {
        let options = [
            ("family", &self.family),
            ("state", &self.state),
            ("region", &self.region),
            ("account", &self.account),
            ("arch", &self.arch),
            ("sha", &self.sha),
        ];
        let mut filters: Vec<(String, String)> =
            options.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect();
        filters.extend(self.tags.iter().map(|(name, value)| (format!("tag.{name}"), value.clone())));
        filters
    }
}

fn table(images: &[Image]) -> Table {
    let mut table = Table::new(&["ID", "IMAGE", "STATE", "STAGE", "SHA", "OS", "CREATED", "COPIES"]);
    for image in images {
        let stob = image.stob.as_ref();
        let copies = image.copies.iter().map(|copy| format!("{}:{}", copy.region, copy.ami_id));
        table.row([
            image.id.clone(),
            format!("{} #{}", image.family, image.number),
            image.state.clone(),
            image.stage.clone().unwrap_or_default(),
            stob.and_then(|stob| stob.sha.clone()).unwrap_or_default().chars().take(12).collect(),
            stob.and_then(|stob| stob.os.clone()).unwrap_or_default(),
            image.created_at.clone().unwrap_or_default(),
            copies.collect::<Vec<_>>().join(" "),
        ]);
    }
    table
}

fn shown(image: &Image) -> String {
    let mut text = String::new();
    let stob = image.stob.as_ref();
    let source = image.source_image.as_ref().map(|source| match source {
        Value::String(id) => id.clone(),
        source => source["ami_id"].as_str().map_or_else(|| source.to_string(), str::to_owned),
    });
    let facts = [
        ("image", Some(format!("{} #{}", image.family, image.number))),
        ("id", Some(image.id.clone())),
        ("state", Some(image.state.clone())),
        ("stage", image.stage.clone()),
        ("sha", stob.and_then(|stob| stob.sha.clone())),
        ("time", stob.and_then(|stob| stob.time.clone())),
        ("os", stob.and_then(|stob| stob.os.clone())),
        ("builder", stob.and_then(|stob| stob.builder.clone())),
        ("source", source.filter(|source| source != "null")),
        ("run", image.run_id.clone()),
        ("created", image.created_at.clone()),
    ];
    for (name, value) in facts.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        let _ = writeln!(text, "{name:<8} {value}");
    }
    let mut table = Table::new(&["BUILD", "REGION", "AMI", "ARCH", "ACCOUNT", "STATE"]);
    for copy in &image.copies {
        table.row([
            copy.build.clone().unwrap_or_default(),
            copy.region.clone(),
            copy.ami_id.clone(),
            copy.arch.clone().unwrap_or_default(),
            copy.account.clone().unwrap_or_default(),
            copy.state.clone().unwrap_or_default(),
        ]);
    }
    if !table.is_empty() {
        let _ = write!(text, "\n{}", table.render());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_as_people_read_them() {
        let image: Image = serde_json::from_value(json!({"id": "i1", "family": "web", "number": 7, "state": "built", "stage": null,
            "stages": [], "stob": {"sha": "0123456789abcdef", "time": "2026-07-29T10:00:00Z", "os": "Debian 12", "builder": "ingot/0.1.0"},
            "source_image": {"ami_id": "ami-0"}, "copies": [{"build": "amazon-ebs.a", "platform": "linux", "arch": "x86_64",
            "account": "default", "region": "eu-west-1", "ami_id": "ami-1", "snapshot_ids": [], "state": "available"}], "tags": {},
            "run_id": "r1", "created_at": "2026-07-29T10:00:00Z"}))
        .unwrap();
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
}
