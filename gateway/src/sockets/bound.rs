//! All sockets of one server at one address: one for each worker with TCP, one for all with a socket file.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::file::{self, BindError, SocketFile};
use super::listening::Listening;
use crate::config::model::ListenAddress;

/// How an address is bound.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Permissions of a socket file.
    pub mode: u32,
    /// Sockets that share the address by `SO_REUSEPORT`, each with a queue of its own; `None` binds one that does not share.
    pub spread: Option<usize>,
}

/// What is bound. Dropping it removes the socket file, if it is this process's.
#[derive(Debug)]
pub struct Bound {
    place: ListenAddress,
    sockets: Vec<Listening>,
    /// `None` also where a service manager made the file.
    file: Option<SocketFile>,
    is_foreign: bool,
}

/// Sockets that are there already.
#[derive(Debug, Default)]
pub struct Claimed {
    pub sockets: Vec<Listening>,
    /// They belong to a service manager, which passes them on again and again.
    pub is_foreign: bool,
}

impl Bound {
    /// Binds the address, unless there are sockets for it already; those are used as they are, and each of them has a queue that
    /// somebody must serve. Their file, if any, is this process's once it calls [`Self::own_file`].
    ///
    /// # Errors
    /// The address is taken, not this machine's, or not allowed to this user.
    pub fn new(address: &ListenAddress, terms: Terms, claimed: Claimed) -> Result<Self, BindError> {
        if let Some(first) = claimed.sockets.first() {
            let place = first.place()?;
            return Ok(Self::adopted(place, terms, claimed));
        }
        match address {
            ListenAddress::Tcp(address) => Self::tcp(*address, terms),
            ListenAddress::Unix(path) => {
                let (listener, file) = file::bind(path, terms.mode, ACCEPT_QUEUE_MAX)?;
                let (place, sockets) = (address.clone(), vec![Listening::Unix(listener)]);
                Ok(Self { place, sockets, file: Some(file), is_foreign: false })
            }
        }
    }

    fn tcp(address: SocketAddr, terms: Terms) -> Result<Self, BindError> {
        let Some(count) = terms.spread else {
            let socket = Listening::Tcp(open(address, false, false)?);
            return Ok(Self { place: socket.place()?, sockets: vec![socket], file: None, is_foreign: false });
        };
        // `SO_REUSEPORT` lets any process of this user share the address. A socket without it is refused when anybody
        // listens there, which is what an operator wants to hear.
        drop(open(address, false, true)?);
        let first = open(address, true, true)?;
        let address = first.local_addr()?;
        let mut sockets = vec![Listening::Tcp(first)];
        for _ in 1..count {
            sockets.push(Listening::Tcp(open(address, true, true)?));
        }
        Ok(Self { place: ListenAddress::Tcp(address), sockets, file: None, is_foreign: false })
    }

    /// Sockets that others opened, and more of them where there are more workers now and the address is shared.
    fn adopted(place: ListenAddress, terms: Terms, claimed: Claimed) -> Self {
        let Claimed { mut sockets, is_foreign } = claimed;
        let may_spread = |socket: &Listening| match socket {
            Listening::Tcp(listener) => SockRef::from(listener).reuse_port().unwrap_or(false),
            Listening::Unix(_) => false,
        };
        let wanted = terms.spread.unwrap_or(1);
        if let ListenAddress::Tcp(address) = place
            && sockets.iter().all(may_spread)
        {
            let missing = wanted.saturating_sub(sockets.len());
            // Where it cannot be, workers share what there is.
            sockets.extend((0..missing).map_while(|_| open(address, true, true).ok()).map(Listening::Tcp));
        }
        let file = match &place {
            ListenAddress::Unix(path) if !is_foreign => Some(SocketFile::of(path)),
            ListenAddress::Unix(_) | ListenAddress::Tcp(_) => None,
        };
        let bound = Self { place, sockets, file, is_foreign };
        bound.leave_file();
        bound
    }

    /// Where it listens, with the port that the system chose.
    pub fn place(&self) -> &ListenAddress {
        &self.place
    }

    pub fn sockets(&self) -> &[Listening] {
        &self.sockets
    }

    /// The sockets that worker `number` of `workers` serves: each has one at least, and each socket has a worker.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn of_worker(&self, number: usize, workers: usize) -> io::Result<Vec<Listening>> {
        let pairs = workers.max(self.sockets.len());
        let own = (0..pairs).filter(|pair| pair % workers == number).map(|pair| pair % self.sockets.len());
        own.map(|at| self.sockets[at].try_clone()).collect()
    }

    /// Changes the mode of the socket file, where there is one.
    ///
    /// # Errors
    /// The file is gone, or another user's.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| file.set_mode(mode))
    }

    /// The socket file stays when this is dropped: another process has the socket, too.
    pub fn leave_file(&self) {
        if let Some(file) = &self.file {
            file.leave(true);
        }
    }

    /// The socket file goes when this is dropped: no other process will remove it.
    pub fn own_file(&self) {
        if let Some(file) = &self.file {
            file.leave(false);
        }
    }

    /// Whether a service manager made the sockets.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// All sockets once more, for another that listens there.
    ///
    /// # Errors
    /// There are no file descriptors left.
    pub fn try_clone_sockets(&self) -> io::Result<Claimed> {
        let sockets = self.sockets.iter().map(Listening::try_clone).collect::<Result<_, _>>()?;
        Ok(Claimed { sockets, is_foreign: self.is_foreign })
    }
}

/// A listener that shares its address is of one family: who writes `[::]` means IPv6 alone.
fn open(address: SocketAddr, is_shared: bool, is_of_one_family: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a former process that are still closing must not keep the address.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    if address.is_ipv6() && is_of_one_family {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_QUEUE_MAX)?;
    Ok(socket.into())
}

/// Connections that wait to be accepted; the system caps it further (`net.core.somaxconn`).
const ACCEPT_QUEUE_MAX: i32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(sockets: usize) -> Bound {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
        Bound::new(&any, Terms { mode: 0, spread: Some(sockets) }, Claimed::default())
            .expect("the loopback has free ports")
    }

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        for (sockets, workers, expected) in
            [(2, 2, vec![1, 1]), (2, 1, vec![2]), (1, 3, vec![1, 1, 1]), (5, 2, vec![3, 2]), (3, 5, vec![1; 5])]
        {
            let bound = bound(sockets);
            let of_worker = |number| bound.of_worker(number, workers).expect("there are descriptors").len();
            assert_eq!((0..workers).map(of_worker).collect::<Vec<_>>(), expected, "{sockets} for {workers}");
        }
    }

    #[test]
    fn inherited_sockets_are_kept_and_more_are_opened_beside_them() {
        let old = bound(2);
        for (workers, expected) in [(1, 2), (2, 2), (4, 4)] {
            let claimed = old.try_clone_sockets().expect("there are descriptors");
            let new = Bound::new(old.place(), Terms { mode: 0, spread: Some(workers) }, claimed);
            let new = new.expect("nothing is bound anew");
            assert_eq!((new.place(), new.sockets().len()), (old.place(), expected), "{workers}");
        }
    }

    #[test]
    fn an_address_that_is_taken_is_refused_even_where_it_is_shared() {
        let old = bound(2);
        let terms = Terms { mode: 0, spread: Some(2) };
        assert!(matches!(Bound::new(old.place(), terms, Claimed::default()), Err(BindError::Io(_))));
    }
}
