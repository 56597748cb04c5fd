//! History: configurations that served, kept in the state folder as they are written, to go back to, and to start on while their source is
//! gone. Variables and secrets are not filled in: what is kept holds no more than the files themselves.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::{TEXTS_BYTES_MAX, Texts};
use crate::plugin::Digest;

/// The configurations of one source.
#[derive(Debug, Clone)]
pub struct History(PathBuf);

/// One that served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    /// 1 for the first that was ever kept.
    pub number: u64,
    /// RFC 3339: when it began to serve.
    pub since: String,
    /// What asked for it: `start`, `signal`, `watch` …
    pub reason: String,
    pub sha256: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error("no configuration of number {0} is kept")]
    None(u64),
    #[error("no configuration before this one is kept")]
    NoneBefore,
    #[error("the configuration that was kept in {path} is damaged: {error}; delete the file, it is of no use")]
    Damaged { path: PathBuf, error: io::Error },
}

impl History {
    /// What is kept of a source. Several gateways may share a state folder.
    pub fn of(state_dir: &Path, source: &str) -> Self {
        let digest = Digest::of(source.as_bytes()).to_string();
        Self(state_dir.join("config").join(&digest[..16]))
    }

    /// Keeps what serves now, and of those before it so many that there are `most`. What serves already is not kept twice.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn keep(&self, texts: &Texts, reason: &str, since: String, most: usize) -> io::Result<Option<Edition>> {
        if most == 0 {
            return Ok(None);
        }
        let sha256 = texts.sha256();
        let kept = self.list();
        if let Some(last) = kept.first().filter(|last| last.sha256 == sha256) {
            return Ok(Some(last.clone()));
        }
        let number = kept.first().map_or(1, |last| last.number + 1);
        let edition = Edition { number, since, reason: reason.to_owned(), sha256 };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let path = self.file(number);
        let draft = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        serde_json::to_writer(&mut file, &edition)?;
        file.write_all(b"\n")?;
        file.write_all(&serde_json::to_vec(texts)?)?;
        file.sync_all()?;
        fs::rename(&draft, &path)?;
        for old in kept.iter().skip(most - 1) {
            fs::remove_file(self.file(old.number))?;
        }
        Ok(Some(edition))
    }

    /// The latest that is the same as these texts.
    pub fn of_texts(&self, texts: &Texts) -> Option<Edition> {
        let sha256 = texts.sha256();
        self.list().into_iter().find(|edition| edition.sha256 == sha256)
    }

    /// Those that are kept, the latest first. Damaged ones are passed over.
    pub fn list(&self) -> Vec<Edition> {
        let head = |path: PathBuf| head(&mut BufReader::new(fs::File::open(path).ok()?)).ok();
        let mut kept: Vec<Edition> = self.files().into_iter().filter_map(head).collect();
        kept.sort_by_key(|edition| std::cmp::Reverse(edition.number));
        kept
    }

    /// The one of this number, or else the one before that which is in use.
    ///
    /// # Errors
    /// Any [`HistoryError`].
    pub fn find(&self, number: Option<u64>, in_use: Option<u64>) -> Result<(Edition, Texts), HistoryError> {
        let kept = self.list();
        let edition = match number {
            Some(number) => kept.into_iter().find(|one| one.number == number).ok_or(HistoryError::None(number))?,
            None => {
                let is_before = |one: &Edition| in_use.is_none_or(|in_use| one.number < in_use);
                kept.into_iter().find(is_before).ok_or(HistoryError::NoneBefore)?
            }
        };
        read(self.file(edition.number))
    }

    /// The one that served last; where that is damaged, the one before, and what is wrong with those that are passed over.
    pub fn latest(&self) -> (Option<(Edition, Texts)>, Vec<HistoryError>) {
        let mut files = self.files();
        files.sort();
        let mut damaged = Vec::new();
        for path in files.into_iter().rev() {
            match read(path) {
                Ok(kept) => return (Some(kept), damaged),
                Err(error) => damaged.push(error),
            }
        }
        (None, damaged)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
    }

    fn file(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:08}.json"))
    }
}

fn read(path: PathBuf) -> Result<(Edition, Texts), HistoryError> {
    let read = || {
        let mut file = BufReader::new(fs::File::open(&path)?);
        let edition = head(&mut file)?;
        let mut rest = Vec::new();
        // Text as JSON takes up to six bytes for one.
        file.take(6 * TEXTS_BYTES_MAX as u64).read_to_end(&mut rest)?;
        let texts: Texts = serde_json::from_slice(&rest)?;
        if texts.sha256() == edition.sha256 {
            Ok((edition, texts))
        } else {
            Err(io::Error::other("its contents are not those that were kept"))
        }
    };
    read().map_err(|error| HistoryError::Damaged { path, error })
}

fn head(file: &mut impl BufRead) -> io::Result<Edition> {
    let mut line = String::new();
    file.take(HEAD_BYTES_MAX).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Of the line that tells what follows.
const HEAD_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::config::Text;

    fn texts(text: &str) -> Texts {
        let text = Text { name: "a.yaml".to_owned(), folder: PathBuf::new(), text: text.to_owned(), unread: None };
        Texts { own: vec![text], ..Texts::default() }
    }

    fn keep(history: &History, text: &str, most: usize) -> u64 {
        history.keep(&texts(text), "test", String::new(), most).unwrap().unwrap().number
    }

    #[test]
    fn so_many_are_kept_and_the_same_is_kept_once() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(folder.path(), "gateway.yaml");
        assert!(history.list().is_empty());
        assert_eq!([keep(&history, "a", 2), keep(&history, "a", 2), keep(&history, "b", 2)], [1, 1, 2]);
        assert_eq!(keep(&history, "c", 2), 3);
        let numbers: Vec<u64> = history.list().iter().map(|edition| edition.number).collect();
        assert_eq!(numbers, [3, 2]);
        assert_eq!(history.find(None, Some(3)).unwrap().1, texts("b"));
        assert_eq!(history.find(Some(3), None).unwrap().1, texts("c"));
        assert!(matches!(history.find(Some(1), None), Err(HistoryError::None(1))));
        assert!(matches!(history.find(None, Some(2)), Err(HistoryError::NoneBefore)));
        assert_eq!(history.of_texts(&texts("b")).map(|edition| edition.number), Some(2));
        assert_eq!(history.of_texts(&texts("d")), None);
        assert!(History::of(folder.path(), "other.yaml").list().is_empty());
        assert!(history.keep(&texts("d"), "test", String::new(), 0).unwrap().is_none());
    }

    #[test]
    fn what_is_damaged_is_passed_over_and_nobody_else_may_read_the_rest() {
        use std::os::unix::fs::MetadataExt as _;
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(folder.path(), "gateway.yaml");
        keep(&history, "a", 5);
        fs::write(history.file(2), "{").unwrap();
        assert_eq!(history.list().len(), 1);
        assert_eq!(fs::metadata(history.file(1)).unwrap().mode() & 0o777, 0o600);
        fs::write(history.file(1), fs::read_to_string(history.file(1)).unwrap().lines().next().unwrap()).unwrap();
        assert!(matches!(history.find(Some(1), None), Err(HistoryError::Damaged { .. })));
        let (kept, damaged) = history.latest();
        assert!(kept.is_none());
        assert_eq!(damaged.len(), 2);
        let told = damaged[0].to_string();
        assert!(told.contains("00000002.json is damaged") && told.contains("delete the file"), "{told}");
    }

    #[test]
    fn contents_that_are_not_those_that_were_kept_are_damage_and_the_one_before_is_the_latest() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::of(folder.path(), "gateway.yaml");
        keep(&history, "one", 5);
        keep(&history, "two", 5);
        assert_eq!(history.latest().0.unwrap().1, texts("two"));
        fs::write(history.file(2), fs::read_to_string(history.file(2)).unwrap().replace("two", "2wo")).unwrap();
        let (kept, damaged) = history.latest();
        assert_eq!(kept.unwrap().1, texts("one"));
        assert!(damaged[0].to_string().contains("are not those that were kept"), "{}", damaged[0]);
    }
}
