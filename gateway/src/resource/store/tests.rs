//! What every store promises, asked of the one in memory and of the one on Redis.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::*;

/// A Redis server of the test's own, on the port it was given.
struct Server {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// `None` when none is installed; then the test says so.
    fn start(arguments: &[&str]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start_on(port, arguments)
    }

    fn start_on(port: u16, arguments: &[&str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"]).arg(folder.path());
        match command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Ok(process) => Some(Self { process, port, folder }),
            Err(error) => {
                assert!(std::env::var_os(REQUIRE).is_none(), "redis-server cannot be started: {error}");
                #[allow(clippy::print_stderr, reason = "a skipped test says so")]
                {
                    eprintln!("SKIPPED: no redis-server is installed; with {REQUIRE}=1 this fails");
                }
                None
            }
        }
    }

    fn store(&self, timeout: Duration) -> Store {
        let url = format!("redis://127.0.0.1:{}", self.port);
        Store::new("shared".into(), StoreOptions::Redis { url, timeout }).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.folder.path();
    }
}

/// Asks until the server answers: it takes a moment to start.
async fn ready(store: &OpenStore) {
    while store.get("ready").await.is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn keeps_its_promises(store: &OpenStore) {
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(store.get("k").await, Ok(None));
    assert_eq!(store.delete("k").await, Ok(false));
    assert_eq!(store.set("k", value("one"), None).await, Ok(()));
    assert_eq!(store.set("k", Bytes::from_static(b"\0\xff"), None).await, Ok(()));
    assert_eq!(store.get("k").await, Ok(Some(Bytes::from_static(b"\0\xff"))));
    assert_eq!(store.delete("k").await, Ok(true));
    assert_eq!(store.get("k").await, Ok(None));

    assert_eq!(store.compare_and_set("c", Some(b""), value("1"), None).await, Ok(false), "absent is not empty");
    assert_eq!(store.compare_and_set("c", None, value(""), None).await, Ok(true));
    assert_eq!(store.compare_and_set("c", None, value("1"), None).await, Ok(false), "empty is not absent");
    assert_eq!(store.compare_and_set("c", Some(b"x"), value("1"), None).await, Ok(false));
    assert_eq!(store.compare_and_set("c", Some(b""), value("1"), None).await, Ok(true));
    assert_eq!(store.get("c").await, Ok(Some(value("1"))));

    assert_eq!(store.increment("n", 5, None).await, Ok(5));
    assert_eq!(store.increment("n", -7, None).await, Ok(-2));
    assert_eq!(store.get("n").await, Ok(Some(value("-2"))));
    assert_eq!(store.increment("n", i64::MAX, None).await, Ok(i64::MAX - 2));
    assert_eq!(store.increment("n", 2, None).await, Ok(i64::MAX));
    assert_eq!(store.increment("n", 1, None).await, Err(StoreFault::NotANumber));
    assert_eq!(store.get("n").await, Ok(Some(i64::MAX.to_string().into())), "it stays as it was");
    for text in ["", " 1", "1 ", "+1", "01", "-0", "1.5", "x", "9223372036854775808"] {
        store.set("n", value(text), None).await.unwrap();
        assert_eq!(store.increment("n", 1, None).await, Err(StoreFault::NotANumber), "{text:?}");
    }

    let key = "k".repeat(KEY_BYTES_MAX);
    let large = Bytes::from(vec![b'x'; VALUE_BYTES_MAX]);
    assert_eq!(store.set(&key, large.clone(), None).await, Ok(()));
    assert_eq!(store.get(&key).await, Ok(Some(large.clone())));
    assert_eq!(store.compare_and_set(&key, Some(&large), large.clone(), None).await, Ok(true));
    let (key, large) = (format!("{key}k"), [&large[..], b"x"].concat());
    assert_eq!(store.get(&key).await, Err(StoreFault::TooLarge));
    assert_eq!(store.delete(&key).await, Err(StoreFault::TooLarge));
    assert_eq!(store.increment(&key, 1, None).await, Err(StoreFault::TooLarge));
    assert_eq!(store.set("k", large.clone().into(), None).await, Err(StoreFault::TooLarge));
    assert_eq!(store.compare_and_set("k", Some(&large), Bytes::new(), None).await, Err(StoreFault::TooLarge));
    assert_eq!(store.get("k").await, Ok(None));
}

/// A value with a time to live goes, however long the machine takes to notice; one without stays.
async fn forgets_in_time(store: &OpenStore) {
    let ttl = Some(Duration::from_millis(30));
    let forever = Some(Duration::MAX);
    store.set("stays", Bytes::from_static(b"1"), forever).await.unwrap();
    store.increment("stays-too", 1, forever).await.unwrap();
    assert_eq!(store.increment("stays-too", 1, ttl).await, Ok(2), "the first increment set the time");
    store.set("set", Bytes::from_static(b"1"), ttl).await.unwrap();
    store.increment("incremented", 1, ttl).await.unwrap();
    assert_eq!(store.compare_and_set("compared", None, Bytes::new(), ttl).await, Ok(true));
    store.set("at-once", Bytes::new(), Some(Duration::ZERO)).await.unwrap();
    for key in ["set", "incremented", "compared", "at-once"] {
        while store.get(key).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(store.get("stays").await.unwrap().is_some() && store.get("stays-too").await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_in_memory_keeps_its_promises() {
    let store = Store::new("local".into(), StoreOptions::Memory { bytes_max: 8 << 20 }).unwrap();
    keeps_its_promises(&store.open()).await;
    forgets_in_time(&store.open()).await;
}

#[tokio::test]
async fn a_store_on_redis_keeps_them_too() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store(PATIENCE);
    ready(&store.open()).await;
    keeps_its_promises(&store.open()).await;
    forgets_in_time(&store.open()).await;
    let other = Store::new("other".into(), server.store(PATIENCE).options).unwrap();
    assert_eq!(other.open().get("stays").await, Ok(None), "keys of a store are its own");
}

#[tokio::test]
async fn a_scratch_keeps_them_and_changes_nothing() {
    let store = Store::new("local".into(), StoreOptions::Memory { bytes_max: 1 << 20 }).unwrap();
    keeps_its_promises(&store.scratch_over().open()).await;
    let (open, scratch) = (store.open(), store.scratch_over().open());
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    open.set("k", value("1"), None).await.unwrap();
    assert_eq!(scratch.increment("k", 1, None).await, Ok(2));
    assert_eq!(scratch.delete("k").await, Ok(true));
    assert_eq!(scratch.get("k").await, Ok(None));
    assert_eq!(scratch.compare_and_set("k", None, value("x"), None).await, Ok(true));
    scratch.set("new", value("1"), None).await.unwrap();
    assert_eq!(open.get("k").await, Ok(Some(value("1"))));
    assert_eq!(open.get("new").await, Ok(None));
}

#[tokio::test]
async fn of_those_who_race_for_a_value_one_wins() {
    let stores = [Store::new("local".into(), StoreOptions::Memory { bytes_max: 1 << 20 }).unwrap()];
    let server = Server::start(&[]);
    for store in stores.into_iter().chain(server.as_ref().map(|server| server.store(PATIENCE))) {
        ready(&store.open()).await;
        let store = Arc::new(store);
        let racers = (0..4).map(|_| {
            let store = store.clone();
            // On threads and runtimes of their own, as workers are.
            std::thread::spawn(move || {
                let runtime = runtime();
                let winners = async {
                    let store = store.open();
                    let mut won = 0;
                    for round in 0..200_u32 {
                        let expected = round.checked_sub(1).map(|last| last.to_string());
                        let value = Bytes::from(round.to_string());
                        let expected = expected.as_ref().map(|text| text.as_bytes());
                        won += u32::from(store.compare_and_set("race", expected, value, None).await.unwrap());
                        store.increment("count", 1, None).await.unwrap();
                    }
                    won
                };
                runtime.block_on(winners)
            })
        });
        let racers: Vec<_> = racers.collect();
        let won: u32 = racers.into_iter().map(|racer| racer.join().unwrap()).sum();
        assert_eq!(won, 200, "{store:?}");
        assert_eq!(store.open().increment("count", 0, None).await, Ok(800));
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_and_one_that_is_back_is_found() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store(PATIENCE);
    let open = store.open();
    ready(&open).await;
    let port = server.port;
    drop(server);
    // The first may meet the end of the connection, the others nobody who listens.
    for _ in 0..3 {
        assert_eq!(open.get("k").await, Err(StoreFault::Unavailable));
    }
    let server = Server::start_on(port, &[]).unwrap();
    ready(&open).await;
    assert_eq!(open.increment("n", 1, None).await, Ok(1), "scripts are known to a new server, too");
    drop(server);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error_in_time() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", deaf.local_addr().unwrap());
    let timeout = Duration::from_millis(20);
    let store = Store::new("deaf".into(), StoreOptions::Redis { url, timeout }).unwrap();
    assert_eq!(store.open().get("k").await, Err(StoreFault::Unavailable));
    assert_eq!(store.open().increment("k", 1, None).await, Err(StoreFault::Unavailable));
}

#[tokio::test]
async fn a_server_without_memory_left_is_a_full_store() {
    let Some(server) = Server::start(&["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]) else { return };
    let store = server.store(PATIENCE).open();
    ready(&store).await;
    let value = Bytes::from(vec![b'x'; VALUE_BYTES_MAX]);
    let mut answers = Vec::new();
    for number in 0..4 {
        answers.push(store.set(&format!("k{number}"), value.clone(), None).await);
    }
    assert_eq!(answers.last(), Some(&Err(StoreFault::OverQuota)), "{answers:?}");
}

#[test]
fn a_url_that_makes_no_sense_is_refused_without_its_password() {
    for url in ["redis://u:hunter2@:x", "http://u:hunter2@a", "rediss://u:hunter2@a"] {
        let options = StoreOptions::Redis { url: url.to_owned(), timeout: PATIENCE };
        let error = Store::new("s".into(), options).map(|_| ()).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }
    let options = StoreOptions::Redis { url: "redis://u:hunter2@a".to_owned(), timeout: PATIENCE };
    assert!(!format!("{:?}", Store::new("s".into(), options).unwrap()).contains("hunter2"));
}

fn runtime() -> tokio::runtime::LocalRuntime {
    tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap()
}

/// Long enough for any step on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUIRE: &str = "WITGATE_TEST_REQUIRE_SERVERS";

#[tokio::test]
async fn units_of_a_bucket_are_leased_given_back_and_come_again() {
    let Some(server) = Server::start(&[]) else { return };
    let store = server.store(Duration::from_secs(30));
    ready(&store.open()).await;
    let hour = Duration::from_secs(3600);
    let lease = async |key: &[u8], interval, cost, wanted, returned| {
        store.lease("l:", key, LeaseTerms { interval, burst: 10, cost, wanted, returned }).await.unwrap()
    };
    let got = |granted, left| Leased { granted, left, wait: Duration::ZERO };
    assert_eq!(lease(b"k", hour, 1, 4, 0).await, got(4, 6));
    assert_eq!(lease(b"k", hour, 1, 4, 0).await, got(4, 2));
    let refused = lease(b"k", hour, 3, 4, 0).await;
    assert_eq!((refused.granted, refused.left), (0, 2), "not fewer than are of use");
    assert!(refused.wait <= hour && refused.wait > hour / 2, "{refused:?}");
    assert_eq!(lease(b"k", hour, 1, 4, 0).await, got(2, 0), "what is left is less than what is wanted");
    assert_eq!(lease(b"k", hour, 1, 1, 3).await, got(1, 2), "what was given back can be had again");
    assert_eq!(lease(b"\0\xff", hour, 10, 10, 0).await, got(10, 0), "keys have their own buckets");
    let moment = Duration::from_millis(1);
    assert_eq!(lease(b"m", moment, 10, 10, 0).await.granted, 10);
    while lease(b"m", moment, 1, 1, 0).await.granted == 0 {}
}
