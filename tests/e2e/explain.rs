//! `witgate explain` and `witgate diff`.

use std::fs;

use harness::Output;
use serde_json::Value;

use crate::GATEWAY;

const CONFIG: &str = r#"version: 1
listeners: [{ name: http, address: 127.0.0.1:0 }]
plugins: { who: { source: "builtin:api-key" } }
upstreams:
  users:
    endpoints: [{ url: "http://10.0.0.5:8080" }, { url: "http://10.0.0.6:8080" }]
    hash_on: header:x-user-id
    balance: maglev
  users-v2: { endpoints: [{ url: "http://10.0.0.7:8080" }] }
chains:
  public: [{ use: compress }, { use: cors, config: { origins: ["*"] } }]
defaults: { filters: [{ use: headers, config: { response: { set: { x-a: b } } } }, { use: request-limits }] }
routes:
  - name: user
    match: { hosts: [api.example.com], path: { template: "/users/{id}" } }
    skip: [request-limits]
    filters:
      - chain: public
      - { use: timeout, config: {} }
    upstream: { users: 95, users-v2: 5 }
  - { name: users, match: { path: { prefix: /users } }, upstream: users }
  - { name: posted, match: { hosts: [api.example.com], path: { template: "/users/{id}" }, methods: [POST] }, upstream: users }
  - { name: home, match: { path: { exact: / } }, respond: { status: 204 } }
"#;

async fn explain(arguments: &[&str]) -> Output {
    let config = CONFIG.replace("      - { use: timeout, config: {} }\n", "      - { use: headers }\n");
    GATEWAY.on("explain", config, arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_explained_in_words() {
    let told = explain(&["GET", "http://api.example.com/users/7", "-H", "x-user-id: ada"]).await;
    assert_eq!(told.code, 0, "{told:?}");
    let lines: Vec<String> = told.stdout.lines().map(|line| line.trim().to_owned()).collect();
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for start in [
        "GET api.example.com/users/7 by the listener `http`",
        "takes the route `user` (",
        "id = 7",
        // Wherever it is listed, a preflight is answered first.
        "1. cors from chain public (",
        "2. headers from defaults (",
        "3. compress from chain public (",
        "4. headers from route (",
        "goes to the upstream `users` (95 %): maglev over 10.0.0.5:8080, 10.0.0.6:8080; by header:x-user-id to 10.0.0.",
        "goes to the upstream `users-v2` (5 %): round-robin over 10.0.0.7:8080",
        "within 30s",
        "users: matches, but `user` has a more specific host",
        "posted: it does not take GET",
        "home: its path does not match `/users/7`",
    ] {
        assert!(has(start), "no `{start}` in\n{}", told.stdout);
    }
    assert!(told.stdout.contains("gateway.yaml:14)"), "{}", told.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_goes_nowhere_is_explained_too() {
    for (url, words) in
        [("/none", "takes no route"), ("/a%2fb", "is refused: 400"), ("/", "by the gateway itself, with 204")]
    {
        let told = explain(&["GET", url]).await;
        assert!(told.code == 0 && told.stdout.contains(words), "{url}: {told:?}");
    }
    let json = explain(&["POST", "http://api.example.com/users/7", "--format", "json"]).await;
    let told: Value = serde_json::from_str(&json.stdout).expect("one JSON value");
    assert_eq!((&told["route"]["name"], &told["others"][0]["name"]), (&"posted".into(), &"user".into()), "{told}");
    for arguments in [&["G T", "/"][..], &["GET", "users"], &["GET", "/", "-H", "x"], &["GET", "/", "--listener", "x"]]
    {
        assert_eq!(explain(arguments).await.code, 2, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reload_would_change_is_told_and_counts() {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let valid = CONFIG.replace("      - { use: timeout, config: {} }\n", "");
    let other =
        valid.replace("users: 95, users-v2: 5", "users: 50, users-v2: 50").replace("status: 204", "status: 200");
    for (name, text) in [("old.yaml", &valid), ("new.yaml", &other), ("over.yaml", &"workers: 3\n".to_owned())] {
        fs::write(folder.path().join(name), text).expect("it takes files");
    }
    let diff = async |arguments: &[&str]| GATEWAY.run_in(folder.path(), &[&["diff"], arguments].concat()).await;
    let none = diff(&["old.yaml", "old.yaml"]).await;
    assert_eq!((none.code, none.stdout.trim()), (0, "nothing would change"), "{none:?}");
    let some = diff(&["old.yaml", "new.yaml"]).await;
    assert_eq!(some.code, 1, "{some:?}");
    let told = "~ route home\n    respond.status: 204 -> 200\n~ route user\n    upstream.users: 95 -> 50\n    upstream.users-v2: 5 -> 50";
    assert_eq!(some.stdout.trim(), told);
    let over = diff(&["old.yaml", "old.yaml,over.yaml"]).await;
    assert_eq!((over.code, over.stdout.trim()), (1, "+ workers (takes effect after a restart)\n  + 3"), "{over:?}");
    let json = diff(&["old.yaml", "new.yaml", "--format", "json"]).await;
    let changes: Value = serde_json::from_str(&json.stdout).expect("one JSON value");
    assert_eq!(changes["changes"][1]["details"][0]["path"], "upstream.users", "{changes}");
    assert_eq!(diff(&["old.yaml", "none.yaml"]).await.code, 3);
}
