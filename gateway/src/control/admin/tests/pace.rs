//! Pace: who asks too often is told when to come back, and who guesses at tokens is not told of the right one.

use super::*;
use crate::control::AdminRate;

/// So many at once, and then hardly any more.
fn only(burst: u32) -> AdminRate {
    AdminRate { count: 1, period: Duration::from_secs(3600), burst }
}

fn guess(number: usize) -> String {
    format!("Authorization: Bearer a-guess-of-somebody-{number}\r\n")
}

async fn get(admin: &Admin, path: &str, token: &str) -> Said {
    ask(admin.connect().await, &bytes(&format!("GET {path}"), token, b"")).await
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.request_rate = only(2)).await;
    for _ in 0..2 {
        assert_eq!(admin.get("/api/status").await.status, 200);
    }
    let said = admin.get("/api/status").await;
    assert!(said.problem(429).contains("too many requests"), "{said:?}");
    let after = said.head.split("retry-after: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    assert_eq!(after, Some("3600"), "{said:?}");
    // A token is a client of its own, and probes are none at all.
    for _ in 0..2 {
        assert_eq!(get(&admin, "/api/status", VIEWER).await.status, 200);
    }
    get(&admin, "/api/status", VIEWER).await.problem(429);
    assert_eq!(admin.ask("POST /api/reload", "", b"").await.status, 200);
    for path in ["/livez", "/readyz", "/metrics", "/"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn who_guesses_at_tokens_is_not_told_of_the_right_one() {
    let operator = Arc::<Recorder>::default();
    let admin = Admin::with_limits(operator.clone(), |limits| limits.failure_rate = only(3)).await;
    for number in 0..3 {
        get(&admin, "/api/status", &guess(number)).await.problem(401);
    }
    for token in [guess(3).as_str(), VIEWER, DEPLOYER] {
        for path in ["/api/status", "/metrics", "/api/events"] {
            let said = get(&admin, path, token).await;
            assert!(said.problem(429).contains("too many wrong tokens"), "{said:?}");
            assert!(said.head.contains("retry-after: "), "{said:?}");
        }
    }
    admin.ask("POST /api/reload", "", b"").await.problem(429);
    let refusals = operator.refusals.lock().unwrap().clone();
    assert_eq!((&refusals[..3], refusals.last()), (&["token"; 3][..], Some(&"pace")), "{refusals:?}");
    // Nothing else is taken from whoever is at that address.
    for path in ["/livez", "/readyz", "/metrics", "/api/status"] {
        assert_eq!(admin.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn right_tokens_cost_no_guesses() {
    let admin = Admin::with_limits(Arc::default(), |limits| limits.failure_rate = only(1)).await;
    for _ in 0..5 {
        assert_eq!(get(&admin, "/api/status", VIEWER).await.status, 200);
    }
    get(&admin, "/api/status", &guess(1)).await.problem(401);
    get(&admin, "/api/status", VIEWER).await.problem(429);
}

#[tokio::test]
async fn guesses_come_back_with_time() {
    let rate = AdminRate { count: 1, period: Duration::from_millis(20), burst: 1 };
    let admin = Admin::with_limits(Arc::default(), |limits| limits.failure_rate = rate).await;
    get(&admin, "/api/status", &guess(1)).await.problem(401);
    within(async { while get(&admin, "/api/status", VIEWER).await.status != 200 {} }).await;
}
