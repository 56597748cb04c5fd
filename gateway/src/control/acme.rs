//! Certificates from an authority that sees for itself whose a name is (ACME, RFC 8555): how one is ordered. When, and what becomes of it,
//! is for the caller to say.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error, HttpClient,
    Identifier, NewAccount, NewOrder, OrderStatus, RetryPolicy,
};
use sha2::{Digest, Sha256};

use crate::outbound::{Caller, Trust};
use crate::tls::Challenges;

/// What is ordered, and where.
#[derive(Debug, Clone)]
pub struct CertificateOrder {
    pub domains: Vec<String>,
    /// Mail addresses.
    pub contact: Vec<String>,
    /// URL of the authority's directory.
    pub directory: String,
    /// For the account.
    pub folder: PathBuf,
    /// Where key and certificate are put, in PEM.
    pub file: PathBuf,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("{0}")]
    Authority(#[from] Error),
    #[error("the authority offers no way to prove `{0}` by TLS (tls-alpn-01)")]
    NoChallenge(String),
    #[error("the authority does not believe that `{0}` leads here")]
    Refused(String),
    #[error("a challenge cannot be made: {0}")]
    Challenge(String),
    #[error("cannot use {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error("it takes longer than {ORDER_TIMEOUT:?}")]
    Late,
}

impl CertificateOrder {
    /// Orders a certificate, proves by `challenges` that the names lead here, and puts it where it belongs, in one step.
    ///
    /// # Errors
    /// Any [`OrderError`]; the file is as it was.
    pub async fn place(&self, trust: &Trust, challenges: &Challenges) -> Result<(), OrderError> {
        let ordered = tokio::time::timeout(ORDER_TIMEOUT, self.order(trust, challenges)).await;
        self.domains.iter().for_each(|domain| challenges.forget(domain));
        write(&self.file, ordered.map_err(|_| OrderError::Late)??.as_bytes())
    }

    async fn order(&self, trust: &Trust, challenges: &Challenges) -> Result<String, OrderError> {
        let account = self.account(trust).await?;
        let names: Vec<_> = self.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let domain = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending => {}
                _ => return Err(OrderError::Refused(domain)),
            }
            let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
            let mut challenge = challenge.ok_or_else(|| OrderError::NoChallenge(domain.clone()))?;
            let proof = Sha256::digest(challenge.key_authorization().as_str());
            challenges.show(&domain, &proof.into()).map_err(OrderError::Challenge)?;
            challenge.set_ready().await?;
        }
        match order.poll_ready(&PATIENCE).await? {
            OrderStatus::Ready => {}
            _ => return Err(OrderError::Refused(self.domains.join(", "))),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(format!("{key}{chain}"))
    }

    /// The account at this authority: the one of former orders, or a new one.
    async fn account(&self, trust: &Trust) -> Result<Account, OrderError> {
        let http = || Box::new(Http(Arc::new(trust.caller())));
        let number: String = Sha256::digest(&self.directory)[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(format!("account-{number}.json"));
        if let Ok(known) = fs::read(&path)
            && let Ok(known) = serde_json::from_slice::<AccountCredentials>(&known)
        {
            return Ok(Account::builder_with_http(http()).from_credentials(known).await?);
        }
        let contact: Vec<String> = self.contact.iter().map(|address| format!("mailto:{address}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let wanted = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let (account, credentials) =
            Account::builder_with_http(http()).create(&wanted, self.directory.clone(), None).await?;
        let text = serde_json::to_vec(&credentials).map_err(Error::Json)?;
        write(&path, &text)?;
        Ok(account)
    }
}

/// Puts a file there as a whole, for this user alone.
fn write(path: &Path, bytes: &[u8]) -> Result<(), OrderError> {
    let put = || {
        let folder = path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let draft = path.with_extension("new");
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    put().map_err(|error| OrderError::File { path: path.to_owned(), error })
}

/// The gateway's own connections, for the protocol's library.
struct Http(Arc<Caller>);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let caller = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(|error| Error::Other(Box::new(error)))?.to_bytes();
            let answer = caller.exchange(Request::from_parts(head, body), ANSWER_BYTES_MAX).await;
            let (head, body) = answer.map_err(|error| Error::Other(Box::new(error)))?.into_parts();
            Ok(Response::from_parts(head, Full::new(body)).into())
        })
    }
}

/// How long the authority may take to look, and to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));
/// For all of an order.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);
const ANSWER_BYTES_MAX: usize = 256 << 10;
