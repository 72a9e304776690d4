//! Servers that are told to stop, one after the other, while they build: what waits is handed over at once, scripts that
//! run may end first, and nothing is lost or begun anew.

use std::time::{Duration, Instant};

use crate::support::promise::{assert_counted, numbers, only_image, removed};
use crate::support::record::{self, Record};
use crate::support::server::{Run, Server};
use crate::support::template::{debian, shell};
use crate::support::{eventually, turn, unique};

const REGION: &str = "ap-east-1";
/// Lines of the two scripts together. Each takes 8 s: longer than a hand-over, and shorter than the grace of a server that
/// stops.
const LINES: u32 = 160;

fn template(name: &str) -> String {
    let half = LINES / 2;
    let count =
        |from: u32, to: u32| shell(&[&format!("for i in $(seq {from} {to}); do echo line $i; sleep 0.1; done")]);
    debian(REGION, &unique(name), &(count(1, half) + &count(half + 1, LINES))).text()
}

#[tokio::test]
async fn three_servers_are_restarted_one_after_the_other_under_load() {
    let _turn = turn().await;
    let mut servers = vec![Server::start_with(&[("INGOT__SERVER__NAME", "server-0")]).await];
    for name in ["server-1", "server-2"] {
        servers.push(Server::start_beside_with(&servers[0], &[("INGOT__SERVER__NAME", name)]).await);
    }
    // Asks about builds while the others come and go.
    let asked = Server::start_beside_with(&servers[0], &[("INGOT__WORKERS__MAX_BUILDS", "0")]).await;
    let mut runs = Vec::new();
    for server in &servers {
        for name in ["first", "second"] {
            let run = server.build(&template(name)).await;
            runs.push(Run::of(&asked, &run.id, &[&run.builds[0]]));
        }
    }
    let mut database = record::connect(&asked).await;
    let began = Instant::now();
    for (number, server) in servers.iter_mut().enumerate() {
        // It has something to hand over.
        let name = format!("server-{number}");
        eventually(&format!("{name} has a build"), Duration::from_mins(1), async || {
            let builds: i64 = sqlx::query_scalar("SELECT count(*) FROM build_leases WHERE owner = $1")
                .bind(&name)
                .fetch_one(&mut database)
                .await
                .expect("the database answers");
            (builds > 0).then_some(())
        })
        .await;
        assert_eq!(server.stop().await, Some(0));
        let stopped = Instant::now();
        eventually("every build at work has an owner again", Duration::from_secs(20), async || {
            let without: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM build_leases l JOIN builds b ON b.id = l.build_id
                 WHERE b.state IN ('running', 'unwinding') AND (l.owner IS NULL OR l.owner = $1)",
            )
            .bind(&name)
            .fetch_one(&mut database)
            .await
            .expect("the database answers");
            (without == 0).then_some(())
        })
        .await;
        println!("{name}: its builds had an owner again {:.1} s after its end", stopped.elapsed().as_secs_f64());
        server.start_again().await;
    }
    println!("three servers restarted in {:.0} s", began.elapsed().as_secs_f64());

    let mut handed_over = 0;
    for run in &runs {
        let image = only_image(run, REGION, 1).await;
        let log = run.log().await;
        let lines = numbers(&log, "line");
        assert_counted(&lines, &log);
        assert_eq!(lines.len(), LINES as usize, "{log}");
        let record = Record::of(&mut database, &run.builds[0]).await;
        assert_eq!(record.complaints(), Vec::<String>::new());
        assert!(!log.contains("is gone. Another one goes on"), "no lease had to run out: {log}");
        let told = log.matches("Another server goes on with this build; none of its log is lost.").count();
        assert_eq!(told + 1, usize::try_from(record.epoch).expect("a small number"), "{log}");
        handed_over += told;
        removed(run, REGION, &image).await;
    }
    assert!(handed_over > 0, "no build was under way when its server stopped");
}
