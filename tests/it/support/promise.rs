//! What is true of a build that has survived something, whatever it was.

use super::ec2::{Ec2, Image};
use super::sandbox;
use super::server::Run;

/// The one image of a run that has succeeded with this attempt: one machine an attempt, one image, nothing else left.
pub async fn only_image(run: &Run<'_>, region: &str, attempt: u32) -> Image {
    let done = run.succeeded().await;
    assert_eq!(done["builds"][0]["attempt"], attempt, "{done:#}\n{}", run.log().await);
    assert_eq!(done["image"]["state"], "built");
    let ec2 = Ec2::new(region);
    let launched = ec2.instances_ever(&run.builds[0]).await;
    assert_eq!(launched.len(), attempt as usize, "one machine an attempt: {launched:?}");
    let mut images = ec2.images("tag:ingot:build-id", &run.builds[0]).await;
    assert_eq!(images.len(), 1, "{images:?}");
    let image = images.remove(0);
    assert_eq!(image.id, run.ami(region).await);
    assert_eq!(
        (image.state.as_str(), image.tags["ingot:attempt"].as_str()),
        ("available", attempt.to_string().as_str())
    );
    assert!(!image.tags.contains_key("ingot:temporary"));
    sandbox::only_artifacts_are_left(&run.builds).await;
    let left = sandbox::left_of(&run.builds).await;
    assert_eq!(left.len(), 1 + image.snapshots.len(), "{left:?}");
    image
}

/// Removes the image; nothing is left then.
pub async fn removed(run: &Run<'_>, region: &str, image: &Image) {
    Ec2::new(region).remove_image(image).await;
    sandbox::nothing_is_left(&run.builds).await;
}

/// The numbers that a script has printed as `WORD NUMBER`, in the log's order.
pub fn numbers(log: &str, word: &str) -> Vec<u32> {
    let prefix = format!("amazon-ebs.test: {word} ");
    log.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse().ok()).collect()
}

/// Asserts that a script's numbered lines are all there, once each and in order.
pub fn assert_counted(numbers: &[u32], log: &str) {
    let expected: Vec<u32> = (1..).take(numbers.len()).collect();
    assert_eq!(numbers, expected, "a line is lost or there twice: {log}");
}
