//! The last test by name: waits for all others and looks at the whole sandbox.

use std::time::Duration;

use serde_json::Value;

use crate::support::{alone, sandbox};

#[tokio::test]
async fn zz_the_sandbox_is_as_it_was() {
    let _alone = alone().await;
    let mut left = Value::Null;
    let empty = async {
        loop {
            left = sandbox::leftovers().await;
            if left["total"] == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), empty).await.is_ok();
    assert!(in_time, "left over (a test that failed may not have removed its image): {left:#}");
}
