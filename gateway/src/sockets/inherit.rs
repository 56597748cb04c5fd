//! Sockets that were open when this process began, and how they are passed on to the next.
//!
//! Both ways have the form of systemd's socket activation (`sd_listen_fds(3)`): `LISTEN_FDS` of them in a row, and their names in
//! `LISTEN_FDNAMES`. Who passes them on cannot have the first numbers free, and says in `LISTEN_FDS_FIRST_FD` where the row begins.
//! One of them may be no listener: over [`READY`] the new process tells the one before how its start went.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use socket2::SockRef;
use tokio::process::{Child, Command};

use super::bound::{Bound, Claimed};
use super::file::SocketFile;
use super::listening::Listening;
use crate::config::model::ListenAddress;

/// What came with the process.
#[derive(Debug, Default)]
pub struct Inheritance {
    sockets: Vec<Inherited>,
    predecessor: Option<UnixDatagram>,
    /// Descriptors that cannot be used, for the log.
    odd: Vec<String>,
}

#[derive(Debug)]
struct Inherited {
    name: String,
    place: ListenAddress,
    socket: Listening,
    /// A service manager made it.
    is_foreign: bool,
}

impl Inheritance {
    /// Takes over what the environment tells of. To be called once, and before there are threads: it changes the environment, so
    /// that no child takes itself for the heir.
    pub fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut inheritance = Self::default();
        for at in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            if name == READY {
                inheritance.predecessor = descriptors.take_unix_datagram(at).ok().flatten();
                continue;
            }
            match inherited(&mut descriptors, at, name) {
                Ok(inherited) => inheritance.sockets.push(inherited),
                Err(error) => inheritance.odd.push(format!("descriptor {at}: {error}")),
            }
        }
        if inheritance.predecessor.is_none() {
            inheritance.sockets.iter_mut().for_each(|inherited| inherited.is_foreign = true);
        }
        inheritance
    }

    /// Whether another process waits for this one to take its place.
    pub fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// The sockets that listen at `address` already, or were named for it.
    ///
    /// What a predecessor passes on has the names that its own configuration gave, which count only where the system was to choose the
    /// port. A service manager's names were written by somebody who meant them.
    pub fn claim(&mut self, name: &str, address: &ListenAddress) -> Claimed {
        let fits = |inherited: &Inherited| {
            let is_there = match (&inherited.place, address) {
                (ListenAddress::Tcp(place), ListenAddress::Tcp(wanted)) if wanted.port() == 0 => {
                    inherited.name == name && place.ip() == wanted.ip()
                }
                (place, wanted) => place == wanted,
            };
            is_there || (inherited.is_foreign && inherited.name == name)
        };
        let claimed: Vec<Inherited> = self.sockets.extract_if(.., |inherited| fits(inherited)).collect();
        let is_foreign = claimed.iter().any(|inherited| inherited.is_foreign);
        Claimed { sockets: claimed.into_iter().map(|inherited| inherited.socket).collect(), is_foreign }
    }

    /// The start is over: what nobody claimed is closed, and whoever waits for this process may let go.
    pub fn ready(self) {
        for odd in &self.odd {
            tracing::warn!("an inherited descriptor cannot be used: {odd}");
        }
        for Inherited { name, place, socket, is_foreign } in self.sockets {
            drop(socket);
            if let (false, ListenAddress::Unix(path)) = (is_foreign, &place) {
                // The predecessor leaves the file to its heir.
                drop(SocketFile::of(path));
            } else if self.predecessor.is_none() {
                tracing::warn!(name, %place, "an inherited socket is closed: no listener has its name or address");
            }
        }
        if let Some(predecessor) = &self.predecessor
            && let Err(error) = predecessor.send(READY_WORD)
        {
            tracing::warn!(%error, "the process before this one does not hear that this one is ready");
        }
    }

    /// The start has failed. The predecessor serves on, and tells why.
    pub fn failed(&self, why: &str) {
        if let Some(predecessor) = &self.predecessor {
            let why = why.as_bytes();
            // If it cannot hear, the exit code remains.
            let _ = predecessor.send(&why[..why.len().min(WORD_BYTES_MAX)]);
        }
    }
}

fn inherited(descriptors: &mut ListenFd, at: usize, name: String) -> io::Result<Inherited> {
    let socket = match descriptors.take_tcp_listener(at) {
        Ok(Some(listener)) => Listening::Tcp(listener),
        Ok(None) => return Err(io::ErrorKind::NotFound.into()),
        Err(_) => match descriptors.take_unix_listener(at)? {
            Some(listener) => Listening::Unix(listener),
            None => return Err(io::ErrorKind::NotFound.into()),
        },
    };
    let known = SockRef::from(&socket);
    if !known.is_listener()? {
        return Err(io::Error::other("it does not listen"));
    }
    known.set_nonblocking(true)?;
    let (name, is_foreign) = match name.strip_suffix(FOREIGN) {
        Some(plain) => (plain.to_owned(), true),
        None => (name, false),
    };
    Ok(Inherited { name, place: socket.place()?, socket, is_foreign })
}

/// Sockets on their way to a new process.
#[derive(Default)]
pub struct Passing {
    names: Vec<String>,
    descriptors: Vec<OwnedFd>,
}

impl Passing {
    /// # Errors
    /// There are no file descriptors left.
    pub fn add(&mut self, name: &str, bound: &Bound) -> io::Result<()> {
        for socket in bound.sockets() {
            self.descriptors.push(socket.as_fd().try_clone_to_owned()?);
            self.names.push(format!("{name}{}", if bound.is_foreign() { FOREIGN } else { "" }));
        }
        Ok(())
    }

    /// Starts the command with the sockets; gives the process, and the socket over which it tells how its start went.
    ///
    /// # Errors
    /// The program cannot be started, or there are no file descriptors left.
    pub fn spawn(mut self, command: &mut Command) -> io::Result<(Child, tokio::net::UnixDatagram)> {
        let (ours, theirs) = UnixDatagram::pair()?;
        ours.set_nonblocking(true)?;
        self.descriptors.push(theirs.into());
        self.names.push(READY.to_owned());
        let descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(AsFd::as_fd).collect();
        let row = in_a_row(&descriptors)?;
        let first = row.first().map_or(0, AsRawFd::as_raw_fd);
        command
            .env("LISTEN_FDS", row.len().to_string())
            .env("LISTEN_FDS_FIRST_FD", first.to_string())
            .env("LISTEN_FDNAMES", self.names.join(":"))
            // Its number is not known before it is there; without one, whoever is started is meant.
            .env_remove("LISTEN_PID");
        // Whatever is started from here to the end of this function inherits them: nothing else is, on the control plane's one thread.
        for descriptor in &row {
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        let child = command.spawn()?;
        Ok((child, tokio::net::UnixDatagram::from_std(ours)?))
    }
}

/// Whether this is the word of a process that serves; else it is the reason why it does not.
pub fn is_ready(word: &[u8]) -> bool {
    word == READY_WORD
}

/// Copies of the descriptors under successive numbers.
fn in_a_row(descriptors: &[BorrowedFd<'_>]) -> io::Result<Vec<OwnedFd>> {
    let mut from = 64;
    for _ in 0..ROW_TRIES {
        let mut row: Vec<OwnedFd> = Vec::with_capacity(descriptors.len());
        for descriptor in descriptors {
            let copy = fcntl_dupfd_cloexec(descriptor, row.last().map_or(from, |last| last.as_raw_fd() + 1))?;
            let follows = row.last().is_none_or(|last| last.as_raw_fd() + 1 == copy.as_raw_fd());
            row.push(copy);
            if !follows {
                break;
            }
        }
        match row.last() {
            Some(last) if row.len() < descriptors.len() || !is_row(&row) => from = last.as_raw_fd() + 64,
            _ => return Ok(row),
        }
    }
    Err(io::Error::other("no free file descriptors in a row"))
}

fn is_row(row: &[OwnedFd]) -> bool {
    row.windows(2).all(|pair| pair[0].as_raw_fd() + 1 == pair[1].as_raw_fd())
}

/// The name under which the admin server's socket is passed on; no listener can have it.
pub const ADMIN: &str = "@admin";
/// The same of the probes.
pub const PROBES: &str = "@probes";
const READY: &str = "@ready";
/// Ends the names of sockets that a service manager made: their files are not the heir's to remove.
const FOREIGN: &str = "@foreign";
const READY_WORD: &[u8] = b"ready";
/// Of a reason for a failure.
pub const WORD_BYTES_MAX: usize = 4096;
const ROW_TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn inheritance(names: &[&str], from_predecessor: bool) -> Inheritance {
        let socket = |name: &&str| {
            let socket =
                Listening::Tcp(std::net::TcpListener::bind("127.0.0.1:0").expect("the loopback has free ports"));
            let place = socket.place().expect("it is bound");
            Inherited { name: (*name).to_owned(), place, socket, is_foreign: !from_predecessor }
        };
        let (predecessor, _) = UnixDatagram::pair().expect("there are descriptors");
        Inheritance {
            sockets: names.iter().map(socket).collect(),
            predecessor: from_predecessor.then_some(predecessor),
            odd: Vec::new(),
        }
    }

    fn claimed(inheritance: &mut Inheritance, name: &str, address: &ListenAddress) -> usize {
        inheritance.claim(name, address).sockets.len()
    }

    fn address(text: &str) -> ListenAddress {
        ListenAddress::Tcp(text.parse().expect("an address"))
    }

    #[test]
    fn sockets_are_claimed_by_their_address() {
        for from_predecessor in [true, false] {
            let mut all = inheritance(&["a", "a", ""], from_predecessor);
            let place = all.sockets[2].place.clone();
            assert_eq!(claimed(&mut all, "other", &place), 1);
            assert_eq!(claimed(&mut all, "other", &place), 0, "once");
            let place = all.sockets[0].place.clone();
            assert!(claimed(&mut all, "a", &place) > 0);
        }
    }

    #[test]
    fn the_names_of_a_service_manager_count_and_those_of_a_predecessor_only_for_any_port() {
        assert_eq!(claimed(&mut inheritance(&["a", "b", "a"], false), "a", &address("0.0.0.0:80")), 2);
        assert_eq!(claimed(&mut inheritance(&["a", "b", "a"], true), "a", &address("0.0.0.0:80")), 0);
        assert_eq!(claimed(&mut inheritance(&["a", "b", "a"], true), "a", &address("127.0.0.1:0")), 2);
        assert_eq!(claimed(&mut inheritance(&["a"], true), "a", &address("[::1]:0")), 0);
    }

    #[test]
    fn copies_stand_in_a_row_whatever_is_in_the_way() {
        let file = std::fs::File::open("/dev/null").expect("it is there");
        let in_the_way: Vec<_> =
            [64, 66, 67, 70].map(|number| fcntl_dupfd_cloexec(&file, number).expect("a copy")).into();
        let row = in_a_row(&[file.as_fd(); 40]).expect("there are descriptors");
        assert!(row.len() == 40 && is_row(&row));
        drop(in_the_way);
        assert!(in_a_row(&[]).expect("nothing to do").is_empty());
    }
}
