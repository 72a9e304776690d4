//! The private `PostgreSQL`, really started.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use secrecy::ExposeSecret;

use super::*;
use crate::store::private_cluster::PrivateCluster;
use crate::store::test_support::test_sealer;

async fn answers(cluster: &PrivateCluster) -> Store {
    let store = Store::connect(&cluster.url(), 2, test_sealer("t", 1), Arc::new(TestClock::new())).await.unwrap();
    store.migrate().await.unwrap();
    store
}

fn postmaster(data_dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(data_dir.join("postgres/postmaster.pid")).ok()?;
    text.lines().next().map(str::to_owned)
}

#[tokio::test]
async fn it_is_made_adopted_stopped_and_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = PrivateCluster::start(folder.path()).await.unwrap();
    let deployment = answers(&cluster).await.deployment().await.unwrap();
    let mode = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("postgres.password"), mode("postgres"), mode("postgres-socket")), (0o600, 0o700, 0o700));
    let first = postmaster(folder.path()).unwrap();

    let second = PrivateCluster::start(folder.path()).await.err().expect("the directory is taken");
    assert!(second.public.contains("Another `ingot serve`"), "{}", second.public);

    // As after kill -9 of the server: PostgreSQL goes on, nobody stops it.
    drop(cluster);
    let adopted = PrivateCluster::start(folder.path()).await.unwrap();
    assert_eq!(postmaster(folder.path()).as_ref(), Some(&first));
    assert_eq!(answers(&adopted).await.deployment().await.unwrap(), deployment);
    adopted.stop().await.unwrap();
    assert_eq!(postmaster(folder.path()), None, "it removed its pid file");

    // A killed PostgreSQL leaves its pid file, and the number may be another process's by now.
    std::fs::write(folder.path().join("postgres/postmaster.pid"), format!("{}\n", std::process::id())).unwrap();
    let again = PrivateCluster::start(folder.path()).await.unwrap();
    assert_eq!(answers(&again).await.deployment().await.unwrap(), deployment);
    let url = again.url();
    assert!(url.expose_secret().starts_with("postgres://ingot:"));
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_data_directory_still_has_a_short_socket() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data_dir = folder.path().join("d".repeat(100));
    let cluster = PrivateCluster::start(&data_dir).await.unwrap();
    answers(&cluster).await;
    let socket = cluster.socket_folder().to_owned();
    assert!(socket.starts_with("/tmp") && socket.exists());
    cluster.stop().await.unwrap();
    assert!(!socket.exists(), "nothing is left outside the data directory");
}

#[tokio::test]
async fn a_parent_that_is_closed_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let error = PrivateCluster::start(&folder.path().join("data")).await.err().expect("the parent is closed");
    assert!(error.public.contains(&format!("chmod o+x {}", folder.path().display())), "{}", error.public);
}
