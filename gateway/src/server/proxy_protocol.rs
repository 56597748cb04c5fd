//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.0/doc/proxy-protocol.txt): who a client is, told by the load balancer
//! before the first byte of the client's own.
//!
//! Exactly the header is read and nothing after it, so that what follows sees a connection as if there had been none. A peer that is not
//! trusted to say it cannot say it, and one that is has to: a receiver that guesses can be told anything.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why a connection did not come to anything.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("`proxy_protocol.from` does not name it")]
    NotTrusted,
    #[error("it sent no header of the PROXY protocol within {0:?}")]
    Late(Duration),
    #[error("it went away before the header of the PROXY protocol was there: {0}")]
    Gone(#[from] io::Error),
    #[error("its header of the PROXY protocol is malformed: {0}")]
    Malformed(&'static str),
}

/// The client behind `peer`, or `peer` itself where the header tells of none.
pub(super) async fn client<S: AsyncRead + Unpin>(
    socket: &mut S,
    peer: IpAddr,
    from: &[IpNet],
    limit: Duration,
) -> Result<IpAddr, HeaderError> {
    let canonical = peer.to_canonical();
    if !from.iter().any(|network| network.contains(&canonical)) {
        return Err(HeaderError::NotTrusted);
    }
    let told = tokio::time::timeout(limit, read(socket)).await.map_err(|_| HeaderError::Late(limit))??;
    Ok(told.unwrap_or(peer))
}

/// Reads one header. `None` when it tells of no client: a health check of the balancer's own, or an address that is none of IP.
async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Option<IpAddr>, HeaderError> {
    let mut start = [0; SIGNATURE.len()];
    // The shortest header has 15 bytes, so that this is never too much.
    socket.read_exact(&mut start).await?;
    if start == *SIGNATURE {
        return version_2(socket).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(HeaderError::Malformed("it begins as neither version does"));
    }
    version_1(socket, &start).await
}

async fn version_1<S: AsyncRead + Unpin>(socket: &mut S, start: &[u8]) -> Result<Option<IpAddr>, HeaderError> {
    let mut line = [0; LINE_BYTES_MAX];
    line[..start.len()].copy_from_slice(start);
    let mut end = start.len();
    while !line[..end].ends_with(b"\r\n") {
        // At least that much is missing.
        let missing = if line[end - 1] == b'\r' { 1 } else { 2 };
        let piece = line.get_mut(end..end + missing).ok_or(HeaderError::Malformed("the line has no end"))?;
        socket.read_exact(piece).await?;
        end += missing;
    }
    let line = std::str::from_utf8(&line[..end - 2]).map_err(|_| HeaderError::Malformed("the line is not ASCII"))?;
    let mut words = line.split(' ').skip(1);
    let addresses = match words.next() {
        Some("UNKNOWN") => return Ok(None),
        Some("TCP4") => pair::<Ipv4Addr>(&mut words),
        Some("TCP6") => pair::<Ipv6Addr>(&mut words),
        _ => return Err(HeaderError::Malformed("the line names no protocol")),
    };
    let source = addresses.ok_or(HeaderError::Malformed("the line names no two addresses of its protocol"))?;
    let mut port = || words.next().and_then(|port| port.parse::<u16>().ok());
    if port().is_none() || port().is_none() || words.next().is_some() {
        return Err(HeaderError::Malformed("the line does not end with two ports"));
    }
    Ok(Some(source))
}

/// The first of two addresses, if both are there.
fn pair<'w, A: std::str::FromStr + Into<IpAddr>>(words: &mut impl Iterator<Item = &'w str>) -> Option<IpAddr> {
    let source: A = words.next()?.parse().ok()?;
    let _: A = words.next()?.parse().ok()?;
    Some(source.into())
}

async fn version_2<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Option<IpAddr>, HeaderError> {
    let mut fixed = [0; 4];
    socket.read_exact(&mut fixed).await?;
    let [command, family, high, low] = fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(HeaderError::Malformed("it is longer than any that is of use"));
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    // Further fields (TLV) may follow the addresses; they are of no use here.
    match (command, family) {
        (LOCAL, _) => Ok(None),
        (PROXY, UNSPECIFIED) => Ok(None),
        (PROXY, UNIX) if rest.len() >= 216 => Ok(None),
        (PROXY, TCP4) if rest.len() >= 12 => Ok(rest.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into())),
        (PROXY, TCP6) if rest.len() >= 36 => Ok(rest.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).into())),
        (PROXY, TCP4 | TCP6 | UNIX) => Err(HeaderError::Malformed("its addresses are cut short")),
        (PROXY, _) => Err(HeaderError::Malformed("it tells of no stream")),
        _ => Err(HeaderError::Malformed("it has an unknown version or command")),
    }
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// Addresses and further fields of version 2. Addresses have 216 bytes at most.
const REST_BYTES_MAX: usize = 4096;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(future)
    }

    /// What the header tells, and what is left after it.
    fn parse(bytes: &[u8]) -> (Result<Option<IpAddr>, String>, usize) {
        let mut rest = bytes;
        let told = run(read(&mut rest)).map_err(|error| error.to_string());
        (told, rest.len())
    }

    fn version_2_header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("it is short");
        [&SIGNATURE[..], &[command, family], &length.to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_client_is_told_by_either_version() {
        let four: IpAddr = "203.0.113.7".parse().expect("an address");
        let six: IpAddr = "2001:db8::7".parse().expect("an address");
        let tcp4 = [203, 0, 113, 7, 10, 0, 0, 1, 1, 2, 3, 4];
        let mut tcp6 = vec![0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        tcp6.extend([0; 20]);
        let with_more = [&tcp4[..], &[0x20, 0, 3, 1, 2, 3]].concat();
        for (header, told) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 443\r\n".to_vec(), Some(four)),
            (b"PROXY TCP6 2001:db8::7 ::1 50000 443\r\n".to_vec(), Some(six)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (version_2_header(PROXY, TCP4, &tcp4), Some(four)),
            (version_2_header(PROXY, TCP4, &with_more), Some(four)),
            (version_2_header(PROXY, TCP6, &tcp6), Some(six)),
            (version_2_header(PROXY, UNIX, &[0; 216]), None),
            (version_2_header(PROXY, UNSPECIFIED, &[1, 2, 3]), None),
            (version_2_header(LOCAL, 0, &[]), None),
            (version_2_header(LOCAL, TCP4, &tcp4), None),
        ] {
            let (found, left) = parse(&[&header[..], b"GET"].concat());
            assert_eq!((found, left), (Ok(told), 3), "{:?}", String::from_utf8_lossy(&header));
        }
    }

    #[test]
    fn what_is_no_header_is_none() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for header in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1 1\r\n",
            b"PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n",
            b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n.......................\r\n",
            long.as_bytes(),
            &version_2_header(PROXY, TCP4, &[0; 11]),
            &version_2_header(PROXY, TCP6, &[0; 35]),
            &version_2_header(PROXY, UNIX, &[0; 215]),
            &version_2_header(PROXY, 0x12, &[0; 12]),
            &version_2_header(0x22, TCP4, &[0; 12]),
            &version_2_header(0x11, TCP4, &[0; 12]),
            &version_2_header(PROXY, TCP4, &[0; REST_BYTES_MAX + 1]),
        ] {
            let (found, _) = parse(header);
            let error = found.expect_err("a fault");
            assert!(error.contains("malformed"), "{:?}: {error}", String::from_utf8_lossy(header));
        }
    }

    #[test]
    fn only_who_is_trusted_is_asked_and_not_for_ever() {
        let from = ["10.0.0.0/8".parse().expect("a network")];
        let header = b"PROXY TCP4 203.0.113.7 10.0.0.1 50000 443\r\n";
        let ask = |peer: &str| run(client(&mut &header[..], peer.parse().expect("an address"), &from, Duration::MAX));
        assert_eq!(ask("10.1.2.3").expect("a client").to_string(), "203.0.113.7");
        // An IPv4 peer of an IPv6 socket is an IPv4 peer.
        assert_eq!(ask("::ffff:10.1.2.3").expect("a client").to_string(), "203.0.113.7");
        assert!(matches!(ask("192.0.2.1"), Err(HeaderError::NotTrusted)));
        let (mut silent, _other_end) = tokio::io::duplex(1);
        let peer = "10.1.2.3".parse().expect("an address");
        let late = run(client(&mut silent, peer, &from, Duration::from_millis(1)));
        assert!(matches!(late, Err(HeaderError::Late(_))));
    }

    proptest! {
        #[test]
        fn every_client_survives_the_way_and_nothing_is_read_beyond(address: IpAddr, port: u16, more in ".{0,40}") {
            let family = if address.is_ipv4() { "TCP4" } else { "TCP6" };
            let one = format!("PROXY {family} {address} {address} {port} {port}\r\n");
            let (family, mut octets) = match address {
                IpAddr::V4(address) => (TCP4, address.octets().to_vec()),
                IpAddr::V6(address) => (TCP6, address.octets().to_vec()),
            };
            octets.extend(octets.clone());
            octets.extend([0; 4]);
            for header in [one.into_bytes(), version_2_header(PROXY, family, &octets)] {
                let (found, left) = parse(&[&header[..], more.as_bytes()].concat());
                prop_assert_eq!((found, left), (Ok(Some(address)), more.len()));
            }
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>, start in 0..3_usize) {
            let start = [&b""[..], b"PROXY ", SIGNATURE][start];
            let _ = parse(&[start, &bytes].concat());
        }
    }
}
