//! Files of a configuration that are watched and go bad in every way a file can: nothing hangs, what serves stays, the log says what is wrong,
//! and a good file takes effect by itself.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use harness::{Gateway, Line, put};
use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use rustix::process::Signal;

use crate::GATEWAY;
use crate::config_servers::{MAIN, answering, said};

const WATCHED: &str = "config: { reload: watch }\n";
const GONE: &str = "the source of the configuration cannot be read";

fn text(word: &str) -> String {
    format!("{MAIN}{WATCHED}{}", answering(word))
}

/// A gateway on `conf`, a folder with one file, as a user for whom permissions count.
async fn watching() -> Gateway {
    let folder = tempfile::tempdir().expect("the system gives a temporary folder");
    fs::create_dir(folder.path().join("conf")).expect("it takes folders");
    fs::write(folder.path().join("conf/main.yaml"), text("one")).expect("it takes files");
    fs::write(folder.path().join("gateway.yaml"), "state_dir: state\n").expect("it takes files");
    let binary = GATEWAY.unprivileged(folder.path());
    let state = format!("state_dir: {}\n", folder.path().join("state").display());
    fs::write(folder.path().join("gateway.yaml"), state).expect("it takes files");
    binary.start_on(folder, &["conf/main.yaml", "gateway.yaml"]).await
}

fn is_told(line: &Line) -> bool {
    line.message().starts_with(GONE) || line.message() == "reload failed"
}

/// Puts what `make` makes at the path it is given in the place of a file, in one step too.
fn replace(path: &Path, make: impl Fn(&Path)) {
    let draft = path.with_extension("draft");
    make(&draft);
    renameat_with(CWD, &draft, CWD, path, RenameFlags::EXCHANGE).expect("the file system exchanges names");
    remove(&draft);
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.expect("it can be removed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_goes_bad_changes_nothing_until_it_is_good_again() {
    let gateway = watching().await;
    assert_eq!(said(&gateway).await, "one");
    let file = gateway.folder().join("conf/main.yaml");
    type Damage = fn(&Path);
    let damages: [(&str, Damage, &str); 7] = [
        ("its folder is gone", |file| remove(file.parent().expect("a folder")), "No such file or directory"),
        (
            "it is a folder without files",
            |file| replace(file, |draft| fs::create_dir(draft).expect("a folder")),
            "no configuration in this folder",
        ),
        (
            "it may not be read",
            |file| fs::set_permissions(file, Permissions::from_mode(0o000)).expect("it is ours"),
            "Permission denied",
        ),
        (
            "it is a link to itself",
            |file| replace(file, |draft| symlink(file, draft).expect("a link")),
            "Too many levels of symbolic links",
        ),
        (
            "it is a pipe",
            |file| replace(file, |draft| mkfifoat(CWD, draft, Mode::from(0o666)).expect("a pipe")),
            "it is a pipe, and its writer has not ended",
        ),
        (
            "it is far too large",
            |file| {
                replace(file, |draft| {
                    File::create(draft).and_then(|draft| draft.set_len(200 << 20)).expect("a hole");
                });
            },
            "larger than 16 MiB",
        ),
        ("it is no text", |file| put(file, [0xff, 0xfe, 0x00]), "UTF-8"),
    ];
    for (number, (what, damage, why)) in damages.into_iter().enumerate() {
        let from = gateway.log().len();
        damage(&file);
        let line = gateway.log().wait_from(from, what, is_told).await;
        assert!(line.text.contains(why), "{what}: {}", line.text);
        // Nothing waits for it: neither requests nor operators.
        let status = gateway.admin().get("/api/status").await;
        assert_eq!(status.status, 200, "{what}");
        let before = if number == 0 { "one".to_owned() } else { format!("good-{}", number - 1) };
        assert_eq!(said(&gateway).await, before, "{what}");
        // An order to reload fails, and says the same.
        let from = gateway.log().len();
        gateway.signal(Signal::HUP);
        let line =
            gateway.log().wait_from(from, "that it cannot", |line: &Line| line.message() == "reload failed").await;
        assert!(line.text.contains(why), "{what}: {}", line.text);

        if file.symlink_metadata().is_ok() {
            remove(&file);
        }
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        let from = gateway.log().len();
        put(&file, text(&format!("good-{number}")));
        gateway.log().wait_from(from, "the good one", |line: &Line| line.message() == "reloaded").await;
        assert_eq!(said(&gateway).await, format!("good-{number}"), "{what}");
    }
}
