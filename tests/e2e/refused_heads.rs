//! Requests that are refused while they arrive: in the access log and in the metrics as all others.

use harness::{Config, Gateway, Upstream};
use serde_json::Value;

use crate::GATEWAY;
use crate::access_log::{File, json};

async fn strict(file: &File, more: &str) -> Gateway {
    let config = Config::to(&Upstream::down().await)
        .top("admin: { address: 127.0.0.1:0 }")
        .top(&file.keys(more))
        .listener("limits: { headers: 4KiB, target: 1KiB, header_timeout: 1s }");
    GATEWAY.start(config).await
}

/// Sends a head as it stands here, and takes the answer.
async fn send(gateway: &Gateway, head: &str, status: u16) -> String {
    let mut client = gateway.client().await;
    client.send(head.as_bytes()).await;
    let answer = client.response().await;
    answer.problem(status)["request_id"].as_str().expect("a problem tells it").to_owned()
}

fn assert_told(line: &Value, expected: &[(&str, Value)]) {
    for (field, value) in expected {
        assert_eq!(&line[*field], value, "{field}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_has_a_line_and_is_counted() {
    let file = File::new();
    let gateway = strict(&file, ", more_fields: [request.header.x-a]").await;
    let large = format!("POST /large HTTP/1.1\r\nHost: h\r\nX-A: {}\r\n\r\n", "v".repeat(5000));
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "p".repeat(2000));
    let cases = [
        (
            "GET /a?b=1&token=x HTTP/1.0\r\nHost: h\r\nX-A : b\r\n\r\n",
            400,
            "GET",
            "/a?b=1&token=[redacted]",
            "HTTP/1.0",
        ),
        ("PURGE http://a.example/b HTTP/1.1\r\nX-A: 1\n\r\n", 400, "PURGE", "/b", "HTTP/1.1"),
        ("nonsense\x01\r\n\r\n", 400, "-", "-", "HTTP/1.1"),
        ("GET /forged\nx HTTP/1.1\r\n\r\n", 400, "-", "-", "HTTP/1.1"),
        ("GET / HTTP/3.0\r\nHost: h\r\n\r\n", 505, "-", "-", "HTTP/1.1"),
        (&large, 431, "POST", "/large", "HTTP/1.1"),
        (&long, 414, "-", "-", "HTTP/1.1"),
        ("DELETE /slow HTTP/1.1\r\nHost: h\r\n", 408, "DELETE", "/slow", "HTTP/1.1"),
    ];
    for (number, (head, status, method, path, protocol)) in cases.iter().enumerate() {
        let request_id = send(&gateway, head, *status).await;
        let line = &json(&file.path(), number + 1).await[number];
        assert_told(
            line,
            &[
                ("status", (*status).into()),
                ("request_id", request_id.into()),
                ("method", (*method).into()),
                ("path", (*path).into()),
                ("protocol", (*protocol).into()),
                ("client", "127.0.0.1".into()),
                ("listener", "http".into()),
                ("route", Value::Null),
                ("flags", "BR".into()),
                ("generation", 1.into()),
                ("request.header.x-a", Value::Null),
            ],
        );
        let duration = line["duration_ms"].as_f64().expect("a number");
        assert!(if *status == 408 { duration >= 1000.0 } else { duration < 1000.0 }, "{line}");
    }
    let admin = gateway.admin();
    for (method, code, count) in [
        ("GET", 400, 1.0),
        ("other", 400, 3.0),
        ("other", 505, 1.0),
        ("POST", 431, 1.0),
        ("other", 414, 1.0),
        ("DELETE", 408, 1.0),
    ] {
        let series =
            format!(r#"witgate_http_requests_total{{code="{code}",listener="http",method="{method}",route="-"}}"#);
        assert!((admin.metric(&series).await - count).abs() < f64::EPSILON, "{series}");
    }
    assert!(admin.metric("witgate_http_requests_in_flight").await.abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_behind_a_good_request_is_told_as_well() {
    let file = File::new();
    let gateway = strict(&file, ", fields: [status, path, flags]").await;
    let mut client = gateway.client().await;
    client.send(b"GET /good HTTP/1.1\r\nHost: h\r\n\r\nGET /bad HTTP/1.1\r\nHost : h\r\n\r\n").await;
    assert_eq!((client.response().await.status, client.response().await.status), (502, 400));
    let mut told: Vec<_> = json(&file.path(), 2).await.iter().map(ToString::to_string).collect();
    told.sort();
    let expected = [r#"{"status":400,"path":"/bad","flags":"BR"}"#, r#"{"status":502,"path":"/good","flags":"UF"}"#];
    let expected = expected.map(|line| line.parse::<Value>().expect("JSON").to_string());
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_bounds_the_lines_of_others_bounds_theirs() {
    for (more, told) in [(", sample: 0%", 0), (", only: { status: [5xx] }", 0), (", only: { flags: [BR] }", 20)] {
        let file = File::new();
        let gateway = strict(&file, more).await;
        for _ in 0..20 {
            send(&gateway, "nonsense\r\n\r\n", 400).await;
        }
        let series = r#"witgate_http_requests_total{code="400",listener="http",method="other",route="-"}"#;
        assert!((gateway.admin().metric(series).await - 20.0).abs() < f64::EPSILON, "they count all the same");
        assert_eq!(gateway.stop().await.code, 0);
        assert_eq!(std::fs::read_to_string(file.path()).unwrap_or_default().lines().count(), told, "{more}");
    }
}
