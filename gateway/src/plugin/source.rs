//! Where components come from, and what they must prove before they are believed.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use http::Uri;
use minisign_verify::Signature;
use rustix::fs::OFlags;

use super::digest::Digest;
use super::failure::LoadError;

/// Where a component comes from. Displayed and read as configurations write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `builtin:NAME`: bundled with this program.
    Builtin(String),
    /// `file:PATH`.
    File(PathBuf),
    /// `https://…`, or `http://…` to a loopback address.
    Web(Uri),
}

/// A text that names no source.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no source: write `builtin:NAME`, `file:PATH` or `https://HOST/PATH`")]
pub struct SourceError(String);

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let fail = || SourceError(text.to_owned());
        if let Some(name) = text.strip_prefix("builtin:") {
            return Ok(Self::Builtin(name.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            return Ok(Self::File(path.into()));
        }
        let url: Uri = text.parse().map_err(|_| fail())?;
        match url.scheme_str() {
            Some("https") => Ok(Self::Web(url)),
            Some("http") if url.host().is_some_and(is_loopback) => Ok(Self::Web(url)),
            _ => Err(fail()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Web(url) => url.fmt(f),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What a component must prove; nothing by default.
#[derive(Clone, Default)]
pub struct Proof {
    /// The only digest that is taken.
    pub sha256: Option<Digest>,
    /// Whose signature it must carry, in a file beside it that ends in `.minisig`.
    pub public_key: Option<PublicKey>,
}

impl Proof {
    /// Whether nothing is asked for: enough for a file of the operator's, and not for what comes over a network.
    pub(super) fn is_none(&self) -> bool {
        self.sha256.is_none() && self.public_key.is_none()
    }

    pub(super) fn check_digest(&self, found: Digest) -> Result<(), LoadError> {
        match self.sha256 {
            Some(pinned) if pinned != found => Err(LoadError::Digest { found, pinned }),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proof").field("sha256", &self.sha256).field("signed", &self.public_key.is_some()).finish()
    }
}

/// A minisign public key (Ed25519, <https://jedisct1.github.io/minisign/>).
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(minisign_verify::PublicKey);

/// A text that is no minisign public key.
#[derive(Debug, thiserror::Error)]
#[error("not a minisign public key: {0} (it is the last line of the `.pub` file that `minisign -G` makes)")]
pub struct PublicKeyError(String);

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        minisign_verify::PublicKey::from_base64(text.trim())
            .map(Self)
            .map_err(|error| PublicKeyError(error.to_string()))
    }
}

impl PublicKey {
    /// Checks a detached signature, which signs a hash of the component: what minisign has made since 2020.
    pub(super) fn verify(&self, component: &[u8], signature: &str) -> Result<(), String> {
        let signature = Signature::decode(signature).map_err(|error| error.to_string())?;
        self.0.verify(component, &signature, false).map_err(|error| error.to_string())
    }
}

/// The place of a component's detached signature.
pub(super) fn signature_of(source: &Source) -> Option<Source> {
    match source {
        Source::Builtin(_) => None,
        Source::File(path) => {
            let mut path = path.clone().into_os_string();
            path.push(SIGNATURE);
            Some(Source::File(path.into()))
        }
        Source::Web(url) => {
            let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let mut parts = url.clone().into_parts();
            parts.path_and_query = Some(format!("{}{SIGNATURE}{query}", url.path()).parse().ok()?);
            Uri::from_parts(parts).ok().map(Source::Web)
        }
    }
}

/// Reads a regular file of at most `bytes_max`. A pipe or a device would make the reader wait, or never end; a file that
/// grows meanwhile is read as far as it may go.
pub(super) fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let fail = |error| LoadError::Read { path: path.display().to_string(), error };
    // Opening a pipe without a writer would wait, too.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(fail(io::Error::other("it is not a regular file")));
    }
    let too_large = |size_bytes| LoadError::TooLarge { size_bytes, max_bytes: bytes_max };
    if metadata.len() > bytes_max {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(bytes)
}

const SIGNATURE: &str = ".minisig";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_source_reads_as_it_is_written() {
        for text in [
            "builtin:jwt",
            "file:/a/b.wasm",
            "file:b.wasm",
            "https://a.example/b.wasm?c=d",
            "http://127.0.0.1:8/b",
            "http://[::1]/b",
            "http://localhost/b",
        ] {
            assert_eq!(text.parse::<Source>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "file:",
            "b.wasm",
            "/a/b.wasm",
            "http://a.example/b.wasm",
            "http://127.0.0.1.example/b",
            "ftp://a/b",
            "https://",
            "oci://a/b",
        ] {
            assert!(text.parse::<Source>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_signature_lies_beside_its_component() {
        for (source, signature) in [
            ("file:/a/b.wasm", Some("file:/a/b.wasm.minisig")),
            ("https://a.example/b.wasm", Some("https://a.example/b.wasm.minisig")),
            ("https://a.example/b.wasm?token=1.2", Some("https://a.example/b.wasm.minisig?token=1.2")),
            ("builtin:jwt", None),
        ] {
            let found = signature_of(&source.parse().unwrap()).map(|source| source.to_string());
            assert_eq!(found.as_deref(), signature);
        }
    }

    #[test]
    fn a_signature_is_of_one_component_by_one_key() {
        // The example of minisign's own documentation.
        let key: PublicKey = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3".parse().unwrap();
        let signature = "untrusted comment: signature from minisign secret key\n\
            RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
            trusted comment: timestamp:1556193335\tfile:test\n\
            y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";
        key.verify(b"test", signature).unwrap();
        assert!(key.verify(b"Test", signature).is_err());
        assert!(key.verify(b"test", &signature.replace("file:test", "file:best")).is_err());
        assert!(key.verify(b"test", "").is_err());
        let other = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSch1CBM0QTaLn73Y7GFO2".parse::<PublicKey>();
        assert!(other.is_err() || other.is_ok_and(|key| key.verify(b"test", signature).is_err()));
        assert!("not a key".parse::<PublicKey>().is_err());
    }

    #[test]
    fn only_a_regular_file_of_the_right_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("component");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_file(&path, 5).unwrap(), b"12345");
        assert!(matches!(read_file(&path, 4), Err(LoadError::TooLarge { size_bytes: 5, max_bytes: 4 })));
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_file(&link, 5).unwrap(), b"12345");

        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let error = read_file(path, 5).unwrap_err().to_string();
            assert!(error.contains("not a regular file"), "{error}");
        }
        // A file whose size the system does not tell is read only as far as it may go.
        assert!(matches!(read_file(Path::new("/proc/self/maps"), 5), Err(LoadError::TooLarge { .. })));
        assert!(matches!(read_file(&folder.path().join("nothing"), 5), Err(LoadError::Read { .. })));
    }
}
