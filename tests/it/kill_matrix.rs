//! `kill -9` of a build's server in each step, in the commit, and in each undo, of builds that succeed, fail or are
//! cancelled. Another server takes over when the lease has run out. All cases wait for that together: each has a server
//! that takes just its build, in an account of its own, so that calls can be slow for this build alone.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::sync::Mutex;

use crate::support::ec2::Ec2;
use crate::support::record::{self, Entry, Record};
use crate::support::server::{Run, Server};
use crate::support::template::{debian, shell};
use crate::support::{eventually, sandbox, turn, unique};

const HOME: &str = "ap-southeast-3";
const COPY: &str = "ap-southeast-4";
/// Builds that are brought to their point at the same time.
const WAVE: usize = 9;
/// How long a call is on its way: its server is killed meanwhile, and it lands before there is another owner.
const ON_ITS_WAY: u32 = 12;
/// For a build to come to its point.
const LIMIT: Duration = Duration::from_mins(4);

/// What becomes of the build when nobody disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// One image, and a copy of it.
    Succeeds,
    /// Its script fails.
    Fails,
    /// Somebody cancels it while it waits for the copy.
    Cancelled,
    /// The same, in the time in which nobody has the build.
    CancelledWhenOrphaned,
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeds => "copies",
            Self::Fails => "failing",
            Self::Cancelled | Self::CancelledWhenOrphaned => "cancelled",
        })
    }
}

/// What the journal must hold before the server is killed.
#[derive(Debug, Clone, Copy)]
enum Mark {
    /// This step has begun, and is not done.
    Begun(&'static str),
    Done(&'static str),
    Committed,
    Unwinding,
}

impl Mark {
    fn is_in(self, journal: &[Entry]) -> bool {
        let has = |event: &str, step: Option<&str>| {
            journal.iter().any(|entry| entry.event == event && (step.is_none() || entry.step.as_deref() == step))
        };
        match self {
            Self::Begun(step) => has("started", Some(step)),
            Self::Done(step) => has("succeeded", Some(step)),
            Self::Committed => has("committed", None),
            Self::Unwinding => has("unwinding", None),
        }
    }
}

/// A call that is slow, so that the server can be killed before it is answered.
#[derive(Debug, Clone, Copy)]
struct Slow {
    action: &'static str,
    region: &'static str,
    /// Only from the beginning of this step on: earlier ones make the same call.
    from: Option<&'static str>,
}

/// A point of a plan.
#[derive(Debug, Clone, Copy)]
struct Case {
    plan: Plan,
    point: &'static str,
    mark: Mark,
    slow: Option<Slow>,
}

/// A step that is cut in the middle of a call.
const fn in_call(plan: Plan, point: &'static str, mark: Mark, action: &'static str, region: &'static str) -> Case {
    Case { plan, point, mark, slow: Some(Slow { action, region, from: None }) }
}

const fn in_step(step: &'static str, action: &'static str) -> Case {
    in_call(Plan::Succeeds, step, Mark::Begun(step), action, HOME)
}

/// A step that asks for a state that others ask for, too: earlier steps, and the janitor of a server that has just started.
const fn in_wait(step: &'static str, from: &'static str, action: &'static str, region: &'static str) -> Case {
    let slow = Slow { action, region, from: Some(from) };
    Case { plan: Plan::Succeeds, point: step, mark: Mark::Begun(step), slow: Some(slow) }
}

/// A step that is slow enough by itself.
const fn in_work(point: &'static str, mark: Mark) -> Case {
    Case { plan: Plan::Succeeds, point, mark, slow: None }
}

const fn in_undo(plan: Plan, point: &'static str, action: &'static str, region: &'static str) -> Case {
    in_call(plan, point, Mark::Unwinding, action, region)
}

const COPIED: &str = "copy:ap-southeast-4";
const COPY_AWAITED: &str = "wait_copy:ap-southeast-4";

const CASES: [Case; 27] = [
    in_step("check", "DescribeImages"),
    in_step("key_pair", "ImportKeyPair"),
    in_step("security_group", "CreateSecurityGroup"),
    in_call(
        Plan::Succeeds,
        "security_group, its rule",
        Mark::Begun("security_group"),
        "AuthorizeSecurityGroupIngress",
        HOME,
    ),
    in_step("launch", "RunInstances"),
    in_wait("wait_running", "launch", "DescribeInstances", HOME),
    // It may take less time than it takes to see that it has begun.
    in_work("connect", Mark::Done("wait_running")),
    in_work("provision:1", Mark::Begun("provision:1")),
    in_work("clean", Mark::Begun("clean")),
    in_step("stop", "StopInstances"),
    in_wait("wait_stopped", "provision:1", "DescribeInstances", HOME),
    in_step("create_image", "CreateImage"),
    in_wait("wait_image", "provision:1", "DescribeImages", HOME),
    in_call(Plan::Succeeds, COPIED, Mark::Begun(COPIED), "CopyImage", COPY),
    in_wait(COPY_AWAITED, "provision:1", "DescribeImages", COPY),
    in_call(Plan::Succeeds, "commit", Mark::Done(COPY_AWAITED), "DeleteTags", HOME),
    in_call(Plan::Succeeds, "commit, the copy's tags", Mark::Done(COPY_AWAITED), "DeleteTags", COPY),
    in_call(Plan::Succeeds, "committed, undo of launch", Mark::Committed, "TerminateInstances", HOME),
    in_call(Plan::Succeeds, "committed, undo of security_group", Mark::Committed, "DeleteSecurityGroup", HOME),
    in_undo(Plan::Fails, "undo of launch", "TerminateInstances", HOME),
    in_undo(Plan::Fails, "undo of security_group", "DeleteSecurityGroup", HOME),
    in_undo(Plan::Fails, "undo of key_pair", "DeleteKeyPair", HOME),
    Case { plan: Plan::CancelledWhenOrphaned, point: COPY_AWAITED, mark: Mark::Begun(COPY_AWAITED), slow: None },
    in_undo(Plan::Cancelled, "undo of copy:ap-southeast-4", "DeregisterImage", COPY),
    in_undo(Plan::Cancelled, "undo of create_image", "DeregisterImage", HOME),
    in_undo(Plan::Cancelled, "undo of create_image, its snapshot", "DeleteSnapshot", HOME),
    in_undo(Plan::Cancelled, "undo of launch", "TerminateInstances", HOME),
];

/// A case with its place in the list, which gives it its account.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    case: Case,
    number: usize,
}

impl Numbered {
    /// As the configuration names it.
    fn account(&self) -> String {
        format!("case{}", self.number)
    }

    fn account_id(&self) -> String {
        account_id(self.number)
    }

    fn template(&self) -> String {
        let script = match self.case.plan {
            Plan::Fails => shell(&["echo trouble >&2; exit 3"]),
            // Long enough for a fault that is asked for when it has begun; and something to do for `clean`.
            _ => shell(&["sleep 3; echo provisioned", "seq 30000 | (cd /tmp && xargs touch)"]),
        };
        let options = format!("  ami_regions = [\"{COPY}\"]");
        debian(HOME, &unique("matrix"), &script).with_options(&options).text()
    }

    async fn make_slow(&self, action: &str, region: &str, seconds: u32, times: u32) {
        let account = self.account_id();
        sandbox::fault(
            json!({"action": action, "region": region, "account": account, "delay": seconds, "times": times}),
        )
        .await;
    }

    /// Before the build is there.
    async fn begin(&self) {
        match self.case.slow {
            Some(Slow { action, region, from: None }) if !self.case.plan.is_cancelled() => {
                self.make_slow(action, region, ON_ITS_WAY, 1).await;
            }
            // The time for asking for the other fault.
            Some(Slow { from: Some("launch"), .. }) => self.make_slow("RunInstances", HOME, 4, 1).await,
            _ => {}
        }
    }

    /// Makes the call slow that the build is to be killed in, then waits until it is at its point.
    async fn until_there(&self, front: &Server, run: &Run<'_>, database: &mut PgConnection) {
        let build = &run.builds[0];
        if let Some(from) = self.case.slow.and_then(|slow| slow.from) {
            self.wait_for(database, build, Mark::Begun(from)).await;
        }
        if self.case.plan.is_cancelled() {
            self.wait_for(database, build, Mark::Begun("provision:1")).await;
            // As long as it takes to cancel it.
            self.make_slow("DescribeImages", COPY, ON_ITS_WAY, 4).await;
            self.wait_for(database, build, Mark::Begun(COPY_AWAITED)).await;
        }
        if let Some(slow) = self.case.slow
            && (slow.from.is_some() || self.case.plan.is_cancelled())
        {
            self.make_slow(slow.action, slow.region, ON_ITS_WAY, 1).await;
        }
        if self.case.plan == Plan::Cancelled {
            let answer = front.send(front.request(reqwest::Method::POST, &format!("{}/cancel", run.path()))).await;
            assert_eq!(answer.status, 202, "{}", answer.text);
        }
        self.wait_for(database, build, self.case.mark).await;
        if let Some(Slow { action, region, .. }) = self.case.slow {
            let account = self.account_id();
            self.quickly("the call is sent", async || sandbox::faults_left_of(&account, action, region).await == 0)
                .await;
        }
    }

    async fn wait_for(&self, database: &mut PgConnection, build: &str, mark: Mark) {
        self.quickly(&format!("{mark:?}"), async || mark.is_in(&record::journal(database, build).await)).await;
    }

    /// As `eventually`, but with hardly a pause: a step without a slow call is short.
    async fn quickly(&self, what: &str, mut there: impl AsyncFnMut() -> bool) {
        let began = Instant::now();
        while !there().await {
            assert!(began.elapsed() < LIMIT, "{:?}: {what}: not in time", self.case);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Plan {
    fn is_cancelled(self) -> bool {
        matches!(self, Self::Cancelled | Self::CancelledWhenOrphaned)
    }
}

fn account_id(number: usize) -> String {
    format!("4000000{number:05}")
}

/// What came of a case.
struct Outcome {
    case: Case,
    ended: String,
    leaked: usize,
    duplicated: usize,
    complaints: Vec<String>,
}

/// A build whose server was killed.
struct Underway<'s> {
    numbered: Numbered,
    run: Run<'s>,
    /// How many the build needs.
    attempts: u32,
}

/// Whether a step was begun that nobody can trust when it is half done: the build needs another attempt.
fn is_cut_in_work(journal: &[Entry]) -> bool {
    let cut = |step| Mark::Begun(step).is_in(journal) && !Mark::Done(step).is_in(journal);
    !Mark::Unwinding.is_in(journal) && (cut("provision:1") || cut("clean"))
}

/// Starts a server for each case, gives it the build, and kills it at the case's point.
async fn killed<'s>(front: &'s Server, wave: &[Numbered], settings: &[(String, String)]) -> Vec<Underway<'s>> {
    let victims = join_all(wave.iter().map(|numbered| async {
        let name = format!("victim-{}", numbered.number);
        let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (&**name, &**value)).collect();
        settings.extend([("INGOT__SERVER__NAME", name.as_str()), ("INGOT__WORKERS__MAX_BUILDS", "1")]);
        (name.clone(), Server::start_beside_with(front, &settings).await)
    }));
    let victims: Mutex<BTreeMap<String, Server>> = Mutex::new(victims.await.into_iter().collect());
    join_all(wave.iter().map(|numbered| async {
        let case = numbered.case;
        numbered.begin().await;
        let run = front.build_with(&numbered.template(), &[("account", &numbered.account())]).await;
        let mut database = record::connect(front).await;
        let build = &run.builds[0];
        let owner =
            eventually(&format!("{case:?} has an owner"), LIMIT, async || record::lease(&mut database, build).await.0)
                .await;
        let mut victim = victims.lock().await.remove(&owner).unwrap_or_else(|| panic!("{owner} has two builds"));
        numbered.until_there(front, &run, &mut database).await;
        victim.kill();
        let (_, epoch) = record::lease(&mut database, build).await;
        assert_eq!(epoch, 1, "{case:?}: its first owner is to be killed");
        if case.plan == Plan::CancelledWhenOrphaned {
            assert_eq!(run.ask("cancel").await.status, 202);
        }
        let journal = record::journal(&mut database, build).await;
        if let Mark::Begun(step) = case.mark {
            assert!(!Mark::Done(step).is_in(&journal), "{case:?}: {step} was quicker than the signal: {journal:?}");
        }
        Underway { numbered: *numbered, attempts: 1 + u32::from(is_cut_in_work(&journal)), run }
    }))
    .await
}

/// Waits for the end of a build whose server was killed, looks at what is there, and removes its images.
async fn outcome(underway: &Underway<'_>) -> Outcome {
    let Underway { numbered, run, attempts } = underway;
    let case = numbered.case;
    let build = &run.builds[0];
    run.over().await;
    // A build that has committed has succeeded long before its next owner removes what was temporary.
    let over = eventually(&format!("{case:?} is cleaned up"), LIMIT, async || {
        let over = run.now().await;
        (over["builds"][0]["cleanup"] == "done").then_some(over)
    })
    .await;
    let mut database = record::connect(run.server()).await;
    let record = Record::of(&mut database, build).await;
    let mut complaints = record.complaints();
    let mut expect = |what: &str, is: &Value, wanted: Value| {
        if *is != wanted {
            complaints.push(format!("{what} is {is}, not {wanted}"));
        }
    };
    let (state, ended) = match case.plan {
        Plan::Succeeds => ("succeeded", "finished"),
        Plan::Fails => ("failed", "undone"),
        Plan::Cancelled | Plan::CancelledWhenOrphaned => ("cancelled", "undone"),
    };
    expect("the run's state", &over["state"], state.into());
    expect("the build's clean-up", &over["builds"][0]["cleanup"], "done".into());
    expect("the attempt", &over["builds"][0]["attempt"], (*attempts).into());
    expect("the number of owners", &record.epoch.into(), (attempts + 1).into());

    let mut duplicated = 0;
    let mut artifacts = 0;
    for region in [HOME, COPY] {
        let ec2 = Ec2::of_account(region, &numbered.account_id()).await;
        let images = ec2.images("tag:ingot:build-id", build).await;
        let wanted = usize::from(case.plan == Plan::Succeeds);
        expect(&format!("the number of images in {region}"), &images.len().into(), wanted.into());
        duplicated += images.len().saturating_sub(wanted);
        if region == HOME {
            let machines = ec2.instances_ever(build).await.len();
            let may_be = *attempts as usize;
            expect("the number of machines", &(machines <= may_be).into(), true.into());
            duplicated += machines.saturating_sub(may_be);
        }
        for image in &images {
            expect("the image's state", &image.state.as_str().into(), "available".into());
            expect("ingot:temporary", &image.tags.contains_key("ingot:temporary").into(), false.into());
            artifacts += 1 + image.snapshots.len();
        }
        if case.plan == Plan::Succeeds {
            let ami = run.ami(region).await;
            expect("the image that the run names", &images[0].id.as_str().into(), ami.into());
        }
    }
    let leaked = leaked(build, artifacts).await;
    expect("what is left over", &json!(leaked), json!([]));
    for region in [HOME, COPY] {
        let ec2 = Ec2::of_account(region, &numbered.account_id()).await;
        for image in ec2.images("tag:ingot:build-id", build).await {
            ec2.remove_image(&image).await;
        }
    }
    let log = run.log().await;
    let told = log.matches("that worked on this build is gone. Another one goes on").count();
    if told != 1 {
        complaints.push(format!("the log tells of {told} take-overs"));
    }
    if !complaints.is_empty() {
        complaints.push(log);
    }
    let is_right = over["state"] == state;
    let ended = if is_right { ended.to_owned() } else { over["state"].to_string() };
    Outcome { case, ended, leaked: leaked.len(), duplicated, complaints }
}

/// What a build left behind besides so many images and snapshots, once machines have had the time to go.
async fn leaked(build: &str, artifacts: usize) -> Vec<String> {
    let build = [build.to_owned()];
    let began = Instant::now();
    loop {
        let left = sandbox::left_of(&build).await;
        let (results, rest): (Vec<String>, Vec<String>) =
            left.into_iter().partition(|thing| thing.starts_with("images ") || thing.starts_with("snapshots "));
        if rest.is_empty() && results.len() == artifacts {
            return rest;
        }
        if began.elapsed() > Duration::from_secs(30) {
            return rest.into_iter().chain(results.into_iter().skip(artifacts)).collect();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn killed_at_each_step_of_each_plan() {
    let _turn = turn().await;
    let settings: Vec<(String, String)> = (0..CASES.len())
        .map(|number| {
            let role = format!("arn:aws:iam::{}:role/test", account_id(number));
            (format!("INGOT__ACCOUNTS__CASE{number}__ROLE_ARN"), role)
        })
        .chain([("INGOT__DATABASE__MAX_CONNECTIONS".to_owned(), "5".to_owned())])
        .collect();
    let borrowed = |more: &[(&'static str, &'static str)]| -> Vec<(String, String)> {
        let more = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.iter().cloned().chain(more).collect()
    };
    let front = borrowed(&[("INGOT__SERVER__NAME", "front"), ("INGOT__WORKERS__MAX_BUILDS", "0")]);
    let front: Vec<(&str, &str)> = front.iter().map(|(name, value)| (&**name, &**value)).collect();
    // It answers requests and takes no build.
    let front = Server::start_with(&front).await;
    let cases: Vec<Numbered> =
        CASES.iter().enumerate().map(|(number, case)| Numbered { case: *case, number }).collect();
    let mut under_way = Vec::new();
    for wave in cases.chunks(WAVE) {
        under_way.extend(killed(&front, wave, &settings).await);
    }

    let survivor = borrowed(&[("INGOT__SERVER__NAME", "survivor")]);
    let survivor: Vec<(&str, &str)> = survivor.iter().map(|(name, value)| (&**name, &**value)).collect();
    let survivor = Server::start_beside_with(&front, &survivor).await;
    let outcomes = join_all(under_way.iter().map(outcome)).await;
    let mut wrong = Vec::new();
    for Outcome { case, ended, leaked, duplicated, complaints } in &outcomes {
        println!("CRASH\t{}\t{}\t{ended}\tleaked={leaked}\tduplicated={duplicated}", case.plan, case.point);
        wrong.extend(complaints.iter().map(|complaint| format!("{} / {}: {complaint}", case.plan, case.point)));
    }
    assert!(wrong.is_empty(), "{}\n--- the survivor's log ---\n{}", wrong.join("\n"), survivor.own_log());
}
