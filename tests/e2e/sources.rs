//! Where components come from: files and servers that are slow, gone, changed or hostile, and what serves then.

use std::path::{Path, PathBuf};

use harness::{Config, Gateway, Output, Upstream, guest, sha256};

use crate::GATEWAY;

/// A place for a component and for the gateway's state, which outlive each start.
struct Place {
    folder: tempfile::TempDir,
    origin: Upstream,
}

impl Place {
    async fn new() -> Place {
        Place { folder: tempfile::tempdir().expect("a folder"), origin: Upstream::echo().await }
    }

    fn component(&self) -> PathBuf {
        self.folder.path().join("stamp.wasm")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Stamps every request with the plugin from this source.
    fn config(&self, source: &str, more: &str) -> String {
        let top = format!("state_dir: {}\nworkers: 1", self.state().display());
        let config = Config::to(&self.origin)
            .top(&top)
            .plugin_with("stamp", Path::new("SOURCE"), more)
            .route("filters: [{ use: stamp, config: { name: x-stamp, value: '1' } }]");
        config.to_string().replace("'file:SOURCE'", &format!("'{source}'"))
    }

    fn file_config(&self, more: &str) -> String {
        self.config(&format!("file:{}", self.component().display()), more)
    }
}

async fn assert_stamps(gateway: &Gateway) {
    assert_eq!(gateway.client().await.get("/").await.field("x-stamp"), Some("1"));
}

async fn refused(start: Result<Gateway, Output>) -> String {
    match start {
        Ok(_) => panic!("it starts"),
        Err(output) => {
            assert_eq!(output.code, 4, "{}", output.stderr);
            output.stderr
        }
    }
}

fn answer(bytes: &[u8], fields: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n", bytes.len());
    [head.as_bytes(), bytes].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_good_version_serves_when_its_file_is_gone_or_broken() {
    let place = Place::new().await;
    let component = std::fs::read(guest("stamp")).expect("a guest");
    std::fs::write(place.component(), &component).expect("a file");
    assert_eq!(GATEWAY.start(place.file_config("")).await.stop().await.code, 0);

    let half = &component[..component.len() / 2];
    let (gone, broken): (fn(&Path), _) = (|path| std::fs::remove_file(path).expect("a file"), half);
    for damage in ["gone", "broken"] {
        if damage == "gone" {
            gone(&place.component())
        } else {
            std::fs::write(place.component(), broken).expect("a file")
        }
        let gateway = GATEWAY.start(place.file_config("")).await;
        assert_stamps(&gateway).await;
        let lines = gateway.log().lines();
        let told = lines.iter().find(|line| line.message().contains("the last good version serves"));
        let told = told.unwrap_or_else(|| panic!("{damage}: it says so in\n{}", gateway.log().text()));
        assert_eq!((told.level(), told.field("plugin")), ("WARN", Some("stamp")));
    }
    let pin = |digest: &str| format!("sha256: {digest}");
    assert_stamps(&GATEWAY.start(place.file_config(&pin(&sha256(&component)))).await).await;
    std::fs::remove_file(place.component()).expect("a file");
    refused(GATEWAY.try_start(place.file_config(&pin(&sha256(b"another")))).await).await;

    // What is kept is checked, too.
    for entry in std::fs::read_dir(place.state().join("components")).expect("the library") {
        std::fs::write(entry.expect("an entry").path(), half).expect("a file");
    }
    refused(GATEWAY.try_start(place.file_config("")).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pinned_component_from_a_server_is_fetched_once() {
    let place = Place::new().await;
    let component = std::fs::read(guest("stamp")).expect("a guest");
    let mut server = Upstream::answering(answer(&component, "")).await;
    let config = place.config(&format!("http://{server}/stamp.wasm"), &format!("sha256: {}", sha256(&component)));
    let gateway = GATEWAY.start(&config).await;
    assert_stamps(&gateway).await;
    assert_eq!(gateway.stop().await.code, 0);
    server.kill().await;
    assert_stamps(&GATEWAY.start(&config).await).await;
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_lies_or_is_gone_is_named() {
    let component = std::fs::read(guest("stamp")).expect("a guest");
    let mut down = Upstream::answering(Vec::new()).await;
    down.kill().await;
    for (server, pinned, words) in [
        (Upstream::answering(answer(b"something else", "")).await, &component[..], "the configuration pins"),
        (Upstream::answering(answer(&component, "")).await, b"something else", "the configuration pins"),
        (Upstream::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await, &component, "404"),
        (down, &component, "cannot be reached"),
    ] {
        let place = Place::new().await;
        let url = format!("http://{server}/stamp.wasm");
        let stderr = refused(GATEWAY.try_start(place.config(&url, &format!("sha256: {}", sha256(pinned)))).await).await;
        assert!(stderr.contains(words), "no `{words}` in\n{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_never_ends_is_no_source() {
    let place = Place::new().await;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.component(),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .expect("a pipe");
    for source in [format!("file:{}", place.component().display()), "file:/dev/zero".to_owned()] {
        let stderr = refused(GATEWAY.try_start(place.config(&source, "")).await).await;
        assert!(stderr.contains("not a regular file"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_library_is_bounded_and_keeps_what_serves() {
    let place = Place::new().await;
    std::fs::copy(guest("stamp"), place.component()).expect("a file");
    let config = format!("{}\nruntime: {{ cache: 1MiB }}", place.file_config(""));
    assert_eq!(GATEWAY.start(&config).await.stop().await.code, 0);
    std::fs::remove_file(place.component()).expect("a file");
    assert_stamps(&GATEWAY.start(&config).await).await;
}
