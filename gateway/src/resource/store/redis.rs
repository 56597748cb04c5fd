//! A store on a Redis server: one connection for each runtime, which comes back by itself.
//!
//! What must happen in one step is a script. A server that refuses to be connected to is an error at once, one that does
//! not answer an error after the store's timeout.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Script, ScriptInvocation};
use tokio::runtime::{self, Handle};

use super::{LeaseTerms, Leased, StoreError, StoreFault};

/// The server, and how it is spoken to.
pub(super) struct Redis {
    name: Arc<str>,
    client: Client,
    timeout: Duration,
    increment: Script,
    compare_and_set: Script,
    lease: Script,
    /// What drives a connection is a task of the runtime it was made on, so each runtime has its own.
    connections: Mutex<HashMap<runtime::Id, ConnectionManager>>,
    /// Whether the last operation reached the server, so that the log tells changes alone.
    reachable: AtomicBool,
}

/// A connection of this thread's runtime, shared by its tasks. Operations that are under way at one time share the round trips.
#[derive(Clone)]
pub(super) struct Connection(Arc<Redis>);

impl Redis {
    pub(super) fn new(name: Arc<str>, url: &str, timeout: Duration) -> Result<Self, StoreError> {
        // The parser's words do not repeat the URL, which may hold a password.
        let client = Client::open(url).map_err(|error| StoreError::Url(error.to_string()))?;
        Ok(Self {
            name,
            client,
            timeout,
            increment: Script::new(INCREMENT),
            compare_and_set: Script::new(COMPARE_AND_SET),
            lease: Script::new(LEASE),
            connections: Mutex::default(),
            reachable: AtomicBool::new(true),
        })
    }

    pub(super) fn connect(self: &Arc<Self>) -> Connection {
        Connection(self.clone())
    }

    fn manager(&self) -> ConnectionManager {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let manager = connections.entry(Handle::current().id()).or_insert_with(|| {
            let config = ConnectionManagerConfig::new()
                // The next operation tries again; those that wait meanwhile should not wait for a pause.
                .set_number_of_retries(0)
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(None);
            ConnectionManager::new_lazy_with_config(self.client.clone(), config)
                .expect("only a subscription could make this fail")
        });
        manager.clone()
    }

    /// Lets go of this runtime's connection: what does not answer may never do so again, and nobody would tell.
    fn forget(&self) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).remove(&Handle::current().id());
    }

    fn key(&self, key: &str) -> String {
        format!("witgate:{}:{key}", self.name)
    }

    fn report(&self, fault: Option<&dyn std::fmt::Display>) {
        let store = &*self.name;
        if self.reachable.swap(fault.is_none(), Ordering::Relaxed) == fault.is_none() {
            return;
        }
        match fault {
            Some(error) => tracing::warn!(store, %error, "a store cannot be reached"),
            None => tracing::info!(store, "a store can be reached again"),
        }
    }
}

impl Connection {
    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreFault> {
        let value: Option<Vec<u8>> = self.command(redis::cmd("GET").arg(self.0.key(key))).await?;
        Ok(value.map(Bytes::from))
    }

    pub(super) async fn set(&self, key: &str, value: &[u8], ttl: Option<Duration>) -> Result<(), StoreFault> {
        let mut command = redis::cmd("SET");
        command.arg(self.0.key(key)).arg(value);
        if let Some(ttl) = ttl {
            command.arg("PX").arg(milliseconds(ttl));
        }
        self.command(&command).await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<bool, StoreFault> {
        self.command(redis::cmd("DEL").arg(self.0.key(key))).await
    }

    pub(super) async fn increment(&self, key: &str, by: i64, ttl: Option<Duration>) -> Result<i64, StoreFault> {
        let mut script = self.0.increment.prepare_invoke();
        script.key(self.0.key(key)).arg(by).arg(ttl.map_or(0, milliseconds));
        self.script(&script).await
    }

    pub(super) async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        value: &[u8],
        ttl: Option<Duration>,
    ) -> Result<bool, StoreFault> {
        let mut script = self.0.compare_and_set.prepare_invoke();
        script.key(self.0.key(key)).arg(expected.is_some()).arg(expected.unwrap_or_default());
        script.arg(value).arg(ttl.map_or(0, milliseconds));
        self.script(&script).await
    }

    pub(super) async fn lease(&self, prefix: &str, key: &[u8], terms: LeaseTerms) -> Result<Leased, StoreFault> {
        let mut script = self.0.lease.prepare_invoke();
        script.key([self.0.key(prefix).as_bytes(), key].concat());
        // Lua counts in floats of 53 bits, which hold microseconds and parts of them.
        script.arg(terms.interval.as_secs_f64() * 1e6).arg(terms.burst).arg(terms.cost);
        script.arg(terms.wanted).arg(terms.returned);
        let (granted, left, wait): (u32, u32, u64) = self.script(&script).await?;
        Ok(Leased { granted, left, wait: Duration::from_micros(wait) })
    }

    async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreFault> {
        self.ask(Question::Command(command)).await
    }

    async fn script<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreFault> {
        self.ask(Question::Script(script)).await
    }

    async fn ask<T: FromRedisValue>(&self, question: Question<'_>) -> Result<T, StoreFault> {
        let answer = tokio::time::timeout(self.0.timeout, async {
            let manager = self.0.manager();
            match question.put(manager.clone()).await {
                // The attempt to connect that was refused may lie back by hours, and nothing was sent: this one counts.
                Err(error) if error.is_connection_refusal() => question.put(manager).await,
                answer => answer,
            }
        });
        match answer.await {
            Ok(Ok(value)) => {
                self.0.report(None);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.fault(&error)),
            Err(_) => {
                self.0.forget();
                self.0.report(Some(&format!("no answer within {:?}", self.0.timeout)));
                Err(StoreFault::Unavailable)
            }
        }
    }

    fn fault(&self, error: &RedisError) -> StoreFault {
        let words = error.to_string();
        if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) {
            self.0.forget();
        }
        let fault = if matches!(error.kind(), ErrorKind::Io) {
            StoreFault::Unavailable
        } else if NOT_A_NUMBER.iter().any(|phrase| words.contains(phrase)) {
            StoreFault::NotANumber
        } else if words.contains(OUT_OF_MEMORY) {
            StoreFault::OverQuota
        } else {
            StoreFault::Unavailable
        };
        self.0.report((fault == StoreFault::Unavailable).then_some(error as _));
        fault
    }
}

/// What one operation sends.
enum Question<'a> {
    Command(&'a Cmd),
    Script(&'a ScriptInvocation<'a>),
}

impl Question<'_> {
    async fn put<T: FromRedisValue>(&self, mut manager: ConnectionManager) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(&mut manager).await,
            Self::Script(script) => script.invoke_async(&mut manager).await,
        }
    }
}

fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}

/// A new number gets the time to live, one that is there keeps its own. The answer is read as text, because numbers of Lua
/// have 53 bits.
const INCREMENT: &str = "
    local is_new = redis.call('EXISTS', KEYS[1]) == 0
    redis.call('INCRBY', KEYS[1], ARGV[1])
    if is_new and ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
    return redis.call('GET', KEYS[1])";

const COMPARE_AND_SET: &str = "
    local present = redis.call('GET', KEYS[1])
    if ARGV[1] == '1' then
        if present ~= ARGV[2] then return 0 end
    elseif present then
        return 0
    end
    if ARGV[4] == '0' then
        redis.call('SET', KEYS[1], ARGV[3])
    else
        redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
    end
    return 1";

/// GCRA: the key holds when the bucket is full again, in microseconds of the server's own clock, which all gateways share so.
/// Answers units granted, units left, and microseconds until `cost` units are there.
const LEASE: &str = "
    local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
    local cost, wanted, returned = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
    local time = redis.call('TIME')
    local now = time[1] * 1000000 + time[2]
    local full_at = tonumber(redis.call('GET', KEYS[1]) or now) - returned * interval
    if full_at < now then full_at = now end
    local available = math.floor(burst - (full_at - now) / interval + 0.000001)
    local granted = 0
    if available >= cost then granted = math.min(available, wanted) end
    full_at = full_at + granted * interval
    if granted > 0 or returned > 0 then
        redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
    end
    if granted > 0 then return { granted, available - granted, 0 } end
    return { 0, math.max(available, 0), math.ceil(full_at - now - (burst - cost) * interval) }";

/// What Redis says when INCRBY finds no number, or one too many.
const NOT_A_NUMBER: [&str; 2] = ["value is not an integer or out of range", "increment or decrement would overflow"];
/// The code of the error beyond `maxmemory`.
const OUT_OF_MEMORY: &str = "OOM";
/// Connecting goes on when the operation that began it has given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
