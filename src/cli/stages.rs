//! `ingot stages`: which image each stage holds for each family, and how that came about.

use clap::{Args, Subcommand};

use super::Context;
use super::error::CliResult;
use super::exit::Exit;
use super::lists::{Filters, Limit, print_list};
use super::table::{Table, number, places};
use super::wire::{Promotion, Stage, StageEntry};

/// There are as many stages as somebody configured.
const ALL: usize = 1_000;

#[derive(Debug, Args)]
pub struct StagesArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The stages in their order (also without `list`).
    List,
    /// What a stage holds: one image a family.
    Show {
        #[arg(value_name = "STAGE")]
        stage: String,
        /// Only this family.
        #[arg(long, value_name = "NAME")]
        family: Option<String>,
        /// How many at most.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
    },
    /// What a stage held of a family, the newest first.
    History {
        #[arg(value_name = "STAGE")]
        stage: String,
        /// The line of images.
        #[arg(long, value_name = "NAME")]
        family: String,
        #[command(flatten)]
        limit: Limit,
    },
}

impl StagesArgs {
    pub(super) async fn run(self, context: &Context) -> CliResult<Exit> {
        let client = context.client()?;
        match self.action.unwrap_or(Action::List) {
            Action::List => print_list(context, &client, &["stages"], (&Filters::default(), ALL), stages).await?,
            Action::Show { stage, family, limit } => {
                let filters = Filters::new([("family", family)]);
                print_list(context, &client, &["stages", &stage], (&filters, limit), entries).await?;
            }
            Action::History { stage, family, limit } => {
                let filters = Filters::new([("family", Some(family))]);
                print_list(context, &client, &["stages", &stage, "history"], (&filters, limit.count), history).await?;
            }
        }
        Ok(Exit::Success)
    }
}

fn stages(stages: &[Stage]) -> Table {
    let mut table = Table::new(&["STAGE", "FAMILIES", "NEWEST CHANGE"]);
    for stage in stages {
        table.row([stage.name.clone(), number(stage.families), stage.newest_change_at.clone().unwrap_or_default()]);
    }
    table
}

fn entries(entries: &[StageEntry]) -> Table {
    let mut table = Table::new(&["FAMILY", "IMAGE", "AMIS", "SINCE", "BY", "GEN", "COMMENT"]);
    for entry in entries {
        table.row([
            entry.family.clone(),
            format!("#{}", entry.image.number),
            places(&entry.image.copies),
            entry.since.clone().unwrap_or_default(),
            entry.principal.clone().unwrap_or_default(),
            entry.generation.to_string(),
            entry.comment.clone().unwrap_or_default(),
        ]);
    }
    table
}

fn history(promotions: &[Promotion]) -> Table {
    let mut table = Table::new(&["AT", "ACTION", "IMAGE", "BEFORE", "BY", "GEN", "COMMENT"]);
    for promotion in promotions {
        let [image, before] = [&promotion.image, &promotion.previous_image]
            .map(|image| image.as_ref().map_or_else(|| "none".to_owned(), |image| format!("#{}", image.number)));
        table.row([
            promotion.at.clone().unwrap_or_default(),
            promotion.action.clone(),
            image,
            before,
            promotion.principal.clone().unwrap_or_default(),
            promotion.generation.to_string(),
            promotion.comment.clone().unwrap_or_default(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn typed<T: serde::de::DeserializeOwned>(items: Value) -> Vec<T> {
        serde_json::from_value(items).unwrap()
    }

    #[test]
    fn stages_in_a_table() {
        let all = json!([{"name": "dev", "position": 0, "families": 12, "newest_change_at": "2026-07-29T10:00:00Z"},
            {"name": "prod", "position": 1, "families": 0, "newest_change_at": null}]);
        insta::assert_snapshot!(stages(&typed(all)).render(), @"
        STAGE  FAMILIES  NEWEST CHANGE
        dev    12        2026-07-29T10:00:00Z
        prod   0
        ");
    }

    #[test]
    fn what_a_stage_holds() {
        let copies = json!([{"region": "eu-west-1", "ami_id": "ami-1", "arch": "x86_64", "account": "default"},
            {"region": "us-east-1", "ami_id": "ami-2", "arch": "x86_64", "account": "default"}]);
        let held = json!([{"stage": "prod", "family": "web", "generation": 4, "since": "2026-07-29T10:00:00Z",
                "principal": "ada", "comment": "two\nlines", "image": {"id": "i7", "family": "web", "number": 7, "sha": "abc",
                "os": "Debian 12", "created_at": "2026-07-28T10:00:00Z", "copies": copies}},
            {"stage": "prod", "family": "database", "generation": 11, "since": "2026-07-20T10:00:00Z",
                "principal": "ci", "comment": null, "image": {"id": "i2", "family": "database", "number": 12, "copies": []}}]);
        insta::assert_snapshot!(entries(&typed(held)).render(), @"
        FAMILY    IMAGE  AMIS                             SINCE                 BY   GEN  COMMENT
        web       #7     eu-west-1:ami-1 us-east-1:ami-2  2026-07-29T10:00:00Z  ada  4    two lines
        database  #12                                     2026-07-20T10:00:00Z  ci   11
        ");
    }

    #[test]
    fn how_it_came_about() {
        let line = |action: &str, generation: i64, image: Value, before: Value| {
            json!({"action": action, "family": "web", "stage": "prod", "generation": generation, "image": image,
                "previous_image": before, "principal": "ada", "comment": (generation == 2).then_some("too slow"),
                "at": format!("2026-07-29T10:00:0{generation}Z")})
        };
        let image = |number: i64| json!({"id": "i", "family": "web", "number": number, "ami_ids": ["ami-1"]});
        let all = json!([
            line("rollback", 3, image(6), Value::Null),
            line("demote", 2, Value::Null, image(7)),
            line("promote", 1, image(7), image(6))
        ]);
        insta::assert_snapshot!(history(&typed(all)).render(), @"
        AT                    ACTION    IMAGE  BEFORE  BY   GEN  COMMENT
        2026-07-29T10:00:03Z  rollback  #6     none    ada  3
        2026-07-29T10:00:02Z  demote    none   #7      ada  2    too slow
        2026-07-29T10:00:01Z  promote   #7     #6      ada  1
        ");
    }
}
