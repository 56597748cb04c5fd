//! The thread that writes the access log. Whatever its output does, no request waits for it.
//!
//! What cannot be written is given up and counted, and that is said once; what follows is tried again, so that a disk that has
//! room again needs nobody's help.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use super::rules::Output;

/// The way to the writer, bounded by the bytes that wait on it.
#[derive(Debug)]
pub struct Queue {
    jobs: Sender<Job>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting_bytes: AtomicUsize,
    /// Lines that were given up.
    dropped: AtomicU64,
}

/// Lines for one output.
pub(super) struct Batch {
    pub(super) output: Arc<Output>,
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
    /// Where the buffer goes when it is written.
    pub(super) home: Sender<Vec<u8>>,
}

enum Job {
    Write(Batch),
    Reopen,
    /// Everything before it is written.
    Told(Sender<()>),
}

/// The thread, from outside.
#[derive(Debug)]
pub struct Writer {
    queue: Arc<Queue>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start() -> io::Result<Self> {
        let (jobs, received) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let queue = Arc::new(Queue { jobs, counts: counts.clone() });
        std::thread::Builder::new().name("access-log".to_owned()).spawn(move || work(&received, &counts))?;
        Ok(Self { queue })
    }

    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Lines that were given up.
    pub fn dropped(&self) -> u64 {
        self.queue.counts.dropped.load(Ordering::Relaxed)
    }

    /// Opens files anew by their names, after what was there was moved away.
    pub fn reopen(&self) {
        self.queue.send(Job::Reopen);
    }

    /// Waits until what was handed over before is written, for as long as `patience`. Blocks.
    fn settle(&self, patience: Duration) {
        let (told, written) = mpsc::channel();
        self.queue.send(Job::Told(told));
        // A disk that hangs must not hold up the end.
        let _: Result<(), _> = written.recv_timeout(patience);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.settle(SETTLE_MAX);
    }
}

impl Batch {
    /// Gives the buffer back to whoever filled it, unless that is gone or the buffer has grown beyond what is usual.
    fn come_home(self) {
        let Self { mut text, home, .. } = self;
        if text.capacity() <= BUFFER_BYTES_MAX {
            text.clear();
            let _ = home.send(text);
        }
    }
}

impl Queue {
    /// Hands lines over, or gives them up when `bytes_max` wait already.
    pub(super) fn put(&self, batch: Batch, bytes_max: usize) {
        let (bytes, lines) = (batch.text.len(), batch.lines);
        let Counts { waiting_bytes, dropped } = &*self.counts;
        if waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > bytes_max {
            waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
            dropped.fetch_add(lines, Ordering::Relaxed);
            return batch.come_home();
        }
        self.send(Job::Write(batch));
    }

    fn send(&self, job: Job) {
        // It ends with the queue, so it always arrives.
        let _ = self.jobs.send(job);
    }
}

/// Writes until nobody is left who could hand anything over.
fn work(jobs: &Receiver<Job>, counts: &Counts) {
    let mut outputs = Outputs::default();
    loop {
        match jobs.recv_timeout(IDLE_LOOK) {
            Ok(Job::Write(batch)) => {
                if !outputs.write(&batch) {
                    counts.dropped.fetch_add(batch.lines, Ordering::Relaxed);
                }
                counts.waiting_bytes.fetch_sub(batch.text.len(), Ordering::Relaxed);
                batch.come_home();
            }
            Ok(Job::Reopen) => outputs.reopen(),
            // Whoever asked may have lost patience.
            Ok(Job::Told(told)) => drop(told.send(())),
            Err(RecvTimeoutError::Timeout) => outputs.close_unused(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What is open.
#[derive(Default)]
struct Outputs(Vec<Open>);

struct Open {
    output: Arc<Output>,
    /// `None` after it failed, until it is opened again.
    sink: Option<Sink>,
    /// Whether that was said.
    is_failing: bool,
    /// Whether a line was cut off by a failure.
    is_torn: bool,
    used: Instant,
}

enum Sink {
    Stdout(io::Stdout),
    File(File),
}

impl Outputs {
    /// Writes a batch; says whether all of it is written.
    fn write(&mut self, batch: &Batch) -> bool {
        let place = self.0.iter().position(|open| open.output == batch.output).unwrap_or_else(|| {
            let output = batch.output.clone();
            self.0.push(Open { output, sink: None, is_failing: false, is_torn: false, used: Instant::now() });
            self.0.len() - 1
        });
        self.0[place].write(&batch.text)
    }

    fn reopen(&mut self) {
        for open in &mut self.0 {
            if matches!(open.sink, Some(Sink::File(_))) {
                // Opened by the next batch; this one may stand in the place that the old one was moved from.
                open.sink = None;
                open.is_torn = false;
                open.try_open();
            }
        }
    }

    /// Lets go of files that belong to configurations of the past.
    fn close_unused(&mut self) {
        if self.0.len() > 1 {
            self.0.retain(|open| open.used.elapsed() < UNUSED_MAX);
        }
    }
}

impl Open {
    fn write(&mut self, text: &[u8]) -> bool {
        self.used = Instant::now();
        if self.sink.is_none() {
            self.try_open();
        }
        let Some(sink) = &mut self.sink else { return false };
        let begin: &[u8] = if self.is_torn { b"\n" } else { b"" };
        let written = write_all(sink, begin).and_then(|_| write_all(sink, text));
        match written {
            Ok(()) => {
                self.is_torn = false;
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(output = %self.output, "the access log is written again");
                }
                true
            }
            Err((error, some)) => {
                self.is_torn |= some;
                self.failed(&error);
                false
            }
        }
    }

    fn try_open(&mut self) {
        match &*self.output {
            Output::Stdout => self.sink = Some(Sink::Stdout(io::stdout())),
            Output::File(path) => match OpenOptions::new().append(true).create(true).open(path) {
                Ok(file) => self.sink = Some(Sink::File(file)),
                Err(error) => self.failed(&error),
            },
        }
    }

    /// Says it once.
    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!(output = %self.output, %error, "the access log cannot be written: its lines are given up until it can");
        }
    }
}

/// Writes all of it. An error comes with whether some of it was written.
fn write_all(sink: &mut Sink, mut text: &[u8]) -> Result<(), (io::Error, bool)> {
    let whole = text.len();
    while !text.is_empty() {
        let written = match sink {
            // Straight to the descriptor: the standard buffer would look for ends of lines in vain.
            Sink::Stdout(stdout) => rustix::io::write(stdout, text).map_err(io::Error::from),
            Sink::File(file) => file.write(text),
        };
        match written {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), text.len() < whole)),
            Ok(bytes) => text = &text[bytes..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares our stdout has made it not to block; waiting is this thread's business alone.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(BLOCKED_PAUSE),
            Err(error) => return Err((error, text.len() < whole)),
        }
    }
    Ok(())
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// How long the end of the process waits for what is not written yet.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// How often the thread looks around when there is nothing to write.
const IDLE_LOOK: Duration = Duration::from_secs(10);
/// After which a file that nothing is written to is closed, when it is not the only one.
const UNUSED_MAX: Duration = Duration::from_secs(60);
/// A buffer that is used again.
const BUFFER_BYTES_MAX: usize = 128 << 10;
const BLOCKED_PAUSE: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn batch(output: &Output, text: &str) -> Batch {
        Batch { output: Arc::new(output.clone()), text: text.as_bytes().to_vec(), lines: 1, home: mpsc::channel().0 }
    }

    #[test]
    fn lines_are_written_and_a_file_that_was_moved_is_made_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let output = Output::File(path.clone());
        let writer = Writer::start().expect("a thread");
        writer.queue().put(batch(&output, "one\n"), 1 << 20);
        writer.settle(PATIENCE);
        std::fs::rename(&path, &moved).expect("it is there");
        writer.queue().put(batch(&output, "two\n"), 1 << 20);
        writer.reopen();
        writer.queue().put(batch(&output, "three\n"), 1 << 20);
        writer.settle(PATIENCE);
        let read = |path| std::fs::read_to_string(path).expect("it is there");
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("one\ntwo\n", "three\n"));
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn what_cannot_be_written_is_given_up_until_it_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("logs").join("access.log");
        let output = Output::File(path.clone());
        let writer = Writer::start().expect("a thread");
        writer.queue().put(batch(&output, "one\n"), 1 << 20);
        writer.settle(PATIENCE);
        assert_eq!(writer.dropped(), 1);
        std::fs::create_dir(path.parent().expect("it has one")).expect("a folder");
        writer.queue().put(batch(&output, "two\n"), 1 << 20);
        writer.settle(PATIENCE);
        assert_eq!((std::fs::read_to_string(&path).expect("it is there").as_str(), writer.dropped()), ("two\n", 1));
    }

    #[test]
    fn a_full_disk_is_said_and_costs_lines_alone() {
        // Linux has a device that is always full.
        let output = Output::File("/dev/full".into());
        let writer = Writer::start().expect("a thread");
        writer.queue().put(batch(&output, "one\n"), 1 << 20);
        writer.queue().put(batch(&output, "two\n"), 1 << 20);
        writer.settle(PATIENCE);
        assert_eq!(writer.dropped(), 2);
    }

    #[test]
    fn no_more_waits_than_the_limit() {
        let output = Output::File("/dev/null".into());
        let queue = Queue { jobs: mpsc::channel().0, counts: Arc::default() };
        for _ in 0..3 {
            queue.put(batch(&output, "12345678"), 16);
        }
        let Counts { waiting_bytes, dropped } = &*queue.counts;
        assert_eq!((dropped.load(Ordering::Relaxed), waiting_bytes.load(Ordering::Relaxed)), (1, 16));
    }
}
