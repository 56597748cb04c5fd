//! `builtin:policy` on real routes: rules that deny, tag and choose, over what another bundled plugin found out.

use harness::{Config, Upstream};

use crate::GATEWAY;

const KEYS: &str =
    "{ use: api-key, config: { keys: [{ key: k1, id: ada, context: { roles: [admin] } }, { key: k2, id: bob }] } }";

fn config(origin: &Upstream, rules: &str) -> Config {
    Config::to(origin)
        .builtin("api-key")
        .builtin("policy")
        .route(&format!("filters:\n  - {KEYS}\n  - use: policy\n    config:\n      rules:\n{rules}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_deny_tag_and_choose() {
    let (origin, other) = (Upstream::echo().await, Upstream::echo().await);
    let rules = r#"
        - when: request.method == "POST" && !("admin" in user.roles)
          deny: { status: 451, detail: only administrators }
        - when: '"x-beta" in request.headers && user == "ada"'
          upstream: other
        - when: has(claims.roles)
          tag: { headers: { x-role: "admin" }, attributes: { tier: gold } }
    "#;
    let text = config(&origin, rules).to_string();
    let text = text.replace("    upstream: origin", "    upstream: { origin: 100, other: 0 }");
    let text =
        text.replace("upstreams:\n", &format!("upstreams:\n  other:\n    endpoints: [{{ url: 'http://{other}' }}]\n"));
    let gateway = GATEWAY.start(text).await;
    let mut client = gateway.client().await;
    let mut ask = async |method: &str, key: &str, field: &str| {
        client.ask(&[&format!("{method} /x HTTP/1.1"), "Host: a", &format!("X-API-Key: {key}"), field], "").await
    };
    let denied = ask("POST", "k2", "X-Role: admin").await;
    let problem = denied.problem(403);
    assert_eq!(problem["detail"], "the request cannot be judged", "bob has no roles");
    assert_eq!(ask("POST", "k1", "X: 1").await.echo().fields.get("x-role"), Some("admin"));
    assert_eq!(ask("GET", "k2", "X-Role: admin").await.echo().fields.get("x-role"), None);
    assert_eq!(other.requests().len(), 0);
    assert_eq!(ask("GET", "k1", "X-Beta: 1").await.status, 200);
    assert_eq!(other.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_that_cannot_be_is_found_with_its_place() {
    let origin = Upstream::echo().await;
    for (rule, words) in [
        ("'request.method == '", "rules[1].when: line 1, column 19: "),
        ("'usr == \"ada\"'", "rules[1].when: line 1, column 1: there is no `usr` here"),
        ("'request.path > 3'", "rules[1].when: line 1, column 1: `>` does not take text and int"),
        ("'user.matches(\"(\")'", "rules[1].when: line 1, column 6: "),
    ] {
        let rules = format!("        - {{ when: 'true', deny: {{}} }}\n        - {{ when: {rule}, deny: {{}} }}");
        let refused = GATEWAY.on("validate", config(&origin, &rules), &[]).await;
        let said = refused.stdout.clone() + &refused.stderr;
        assert!(refused.code == 4 && said.contains(words) && said.contains("gateway.yaml:"), "{words}: {refused:?}");
    }
}
