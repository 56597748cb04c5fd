//! From nothing to a running plugin of one's own, as somebody new to it would do it; and what is no plugin is told so.

use std::fs;

use harness::{Output, Workplace};

use crate::GATEWAY;

/// Exit codes of contract §2.
const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const CONFIG: i32 = 3;
const PLUGIN: i32 = 4;

/// Whether a build failed only because this machine cannot build plugins at all.
fn is_out_of_reach(output: &Output) -> bool {
    let unreachable =
        ["failed to download", "Could not resolve host", "failed to query", "using offline mode", "rustup target add"];
    let is = output.code != 0 && unreachable.iter().any(|words| output.stderr.contains(words));
    #[allow(clippy::print_stderr, reason = "what is left out must be seen")]
    if is {
        eprintln!(
            "\n!! LEFT OUT: this machine reaches no registry, or has no wasm target, so no new plugin was built\n{}",
            output.stderr
        );
    }
    is
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_plugin_is_made_served_edited_and_swapped() {
    // What was meant for another build must not reach this one.
    let desk = Workplace::new(GATEWAY, "new")
        .with("RUSTFLAGS", "--no-such-flag")
        .with("CARGO_BUILD_TARGET", "no-such-target")
        .with("RUSTC_WRAPPER", "no-such-wrapper");
    let output = desk.run(".", &["plugin", "new", "greeter"]).await;
    assert!(output.code == 0 && output.stdout.contains("witgate dev -c gateway.yaml"), "{output:?}");

    let output = desk.run("greeter", &["plugin", "build"]).await;
    if is_out_of_reach(&output) {
        return;
    }
    assert_eq!(output.code, 0, "{}", output.stderr);
    for words in [
        "hooks     request, response",
        "witgate:plugin@0.1.0",
        "needs     none",
        "Stands before the name",
        "fits      yes",
    ] {
        assert!(output.stdout.contains(words), "no `{words}` in\n{}", output.stdout);
    }

    let tested = desk.run("greeter", &["plugin", "test"]).await;
    assert!(tested.code == 0 && tested.stdout.contains("2 passed"), "{tested:?}");
    // A crate is built where a component is asked for, whether it is named by its folder or by a declaration.
    for words in [&["."][..], &["greeter", "-c", "gateway.yaml"]] {
        let output = desk.run("greeter", &[&["plugin", "inspect"], words].concat()).await;
        assert!(output.code == 0 && output.stdout.contains("hooks     request, response"), "{words:?}: {output:?}");
    }
    // What the configuration has for it is its config.
    let given = [".", "--config", "{\"greeting\": \"Hello\"}"];
    for words in [&given[..], &["greeter", "-c", "gateway.yaml"]] {
        let output = desk.run("greeter", &[&["plugin", "run"], words, &["GET /", "-H", "x-name: Ada"]].concat()).await;
        assert!(output.code == 0 && output.stdout.contains("x-greeting: Hello, Ada!"), "{words:?}: {output:?}");
    }

    desk.edit("greeter/gateway.yaml", "127.0.0.1:8080", "127.0.0.1:0");
    let output = desk.run("greeter", &["run", "-c", "gateway.yaml"]).await;
    assert!(output.code == CONFIG && output.stderr.contains("only `witgate dev` builds"), "{output:?}");

    let gateway = desk.dev("greeter").await;
    let mut log = gateway.log();
    let mut client = gateway.client().await;
    assert_eq!(client.get("/").await.field("x-greeting"), Some("Hello, stranger!"));

    let before = log.len();
    desk.edit("greeter/src/lib.rs", "{name}!\", self", "{name}?\", self");
    log.wait_from(before, "that the plugin is swapped", |line| line.message() == "plugin changed").await;
    assert_eq!(client.get("/").await.field("x-greeting"), Some("Hello, stranger?"));

    let before = log.len();
    desk.edit("greeter/src/lib.rs", "Verdict::Next", "Verdict::Nxet");
    let failed = log.wait_from(before, "that it does not build", |line| line.message().starts_with("not built")).await;
    assert!(failed.field("output").is_some_and(|output| output.contains("Nxet")), "{}", failed.text);
    assert_eq!(client.get("/").await.field("x-greeting"), Some("Hello, stranger?"), "the one before serves on");

    let before = log.len();
    desk.edit("greeter/src/lib.rs", "Verdict::Nxet", "Verdict::Next");
    desk.edit("greeter/src/lib.rs", "let name =", "witgate_plugin::log::debug(\"greeting\");\n        let name =");
    log.wait_from(before, "that the plugin is swapped", |line| line.message() == "plugin changed").await;
    client.get("/").await;
    log.wait_from(before, "what the plugin logs", |line| line.message() == "greeting").await;
    assert_eq!(gateway.stop().await.code, 0);

    desk.edit("greeter/src/lib.rs", "export_plugin!(Greeter: describe, request, response);", "");
    let output = desk.run("greeter", &["plugin", "build", "--format", "json"]).await;
    assert!(output.code == PLUGIN && output.stderr.contains("`export_plugin!` missing"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_template_builds_and_does_what_its_readme_says() {
    // What cargo has is enough: it need not ask anybody.
    let desk = Workplace::new(GATEWAY, "templates").with("CARGO_NET_OFFLINE", "true");
    for (template, tried, told) in [
        ("auth", &["GET /", "-H", "authorization: Bearer s3cret"][..], "+ x-user: ada"),
        ("auth", &["GET /"], "response  401"),
        ("body", &["POST /", "--body", "xyzzy"], "response  422"),
        ("body", &["POST /", "--body", "plugh"], "request   next"),
        ("outbound", &["GET /"], "response  503"),
    ] {
        let (name, folder) = (format!("my-{template}"), format!("my-{template}"));
        if !desk.path(&folder).exists() {
            let output = desk.run(".", &["plugin", "new", &name, "--template", template]).await;
            assert_eq!(output.code, 0, "{output:?}");
            let output = desk.run(&folder, &["plugin", "build"]).await;
            if is_out_of_reach(&output) {
                return;
            }
            assert!(output.code == 0 && output.stdout.contains("fits      yes"), "{template}: {output:?}");
        }
        // As declared in the configuration that came with it, with what it is granted and configured there.
        let play = ["plugin", "run", &name, "-c", "gateway.yaml"];
        let output = desk.run(&folder, &[&play, tried].concat()).await;
        assert!(output.code == 0 && output.stdout.contains(told), "{template}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_over() {
    let desk = Workplace::new(GATEWAY, "full");
    desk.write("mine/notes.txt", "mine");
    let output = desk.run(".", &["plugin", "new", "mine"]).await;
    assert!(output.code == FAILURE && output.stderr.contains("not empty"), "{output:?}");
    assert_eq!(fs::read_dir(desk.path("mine")).expect("it is there").count(), 1);
    for name in ["Mine", "../mine", "fn", "a_b"] {
        let output = desk.run(".", &["plugin", "new", name]).await;
        assert!(output.code == USAGE && output.stderr.contains(&format!("`{name}`")), "{output:?}");
    }
    let output = desk.run(".", &["plugin", "new", "a", "--template", "none"]).await;
    assert!(output.code == USAGE && output.stderr.contains("outbound"), "{output:?}");
    assert_eq!(fs::read_dir(desk.path(".")).expect("it is there").count(), 1, "nothing else came of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crate_that_is_no_plugin_is_told_what_it_lacks() {
    let desk = Workplace::new(GATEWAY, "lacking");
    let package = "[package]\nname = \"odd\"\nedition = \"2024\"\n[workspace]\n";
    let library = "[lib]\ncrate-type = [\"cdylib\"]\n";
    let sdk = "[dependencies]\nwitgate-plugin = { path = \"sdk\" }\n";
    desk.write("sdk/Cargo.toml", "[package]\nname = \"witgate-plugin\"\nedition = \"2024\"\n[workspace]\n");
    desk.write("sdk/src/lib.rs", "");
    for (what, manifest, words) in [
        ("no-manifest", None, "witgate plugin new NAME"),
        ("broken", Some("[package".to_owned()), "does not understand"),
        ("workspace", Some("[workspace]\n".to_owned()), "is a workspace"),
        ("no-library", Some(format!("{package}{sdk}")), "crate-type = [\"cdylib\"]"),
        ("no-sdk", Some(format!("{package}{library}")), "`odd` does not depend on `witgate-plugin`"),
    ] {
        desk.write(&format!("{what}/src/lib.rs"), "");
        if let Some(manifest) = manifest {
            desk.write(&format!("{what}/Cargo.toml"), &manifest.replace("\"sdk\"", "\"../sdk\""));
        }
        for command in ["build", "test"] {
            let output = desk.run(".", &["plugin", command, what]).await;
            let expected = if what == "broken" { FAILURE } else { PLUGIN };
            assert!(output.code == expected && output.stderr.contains(words), "{what}: {output:?}");
        }
    }

    // A compiler that has no library for the target.
    desk.write("rustc", "#!/bin/sh\necho /no/such/folder\n");
    let mut permissions = fs::metadata(desk.path("rustc")).expect("it is there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    fs::set_permissions(desk.path("rustc"), permissions).expect("it may be run");
    desk.write("good/Cargo.toml", &format!("{package}{library}{}", sdk.replace("\"sdk\"", "\"../sdk\"")));
    desk.write("good/src/lib.rs", "");
    let rustc = desk.path("rustc").display().to_string();
    let output = desk.with("RUSTC", rustc).run(".", &["plugin", "build", "good"]).await;
    assert!(output.code == FAILURE && output.stderr.contains("rustup target add wasm32-wasip2"), "{output:?}");
}
