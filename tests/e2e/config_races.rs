//! Several who change the configuration at once: whoever comes last reads last, so that what serves in the end is what the source has in the
//! end.

use std::fs;

use futures_util::future::join_all;
use harness::{Etcd, Gateway, within};
use rustix::process::Signal;
use serde_json::Value;

use crate::GATEWAY;
use crate::config_servers::{MAIN, answering, folder, said};

/// Waits until this is served, and sees that it stays so while nobody changes anything.
async fn settles_on(gateway: &Gateway, text: &str) {
    within("what was written last to serve", async {
        while said(gateway).await != text {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Whoever was still on the way has had its turn once an order that was given after it is carried out.
    let admin = gateway.admin();
    assert_eq!(admin.ask("POST /api/reload", &[], "").await.status, 200);
    assert_eq!(said(gateway).await, text);
}

async fn numbers(gateway: &Gateway) -> Vec<u64> {
    let history = gateway.admin().get("/api/config/history").await.json();
    history.as_array().expect("a list").iter().filter_map(|one| one["number"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_signals_and_orders_at_once_end_with_what_the_server_has() {
    let Some(etcd) = Etcd::start().await else { return };
    etcd.put("/prod/main.yaml", &format!("{MAIN}config: {{ history: 4 }}\n")).await;
    etcd.put("/prod/routes.yaml", &answering("text-0")).await;
    let gateway = GATEWAY.start_on(folder(), &[&format!("etcd://{}/prod/", etcd.address())]).await;
    for round in 0..3 {
        let last = format!("text-{round}-9");
        let changes = async {
            for number in 0..10 {
                etcd.put("/prod/routes.yaml", &answering(&format!("text-{round}-{number}"))).await;
            }
        };
        let orders = async {
            let admin = gateway.admin();
            for _ in 0..5 {
                gateway.signal(Signal::HUP);
                assert_eq!(admin.ask("POST /api/reload", &[], "").await.status, 200);
                // What comes from a server is not this API's to write.
                let put = admin.ask("PUT /api/config", &["If-Match: *"], &answering("mine")).await;
                assert_eq!(put.status, 409);
            }
        };
        let back = async {
            let admin = gateway.admin();
            for _ in 0..3 {
                // There may be nothing before yet.
                let said = admin.ask("POST /api/config/rollback", &[], "").await;
                assert!(matches!(said.status, 200 | 409), "{}", said.status);
            }
        };
        tokio::join!(changes, orders, back);
        settles_on(&gateway, &last).await;
    }
    // The last four are kept, and the newest of them serves.
    let numbers = numbers(&gateway).await;
    assert_eq!(numbers.len(), 4, "{numbers:?}");
    assert!(numbers.is_sorted_by(|a, b| a > b), "{numbers:?}");
    let config = gateway.admin().get("/api/status").await.json()["config"].clone();
    assert_eq!((config["number"].as_u64(), &config["rolled_back"]), (numbers.first().copied(), &Value::Bool(false)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_put_at_once_one_wins_and_the_others_are_told() {
    let main = format!("{MAIN}config: {{ reload: watch }}\n");
    let text = |word: &str| format!("{main}{}", answering(word));
    let folder = folder();
    fs::write(folder.path().join("gateway.yaml"), text("start")).expect("it takes files");
    let gateway = GATEWAY.start_on(folder, &["gateway.yaml"]).await;
    for round in 0..4 {
        let tag = gateway.admin().get("/api/config").await.field("etag").expect("it has a tag").to_owned();
        let (gateway, text, tag) = (&gateway, &text, &tag);
        let puts = (0..4).map(|number| async move {
            let word = format!("put-{round}-{number}");
            let said = gateway.admin().ask("PUT /api/config", &[&format!("If-Match: {tag}")], &text(&word)).await;
            (said.status, word)
        });
        let signals = async {
            for _ in 0..5 {
                gateway.signal(Signal::HUP);
                tokio::task::yield_now().await;
            }
        };
        let (answers, ()) = tokio::join!(join_all(puts), signals);
        let won: Vec<&String> = answers.iter().filter(|(status, _)| *status == 200).map(|(_, word)| word).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        assert!(answers.iter().all(|(status, _)| matches!(status, 200 | 412)), "{answers:?}");
        settles_on(gateway, won[0]).await;
        let file = fs::read_to_string(gateway.folder().join("gateway.yaml")).expect("it is there");
        assert_eq!(file, text(won[0]), "the file is what serves");
    }
}
