//! Stages and the moves of images through them: which promotion is allowed, and where a rollback goes. A stage is a
//! pointer for each family; promoting to one leaves the others as they are.

use std::fmt;
use std::str::FromStr;

use super::error::{Error, Result};
use super::ids::ImageId;
use super::image::ImageState;
use super::state::text_enum;

text_enum! {
    /// What moved a pointer.
    StageAction {
        Promote = "promote",
        /// The stage holds nothing from then on.
        Demote = "demote",
        /// Back to what the stage held before.
        Rollback = "rollback",
    }
}

/// The configured stages, from the first to the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageOrder(Vec<String>);

impl Default for StageOrder {
    fn default() -> Self {
        Self(["dev", "staging", "prod"].map(str::to_owned).to_vec())
    }
}

impl StageOrder {
    /// # Errors
    /// What is wrong with the names: none, one that can't be a tag or a part of a path, or one that is there twice.
    pub fn new(names: Vec<String>) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        for name in &names {
            let well_formed = (1..=50).contains(&name.len())
                && name.bytes().next().is_some_and(plain)
                && name.bytes().all(|byte| plain(byte) || b"-_".contains(&byte));
            if !well_formed {
                return Err(format!(
                    "the stage {name:?} can't be used: names have 1 to 50 lower-case letters, digits, - and _, and begin with a letter or digit"
                ));
            }
            if names.iter().filter(|other| *other == name).count() > 1 {
                return Err(format!("the stage {name:?} is there twice"));
            }
        }
        if names.is_empty() { Err("there must be at least one stage".to_owned()) } else { Ok(Self(names)) }
    }

    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// The stage that deployments ask for when they name none.
    #[must_use]
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// The position of a stage.
    ///
    /// # Errors
    /// `stage-unknown`, with the stages there are.
    pub fn position(&self, stage: &str) -> Result<usize> {
        self.0.iter().position(|name| name == stage).ok_or_else(|| {
            let public = format!("There is no stage {stage:?}. Stages, in order: {}.", self.0.join(", "));
            Error::unprocessable("stage-unknown", public)
        })
    }

    /// Sorts stages that an image holds by their order; those that are not configured any more are left out.
    #[must_use]
    pub fn sort(&self, held: &[String]) -> Vec<String> {
        self.0.iter().filter(|name| held.contains(name)).cloned().collect()
    }
}

impl FromStr for StageOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text.split(',').map(|name| name.trim().to_owned()).collect())
    }
}

impl fmt::Display for StageOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

/// An image that is to be promoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub family: String,
    pub number: i64,
    pub state: ImageState,
    /// It has an AMI that was not deregistered.
    pub available: bool,
    /// Stages that point to it.
    pub holds: Vec<String>,
    /// Stages that ever did.
    pub held: Vec<String>,
}

/// Whether an image may be promoted to a stage that holds `current` (a number of the same family) at the moment: one stage
/// after the other, and never backwards.
///
/// # Errors
/// `stage-unknown`, or a conflict that says why not and what to do.
pub fn check_promotion(order: &StageOrder, image: &Candidate, to: &str, current: Option<i64>) -> Result<()> {
    let target = order.position(to)?;
    let name = format!("{} #{}", image.family, image.number);
    if image.state != ImageState::Built {
        let hint = match image.state {
            ImageState::Incomplete => "; retry its run to complete it",
            _ => "; wait until its run has succeeded",
        };
        let public = format!("{name} is {}, and only an image that is built can be promoted{hint}.", image.state);
        return Err(Error::conflict("image-not-built", public));
    }
    if !image.available {
        let public = format!("{name} has no AMI that is still available, so nothing could be launched from it.");
        return Err(Error::conflict("image-not-available", public));
    }
    if current == Some(image.number) {
        return Err(Error::conflict("stage-held-already", format!("{name} is in {to} already.")));
    }
    if let Some(later) = order.names().iter().skip(target + 1).rev().find(|stage| image.holds.contains(stage)) {
        let public = format!("{name} is in {later} already, and images are not promoted backwards, to {to}.");
        return Err(Error::conflict("stage-backwards", public));
    }
    if let Some(newer) = current.filter(|current| *current > image.number) {
        let public = format!(
            "{to} holds {} #{newer}, which is newer than #{}, and promotion does not go backwards. \
             POST /v1/stages/{to}/rollback goes back to what {to} held before; after a demotion of #{newer}, {to} is free for any image.",
            image.family, image.number
        );
        return Err(Error::conflict("stage-backwards", public));
    }
    if let Some(before) = target.checked_sub(1).map(|position| &order.names()[position])
        && !image.held.contains(before)
    {
        let public =
            format!("{name} was never in {before}, and no stage can be skipped: promote it to {before} first.");
        return Err(Error::conflict("stage-skipped", public));
    }
    Ok(())
}

/// One line of a stage's history, as a rollback needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    pub generation: i64,
    pub action: StageAction,
    /// `None` after a demotion.
    pub image: Option<ImageId>,
    /// Of a rollback: the generation of the promotion that it restored.
    pub restores: Option<i64>,
}

/// The promotion that a rollback restores. Promotions lie upon each other like plates: a rollback takes plates off until
/// the one it restores is on top, a demotion takes the topmost off. So what was rolled back from or demoted does not come
/// back by a rollback, and rolling back twice goes back two images. `history` is in order of generations; images that
/// can't be used any more are passed over.
#[must_use]
pub fn rollback_target(history: &[HistoryLine], usable: impl Fn(ImageId) -> bool) -> Option<(&HistoryLine, ImageId)> {
    let mut stack: Vec<&HistoryLine> = Vec::new();
    for line in history {
        match line.action {
            StageAction::Promote => stack.push(line),
            StageAction::Demote => {
                stack.pop();
            }
            StageAction::Rollback => {
                while stack.last().is_some_and(|top| Some(top.generation) != line.restores) {
                    stack.pop();
                }
            }
        }
    }
    let present = history.last()?.image;
    stack
        .into_iter()
        .rev()
        .filter_map(|line| Some((line, line.image?)))
        .find(|(_, image)| present != Some(*image) && usable(*image))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn image(number: i64, holds: &[&str], held: &[&str]) -> Candidate {
        let text = |stages: &[&str]| stages.iter().map(|stage| (*stage).to_owned()).collect();
        Candidate {
            family: "web".into(),
            number,
            state: ImageState::Built,
            available: true,
            holds: text(holds),
            held: text(held),
        }
    }

    fn refusal(image: &Candidate, to: &str, current: Option<i64>) -> &'static str {
        check_promotion(&StageOrder::default(), image, to, current).map_or_else(|error| error.code, |()| "allowed")
    }

    #[test]
    fn one_stage_after_the_other() {
        assert_eq!(refusal(&image(7, &[], &[]), "dev", None), "allowed");
        assert_eq!(refusal(&image(7, &[], &[]), "staging", None), "stage-skipped");
        assert_eq!(refusal(&image(7, &["dev"], &["dev"]), "staging", Some(6)), "allowed");
        assert_eq!(refusal(&image(7, &["dev"], &["dev"]), "prod", None), "stage-skipped");
        // The stage before must have held it; it need not hold it still.
        assert_eq!(refusal(&image(7, &[], &["dev"]), "staging", None), "allowed");
        assert_eq!(refusal(&image(7, &[], &[]), "production", None), "stage-unknown");
    }

    #[test]
    fn never_backwards() {
        let everywhere = image(7, &["staging"], &["dev", "staging"]);
        assert_eq!(refusal(&everywhere, "dev", None), "stage-backwards");
        assert_eq!(refusal(&everywhere, "staging", Some(7)), "stage-held-already");
        assert_eq!(refusal(&image(6, &[], &["dev"]), "staging", Some(7)), "stage-backwards");
        // After a rollback from it, it may come again.
        assert_eq!(refusal(&image(7, &["dev"], &["dev", "staging"]), "staging", Some(6)), "allowed");
    }

    #[test]
    fn only_what_is_built_and_there() {
        for state in [ImageState::Building, ImageState::Incomplete] {
            assert_eq!(refusal(&Candidate { state, ..image(1, &[], &[]) }, "dev", None), "image-not-built");
        }
        assert_eq!(refusal(&Candidate { available: false, ..image(1, &[], &[]) }, "dev", None), "image-not-available");
    }

    fn id(number: u128) -> ImageId {
        ImageId(Uuid::from_u128(number))
    }

    /// `p7`: promotion of 7; `d`: demotion; `r2:7`: rollback that restored generation 2, image 7.
    fn history(text: &str) -> Vec<HistoryLine> {
        let line = |(index, word): (usize, &str)| {
            let generation = i64::try_from(index).unwrap() + 1;
            let (action, image, restores) = match word.split_at(1) {
                ("p", number) => (StageAction::Promote, number.parse().ok(), None),
                ("d", _) => (StageAction::Demote, None, None),
                (_, rest) => {
                    let (restores, number) = rest.split_once(':').unwrap();
                    (StageAction::Rollback, number.parse().ok(), restores.parse().ok())
                }
            };
            HistoryLine { generation, action, image: image.map(id), restores }
        };
        text.split(' ').enumerate().map(line).collect()
    }

    fn target(text: &str) -> Option<(i64, ImageId)> {
        rollback_target(&history(text), |image| image != id(13)).map(|(line, image)| (line.generation, image))
    }

    #[test]
    fn a_rollback_goes_to_the_image_before() {
        assert_eq!(target("p1 p2 p3"), Some((2, id(2))));
        assert_eq!(target("p1 p2 p3 r2:2"), Some((1, id(1))), "twice goes back two");
        assert_eq!(target("p1 p2 p3 r2:2 p4"), Some((2, id(2))), "3 was rolled back from");
        assert_eq!(target("p1 p2 p3 r2:2 r1:1"), None);
        assert_eq!(target("p1"), None);
        assert_eq!(target("p1 p2 d"), Some((1, id(1))), "what was demoted does not come back");
        assert_eq!(target("p1 d"), None);
        assert_eq!(target("p1 p13 p3"), Some((1, id(1))), "what has no AMI any more is passed over");
        assert_eq!(target("p1 p2 d p2"), Some((1, id(1))), "not to the same image");
    }

    #[test]
    fn names_of_stages() {
        assert_eq!("dev, prod".parse::<StageOrder>().unwrap().last(), "prod");
        for bad in ["", "Dev", "a,a", "a b", "-a", "a,,b"] {
            assert!(bad.parse::<StageOrder>().is_err(), "{bad}");
        }
        let order = StageOrder::default();
        assert_eq!(order.sort(&["prod".into(), "old".into(), "dev".into()]), ["dev", "prod"]);
    }
}
