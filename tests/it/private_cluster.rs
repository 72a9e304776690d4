//! A server without a database URL makes a PostgreSQL of its own, keeps it over restarts and crashes, and takes it along
//! when it stops.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use crate::support::server::Server;

async fn make_token(server: &Server, name: &str) {
    let request = server.request(Method::POST, "/v1/tokens").json(&json!({"name": name, "role": "viewer"}));
    let answer = server.send(request).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
}

async fn token_names(server: &Server) -> Vec<String> {
    let tokens = server.read("/v1/tokens").await;
    let names = tokens["items"].as_array().expect("tokens").iter().filter_map(|token| token["name"].as_str());
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort();
    names
}

/// The command lines of PostgreSQL processes that work in this data directory.
fn postgres_in(data_dir: &Path) -> Vec<String> {
    let folder = data_dir.join("postgres").display().to_string();
    let processes = std::fs::read_dir("/proc").expect("processes").filter_map(Result::ok);
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&folder) && line.contains("postgres -D")).collect()
}

#[tokio::test]
async fn a_server_brings_its_own_database() {
    let mut server = Server::start_with_private_cluster().await;
    assert_eq!(server.get("/readyz").await.status, 200);
    make_token(&server, "before-the-restart").await;
    let postmaster = server.postgres_pid().expect("PostgreSQL runs");
    let owner = std::fs::metadata(server.data_dir().join("postgres")).expect("the cluster");
    let secrets = ["postgres.password", "secret.key"].map(|name| server.data_dir().join(name));
    for file in &secrets {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(file).expect("a secret").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    if rustix::process::geteuid().is_root() {
        use std::os::unix::fs::MetadataExt as _;
        assert_ne!(owner.uid(), 0, "PostgreSQL does not run as root");
    }

    assert_eq!(server.stop().await, Some(0));
    assert_eq!(postgres_in(&server.data_dir()), Vec::<String>::new(), "it went with its server");
    assert_eq!(server.postgres_pid(), None);

    server.start_again().await;
    assert_eq!(token_names(&server).await, ["before-the-restart"]);
    make_token(&server, "before-the-crash").await;
    let second = server.postgres_pid().expect("PostgreSQL runs");
    assert_ne!(postmaster, second);

    server.kill();
    assert_eq!(server.postgres_pid(), Some(second), "a killed server can't take it along");
    server.start_again().await;
    assert_eq!(server.postgres_pid(), Some(second), "the next one adopts it");
    assert_eq!(token_names(&server).await, ["before-the-crash", "before-the-restart"]);
    assert_eq!(server.stop().await, Some(0));
    assert_eq!(postgres_in(&server.data_dir()), Vec::<String>::new());
}

#[tokio::test]
async fn two_servers_do_not_share_a_data_directory() {
    let server = Server::start_with_private_cluster().await;
    let mut second = crate::support::server::ingot();
    second.arg("serve").env("INGOT__DATA_DIR", server.data_dir()).env("INGOT__SERVER__LISTEN", "127.0.0.1:0");
    let output = second.output().expect("it can be started");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complaint.contains("INGOT__DATA_DIR"), "{complaint}");
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn without_a_bootstrap_token_the_first_start_leaves_one() {
    let mut server = Server::start_with_private_cluster_and(&[("INGOT__AUTH__BOOTSTRAP_TOKEN", "")]).await;
    let file = server.data_dir().join("admin.token");
    let token = std::fs::read_to_string(&file).expect("the first admin token");
    let ask = async |server: &Server, token: &str| {
        let url = format!("{}/v1/tokens/self", server.url());
        server.send(crate::support::sandbox::http().get(url).bearer_auth(token)).await
    };
    let own = ask(&server, token.trim()).await;
    assert_eq!((own.status, own.json()["role"].as_str()), (200, Some("admin")), "{}", own.text);
    assert_eq!(server.stop().await, Some(0));
    server.start_again().await;
    assert_eq!(ask(&server, token.trim()).await.status, 200, "it holds after a restart");
    assert_eq!(std::fs::read_to_string(&file).expect("the token"), token, "and no second one is made");
}
