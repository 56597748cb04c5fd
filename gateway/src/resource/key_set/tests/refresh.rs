//! Sets that change while they are in use.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::set::{KeySet, KeySetSource};
use super::super::{Refusal, Rules};
use super::set;
use super::signer::{Signer, key_set};
use crate::outbound::Trust;

/// Serves one document, whatever it is at the moment; an empty one closes the connection without a word, and [`SILENCE`] holds it.
struct Provider {
    url: String,
    document: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn serving(document: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let (document, asked) = (Arc::new(Mutex::new(document)), Arc::new(AtomicUsize::new(0)));
        let provider = Self { url, document: document.clone(), asked: asked.clone() };
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let document = document.lock().unwrap().clone();
                match document.as_str() {
                    "" => continue,
                    SILENCE => {
                        held.push(stream);
                        continue;
                    }
                    _ => {}
                }
                let length = document.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{document}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        provider
    }

    async fn open(&self) -> Arc<KeySet> {
        let source = KeySetSource::Url { url: self.url.parse().unwrap(), refresh: Duration::from_secs(300) };
        KeySet::open("idp".into(), source, &Trust::default()).await.unwrap()
    }

    fn serve(&self, document: String) {
        *self.document.lock().unwrap() = document;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

const SILENCE: &str = "silence";

fn token(signer: &Signer) -> String {
    signer.sign(&json!({ "sub": "u1" }))
}

#[tokio::test]
async fn a_key_that_was_added_a_moment_ago_refuses_nobody() {
    let (old, new) = (Signer::new("ES256", "old"), Signer::new("ES256", "new"));
    let provider = Provider::serving(key_set([&old])).await;
    let set = provider.open().await;
    let mut verifier = set.verifier(Rules { cache: 8, ..Rules::default() }).unwrap();
    assert!(verifier.verify(&token(&old)).await.is_ok());
    provider.serve(key_set([&new]));
    assert!(verifier.verify(&token(&old)).await.is_ok(), "nobody knows yet");
    assert!(verifier.verify(&token(&new)).await.is_ok());
    assert_eq!(verifier.verify(&token(&old)).await, Err(Refusal::UnknownKey), "the old key is gone, remembered or not");
    assert_eq!((provider.asked(), set.status().keys), (2, 1));
}

#[tokio::test]
async fn unknown_keys_cannot_make_the_gateway_load_often() {
    let provider = Provider::serving(key_set([&Signer::new("ES256", "1")])).await;
    let set = provider.open().await;
    let mut verifier = set.verifier(Rules::default()).unwrap();
    let began = std::time::Instant::now();
    for number in 0..50 {
        let strange = Signer::new("EdDSA", &format!("strange-{number}"));
        assert_eq!(verifier.verify(&token(&strange)).await, Err(Refusal::UnknownKey));
    }
    let asks_max = 2 + usize::try_from(began.elapsed().as_secs() / 10).unwrap();
    assert!((2..=asks_max).contains(&provider.asked()), "{} times", provider.asked());
}

#[tokio::test]
async fn the_last_good_keys_outlive_their_source() {
    let good = Signer::new("ES256", "1");
    for bad in [String::new(), "<html>sorry</html>".to_owned(), r#"{"keys":[]}"#.to_owned(), "x".repeat(2 << 20)] {
        let provider = Provider::serving(key_set([&good])).await;
        let set = provider.open().await;
        let mut verifier = set.verifier(Rules::default()).unwrap();
        provider.serve(bad.clone());
        let strange = token(&Signer::new("EdDSA", "2"));
        assert_eq!(verifier.verify(&strange).await, Err(Refusal::UnknownKey));
        assert!(verifier.verify(&token(&good)).await.is_ok(), "{}", &bad[..bad.len().min(9)]);
        let status = set.status();
        assert_eq!((status.keys, status.loads, status.failures), (1, 2, 1));
    }
}

#[tokio::test]
async fn a_provider_that_says_nothing_delays_none_whose_key_is_known() {
    let good = Signer::new("ES256", "1");
    let provider = Provider::serving(key_set([&good])).await;
    let set = provider.open().await;
    let mut verifier = set.verifier(Rules::default()).unwrap();
    provider.serve(SILENCE.to_owned());
    let mut another = set.verifier(Rules::default()).unwrap();
    let waiting = tokio::spawn(async move { another.verify(&token(&Signer::new("EdDSA", "2"))).await });
    while provider.asked() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(verifier.verify(&token(&good)).await.is_ok());
    assert_eq!(waiting.await.unwrap(), Err(Refusal::UnknownKey), "it waits for a while, and not for ever");
}

#[tokio::test]
async fn a_set_that_is_not_there_yet_refuses_and_comes_later() {
    let provider = Provider::serving(String::new()).await;
    let signer = Signer::new("ES256", "1");
    let set = provider.open().await;
    assert_eq!(set.status().keys, 0);
    let mut verifier = set.verifier(Rules::default()).unwrap();
    provider.serve(key_set([&signer]));
    assert!(verifier.verify(&token(&signer)).await.is_ok(), "the token asks for it");
    assert_eq!(verifier.verify("no token").await, Err(Refusal::Malformed));
}

#[tokio::test]
async fn a_file_is_read_again_when_a_token_asks_for_it() {
    let (old, new) = (Signer::new("ES256", "old"), Signer::new("ES256", "new"));
    let (set, folder) = set(&key_set([&old])).await;
    let mut verifier = set.verifier(Rules::default()).unwrap();
    assert!(verifier.verify(&token(&old)).await.is_ok());
    std::fs::write(folder.path().join("jwks.json"), key_set([&old, &new])).unwrap();
    assert!(verifier.verify(&token(&new)).await.is_ok());
    assert!(verifier.verify(&token(&old)).await.is_ok());
}

#[tokio::test]
async fn a_file_that_gives_no_keys_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let trust = Trust::default();
    let open = || KeySet::open("idp".into(), KeySetSource::File(path.clone()), &trust);
    assert!(open().await.unwrap_err().to_string().contains("cannot read"));
    std::fs::write(&path, "{}").unwrap();
    let error = open().await.unwrap_err().to_string();
    assert!(error.contains("jwks.json") && error.contains("no list `keys`"), "{error}");
}

#[tokio::test]
async fn the_keeper_ends_with_its_set() {
    let (set, _folder) = set(&key_set([&Signer::new("EdDSA", "1")])).await;
    let weak = Arc::downgrade(&set);
    drop(set);
    assert!(weak.upgrade().is_none(), "the task does not hold it");
}
