//! Native twins of the capabilities (`wit/capabilities.wit`): each function asks the host of the running test.

use super::host;

/// The gateway's side of the capabilities. A resource is known by its name: a twin of a handle holds just that.
pub(crate) trait Capabilities: super::Network {
    fn count(&self, name: &str, by: u64);
    fn gauge(&self, name: &str, value: f64);
    fn unix_ms(&self) -> u64;
    fn monotonic_ns(&self) -> u64;
    fn random(&self, length: u32) -> Vec<u8>;

    /// The error says that there is no such grant.
    fn open(&self, kind: ResourceKind, name: &str) -> Result<(), String>;
    fn kv_get(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, kv::KvError>;
    fn kv_set(&self, store: &str, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), kv::KvError>;
    fn kv_delete(&self, store: &str, key: &str) -> Result<bool, kv::KvError>;
    fn kv_increment(&self, store: &str, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, kv::KvError>;
    fn kv_compare_and_set(
        &self,
        store: &str,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: Option<u64>,
    ) -> Result<bool, kv::KvError>;
    fn table_get(&self, table: &str, key: &str) -> Option<String>;
    fn secret(&self, name: &str) -> Vec<u8>;
    fn reveal(&self, name: &str) -> Result<Vec<u8>, String>;
    fn take(&self, limiter: &str, key: &str, cost: u32) -> rate_limit::Decision;
}

/// What can be opened by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ResourceKind {
    Store,
    Table,
    Secret,
    Limiter,
}

pub(crate) mod metrics {
    use super::host;

    pub(crate) fn count(name: &str, by: u64) {
        host().capabilities().count(name, by);
    }
    pub(crate) fn gauge(name: &str, value: f64) {
        host().capabilities().gauge(name, value);
    }
}

pub(crate) mod clock {
    use super::host;

    pub(crate) fn unix_ms() -> u64 {
        host().capabilities().unix_ms()
    }
    pub(crate) fn monotonic_ns() -> u64 {
        host().capabilities().monotonic_ns()
    }
}

/// What needs no gateway to be right, computes here.
pub(crate) mod crypto {
    use hmac::{Hmac, Mac};
    use sha2::{Digest, Sha256, Sha384, Sha512};

    use super::host;

    /// A hash function of FIPS 180-4.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Hash {
        /// 32 bytes.
        Sha256,
        /// 48 bytes.
        Sha384,
        /// 64 bytes.
        Sha512,
    }

    pub(crate) fn digest(algorithm: Hash, data: &[u8]) -> Vec<u8> {
        match algorithm {
            Hash::Sha256 => Sha256::digest(data).to_vec(),
            Hash::Sha384 => Sha384::digest(data).to_vec(),
            Hash::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    pub(crate) fn hmac(algorithm: Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
        fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
            let mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
            mac.chain_update(data).finalize().into_bytes().to_vec()
        }
        match algorithm {
            Hash::Sha256 => mac::<Hmac<Sha256>>(key, data),
            Hash::Sha384 => mac::<Hmac<Sha384>>(key, data),
            Hash::Sha512 => mac::<Hmac<Sha512>>(key, data),
        }
    }

    pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
        a == b
    }

    pub(crate) fn random(length: u32) -> Vec<u8> {
        host().capabilities().random(length)
    }
}

pub(crate) mod kv {
    use super::{ResourceKind, host};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum KvError {
        Unavailable,
        OverQuota,
        TooLarge,
        NotANumber,
    }

    #[derive(Debug)]
    pub(crate) struct Store(String);

    impl Store {
        pub(crate) fn open(name: &str) -> Result<Self, String> {
            host().capabilities().open(ResourceKind::Store, name)?;
            Ok(Store(name.to_owned()))
        }
        pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KvError> {
            host().capabilities().kv_get(&self.0, key)
        }
        pub(crate) fn set(&self, key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<(), KvError> {
            host().capabilities().kv_set(&self.0, key, value, ttl_ms)
        }
        pub(crate) fn delete(&self, key: &str) -> Result<bool, KvError> {
            host().capabilities().kv_delete(&self.0, key)
        }
        pub(crate) fn increment(&self, key: &str, by: i64, ttl_ms: Option<u64>) -> Result<i64, KvError> {
            host().capabilities().kv_increment(&self.0, key, by, ttl_ms)
        }
        pub(crate) fn compare_and_set(
            &self,
            key: &str,
            expected: Option<&[u8]>,
            value: &[u8],
            ttl_ms: Option<u64>,
        ) -> Result<bool, KvError> {
            host().capabilities().kv_compare_and_set(&self.0, key, expected, value, ttl_ms)
        }
    }
}

pub(crate) mod tables {
    use super::{ResourceKind, host};

    #[derive(Debug)]
    pub(crate) struct Table(String);

    impl Table {
        pub(crate) fn open(name: &str) -> Result<Self, String> {
            host().capabilities().open(ResourceKind::Table, name)?;
            Ok(Table(name.to_owned()))
        }
        pub(crate) fn get(&self, key: &str) -> Option<String> {
            host().capabilities().table_get(&self.0, key)
        }
    }
}

pub(crate) mod secrets {
    use super::{ResourceKind, crypto, host};

    #[derive(Debug)]
    pub(crate) struct Secret(String);

    impl Secret {
        pub(crate) fn open(name: &str) -> Result<Self, String> {
            host().capabilities().open(ResourceKind::Secret, name)?;
            Ok(Secret(name.to_owned()))
        }
        pub(crate) fn hmac(&self, algorithm: crypto::Hash, data: &[u8]) -> Vec<u8> {
            crypto::hmac(algorithm, &host().capabilities().secret(&self.0), data)
        }
        pub(crate) fn equals(&self, data: &[u8]) -> bool {
            host().capabilities().secret(&self.0) == data
        }
        pub(crate) fn reveal(&self) -> Result<Vec<u8>, String> {
            host().capabilities().reveal(&self.0)
        }
    }
}

pub(crate) mod rate_limit {
    use super::{ResourceKind, host};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Decision {
        pub(crate) allowed: bool,
        pub(crate) limit: u32,
        pub(crate) remaining: u32,
        pub(crate) retry_after_ms: u64,
    }

    #[derive(Debug)]
    pub(crate) struct Limiter(String);

    impl Limiter {
        pub(crate) fn open(name: &str) -> Result<Self, String> {
            host().capabilities().open(ResourceKind::Limiter, name)?;
            Ok(Limiter(name.to_owned()))
        }
        pub(crate) fn take(&self, key: &str, cost: u32) -> Decision {
            host().capabilities().take(&self.0, key, cost)
        }
    }
}
