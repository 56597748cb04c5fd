//! The record: every mutation stands on the log target `witgate::audit`, whatever became of it and of whoever asked.

use std::io::Write;

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// What was logged while this lives, on this thread: as tests of one thread do everything.
struct Log {
    text: Arc<Mutex<Vec<u8>>>,
    _guard: DefaultGuard,
}

#[derive(Clone)]
struct Pen(Arc<Mutex<Vec<u8>>>);

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Pen {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn start() -> Self {
        let text = Arc::default();
        let subscriber = tracing_subscriber::fmt().json().with_writer(Pen(Arc::clone(&text))).finish();
        Self { text, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// The fields of each line of the record.
    fn record(&self) -> Vec<Value> {
        let text = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "witgate::audit").map(|line| line["fields"].clone()).collect()
    }
}

#[tokio::test]
async fn an_operation_is_recorded_with_who_what_and_how_it_ended() {
    let log = Log::start();
    let admin = Admin::of(Arc::default()).await;
    admin.ask("PUT /api/plugins/jwt?reason=ticket+12", WASM, b"abc").await;
    admin.ask("POST /api/drain", "", b"").await;
    admin.get("/api/status").await;
    let record = log.record();
    assert_eq!(record.len(), 2, "reading is not recorded: {record:?}");
    let swap = &record[0];
    for (field, value) in
        [("action", "swap"), ("actor", "bot"), ("plugin", "jwt"), ("reason", "ticket 12"), ("outcome", "ok")]
    {
        assert_eq!(swap[field], value, "{swap}");
    }
    assert_eq!(swap["sha256"], "cd".repeat(32), "the digest that the operator says is in place");
    assert!(swap["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{swap}");
    assert_eq!((&record[1]["action"], &record[1]["actor"]), (&"drain".into(), &"bot".into()));
}

#[tokio::test]
async fn a_change_is_recorded_with_what_was_before_and_what_is_after() {
    let log = Log::start();
    let admin = Admin::of(Arc::default()).await;
    for request in ["POST /api/plugins/jwt/promote", "POST /api/reload", "POST /api/config/rollback"] {
        assert_eq!(admin.ask(request, "", b"").await.status, 200);
    }
    assert_eq!(admin.ask("PUT /api/config", "If-Match: *\r\n", b"version: 1").await.status, 200);
    let record = log.record();
    for line in &record {
        assert_eq!((&line["generation_before"], &line["generation_after"]), (&7.into(), &8.into()), "{line}");
    }
    let digests = |line: &Value| (line["sha256_before"].clone(), line["sha256_after"].clone());
    assert_eq!(digests(&record[0]), ("ab".repeat(32).into(), "cd".repeat(32).into()), "the component's");
    for line in &record[1..] {
        assert_eq!(digests(line), ("01".repeat(32).into(), "ef".repeat(32).into()), "the configuration's");
        assert_eq!((&line["changes"], &line["changed"]), (&2.into(), &"route a: timeout; and 1 more".into()), "{line}");
    }
}

#[tokio::test]
async fn faults_are_recorded_by_their_places_and_without_what_stands_there() {
    let log = Log::start();
    let faults =
        serde_json::json!([{ "file": "gateway.yaml", "line": 3, "column": 9, "message": "`hunter2` is no URL" }]);
    let text = "3 | url: hunter2".to_owned();
    let admin = Admin::of(Recorder::refusing(OperationError::Faults { text, faults, by_plugin: false })).await;
    admin.ask("POST /api/reload", "", b"").await.problem(400);
    let line = log.record().remove(0);
    assert_eq!((&line["outcome"], &line["error"]), (&"faults".into(), &"1 faults, at gateway.yaml:3:9".into()));
}

#[tokio::test]
async fn a_refused_component_is_recorded_with_its_own_digest() {
    let log = Log::start();
    let admin = Admin::of(Recorder::refusing(OperationError::Refused("it is no component".to_owned()))).await;
    admin.ask("PUT /api/plugins/jwt", WASM, b"abc").await.problem(422);
    let line = log.record().remove(0);
    assert_eq!((&line["outcome"], &line["error"]), (&"refused".into(), &"it is no component".into()));
    // FIPS 180-4's first example.
    assert_eq!(line["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[tokio::test]
async fn whoever_was_not_let_in_is_recorded_without_the_secret() {
    let log = Log::start();
    let admin = Admin::of(Arc::default()).await;
    ask(admin.connect().await, &bytes("POST /api/reload", VIEWER, b"")).await.problem(403);
    let wrong = "Authorization: Bearer nobody-has-this-one\r\n";
    ask(admin.connect().await, &bytes("PUT /api/plugins/jwt", wrong, b"")).await.problem(401);
    let record = log.record();
    assert_eq!(record.iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>(), [403, 401]);
    assert_eq!(record[1]["path"], "/api/plugins/jwt");
    assert!(!format!("{record:?}").contains("nobody-has-this-one"));
}

#[tokio::test]
async fn pages_and_names_of_others_are_recorded_once_and_not_each_time() {
    let log = Log::start();
    let admin = Admin::of(Arc::default()).await;
    for _ in 0..5 {
        let foreign = "Origin: http://evil.example\r\n";
        ask(admin.connect().await, &bytes("GET /api/status", foreign, b"")).await.problem(403);
        let rebound = b"GET /api/status HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
        ask(admin.connect().await, rebound).await.problem(421);
    }
    assert_eq!(log.record().iter().map(|line| line["outcome"].clone()).collect::<Vec<_>>(), [403, 421]);
}

#[tokio::test]
async fn an_operation_goes_on_and_is_recorded_when_its_client_hangs_up() {
    let log = Log::start();
    let operator = Recorder::waiting();
    let admin = Admin::of(operator.clone()).await;
    let mut stream = admin.connect().await;
    stream.write_all(&bytes("PUT /api/plugins/jwt", &format!("{DEPLOYER}{WASM}"), b"abc")).await.unwrap();
    until(|| !operator.calls().is_empty()).await;
    drop(stream);
    // The server has seen the end before it lets the operation go on: it has answered another connection since.
    admin.get("/livez").await;
    operator.go_on();
    until(|| !log.record().is_empty()).await;
    assert_eq!(log.record()[0]["outcome"], "ok");
}
