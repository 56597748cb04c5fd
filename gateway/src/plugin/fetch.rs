//! Fetching: from a source to the bytes of a component that has proved what it must.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Uri};
use tokio::task::spawn_blocking;

use super::builtin;
use super::digest::Digest;
use super::engine::Runtime;
use super::failure::LoadError;
use super::library::Library;
use super::records::Download;
use super::source::{Proof, Source, read_file, signature_of};
use crate::outbound::{Fetch, Fetched};

/// What a source gave. Whether it is a component is for [`super::Version::load`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub digest: Digest,
    pub component: Bytes,
}

impl Runtime {
    /// Fetches a component of at most `bytes_max`, and checks its proof. A pinned one from the web that the library has is
    /// not fetched at all; an unpinned one only if it has changed.
    ///
    /// # Errors
    /// The [`LoadError`]s that are about sources: reading, fetching, size, digest, signature.
    pub async fn fetch(&self, source: &Source, proof: &Proof, bytes_max: u64) -> Result<Delivery, LoadError> {
        if proof.is_none() && matches!(source, Source::Web(_)) {
            return Err(LoadError::Unproved { source_name: source.to_string() });
        }
        self.fetch_unproved(source, proof, bytes_max).await
    }

    /// As [`Self::fetch`], for those who only look at a component: one from the web needs no proof.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    pub async fn fetch_unproved(&self, source: &Source, proof: &Proof, bytes_max: u64) -> Result<Delivery, LoadError> {
        let delivery = match source {
            Source::Builtin(name) => Delivery::of(Bytes::from_static(bundled(name)?)),
            Source::File(path) => {
                let path = path.clone();
                Delivery::of(in_background(move || read_file(&path, bytes_max)).await??.into())
            }
            Source::Web(url) => self.download(url, proof, bytes_max).await?,
        };
        proof.check_digest(delivery.digest)?;
        self.check_signature(source, proof, &delivery).await?;
        Ok(delivery)
    }

    /// What served last under the plugin's name from this source, if it is kept here and its proof still holds: for the
    /// time when the source cannot be reached.
    pub fn last_good(&self, plugin: &str, source: &Source, proof: &Proof) -> Option<Delivery> {
        let digest = self.library().recall(plugin, &source.to_string())?;
        proof.check_digest(digest).ok()?;
        let component = self.library().get(digest)?;
        if let Some(key) = &proof.public_key {
            key.verify(&component, &self.library().signature(digest)?).ok()?;
        }
        Some(Delivery { digest, component })
    }

    async fn download(&self, url: &Uri, proof: &Proof, bytes_max: u64) -> Result<Delivery, LoadError> {
        if let Some(digest) = proof.sha256
            && let Some(component) = self.library().get(digest)
        {
            return Ok(Delivery { digest, component });
        }
        let known = Known::of(self.library(), url);
        let tag = known.as_ref().map(|known| &known.tag);
        match self.document(url, tag, bytes_max).await? {
            Fetched::Unchanged => known.map(|known| known.delivery).ok_or_else(|| LoadError::Fetch {
                url: url.to_string(),
                error: "the server says that nothing has changed since nothing was fetched".to_owned(),
            }),
            Fetched::Document { body, tag } => {
                let delivery = Delivery::of(body);
                self.note_download(url, &delivery, tag.as_ref());
                Ok(delivery)
            }
        }
    }

    /// A cache that cannot be written costs the next transfer, and nothing else.
    fn note_download(&self, url: &Uri, delivery: &Delivery, tag: Option<&HeaderValue>) {
        let Some(tag) = tag.and_then(|tag| tag.to_str().ok()) else { return };
        let download = Download { url: url.to_string(), sha256: delivery.digest, tag: tag.to_owned() };
        let kept = self.library().put(&delivery.component).and_then(|_| self.library().put_download(&download));
        if let Err(error) = kept {
            tracing::warn!(%error, %url, "a fetched component is not kept");
        }
    }

    async fn check_signature(&self, source: &Source, proof: &Proof, delivery: &Delivery) -> Result<(), LoadError> {
        let (Some(key), Some(at)) = (&proof.public_key, signature_of(source)) else { return Ok(()) };
        let signature = match &at {
            Source::Web(url) => match self.document(url, None, SIGNATURE_BYTES_MAX).await? {
                Fetched::Document { body, .. } => body.to_vec(),
                Fetched::Unchanged => Vec::new(),
            },
            Source::File(path) => read_file(path, SIGNATURE_BYTES_MAX)?,
            Source::Builtin(_) => return Ok(()),
        };
        let signature = String::from_utf8_lossy(&signature);
        let fail = |error| LoadError::Signature { signature: at.to_string(), error };
        key.verify(&delivery.component, &signature).map_err(fail)?;
        if let Err(error) = self.library().put_signature(delivery.digest, &signature) {
            tracing::warn!(%error, "a signature is not kept");
        }
        Ok(())
    }

    async fn document(&self, url: &Uri, known: Option<&HeaderValue>, bytes_max: u64) -> Result<Fetched, LoadError> {
        let fetch = Fetch { url, known, bytes_max, timeout: FETCH_TIMEOUT };
        self.fetcher()
            .fetch(fetch)
            .await
            .map_err(|error| LoadError::Fetch { url: url.to_string(), error: error.to_string() })
    }
}

impl Delivery {
    pub fn of(component: Bytes) -> Self {
        Self { digest: Digest::of(&component), component }
    }
}

/// What a URL led to the last time, and the tag by which the server knows it.
struct Known {
    delivery: Delivery,
    tag: HeaderValue,
}

impl Known {
    fn of(library: &Library, url: &Uri) -> Option<Self> {
        let download = library.download(&url.to_string())?;
        let tag = HeaderValue::from_str(&download.tag).ok()?;
        let component = library.get(download.sha256)?;
        Some(Self { delivery: Delivery { digest: download.sha256, component }, tag })
    }
}

fn bundled(name: &str) -> Result<&'static [u8], LoadError> {
    builtin::component(name).ok_or_else(|| LoadError::UnknownBuiltin {
        name: name.to_owned(),
        known: builtin::names().collect::<Vec<_>>().join(", "),
    })
}

/// Files may lie on disks that are far away.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    spawn_blocking(work).await.map_err(|error| LoadError::Compile(error.to_string()))
}

/// For one component or signature, with all tries.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);
/// A minisign signature has four lines, and a comment that somebody wrote.
const SIGNATURE_BYTES_MAX: u64 = 16 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::PathBuf;

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::outbound::Trust;
    use crate::plugin::{CompileLimits, EngineOptions};

    /// The example of minisign's own documentation, which signs `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==";

    fn runtime() -> (TempDir, Runtime) {
        let folder = tempfile::tempdir().unwrap();
        let options = EngineOptions {
            slots: 1,
            state_dir: folder.path().to_owned(),
            cache_bytes: 1 << 20,
            compiler: PathBuf::from("/nothing"),
            compile_limits: CompileLimits { timeout: Duration::from_secs(1), memory_bytes: 1 << 30, parallel: 1 },
            trust: Trust::default(),
        };
        (folder, Runtime::new(options).unwrap())
    }

    /// A server that answers one connection after the other, and then none; gives the heads it got.
    async fn server(answers: &[String]) -> (Source, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = format!("http://{}/a.wasm", listener.local_addr().unwrap()).parse().unwrap();
        let (seen, heads) = mpsc::unbounded_channel();
        let answers = answers.to_vec();
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                let _ = seen.send(String::from_utf8(head).unwrap().to_ascii_lowercase());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        (source, heads)
    }

    fn ok(fields: &str, body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: {}\r\n\r\n{body}", body.len())
    }

    fn pinned(component: &[u8]) -> Proof {
        Proof { sha256: Some(Digest::of(component)), public_key: None }
    }

    fn signed() -> Proof {
        Proof { sha256: None, public_key: Some(KEY.parse().unwrap()) }
    }

    #[tokio::test]
    async fn a_pinned_component_is_fetched_once_and_never_again() {
        let (_folder, runtime) = runtime();
        let (source, mut heads) = server(&[ok("etag: \"1\"\r\n", "test")]).await;
        for _ in 0..3 {
            let delivery = runtime.fetch(&source, &pinned(b"test"), 100).await.unwrap();
            assert_eq!(delivery, Delivery::of(Bytes::from_static(b"test")));
        }
        assert!(heads.recv().await.unwrap().starts_with("get /a.wasm http/1.1\r\n"));
        assert!(heads.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_signed_component_is_fetched_again_only_if_it_changed() {
        let (_folder, runtime) = runtime();
        let unchanged = "HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\n\r\n".to_owned();
        let answers = [ok("etag: \"1\"\r\n", "test"), ok("", SIGNATURE), unchanged, ok("", SIGNATURE)];
        let (source, mut heads) = server(&answers).await;
        for _ in 0..2 {
            assert_eq!(runtime.fetch(&source, &signed(), 100).await.unwrap().component, b"test".as_slice());
        }
        let mut asked = Vec::new();
        while let Some(head) = heads.recv().await {
            asked.push((head.contains("get /a.wasm.minisig "), head.contains("if-none-match: \"1\"\r\n")));
        }
        assert_eq!(asked, [(false, false), (true, false), (false, true), (true, false)]);
    }

    #[tokio::test]
    async fn what_proves_nothing_is_refused() {
        let (_folder, runtime) = runtime();
        let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_owned();
        for (answers, proof, words) in [
            (vec![], Proof::default(), "pin it (`sha256`)"),
            (vec![ok("", "best")], pinned(b"test"), "the configuration pins"),
            (vec![ok("", "best"), ok("", SIGNATURE)], signed(), "is not by `public_key`"),
            (vec![ok("", "test"), ok("", "no signature")], signed(), "a.wasm.minisig is not by `public_key`"),
            (vec![ok("", "test"), missing.clone()], signed(), "a.wasm.minisig: the server answered 404"),
            (vec![missing], pinned(b"test"), "a.wasm: the server answered 404"),
            (vec![ok("", &"x".repeat(101))], pinned(b"test"), "more than 100 bytes"),
        ] {
            let (source, _heads) = server(&answers).await;
            let error = runtime.fetch(&source, &proof, 100).await.unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
            assert_eq!(runtime.library().get(Digest::of(b"test")), None, "{words}");
        }
        let (source, _heads) = server(&[ok("", "test")]).await;
        assert!(runtime.fetch_unproved(&source, &Proof::default(), 100).await.is_ok(), "who only looks may look");
    }

    #[tokio::test]
    async fn a_transfer_that_breaks_off_is_resumed() {
        let (_folder, runtime) = runtime();
        let half = "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 4\r\n\r\nte".to_owned();
        let rest =
            "HTTP/1.1 206 Partial Content\r\netag: \"1\"\r\ncontent-range: bytes 2-3/4\r\ncontent-length: 2\r\n\r\nst";
        let (source, _heads) = server(&[half.clone(), rest.to_owned()]).await;
        assert_eq!(runtime.fetch(&source, &pinned(b"test"), 100).await.unwrap().component, b"test".as_slice());

        let (source, _heads) = server(&[half]).await;
        let error = runtime.fetch(&source, &pinned(b"west"), 100).await.unwrap_err();
        assert!(error.is_unreachable() && error.to_string().contains("broke off"), "{error}");
    }

    #[tokio::test]
    async fn a_file_may_be_signed_and_pinned() {
        let (folder, runtime) = runtime();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "test").unwrap();
        let source = Source::File(path);
        assert!(runtime.fetch(&source, &Proof::default(), 100).await.is_ok());
        assert!(runtime.fetch(&source, &pinned(b"test"), 100).await.is_ok());
        let error = runtime.fetch(&source, &signed(), 100).await.unwrap_err().to_string();
        assert!(error.contains("a.wasm.minisig"), "{error}");
        std::fs::write(folder.path().join("a.wasm.minisig"), SIGNATURE).unwrap();
        assert!(runtime.fetch(&source, &signed(), 100).await.is_ok());
    }

    #[tokio::test]
    async fn the_last_good_version_serves_as_long_as_its_proof_holds() {
        let (folder, runtime) = runtime();
        let path = folder.path().join("a.wasm");
        std::fs::write(&path, "test").unwrap();
        std::fs::write(folder.path().join("a.wasm.minisig"), SIGNATURE).unwrap();
        let source = Source::File(path.clone());
        let good = |proof: &Proof| runtime.last_good("audit", &source, proof).is_some();
        assert!(!good(&Proof::default()), "nothing has served");
        let delivery = runtime.fetch(&source, &Proof::default(), 100).await.unwrap();
        runtime.library().put(&delivery.component).unwrap();
        runtime.library().remember("audit", &source.to_string(), delivery.digest).unwrap();
        std::fs::remove_file(path).unwrap();
        assert!(runtime.fetch(&source, &Proof::default(), 100).await.unwrap_err().is_unreachable());
        assert!(good(&Proof::default()) && good(&pinned(b"test")));
        assert!(!good(&pinned(b"best")), "another pin");
        assert!(!good(&signed()), "nobody has seen a signature");
        runtime.library().put_signature(delivery.digest, SIGNATURE).unwrap();
        assert!(good(&signed()));
    }
}
