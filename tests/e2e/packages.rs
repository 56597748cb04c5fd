//! What a release consists of: `.ci/release` packs the program of these tests as it packs one that it built, and what is in there works.
//! And the image, whose recipe is held against the files that it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::GATEWAY;

const PROGRAM: &str = env!("CARGO_BIN_EXE_witgate-under-test");

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn has(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}

fn ran(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Packs into a folder; gives what it printed.
fn release(out: &Path) -> String {
    let mut script = Command::new("bash");
    script.arg(root().join(".ci/release")).args(["--quick", "--binary", PROGRAM, "--out"]).arg(out);
    // A checkout without its history has no commit to take the time from.
    script.env("SOURCE_DATE_EPOCH", "1750000000");
    String::from_utf8(ran(&mut script).stdout).expect("it prints text")
}

/// The files below a folder.
fn files(folder: &Path) -> BTreeMap<String, PathBuf> {
    let listed = ran(Command::new("find").arg(folder).args(["-type", "f", "-printf", "%P\n"]));
    let text = String::from_utf8(listed.stdout).expect("plain names");
    text.lines().map(|name| (name.to_owned(), folder.join(name))).collect()
}

const INSTALLED: [&str; 9] = [
    "bin/witgate",
    "lib/systemd/system/witgate.service",
    "lib/systemd/system/witgate.socket",
    "share/bash-completion/completions/witgate",
    "share/doc/witgate/examples/witgate.yaml",
    "share/fish/vendor_completions.d/witgate.fish",
    "share/man/man1/witgate.1.gz",
    "share/witgate/schema.json",
    "share/zsh/vendor-completions/_witgate",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_packed_twice_alike_and_what_is_in_it_works() {
    for tool in ["dpkg-deb", "readelf", "strip", "man"] {
        if !has(tool) {
            return harness::skip(&format!("`{tool}` is not installed"));
        }
    }
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
    let printed = release(&one);
    release(&two);
    let sums = fs::read_to_string(one.join("SHA256SUMS")).expect("there are checksums");
    assert_eq!(sums, fs::read_to_string(two.join("SHA256SUMS")).expect("there are checksums"), "both are the same");
    assert!(printed.contains(&sums) && printed.contains("and glibc 2."), "{printed}");
    ran(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&one));
    assert_eq!(sums.lines().count(), 2, "{sums}");

    let unpacked = folder.path().join("unpacked");
    fs::create_dir(&unpacked).expect("a temporary folder takes folders");
    let tarball = files(&one).into_values().find(|path| path.extension().is_some_and(|end| end == "gz"));
    ran(Command::new("tar")
        .arg("-xf")
        .arg(tarball.expect("a tarball"))
        .arg("-C")
        .arg(&unpacked)
        .arg("--strip-components=1"));
    let package = files(&one).into_values().find(|path| path.extension().is_some_and(|end| end == "deb"));
    let package = package.expect("a package");
    let installed = folder.path().join("installed");
    ran(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&installed));
    for place in [&unpacked, &installed.join("usr")] {
        let there = files(place);
        let missing: Vec<_> = INSTALLED.into_iter().filter(|name| !there.contains_key(*name)).collect();
        assert!(missing.is_empty(), "{missing:?} among {there:?}");
    }
    let control = String::from_utf8(ran(Command::new("dpkg-deb").arg("-f").arg(&package)).stdout).expect("text");
    assert!(control.contains("Depends: libc6 (>= 2.") && control.contains("Package: witgate"), "{control}");
    check_installed(&installed).await;
}

async fn check_installed(installed: &Path) {
    let usr = installed.join("usr");
    let program = usr.join("bin/witgate");
    let said = String::from_utf8(ran(Command::new(&program).arg("--version")).stdout).expect("text");
    assert!(said.starts_with("witgate "), "{said}");
    let example = usr.join("share/doc/witgate/examples/witgate.yaml");
    let config =
        fs::read_to_string(example).expect("the example is there").replace("state_dir: /var/lib/witgate\n", "");
    assert_eq!(GATEWAY.on("validate", config, &[]).await.code, 0);

    let page = ran(Command::new("man")
        .args(["--warnings", "-l"])
        .arg(usr.join("share/man/man1/witgate.1.gz"))
        .env("MANPAGER", "cat"));
    let (page, warnings) = (String::from_utf8_lossy(&page.stdout), String::from_utf8_lossy(&page.stderr));
    assert!(page.contains("witgate") && page.contains("validate") && warnings.is_empty(), "{page}{warnings}");
    let completions = usr.join("share/bash-completion/completions/witgate");
    let script = format!("set -e; . {}; complete -p witgate", completions.display());
    let said = ran(Command::new("bash").args(["-c", &script]));
    assert!(String::from_utf8_lossy(&said.stdout).contains("witgate"));
    serde_json::from_slice::<serde_json::Value>(&fs::read(usr.join("share/witgate/schema.json")).expect("a schema"))
        .expect("the schema is JSON");

    if !has("systemd-analyze") {
        return harness::skip("systemd-analyze is not installed");
    }
    let folder = usr.join("lib/systemd/system");
    for name in ["witgate.service", "witgate.socket"] {
        let unit = fs::read_to_string(folder.join(name)).expect("the unit is there");
        assert!(!unit.contains("/usr/local"), "a package has its program elsewhere: {unit}");
        let unit = unit.replace("/usr/bin/witgate", program.to_str().expect("temporary folders have plain names"));
        fs::write(folder.join(name), unit).expect("the unit is ours");
    }
    let units = ["witgate.service", "witgate.socket"].map(|name| folder.join(name));
    let said = Command::new("systemd-analyze").arg("verify").args(units).output().expect("it is installed");
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && !told.contains("witgate"), "{told}");
}

#[test]
fn a_word_that_the_script_does_not_know_packs_nothing() {
    let said = Command::new("bash").arg(root().join(".ci/release")).arg("--qick").output().expect("bash is there");
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&said.stderr).contains("`--qick`"));
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_image_is_made_of_files_that_exist_and_serves_what_its_configuration_says() {
    let recipe = read("examples/deploy/Containerfile");
    let config = read("examples/deploy/witgate.yaml");
    let lines = || recipe.lines().filter(|line| !line.starts_with('#'));
    let of = |word: &str| lines().filter_map(|line| line.strip_prefix(word)).map(str::trim).collect::<Vec<_>>();
    // What it copies from the sources is there; what it copies from the build is what cargo makes.
    for copied in of("COPY ") {
        let words: Vec<&str> = copied.split_whitespace().filter(|word| !word.starts_with("--chown")).collect();
        match words.as_slice() {
            ["--from=build", from, _] => assert_eq!(*from, "/src/target/release/witgate"),
            [from, _] => assert!(root().join(from).exists(), "COPY {copied}"),
            other => panic!("COPY {other:?}"),
        }
    }
    let toolchain = read("rust-toolchain.toml");
    let version = of("FROM ")[0].split("rust:").nth(1).and_then(|rest| rest.split('-').next()).expect("a version");
    assert!(toolchain.contains(&format!("channel = \"{version}")), "{version} is the version of {toolchain}");
    assert!(of("FROM ").iter().all(|image| !image.ends_with(":latest") && image.contains(':')), "images have versions");
    assert_eq!(of("USER "), ["65532:65532"], "a number, so that Kubernetes knows that it is not root");
    assert!(recipe.lines().last().is_some_and(|line| line.starts_with("CMD [")), "in the form that needs no shell");
    let entry = of("ENTRYPOINT ")[0];
    let program = entry.trim_matches(['[', ']', '"']);
    assert!(of("COPY ").iter().any(|copied| copied.ends_with(program)), "{program} is copied");
    // Ports, the socket and the folders are those of the configuration.
    let ports: Vec<&str> = of("EXPOSE ")[0].split(' ').collect();
    assert!(ports.iter().all(|port| config.contains(&format!(":{port}"))), "{ports:?} in {config}");
    let socket =
        recipe.split("unix:").nth(1).and_then(|rest| rest.split('"').next()).expect("the check has an address");
    assert!(config.contains(&format!("unix:{socket}")), "{socket} in {config}");
    for folder in ["/var/lib/witgate", "/run/witgate"] {
        assert!(of("VOLUME ")[0].contains(folder) && config.contains(folder), "{folder}");
    }
    let deployment = read("examples/deploy/kubernetes.yaml");
    for port in ports {
        assert!(deployment.contains(&format!("containerPort: {port}")), "{port}");
    }
}

#[test]
fn whoever_ends_a_gateway_waits_for_as_long_as_its_drain_may_take() {
    let seconds = |text: &str, before: &str| -> u64 {
        let rest = text.split(before).nth(1).unwrap_or_else(|| panic!("`{before}` in {text}"));
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().expect("a number of seconds")
    };
    let config = read("examples/deploy/witgate.yaml");
    let drain = seconds(&config, "delay:") + seconds(&config, "deadline:");
    for (file, word) in [("kubernetes.yaml", "terminationGracePeriodSeconds:"), ("witgate.service", "TimeoutStopSec=")]
    {
        let given = seconds(&read(&format!("examples/deploy/{file}")), word);
        assert!(given > drain, "{file}: {given} s for a drain of {drain} s");
    }
}
