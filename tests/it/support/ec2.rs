//! EC2's query API, as far as the tests look at it themselves. The sandbox checks no signatures: a key stands for an
//! account, and the region is read from the credential's scope.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{eventually, sandbox};

/// EC2 in one region of one account.
#[derive(Debug, Clone)]
pub struct Ec2 {
    region: String,
    key: String,
}

/// An image as EC2 describes it.
#[derive(Debug, Clone)]
pub struct Image {
    pub id: String,
    pub name: String,
    pub state: String,
    pub tags: BTreeMap<String, String>,
    pub snapshots: Vec<String>,
    /// Whether all its volumes are encrypted.
    pub encrypted: bool,
    pub root_device: String,
    pub devices: Vec<Device>,
}

/// A device of an image, of an EBS volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub snapshot: String,
    /// GiB.
    pub size: String,
    pub deleted_on_termination: bool,
}

/// A volume as EC2 describes it.
#[derive(Debug, Clone)]
pub struct Volume {
    pub id: String,
    pub state: String,
    pub size: String,
    pub tags: BTreeMap<String, String>,
}

impl Ec2 {
    /// The account of the tests.
    pub fn new(region: &str) -> Self {
        Self { region: region.to_owned(), key: "test".to_owned() }
    }

    /// Another account, reached as its role.
    pub async fn of_account(region: &str, account: &str) -> Self {
        let own = Self::new(region);
        let role = format!("arn:aws:iam::{account}:role/test");
        let parameters = [("RoleArn", role.as_str()), ("RoleSessionName", "test")];
        let answer = own.send("sts", "2011-06-15", "AssumeRole", &parameters).await.expect("the role can be assumed");
        let key = answer.find("AccessKeyId").expect("credentials").text.clone();
        Self { region: region.to_owned(), key }
    }

    /// Calls an action. `Err` holds EC2's error code.
    pub async fn call(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Node, String> {
        self.send("ec2", "2016-11-15", action, parameters).await
    }

    async fn send(&self, service: &str, version: &str, action: &str, more: &[(&str, &str)]) -> Result<Node, String> {
        let scope = format!("{}/20260101/{}/{service}/aws4_request", self.key, self.region);
        let authorization = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let mut form = vec![("Action", action), ("Version", version)];
        form.extend_from_slice(more);
        let encoded: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value))).collect();
        let request = sandbox::http()
            .post(format!("{}/", sandbox::url()))
            .header("authorization", authorization)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(encoded.join("&"));
        let answer = request.send().await.expect("the sandbox answers");
        let is_good = answer.status().is_success();
        let text = answer.text().await.expect("the sandbox answers to the end");
        let node = Node::parse(&text);
        if is_good {
            return Ok(node);
        }
        Err(node.find("Code").map_or(text.clone(), |code| code.text.clone()))
    }

    /// Images by one filter.
    pub async fn images(&self, filter: &str, value: &str) -> Vec<Image> {
        let parameters = [("Owner.1", "self"), ("Filter.1.Name", filter), ("Filter.1.Value.1", value)];
        let found = self.call("DescribeImages", &parameters).await.expect("images can be described");
        found.items("imagesSet").map(Image::of).collect()
    }

    /// One of the account's own images.
    pub async fn image(&self, id: &str) -> Image {
        let mut found = self.images("image-id", id).await;
        assert_eq!(found.len(), 1, "{id} in {}", self.region);
        found.remove(0)
    }

    /// Whether this account may see an image, its own or not.
    pub async fn sees(&self, image: &str) -> bool {
        self.call("DescribeImages", &[("ImageId.1", image)]).await.is_ok()
    }

    /// A snapshot's tags and whether it is encrypted.
    pub async fn snapshot(&self, id: &str) -> (BTreeMap<String, String>, bool) {
        let found = self.call("DescribeSnapshots", &[("SnapshotId.1", id)]).await.expect("the snapshot exists");
        let snapshot = found.items("snapshotSet").next().expect("the snapshot exists");
        (snapshot.tags(), snapshot.text_of("encrypted") == "true")
    }

    /// The snapshots of a build that are no image's, with their tags: id, volume, description.
    pub async fn snapshots_of(&self, build: &str) -> Vec<(String, String, String, BTreeMap<String, String>)> {
        let found = self.of_build("DescribeSnapshots", build).await;
        let told = |one: &Node| {
            let text = |name: &str| one.text_of(name).to_owned();
            (text("snapshotId"), text("volumeId"), text("description"), one.tags())
        };
        found.items("snapshotSet").map(told).collect()
    }

    /// The volumes of a build.
    pub async fn volumes_of(&self, build: &str) -> Vec<Volume> {
        let found = self.of_build("DescribeVolumes", build).await;
        let told = |one: &Node| Volume {
            id: one.text_of("volumeId").to_owned(),
            state: one.text_of("status").to_owned(),
            size: one.text_of("size").to_owned(),
            tags: one.tags(),
        };
        found.items("volumeSet").map(told).collect()
    }

    async fn of_build(&self, action: &str, build: &str) -> Node {
        let parameters = [("Filter.1.Name", "tag:ingot:build-id"), ("Filter.1.Value.1", build)];
        self.call(action, &parameters).await.expect("it can be described")
    }

    /// The accounts that may launch an image besides its owner.
    pub async fn may_launch(&self, image: &str) -> Vec<String> {
        let parameters = [("ImageId", image), ("Attribute", "launchPermission")];
        let found = self.call("DescribeImageAttribute", &parameters).await.expect("the image exists");
        found.items("launchPermission").map(|item| item.text_of("userId").to_owned()).collect()
    }

    /// The ids of all instances of a build, those that are gone included.
    pub async fn instances_ever(&self, build: &str) -> Vec<String> {
        let parameters = [("Filter.1.Name", "tag:ingot:build-id"), ("Filter.1.Value.1", build)];
        let found = self.call("DescribeInstances", &parameters).await.expect("instances can be described");
        let reservations = found.items("reservationSet");
        reservations.flat_map(|one| one.items("instancesSet")).map(|one| one.text_of("instanceId").to_owned()).collect()
    }

    /// Boots a machine of an image, without a key.
    pub async fn boot(&self, image: &str) -> sandbox::Machine {
        let parameters = [("ImageId", image), ("InstanceType", "t3.micro"), ("MinCount", "1"), ("MaxCount", "1")];
        let made = self.call("RunInstances", &parameters).await.expect("the image can be launched");
        let id = made.items("instancesSet").next().expect("an instance").text_of("instanceId").to_owned();
        sandbox::machine(&id).await
    }

    /// Ends a machine, and waits for its end.
    pub async fn terminate(&self, machine: &sandbox::Machine) {
        let parameters = [("InstanceId.1", machine.id.as_str())];
        self.call("TerminateInstances", &parameters).await.expect("the instance can be ended");
        eventually(&format!("{} is gone", machine.id), Duration::from_secs(30), async || {
            let left = sandbox::leftovers().await;
            let left = left["instances"].as_array()?.iter().any(|instance| instance["id"] == machine.id.as_str());
            (!left).then_some(())
        })
        .await;
    }

    /// The ids of volumes that were made of a snapshot.
    pub async fn volumes_from(&self, snapshot: &str) -> Vec<String> {
        let parameters = [("Filter.1.Name", "snapshot-id"), ("Filter.1.Value.1", snapshot)];
        let found = self.call("DescribeVolumes", &parameters).await.expect("volumes can be described");
        found.items("volumeSet").map(|one| one.text_of("volumeId").to_owned()).collect()
    }

    pub async fn remove_volume(&self, id: &str) {
        self.call("DeleteVolume", &[("VolumeId", id)]).await.expect("the volume can be deleted");
    }

    pub async fn remove_snapshot(&self, id: &str) {
        self.call("DeleteSnapshot", &[("SnapshotId", id)]).await.expect("the snapshot can be deleted");
    }

    /// Removes an image with its snapshots.
    pub async fn remove_image(&self, image: &Image) {
        self.call("DeregisterImage", &[("ImageId", &image.id)]).await.expect("the image can be deregistered");
        for snapshot in &image.snapshots {
            self.call("DeleteSnapshot", &[("SnapshotId", snapshot)]).await.expect("the snapshot can be deleted");
        }
    }
}

impl Image {
    fn of(node: &Node) -> Self {
        let volumes: Vec<&Node> = node.items("blockDeviceMapping").filter_map(|device| device.child("ebs")).collect();
        Self {
            id: node.text_of("imageId").to_owned(),
            name: node.text_of("name").to_owned(),
            state: node.text_of("imageState").to_owned(),
            tags: node.tags(),
            snapshots: volumes.iter().map(|ebs| ebs.text_of("snapshotId").to_owned()).collect(),
            encrypted: !volumes.is_empty() && volumes.iter().all(|ebs| ebs.text_of("encrypted") == "true"),
            root_device: node.text_of("rootDeviceName").to_owned(),
            devices: node.items("blockDeviceMapping").filter_map(Device::of).collect(),
        }
    }
}

impl Device {
    fn of(node: &Node) -> Option<Self> {
        let ebs = node.child("ebs")?;
        Some(Self {
            name: node.text_of("deviceName").to_owned(),
            snapshot: ebs.text_of("snapshotId").to_owned(),
            size: ebs.text_of("volumeSize").to_owned(),
            deleted_on_termination: ebs.text_of("deleteOnTermination") == "true",
        })
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// An element of an answer. EC2's XML has no attributes that matter and no mixed content.
#[derive(Debug, Clone, Default)]
pub struct Node {
    name: String,
    pub text: String,
    children: Vec<Node>,
}

impl Node {
    fn parse(text: &str) -> Self {
        let mut open = vec![Self::default()];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let (tag, next) = after.split_once('>').expect("XML");
            open.last_mut().expect("the root").text.push_str(&unescaped(before.trim()));
            rest = next;
            if tag.starts_with(['?', '!']) {
                continue;
            }
            if tag.starts_with('/') {
                let done = open.pop().expect("XML");
                open.last_mut().expect("XML").children.push(done);
                continue;
            }
            let name = tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default().to_owned();
            let node = Self { name, ..Self::default() };
            if tag.ends_with('/') {
                open.last_mut().expect("the root").children.push(node);
            } else {
                open.push(node);
            }
        }
        assert_eq!(open.len(), 1, "XML that ends too early: {text}");
        open.remove(0)
    }

    /// The first element of this name, at any depth.
    fn find(&self, name: &str) -> Option<&Self> {
        self.children.iter().find_map(|child| if child.name == name { Some(child) } else { child.find(name) })
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }

    /// The `item`s of the first list of this name.
    fn items<'n>(&'n self, list: &str) -> impl Iterator<Item = &'n Self> + use<'n> {
        self.find(list).into_iter().flat_map(|list| &list.children)
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let pairs = self.child("tagSet").into_iter().flat_map(|set| &set.children);
        pairs.map(|tag| (tag.text_of("key").to_owned(), tag.text_of("value").to_owned())).collect()
    }
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#x27;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[test]
fn answers_are_read() {
    let node = Node::parse(
        "<?xml version=\"1.0\"?><R xmlns=\"x\"><set><item><id>a&amp;b</id><tagSet><item><key>k</key><value/></item>\
         </tagSet></item><item/></set></R>",
    );
    let items: Vec<&Node> = node.items("set").collect();
    assert_eq!((items.len(), items[0].text_of("id")), (2, "a&b"));
    assert_eq!(items[0].tags(), BTreeMap::from([("k".to_owned(), String::new())]));
}
