//! The file of a socket: made with its mode, and removed by whoever has the socket last.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};

/// Why nobody can listen at an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("another process does")]
    InUse,
    #[error("a file that is no socket is there (mend: name another path)")]
    NoSocket,
}

/// A socket's file. Dropping it removes the file, unless somebody else has made another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode; `None` when there was no such file when it was looked for.
    id: Option<(u64, u64)>,
    is_left: AtomicBool,
}

impl SocketFile {
    /// That of a socket which exists already.
    pub(super) fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), id: id(path), is_left: AtomicBool::new(false) }
    }

    /// Whether the file is another process's affair from now on.
    pub(super) fn leave(&self, is_left: bool) {
        self.is_left.store(is_left, Ordering::Relaxed);
    }

    pub(super) fn set_mode(&self, mode: u32) -> io::Result<()> {
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if !self.is_left.load(Ordering::Relaxed) && self.id.is_some() && self.id == id(&self.path) {
            // Whoever removed it before wanted the same.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn id(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Makes the file and listens. Nobody can connect between `bind` and `listen`: by then the mode is right.
pub(super) fn bind(path: &Path, mode: u32, queue_max: i32) -> Result<(UnixListener, SocketFile), BindError> {
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path);
    file.set_mode(mode)?;
    socket.listen(queue_max)?;
    socket.set_nonblocking(true)?;
    Ok((socket.into(), file))
}

/// Removes what a process that was killed left behind, and nothing else.
fn clear(path: &Path) -> Result<(), BindError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(BindError::NoSocket);
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A server whose queue is full is there all the same, and must not be waited for.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error.into()),
        Ok(()) | Err(_) => Err(BindError::InUse),
    }
}
