//! The contract with plugins that were built before today: what was compiled against a version of it keeps loading, and works.

use std::path::PathBuf;

use harness::{Config, Upstream};

use crate::GATEWAY;

/// A component that was built once and is kept; `tests/fixtures/README.md` tells how.
pub(crate) fn fixture(version: &str) -> PathBuf {
    let path = format!("{}/fixtures/contract-{version}/contract.wasm", env!("CARGO_MANIFEST_DIR"));
    assert!(PathBuf::from(&path).is_file(), "{path}");
    path.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_an_earlier_version_serves() {
    for version in ["0.1.0"] {
        let origin = Upstream::echo().await;
        let config = Config::to(&origin).plugin("old", &fixture(version)).route("filters: [{ use: old }]");
        let gateway = GATEWAY.start(config).await;
        let answer = gateway.client().await.get("/users?full=1").await;
        assert_eq!(answer.echo().fields.get("x-fixture"), Some("/users?full=1 on http"), "{version}");
        assert_eq!(answer.field("x-fixture"), Some("/users?full=1 on http"), "{version}");
        let said = |line: &harness::Line| line.message() == "the fixture saw a request";
        gateway.log().wait("the guest's line", said).await;
    }
}
