//! A worker's end of the access log: lines are gathered in a buffer and handed over in batches.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use super::clock::Clock;
use super::encode::Encoder;
use super::entry::Entry;
use super::rules::{AccessLog, Output};
use super::writer::{Batch, Queue};

/// What a worker writes on, whatever configuration serves.
pub struct Desk {
    queue: Arc<Queue>,
    sheet: RefCell<Sheet>,
}

struct Sheet {
    /// Where the lines in `text` go.
    output: Option<Arc<Output>>,
    queue_bytes_max: usize,
    text: Vec<u8>,
    lines: u64,
    clock: Clock,
    /// Buffers that are written come back, so that few are in use and those are in the cache.
    spent: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
}

/// What writes the lines of one configuration.
pub struct Pen {
    desk: Rc<Desk>,
    output: Arc<Output>,
    log: AccessLog,
    /// Bytes that the values of a line may take.
    room: usize,
}

impl Desk {
    pub fn new(queue: Arc<Queue>) -> Rc<Self> {
        let (home, spent) = mpsc::channel();
        let (text, clock) = (Vec::new(), Clock::default());
        let sheet = Sheet { output: None, queue_bytes_max: 0, text, lines: 0, clock, spent, home };
        Rc::new(Self { queue, sheet: RefCell::new(sheet) })
    }

    /// A pen for lines of this kind.
    pub fn pen(self: &Rc<Self>, log: &AccessLog) -> Rc<Pen> {
        Rc::new(Pen { desk: self.clone(), output: Arc::new(log.output.clone()), log: log.clone(), room: log.room() })
    }

    /// Hands over what was gathered.
    pub fn flush(&self) {
        self.sheet.borrow_mut().hand_over(&self.queue);
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Pen {
    pub fn log(&self) -> &AccessLog {
        &self.log
    }

    /// Writes the line of a request.
    pub fn write(&self, entry: &Entry<'_>) {
        let sheet = &mut *self.desk.sheet.borrow_mut();
        if !sheet.output.as_ref().is_some_and(|output| Arc::ptr_eq(output, &self.output)) {
            sheet.hand_over(&self.desk.queue);
            sheet.output = Some(self.output.clone());
            sheet.queue_bytes_max = self.log.queue_bytes_max;
        }
        Encoder::new(&self.log, self.room, &mut sheet.text, &mut sheet.clock).encode(entry);
        sheet.lines += 1;
        if sheet.text.len() >= BATCH_BYTES {
            sheet.hand_over(&self.desk.queue);
        }
    }
}

impl Sheet {
    fn hand_over(&mut self, queue: &Queue) {
        let Some(output) = &self.output else { return };
        if self.text.is_empty() {
            return;
        }
        let next = self.spent.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER_BYTES));
        let text = std::mem::replace(&mut self.text, next);
        let lines = std::mem::take(&mut self.lines);
        queue.put(Batch { output: output.clone(), text, lines, home: self.home.clone() }, self.queue_bytes_max);
    }
}

/// A batch is handed over when it has so many bytes; otherwise a few times a second.
const BATCH_BYTES: usize = 32 << 10;
/// With room for a line of the usual length that ends beyond it.
const BUFFER_BYTES: usize = BATCH_BYTES + (8 << 10);
