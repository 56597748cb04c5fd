//! A name server of the test's own: it answers from a few records, or not at all (RFC 1035 §4, RFC 2782).

use std::fmt::{self, Display};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// What a name server knows of a name.
#[derive(Clone, Debug)]
pub enum Record {
    A(&'static str, Ipv4Addr),
    Srv { name: &'static str, priority: u16, weight: u16, port: u16, target: &'static str },
}

/// A server on a port of its own. Every record is good for a second.
pub struct Dns {
    address: SocketAddr,
    /// `None`: every question fails.
    records: Arc<Mutex<Option<Vec<Record>>>>,
    serving: JoinHandle<()>,
}

impl Dns {
    /// A server that knows these records and no other.
    pub async fn start(records: &[Record]) -> Dns {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("the loopback has free ports");
        let address = socket.local_addr().expect("a bound socket has an address");
        let records = Arc::new(Mutex::new(Some(records.to_vec())));
        let serving = tokio::spawn(serve(socket, records.clone()));
        Dns { address, records, serving }
    }

    /// From now on it knows these.
    pub fn set(&self, records: &[Record]) {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = Some(records.to_vec());
    }

    /// From now on every question fails.
    pub fn fail(&self) {
        *self.records.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// `ADDRESS:PORT`.
impl Display for Dns {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(out)
    }
}

async fn serve(socket: UdpSocket, records: Arc<Mutex<Option<Vec<Record>>>>) {
    let mut packet = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut packet).await {
        let known = records.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(answer) = answer(&packet[..length], known.as_deref()) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The answer to the one question of a packet.
fn answer(packet: &[u8], records: Option<&[Record]>) -> Option<Vec<u8>> {
    let (name, end) = question(packet)?;
    let kind = u16::from_be_bytes(packet.get(end..end + 2)?.try_into().ok()?);
    let is_of = |owner: &str| owner.eq_ignore_ascii_case(&name);
    let known = records.unwrap_or_default();
    let exists = known
        .iter()
        .any(|record| matches!(record, Record::A(owner, _) | Record::Srv { name: owner, .. } if is_of(owner)));
    let found: Vec<Vec<u8>> = known
        .iter()
        .filter_map(|record| match record {
            Record::A(owner, address) if kind == A && is_of(owner) => Some(address.octets().to_vec()),
            Record::Srv { name: owner, priority, weight, port, target } if kind == SRV && is_of(owner) => {
                let numbers = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
                Some([numbers, labels(target)].concat())
            }
            _ => None,
        })
        .collect();
    let code: u8 = match records {
        None => SERVFAIL,
        Some(_) if exists => 0,
        Some(_) => NXDOMAIN,
    };
    let count = u16::try_from(found.len()).ok()?.to_be_bytes();
    // A response, recursion wanted and available; one question, so many answers.
    let mut message = vec![packet[0], packet[1], 0x81, 0x80 | code, 0, 1, count[0], count[1], 0, 0, 0, 0];
    message.extend_from_slice(packet.get(12..end + 4)?);
    for data in found {
        // The name of the question, class IN, a second.
        message.extend_from_slice(&[0xc0, 12]);
        message.extend_from_slice(&kind.to_be_bytes());
        message.extend_from_slice(&[0, 1, 0, 0, 0, 1]);
        message.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        message.extend_from_slice(&data);
    }
    Some(message)
}

/// The name that is asked for, without its last dot, and where it ends.
fn question(packet: &[u8]) -> Option<(String, usize)> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).into_owned());
        at += length;
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

const A: u16 = 1;
const SRV: u16 = 33;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
