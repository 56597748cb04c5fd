//! `crypto`: hashes and random bytes, by aws-lc.

use aws_lc_rs::{constant_time, digest, hmac, rand};

use super::State;
use crate::plugin::bindings::witgate::plugin::crypto;
use crate::plugin::failure::Failure;

impl crypto::Host for State {
    fn digest(&mut self, algorithm: crypto::Hash, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        self.host_call()?;
        let algorithm = match algorithm {
            crypto::Hash::Sha256 => &digest::SHA256,
            crypto::Hash::Sha384 => &digest::SHA384,
            crypto::Hash::Sha512 => &digest::SHA512,
        };
        Ok(digest::digest(algorithm, &data).as_ref().to_vec())
    }

    fn hmac(&mut self, algorithm: crypto::Hash, key: Vec<u8>, data: Vec<u8>) -> wasmtime::Result<Vec<u8>> {
        self.host_call()?;
        Ok(hmac(algorithm, &key, &data))
    }

    fn equal(&mut self, a: Vec<u8>, b: Vec<u8>) -> wasmtime::Result<bool> {
        self.host_call()?;
        Ok(constant_time::verify_slices_are_equal(&a, &b).is_ok())
    }

    fn random(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        self.host_call()?;
        if length > RANDOM_BYTES_MAX {
            let detail = format!("the guest asked for {length}, {RANDOM_BYTES_MAX} are allowed");
            return Err(wasmtime::Error::new(Failure::Limit { limit: "random bytes", detail }));
        }
        let mut bytes = vec![0; length as usize];
        rand::fill(&mut bytes).map_err(|_| wasmtime::Error::msg("the system gives no random bytes"))?;
        Ok(bytes)
    }
}

/// HMAC (RFC 2104).
pub(super) fn hmac(algorithm: crypto::Hash, key: &[u8], data: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        crypto::Hash::Sha256 => hmac::HMAC_SHA256,
        crypto::Hash::Sha384 => hmac::HMAC_SHA384,
        crypto::Hash::Sha512 => hmac::HMAC_SHA512,
    };
    hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref().to_vec()
}

/// Of one call: a key of any algorithm is smaller by far.
const RANDOM_BYTES_MAX: u32 = 1024;
