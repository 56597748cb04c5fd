//! Plugins in JavaScript and Python: built by the commands in their README, and attached beside one in Rust.
//!
//! The builders come from the languages' registries, into a folder that outlives the run; a second run finds the components there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

use harness::{Binary, Config, Upstream, blocks, skip, transcripts};

const GATEWAY: Binary = Binary::new(env!("CARGO_BIN_EXE_witgate-under-test"), env!("CARGO_TARGET_TMPDIR"));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plugins_in_other_languages_answer_as_their_readme_shows() {
    let Some(example) = built() else { return };
    let yaml = fs::read_to_string(example.join("gateway.yaml")).expect("an example is text");
    let mut yaml = yaml.replace("127.0.0.1:8080", "127.0.0.1:0");
    for component in COMPONENTS {
        let path = example.join(component);
        yaml = yaml.replace(&format!("file:{component}"), &format!("file:{}", path.display()));
    }
    let gateway = GATEWAY.start(&yaml).await;
    let transcripts = transcripts(&readme());
    assert!(transcripts.len() >= 3, "the README shows what happens");
    for transcript in &transcripts {
        transcript.holds(gateway.listener("http")).await;
    }

    // What they refuse is told like a fault of any plugin's config.
    let output = GATEWAY.on("validate", yaml.replace("tenants: [acme, initech]", "tenant: acme"), &[]).await;
    assert_eq!(output.stderr.matches("unknown field `tenant`").count(), 2, "{}", output.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_of_other_languages_reach_the_upstream() {
    let Some(example) = built() else { return };
    let origin = Upstream::echo().await;
    for (component, language) in COMPONENTS.into_iter().zip(["javascript", "python"]) {
        let component = example.join(component);
        let config = Config::to(&origin)
            .plugin_with("policy", &example.join(component), "limits: { memory: 64MiB }")
            .route("filters: [{ use: policy, config: { tenants: [acme] } }]");
        let gateway = GATEWAY.start(config).await;
        let answer = gateway.client().await.ask(&["GET / HTTP/1.1", "Host: a", "X-Tenant: acme"], "").await;
        assert_eq!(answer.status, 200, "{language}");
        assert_eq!(origin.last_request().fields.get("x-checked-by"), Some(language));
    }
}

/// The folder of the example with its components, made as the README says; `None`, said loudly, where the builders cannot be had.
fn built() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut hasher = DefaultHasher::new();
    readme().hash(&mut hasher);
    for folder in [
        "wit",
        "examples/03-other-languages/wit",
        "examples/03-other-languages/javascript",
        "examples/03-other-languages/python",
    ] {
        hash_files(&root.join(folder), &mut hasher).expect("sources can be read");
    }
    // As in the repository, so that the README's paths hold.
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("languages-{:016x}", hasher.finish()));
    let example = copy.join("examples/03-other-languages");
    let _one_at_a_time = BUILDING.lock();
    if COMPONENTS.iter().all(|component| example.join(component).exists()) {
        compile(&example);
        return Some(example);
    }
    if copy.exists() {
        fs::remove_dir_all(&copy).expect("what is left of an earlier try can be removed");
    }
    fs::create_dir_all(copy.join("examples")).expect("the target folder can be written");
    run(Command::new("cp").arg("-a").arg(root.join("wit")).arg(copy.join("wit"))).expect("it can be copied");
    run(Command::new("cp").arg("-a").arg(root.join("examples/03-other-languages")).arg(&example))
        .expect("it can be copied");
    for commands in blocks(&readme(), "sh").filter(|commands| commands.starts_with("cd ")) {
        if let Err(why) = run(Command::new("sh").args(["-ec", commands]).current_dir(&copy)) {
            skip(&format!("a component cannot be built from its sources: {why}\n{commands}"));
            return None;
        }
    }
    compile(&example);
    Some(example)
}

/// Compiles the components into the state folder that all tests share: each is the engine of a language, and takes longer than a
/// test waits for a start.
fn compile(example: &Path) {
    let scratch = env!("CARGO_TARGET_TMPDIR");
    let plugin = |component| {
        let source = example.join(component);
        format!("'{component}': {{ source: 'file:{}', limits: {{ memory: 64MiB }} }}", source.display())
    };
    let [one, two] = COMPONENTS.map(plugin);
    let config = format!(
        "version: 1
state_dir: {scratch}/state
runtime: {{ compile_timeout: 15m, compile_memory: 2GiB }}
plugins: {{ {one}, {two} }}
listeners: [{{ name: http, address: 127.0.0.1:0 }}]
routes:
  - name: all
    match: {{}}
    filters: [{{ use: policy-js.wasm, config: {{ tenants: [] }} }}, {{ use: policy-py.wasm, config: {{ tenants: [] }} }}]
    respond: {{ status: 200 }}
"
    );
    let file = example.join("compile.yaml");
    fs::write(&file, config).expect("the copy can be written");
    let mut validate = Command::new(env!("CARGO_BIN_EXE_witgate-under-test"));
    validate.arg("validate").arg("-c").arg(file).env("XDG_STATE_HOME", scratch);
    run(&mut validate).expect("both components are plugins");
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stderr);
    output.status.success().then_some(()).ok_or_else(|| text.into_owned())
}

fn hash_files(folder: &Path, hasher: &mut DefaultHasher) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    for path in paths.iter().filter(|path| path.is_file()) {
        (path.file_name(), fs::read(path)?).hash(hasher);
    }
    Ok(())
}

fn readme() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/03-other-languages/README.md");
    fs::read_to_string(readme).expect("a README is text")
}

static BUILDING: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// What the README's commands leave.
const COMPONENTS: [&str; 2] = ["policy-js.wasm", "policy-py.wasm"];
