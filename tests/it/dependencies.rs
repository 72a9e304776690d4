//! A database that fails: builds wait for it and go on where they were. None is begun anew because of it, whoever else has
//! lost the same database, and no line of a log is lost.

use std::time::{Duration, Instant};

use ingot::store::test_support::TestCluster;
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::support::promise::{assert_counted, numbers, only_image, removed};
use crate::support::proxy::Proxy;
use crate::support::record::Record;
use crate::support::server::{Run, Server};
use crate::support::template::{debian, ticks_until_go};
use crate::support::{eventually, sandbox, turn, unique};

const REGION: &str = "af-south-1";
/// After an outage of a minute, everything is as before within this time.
const LIMIT: Duration = Duration::from_mins(3);

/// A connection that no outage of the tests cuts.
async fn beside(cluster: &TestCluster) -> PgConnection {
    PgConnection::connect(cluster.url().expose_secret()).await.expect("the database answers")
}

/// A build whose script prints a line five times a second until it is told to go on.
async fn ticking<'s>(server: &'s Server, name: &str) -> Run<'s> {
    let run = server.build(&debian(REGION, &unique(name), &ticks_until_go()).text()).await;
    run.step_is("provision:1", "started").await;
    run
}

async fn end_script(run: &Run<'_>) {
    sandbox::machine_of(&run.builds[0], 1).await.run("touch /tmp/go").await;
}

/// Waits for the end of a build, and sees that nothing of what has happened shows in what came of it.
async fn as_if_nothing_had_happened(run: &Run<'_>, database: &mut PgConnection) {
    let image = only_image(run, REGION, 1).await;
    let record = Record::of(database, &run.builds[0]).await;
    assert_eq!(record.complaints(), Vec::<String>::new());
    assert_eq!(record.epoch, 1, "it has had one owner: {:?}", record.journal);
    let log = run.log().await;
    let ticks = numbers(&log, "tick");
    assert!(!ticks.is_empty(), "{log}");
    assert_counted(&ticks, &log);
    assert!(log.contains("amazon-ebs.test: gone on\n"), "{log}");
    removed(run, REGION, &image).await;
}

/// Waits until all leases have run out: nobody could tell the database that their owners are alive.
async fn leases_have_run_out(database: &mut PgConnection) {
    eventually("the leases run out", Duration::from_mins(2), async || {
        let out: Option<bool> =
            sqlx::query_scalar("SELECT bool_and(expires_at < now() - interval '2 seconds') FROM build_leases")
                .fetch_one(&mut *database)
                .await
                .expect("the database answers");
        (out == Some(true)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_postgresql_that_is_killed_and_started_again_disturbs_no_build() {
    let _turn = turn().await;
    let mut cluster = TestCluster::start().await;
    let server = Server::start_on(cluster.url(), None, &[]).await;
    let run = server.build(&debian(REGION, &unique("restart"), &ticks_until_go()).text()).await;
    for step in ["launch", "connect", "provision:1"] {
        run.step_begun(step).await;
        cluster.stop_at_once();
        cluster.start_again().await;
    }
    end_script(&run).await;
    for step in ["stop", "wait_image"] {
        run.step_begun(step).await;
        cluster.stop_at_once();
        cluster.start_again().await;
    }
    let mut database = beside(&cluster).await;
    as_if_nothing_had_happened(&run, &mut database).await;
}

#[tokio::test]
async fn a_database_that_is_out_of_reach_for_a_minute_restarts_no_build() {
    let _turn = turn().await;
    let cluster = TestCluster::start().await;
    // One server's connections break, the other one's fall silent: what it has sent arrives when the minute is over.
    let networks = [Proxy::to(&cluster.socket()).await, Proxy::to(&cluster.socket()).await];
    let one = [("INGOT__WORKERS__MAX_BUILDS", "1")];
    let first = Server::start_on(TestCluster::url_by_port(networks[0].port()), None, &one).await;
    let run = ticking(&first, "cut").await;
    let second = Server::start_on(TestCluster::url_by_port(networks[1].port()), Some(&first), &one).await;
    let other = ticking(&second, "silent").await;

    // A server takes over builds without an owner when it has had the database for a lease's life, and so it could now.
    eventually("a lease's life has passed", LIMIT, async || {
        let log = other.log().await;
        (numbers(&log, "tick").len() > 5 * 65).then_some(())
    })
    .await;

    networks[0].go_down();
    networks[1].fall_silent();
    let mut database = beside(&cluster).await;
    leases_have_run_out(&mut database).await;
    for network in &networks {
        network.pass(Duration::ZERO);
    }
    // Their owners are back before anybody takes over.
    eventually("the owners have their leases again", LIMIT, async || {
        let good: Option<bool> = sqlx::query_scalar("SELECT bool_and(expires_at > now()) FROM build_leases")
            .fetch_one(&mut database)
            .await
            .expect("the database answers");
        (good == Some(true)).then_some(())
    })
    .await;
    end_script(&run).await;
    end_script(&other).await;
    as_if_nothing_had_happened(&run, &mut database).await;
    as_if_nothing_had_happened(&other, &mut database).await;
}

#[tokio::test]
async fn a_slow_database_makes_builds_slow_and_nothing_else() {
    let _turn = turn().await;
    let cluster = TestCluster::start().await;
    let network = Proxy::to(&cluster.socket()).await;
    let server = Server::start_on(TestCluster::url_by_port(network.port()), None, &[]).await;
    network.pass(Duration::from_millis(150));
    let began = Instant::now();
    let run = ticking(&server, "slow").await;
    end_script(&run).await;
    let mut database = beside(&cluster).await;
    as_if_nothing_had_happened(&run, &mut database).await;
    println!("with a network of 150 ms to the database, each way: {:.0} s", began.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_commit_that_is_never_answered_is_made_again() {
    let _turn = turn().await;
    let cluster = TestCluster::start().await;
    let network = Proxy::to(&cluster.socket()).await;
    let server = Server::start_on(TestCluster::url_by_port(network.port()), None, &[]).await;
    let run = ticking(&server, "unanswered").await;
    // As when a database moves to another machine: nobody closes the connection that the request was sent on.
    network.lose(Some("COMMIT"));
    end_script(&run).await;
    run.step_is("wait_image", "succeeded").await;
    let before = network.lost();
    eventually("the build's commit is lost", LIMIT, async || (network.lost() > before).then_some(())).await;
    network.lose(None);
    eventually("the server gives the answer up", LIMIT, async || {
        server.own_log().contains("no answer within").then_some(())
    })
    .await;
    let mut database = beside(&cluster).await;
    as_if_nothing_had_happened(&run, &mut database).await;
}

/// `PostgreSQL`'s answer to what needs more of a full disk: it goes on serving what does not.
const FULL: &str = "
    CREATE FUNCTION disk_full() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
    END
    $$;
    CREATE TRIGGER full_journal BEFORE INSERT ON step_journal EXECUTE FUNCTION disk_full();
    CREATE TRIGGER full_log BEFORE INSERT ON build_log EXECUTE FUNCTION disk_full();
    CREATE TRIGGER full_builds BEFORE UPDATE ON builds EXECUTE FUNCTION disk_full();
    CREATE TRIGGER full_leases BEFORE UPDATE ON build_leases EXECUTE FUNCTION disk_full();";
const ROOM: &str = "DROP FUNCTION disk_full CASCADE";

#[tokio::test]
async fn a_full_disk_of_the_database_restarts_no_build() {
    let _turn = turn().await;
    let cluster = TestCluster::start().await;
    let server = Server::start_on(cluster.url(), None, &[]).await;
    let run = ticking(&server, "full").await;
    let mut database = beside(&cluster).await;
    database.execute(FULL).await.expect("the disk can be filled");
    leases_have_run_out(&mut database).await;
    assert_eq!(run.now().await["state"], "running", "what is there can be read");
    database.execute(ROOM).await.expect("there is room again");
    end_script(&run).await;
    as_if_nothing_had_happened(&run, &mut database).await;
}
