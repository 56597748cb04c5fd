//! The admin server under abuse: whoever floods it, holds it or guesses at it takes nothing from probes, from operators or from requests.

use harness::{Admin, Client, Config, Gateway, Upstream, http, within};
use tokio::net::TcpStream;

use crate::GATEWAY;

/// With what serves its requests.
async fn administered() -> (Gateway, Upstream) {
    let origin = Upstream::echo().await;
    let config = Config::to(&origin)
        .top("admin: { address: '127.0.0.1:0' }\nprobes: { address: '127.0.0.1:0' }\nstate_dir: state");
    (GATEWAY.start(config).await, origin)
}

/// Everything that has to go on.
async fn serves(gateway: &Gateway, what: &str) {
    let admin = gateway.admin();
    for path in ["/livez", "/readyz", "/metrics"] {
        let plain = ["GET PATH HTTP/1.1".replace("PATH", path), format!("Host: {}", admin.address)];
        let lines = plain.each_ref().map(String::as_str);
        assert_eq!(Client::connect(admin.address).await.ask(&lines, "").await.status, 200, "{path} amid {what}");
        assert_eq!(Client::connect(gateway.probes()).await.get(path).await.status, 200, "{path} of probes amid {what}");
    }
    assert_eq!(gateway.client().await.get("/").await.status, 200, "a request amid {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let (gateway, _origin) = administered().await;
    let (address, probes) = (gateway.admin().address, gateway.probes());
    harness::allow_files();
    let mut idle = Vec::new();
    for number in 0..1000 {
        let place = if number % 4 == 0 { probes } else { address };
        // One that is closed at once, because it was idle for longest, is as good.
        idle.extend(TcpStream::connect(place).await.ok());
    }
    assert_eq!(idle.len(), 1000);
    serves(&gateway, "idle connections").await;
    assert_eq!(gateway.admin().post("/api/reload").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_bodies_that_nobody_let_in_keep_nobody_out() {
    let (gateway, _origin) = administered().await;
    let address = gateway.admin().address;
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(address).await;
        let host = format!("Host: {address}");
        client.send(http(&["PUT /api/config HTTP/1.1", &host, "Content-Length: 1000000"], "version")).await;
        slow.push(client);
    }
    serves(&gateway, "slow bodies").await;
    assert_eq!(gateway.admin().post("/api/reload").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_tokens_end_soon_and_take_nothing_from_probes() {
    let (gateway, _origin) = administered().await;
    let admin = gateway.admin();
    let mut statuses = Vec::new();
    for number in 0..20 {
        let guess = format!("Authorization: Bearer guess-number-{number:08}");
        let said = admin.ask_as(&guess, "POST /api/reload", &[], "").await;
        assert_eq!(said.field("content-type"), Some("application/problem+json"));
        assert!(said.status != 429 || said.field("retry-after").is_some(), "{}", said.text());
        statuses.push(said.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10, "{statuses:?}");
    assert_eq!(&statuses[10..], [429; 10], "{statuses:?}");
    let said = admin.post("/api/reload").await;
    assert_eq!(said.status, 429, "from there even the right one is not heard for a while: {}", said.text());
    let said = gateway.command(&["reload"]).await;
    assert!(said.code == 1 && said.stderr.contains("too many wrong tokens"), "{said:?}");
    serves(&gateway, "guesses").await;
    let metrics = Client::connect(gateway.probes()).await.get("/metrics").await.text();
    assert!(metrics.contains("witgate_admin_refused_total{reason=\"token\"} 10\n"), "{metrics}");
    let denied = gateway.log().lines().iter().filter(|line| line.field("action") == Some("denied")).count();
    assert_eq!(denied, 11, "each guess, and once that it goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_requests_is_slowed_and_takes_nothing_from_others() {
    let (gateway, _origin) = administered().await;
    let admin = gateway.admin();
    let mut client = Client::connect(admin.address).await;
    let host = format!("Host: {}", admin.address);
    let mut refused = None;
    for _ in 0..5000 {
        let said = client.ask(&["GET /api/status HTTP/1.1", &host], "").await;
        if said.status == 429 {
            refused = Some(said);
            break;
        }
        assert_eq!(said.status, 200);
    }
    // A machine that is slow enough never gets there, and need not.
    if let Some(said) = refused {
        assert_eq!(said.field("retry-after"), Some("1"), "{}", said.text());
        assert_eq!(admin.get("/api/status").await.status, 200, "the token is another client");
    }
    serves(&gateway, "a flood").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_streams_of_events_are_open_as_may_be() {
    let (gateway, _origin) = administered().await;
    let admin = gateway.admin();
    let mut streams = Vec::new();
    for _ in 0..16 {
        streams.push(admin.events().await);
    }
    let said = admin.get("/api/events").await;
    assert!(said.status == 503 && said.text().contains("16 streams"), "{}", said.text());
    assert_eq!(admin.post("/api/reload").await.status, 200);
    for stream in &mut streams {
        assert_eq!(stream.next("reload").await["generation"], 2, "each is told");
    }
    serves(&gateway, "streams").await;
    drop(streams);
    // The gateway notices with the next thing that it has to say.
    within("a place to be free", async {
        loop {
            assert_eq!(admin.post("/api/reload").await.status, 200);
            let Admin { address, token } = &admin;
            let mut client = Client::connect(*address).await;
            let fields = [format!("Host: {address}"), format!("Authorization: Bearer {token}")];
            client.send(http(&["GET /api/events HTTP/1.1", &fields[0], &fields[1]], "")).await;
            if client.head().await.status() == 200 {
                return;
            }
        }
    })
    .await;
}
