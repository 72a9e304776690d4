//! Two servers that both believe to have a build: the owner is frozen past its lease, another one takes over, and the
//! first wakes up. EC2 can't be told who is right, so a call that was on its way may still land; its effect is found by its
//! tags. And clocks that step.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::support::promise::{assert_counted, numbers, only_image, removed};
use crate::support::record::{self, Record};
use crate::support::server::{Run, Server};
use crate::support::template::{debian, shell, ticks_until_go, waits_for_go};
use crate::support::{eventually, sandbox, turn, unique};

const BOOTS: &str = "me-south-1";
const SCRIPT: &str = "il-central-1";
const LAUNCHES: &str = "eu-south-2";
const IMAGES: &str = "ap-south-2";
const IMAGES_IN_VAIN: &str = "ca-west-1";
/// A call of the frozen owner lands this long after it was sent, in seconds: after the lease has run out (60 s from the
/// last heartbeat), and before the new owner looks for the second time for what may have come of it (half a minute later).
const LANDS_LATE: u32 = 75;
const LIMIT: Duration = Duration::from_mins(3);

/// Builds of one owner that is going to be frozen, each at another point.
struct Builds<'s> {
    boots: Run<'s>,
    script: Run<'s>,
    launches: Run<'s>,
    image: Run<'s>,
    image_in_vain: Run<'s>,
}

impl<'s> Builds<'s> {
    /// Starts them, and returns when each is at its point or shortly before: an owner waits for the answer of a call for
    /// 15 s only, so all calls that are to be on their way are sent at the same time.
    async fn begun(owner: &'s Server) -> Self {
        for region in [IMAGES, IMAGES_IN_VAIN] {
            sandbox::fault(json!({"action": "CreateImage", "region": region, "delay": LANDS_LATE})).await;
        }
        sandbox::fault(json!({"action": "RunInstances", "region": LAUNCHES, "delay": LANDS_LATE})).await;
        let image = owner.build(&debian(IMAGES, &unique("late"), &waits_for_go()).text()).await;
        let image_in_vain = owner.build(&debian(IMAGES_IN_VAIN, &unique("vain"), &waits_for_go()).text()).await;
        let script = owner.build(&debian(SCRIPT, &unique("ticks"), &ticks_until_go()).text()).await;
        for run in [&image, &image_in_vain, &script] {
            run.step_is("provision:1", "started").await;
        }
        // The first answers take long, whoever asks.
        sandbox::fault(json!({"action": "DescribeInstances", "region": BOOTS, "delay": 30, "times": 3})).await;
        let boots = owner.build(&debian(BOOTS, &unique("boots"), &shell(&["echo provisioned"])).text()).await;
        boots.step_is("wait_running", "started").await;

        for run in [&image, &image_in_vain] {
            sandbox::machine_of(&run.builds[0], 1).await.run("touch /tmp/go").await;
        }
        let launches = owner.build(&debian(LAUNCHES, &unique("launches"), "").text()).await;
        Self { boots, script, launches, image, image_in_vain }
    }

    /// Waits until each is at its point, with its call on its way.
    async fn under_way(&self) {
        self.launches.step_begun("launch").await;
        eventually("all calls are on their way", Duration::from_mins(1), async || {
            let mut left = 0;
            for region in [IMAGES, IMAGES_IN_VAIN, LAUNCHES] {
                left += sandbox::faults_left(region).await;
            }
            (left == 0).then_some(())
        })
        .await;
    }

    fn all(&self) -> [&Run<'s>; 5] {
        [&self.boots, &self.script, &self.launches, &self.image, &self.image_in_vain]
    }

    /// The same builds, asked of another server.
    fn asked_of<'o>(&self, other: &'o Server) -> Builds<'o> {
        let again = |run: &Run<'_>| Run::of(other, &run.id, &[&run.builds[0]]);
        Builds {
            boots: again(&self.boots),
            script: again(&self.script),
            launches: again(&self.launches),
            image: again(&self.image),
            image_in_vain: again(&self.image_in_vain),
        }
    }
}

#[tokio::test]
async fn an_owner_that_was_frozen_past_its_lease_changes_nothing() {
    let _turn = turn().await;
    let first = Server::start_with(&[("INGOT__SERVER__NAME", "first")]).await;
    let builds = Builds::begun(&first).await;
    // Now that all builds have their owner. It takes over only after it has had the database for a lease's life.
    let second = Server::start_beside_with(&first, &[("INGOT__SERVER__NAME", "second")]).await;
    builds.under_way().await;
    first.freeze();

    let builds = builds.asked_of(&second);
    // They are undone by the new owner, before the calls of the old one land.
    for run in [&builds.launches, &builds.image_in_vain] {
        assert_eq!(run.ask("cancel").await.status, 202);
    }
    let mut database = record::connect(&second).await;
    let mut written = Vec::new();
    for run in builds.all() {
        let build = &run.builds[0];
        eventually(&format!("{build} is taken over"), LIMIT, async || {
            let (owner, epoch) = record::lease(&mut database, build).await;
            (epoch > 1 && owner.is_none_or(|owner| owner == "second")).then_some(())
        })
        .await;
        written.push(Record::of(&mut database, build).await.written_under(1));
    }

    // The new owner is still at work.
    first.thaw();
    for run in builds.all() {
        let build = &run.builds[0];
        eventually(&format!("the first owner leaves {build}"), Duration::from_mins(1), async || {
            let log = first.own_log();
            log.lines()
                .any(|line| line.contains(build) && line.contains("left the build") && line.contains("Lost"))
                .then_some(())
        })
        .await;
    }
    sandbox::machine_of(&builds.script.builds[0], 2).await.run("touch /tmp/go").await;

    let boots = only_image(&builds.boots, BOOTS, 1).await;
    let script = only_image(&builds.script, SCRIPT, 2).await;
    let image = only_image(&builds.image, IMAGES, 1).await;
    for run in [&builds.launches, &builds.image_in_vain] {
        assert_eq!(run.over().await["state"], "cancelled", "{}", run.log().await);
    }
    for (region, action) in [(LAUNCHES, "RunInstances"), (IMAGES, "CreateImage"), (IMAGES_IN_VAIN, "CreateImage")] {
        eventually(&format!("the old owner's {action} has landed in {region}"), LIMIT, async || {
            (sandbox::late_calls(region, action).await == 1).then_some(())
        })
        .await;
    }
    for run in [&builds.launches, &builds.image_in_vain] {
        sandbox::nothing_is_left(&run.builds).await;
    }
    let log = builds.image_in_vain.log().await;
    assert!(log.contains("ami-"), "the image was there, and was found: {log}");

    for (run, written) in builds.all().into_iter().zip(written) {
        let record = Record::of(&mut database, &run.builds[0]).await;
        assert_eq!(record.complaints(), Vec::<String>::new());
        assert_eq!(record.written_under(1), written, "{:?}", record.journal);
        let log = run.log().await;
        let takeover = "The server first that worked on this build is gone.";
        assert_eq!(log.matches(takeover).count(), 1, "{log}");
    }
    // What the first server's machine went on to print is in nobody's log.
    let log = builds.script.log().await;
    let (before, after) = log.split_once("the next one follows").expect("the attempt was given up");
    assert_counted(&numbers(before, "tick"), &log);
    assert_counted(&numbers(after, "tick"), &log);
    removed(&builds.boots, BOOTS, &boots).await;
    removed(&builds.script, SCRIPT, &script).await;
    removed(&builds.image, IMAGES, &image).await;
}

/// libfaketime, as Debian installs it. It changes the calendar for whom it is loaded into, and not the time since boot:
/// Ingot asks the kernel for that.
fn faketime() -> Option<PathBuf> {
    let folders = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    folders.iter().map(|folder| PathBuf::from(folder).join("faketime/libfaketimeMT.so.1")).find(|file| file.is_file())
}

/// Today's date, some days on, as the database has it.
async fn date(database: &mut sqlx::PgConnection, days: i32) -> String {
    sqlx::query_scalar("SELECT to_char((now() AT TIME ZONE 'UTC') + make_interval(days => $1), 'YYYY-MM-DD')")
        .bind(days)
        .fetch_one(database)
        .await
        .expect("the database answers")
}

#[tokio::test]
async fn a_calendar_clock_that_steps_changes_nothing() {
    let _turn = turn().await;
    let Some(library) = faketime() else {
        println!(
            "SKIPPED: libfaketime is not installed (Debian: apt-get install faketime), so no clock can be made to step"
        );
        return;
    };
    let clock = tempfile::NamedTempFile::new().expect("a file");
    let step = |to: &str| std::fs::write(clock.path(), to).expect("the clock can be set");
    step("+0");
    let stepping = Server::start_with(&[
        ("INGOT__SERVER__NAME", "stepping"),
        ("LD_PRELOAD", &library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", &clock.path().display().to_string()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ])
    .await;
    let template = debian(SCRIPT, &unique("clock"), &ticks_until_go()).text();
    let run = stepping.build_with(&template, &[("timeout", "30m")]).await;
    run.step_is("provision:1", "started").await;
    let steady = Server::start_beside_with(&stepping, &[("INGOT__SERVER__NAME", "steady")]).await;
    let mut database = record::connect(&steady).await;
    // Forward by a day, then to a day before.
    for (to, days) in [("+1d", 1), ("-1d", -1)] {
        step(to);
        let date = date(&mut database, days).await;
        let ticks = numbers(&run.log().await, "tick").len();
        eventually("the server writes another date into its own log", Duration::from_mins(1), async || {
            stepping.own_log().contains(&date).then_some(())
        })
        .await;
        eventually("the script goes on", Duration::from_secs(30), async || {
            (numbers(&run.log().await, "tick").len() > ticks + 20).then_some(())
        })
        .await;
        assert_eq!(run.now().await["state"], "running");
        assert_eq!(record::lease(&mut database, &run.builds[0]).await, (Some("stepping".to_owned()), 1));
    }
    sandbox::machine_of(&run.builds[0], 1).await.run("touch /tmp/go").await;
    let image = only_image(&run, SCRIPT, 1).await;
    let record = Record::of(&mut database, &run.builds[0]).await;
    assert_eq!(record.complaints(), Vec::<String>::new());
    let wrong: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM (SELECT at FROM step_journal UNION ALL SELECT at FROM build_log) AS times
         WHERE at NOT BETWEEN now() - interval '1 hour' AND now() + interval '1 minute'",
    )
    .fetch_one(&mut database)
    .await
    .expect("the database answers");
    assert_eq!(wrong, 0, "journal and log have the database's time");
    let log = run.log().await;
    assert_counted(&numbers(&log, "tick"), &log);
    removed(&run, SCRIPT, &image).await;
}
