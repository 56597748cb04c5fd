//! Texts: everything a configuration is written in, as it was read and before any of it has a meaning.
//!
//! They can be kept and read again later, with the variables of that time: what they hold is as it is written, so that no secret of the
//! environment is in them. Here files and folders are read; texts from servers come from `control/source`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;
use sha2::{Digest as _, Sha256};

use super::document::Document;
use super::fault::{Fault, Faults};
use super::include;

/// The largest text that is read; 10,000 routes take 2 MiB.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// The most that all texts of a configuration may hold together.
pub const TEXTS_BYTES_MAX: usize = 64 << 20;

/// The most texts that a configuration may be made of.
pub const TEXTS_MAX: usize = 4096;

/// For a pipe: that somebody writes into it, and ends.
const PIPE_PATIENCE: Duration = Duration::from_secs(5);
const PIPE_LOOK: Duration = Duration::from_millis(10);

/// All texts of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// Each is laid over those before it.
    pub own: Vec<Text>,
    /// What `include` names, by the pattern with its folder.
    pub included: BTreeMap<PathBuf, Vec<Text>>,
}

/// One text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// How it is called in reports: a path, or a URL.
    pub name: String,
    /// Where relative paths in it are meant from.
    pub folder: PathBuf,
    pub text: String,
    /// Why it could not be read, and what helps.
    #[serde(skip)]
    pub unread: Option<Unread>,
}

/// Why a text is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    pub why: String,
    pub help: Option<String>,
}

impl Texts {
    /// Reads files and folders, and what they include.
    ///
    /// # Errors
    /// There are too many, or they are too large together; a folder that holds none. What is wrong with a single text it keeps itself.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Faults> {
        let mut texts = Self::default();
        for path in paths {
            texts.own.extend(Self::read_path(path)?);
        }
        texts.read_included();
        texts.check_size()?;
        Ok(texts)
    }

    /// The file, or the YAML files of the folder in the order of their names.
    ///
    /// # Errors
    /// A folder that cannot be listed, or holds none.
    pub fn read_path(path: &Path) -> Result<Vec<Text>, Faults> {
        if path.is_dir() { of_folder(path) } else { Ok(vec![Text::read(path)]) }
    }

    /// What tells these from others.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for text in self.iter() {
            for part in [&text.name, &text.text] {
                hash.update(part.len().to_le_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads what the own texts include, in the place of what was read before.
    pub fn read_included(&mut self) {
        self.included.clear();
        let all = self.own.iter().filter(|text| may_include(&text.text));
        for pattern in all.flat_map(include::patterns) {
            let files = matching(&pattern).into_iter().map(|path| Text::read(&path)).collect();
            self.included.insert(pattern, files);
        }
    }

    /// Refuses more than can be meant.
    ///
    /// # Errors
    /// [`TEXTS_MAX`] or [`TEXTS_BYTES_MAX`] is exceeded.
    pub fn check_size(&self) -> Result<(), Faults> {
        let count = self.iter().count();
        let bytes = self.bytes();
        let message = if count > TEXTS_MAX {
            format!("the configuration has {count} files, of {TEXTS_MAX} that may be")
        } else if bytes > TEXTS_BYTES_MAX {
            format!("the configuration is larger than {} MiB", TEXTS_BYTES_MAX >> 20)
        } else {
            return Ok(());
        };
        let name = self.own.first().map_or("", |text| &text.name);
        Err(fault(name, Fault::value("", message)))
    }

    /// Of all of them.
    pub fn bytes(&self) -> usize {
        self.iter().map(|text| text.text.len()).sum()
    }

    /// All of them, the own ones first.
    pub fn iter(&self) -> impl Iterator<Item = &Text> {
        self.own.iter().chain(self.included.values().flatten())
    }

    /// The folders whose files these are, or would be.
    pub fn folders(&self) -> impl Iterator<Item = &Path> {
        let included = self.included.keys().filter_map(|pattern| pattern.parent());
        self.own.iter().map(|text| &*text.folder).chain(included)
    }
}

impl Text {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let name = path.display().to_string();
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        match read(path) {
            Ok(text) => Self { name, folder, text, unread: None },
            Err(error) => {
                let why = format!("the configuration cannot be read: {error}");
                let help = (error.kind() == io::ErrorKind::InvalidData).then(|| "save the file as UTF-8".to_owned());
                Self { name, folder, text: String::new(), unread: Some(Unread { why, help }) }
            }
        }
    }
}

/// Whether it is worth a look at what a text includes: one that is large is read once more for it.
fn may_include(text: &str) -> bool {
    let is_key = |line: &str| line.trim_start_matches(['"', '\'']).starts_with("include");
    text.trim_start().starts_with('{') || text.lines().any(is_key)
}

/// One byte more than is allowed at most, so that a device or a pipe cannot fill the memory. A pipe, as `<(…)` of a shell gives one, is waited
/// for, but not for long.
fn read(path: &Path) -> io::Result<String> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path)?;
    let is_pipe = file.metadata()?.file_type().is_fifo();
    let mut file = file.take(TEXT_BYTES_MAX as u64 + 1);
    let mut bytes = Vec::new();
    let latest = Instant::now() + PIPE_PATIENCE;
    loop {
        match file.read_to_end(&mut bytes) {
            // Before somebody has opened a pipe to write into it, it looks as if it had ended.
            Ok(_) if !(is_pipe && bytes.is_empty()) => break,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            _ if Instant::now() >= latest => {
                let why = format!("it is a pipe, and its writer has not ended within {PIPE_PATIENCE:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            _ => std::thread::sleep(PIPE_LOOK),
        }
    }
    if bytes.len() > TEXT_BYTES_MAX {
        // It is refused for its size, wherever it was cut off.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

fn of_folder(path: &Path) -> Result<Vec<Text>, Faults> {
    let files = in_folder(path, |name| {
        let ending = Path::new(name).extension();
        ending.is_some_and(|ending| ending == "yaml" || ending == "yml")
    });
    match files {
        Ok(files) if files.is_empty() => {
            let message = "there is no configuration in this folder";
            let help = "put files there whose names end in `.yaml`";
            Err(fault(&path.display().to_string(), Fault::value("", message).help(help)))
        }
        Ok(files) => Ok(files.iter().map(|file| Text::read(file)).collect()),
        Err(error) => {
            let message = format!("the configuration cannot be read: {error}");
            Err(fault(&path.display().to_string(), Fault::value("", message)))
        }
    }
}

/// The files that a pattern with its folder names, in order: each `*` stands for any text but a slash. Without one, that file, there or not.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str().to_string_lossy();
        found = if part.contains('*') {
            let below = found.iter().filter_map(|folder| in_folder(folder, |name| is_like(name, &part)).ok());
            below.flatten().collect()
        } else {
            found.into_iter().map(|folder| folder.join(&*part)).collect()
        };
        found.truncate(TEXTS_MAX + 1);
    }
    found
}

/// The visible entries of a folder whose names are wanted, in their order.
fn in_folder(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        // What begins with a dot are drafts of editors, and the folders that Kubernetes swaps.
        if name.to_str().is_some_and(|name| !name.starts_with('.') && wanted(name)) {
            found.push(folder.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a name is what a pattern says. The first of a `*`'s choices that the rest allows is as good as any, so none is taken back but the last.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn fault(name: &str, fault: Fault) -> Faults {
    Document::single(Path::new(name), String::new()).faults(vec![fault])
}

/// The tree of a text, as far as it can be read; for those who look for one key in it.
pub(super) fn glance(text: &Text) -> Option<Value> {
    (text.text.len() <= TEXT_BYTES_MAX).then(|| super::tree::read(&text.text).ok()).flatten().map(|tree| tree.root)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_of_a_name() {
        for (name, pattern) in [("a.yaml", "*.yaml"), ("a.yaml", "a*"), ("a.b.yaml", "a*b*l"), ("a", "*"), ("a", "a")] {
            assert!(is_like(name, pattern), "{name} {pattern}");
        }
        for (name, pattern) in [("a.yml", "*.yaml"), ("b", "a*"), ("yaml", "*.yaml"), ("ab", "ab*b"), ("a", "b")] {
            assert!(!is_like(name, pattern), "{name} {pattern}");
        }
    }

    #[test]
    fn a_folder_is_its_yaml_files_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Texts::read(&[folder.path().to_owned()]).unwrap_err().to_string().contains("no configuration in this"));
        for name in ["20-b.yaml", "10-a.yml", ".hidden.yaml", "README.md"] {
            fs::write(folder.path().join(name), "version: 1\n").unwrap();
        }
        let texts = Texts::read(&[folder.path().to_owned()]).unwrap();
        let names: Vec<_> = texts.own.iter().map(|text| Path::new(&text.name).file_name().unwrap()).collect();
        assert_eq!(names, ["10-a.yml", "20-b.yaml"]);
    }

    #[test]
    fn patterns_may_have_stars_in_folders_too() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/x.yaml", "a/y.yaml", "a/x.yaml", "a/x.txt"] {
            fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = matching(&folder.path().join("*/*.yaml"));
        let names: Vec<_> =
            found.iter().map(|path| path.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["a/x.yaml", "a/y.yaml", "b/x.yaml"]);
        assert_eq!(matching(&folder.path().join("none.yaml")).len(), 1, "that it is not there is for reading to say");
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_not_waited_for_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.yaml");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::write(pipe, "version: 1\n").unwrap()
        });
        assert_eq!(Text::read(&pipe).text, "version: 1\n");
        writer.join().unwrap();
        let why = Text::read(&pipe).unread.unwrap().why;
        assert!(why.contains("its writer has not ended within 5s"), "{why}");
    }

    #[test]
    fn a_file_that_is_too_large_is_so_wherever_it_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("large.yaml");
        fs::write(&file, format!("x{}", "é".repeat(TEXT_BYTES_MAX / 2 + 1))).unwrap();
        let text = Text::read(&file);
        assert!(text.unread.is_none() && text.text.len() > TEXT_BYTES_MAX);
    }

    #[test]
    fn there_may_be_so_many_texts_and_no_more() {
        let text =
            |text: &str| Text { name: "a".to_owned(), folder: PathBuf::new(), text: text.to_owned(), unread: None };
        let mut texts = Texts { own: vec![text(""); TEXTS_MAX], included: BTreeMap::new() };
        assert!(texts.check_size().is_ok());
        texts.included.insert("b".into(), vec![text("")]);
        assert!(texts.check_size().unwrap_err().to_string().contains("4097 files, of 4096"));
        let large = "x".repeat(TEXT_BYTES_MAX);
        let mut texts = Texts { own: vec![text(&large); 4], included: BTreeMap::new() };
        assert!(texts.check_size().is_ok());
        texts.own.push(text("x"));
        assert!(texts.check_size().unwrap_err().to_string().contains("larger than 64 MiB"));
    }
}
