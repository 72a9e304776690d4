//! The peer of the benchmark `latest`: a handler of axum that answers JSON of the same size and does nothing for it.
//! `bare ADDRESS FILE` answers GET / with the file's content.

use std::process::ExitCode;

use axum::Router;
use axum::http::header;
use axum::routing::get;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, file] = arguments.as_slice() else {
        eprintln!("usage: bare ADDRESS FILE");
        return ExitCode::from(2);
    };
    match serve(address, file).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str, file: &str) -> std::io::Result<()> {
    let body = std::fs::read_to_string(file)?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    let answer = get(move || async move { ([(header::CONTENT_TYPE, "application/json")], body) });
    axum::serve(listener, Router::new().route("/", answer)).await
}
