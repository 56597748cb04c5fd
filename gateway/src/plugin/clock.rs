//! The clock that ends endless loops: it advances the engine's epoch, and so looks after guests that run on and on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

/// Advances the engine's epoch: by the stride while guests run, by the tick while one of them runs long, and not at all while
/// none does. Each time it wakes it takes the processor from a worker; by the tick throughout, a request with a plugin cost 1 to
/// 2 us more.
///
/// It is a thread of the operating system: as a task on a worker it would never run beside an endless loop.
pub(super) struct Clock {
    /// Set by calls, cleared by the clock: whether anybody called since it last looked.
    busy: AtomicBool,
    /// Set by calls that the clock met, cleared by the clock: they want to be met again a tick later.
    hurried: AtomicBool,
    /// Whether it waits for one of the two, and must be woken.
    parked: AtomicBool,
    thread: thread::Thread,
    started: Instant,
}

impl Clock {
    pub(super) fn start(engine: EngineWeak) -> Arc<Self> {
        let (give, take) = std::sync::mpsc::sync_channel::<Arc<Self>>(1);
        let thread = thread::Builder::new()
            .name("epoch".to_owned())
            .spawn(move || {
                if let Ok(clock) = take.recv() {
                    clock.run(&engine);
                }
            })
            .expect("the process can start a thread");
        let clock = Arc::new(Self {
            busy: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            parked: AtomicBool::new(false),
            thread: thread.thread().clone(),
            started: Instant::now(),
        });
        give.send(clock.clone()).expect("the clock waits for this");
        clock
    }

    /// Says that a guest is about to run: wakes the clock if it sleeps. Costs one shared load while it runs.
    pub(super) fn touch(&self) {
        if !self.busy.load(Ordering::Relaxed) {
            self.raise(&self.busy);
        }
    }

    /// Says that a guest was met by the clock and runs on.
    pub(super) fn hurry(&self) {
        self.touch();
        if !self.hurried.load(Ordering::Relaxed) {
            self.raise(&self.hurried);
        }
    }

    /// The time since the engine was made.
    pub(super) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    fn raise(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::SeqCst);
        if self.parked.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
    }

    /// Holds the engine only for the moment of a tick, so that the last owner's drop frees it and ends the thread.
    fn run(&self, engine: &EngineWeak) {
        let mut looked = Instant::now();
        while let Some(live) = engine.upgrade() {
            let is_hurried = self.hurried.swap(false, Ordering::SeqCst);
            live.increment_epoch();
            drop(live);
            if is_hurried {
                thread::sleep(TICK);
                continue;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                if !self.busy.swap(false, Ordering::SeqCst) {
                    self.park(&self.busy, SLEEP);
                    continue;
                }
            }
            if self.park(&self.hurried, STRIDE) {
                thread::sleep(TICK);
            }
        }
    }

    /// Waits for the flag, so long at most; says whether it is up.
    fn park(&self, flag: &AtomicBool, wait: Duration) -> bool {
        self.parked.store(true, Ordering::SeqCst);
        // Who raised it between the last look and the line above did not see us parked.
        if !flag.load(Ordering::SeqCst) {
            thread::park_timeout(wait);
        }
        self.parked.store(false, Ordering::SeqCst);
        flag.load(Ordering::SeqCst)
    }
}

/// The unit of guest CPU time for calls that run long.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// A call that runs on and on is met for the first time within so long.
pub(super) const STRIDE: Duration = TICK.saturating_mul(4);
const LOOK: Duration = TICK.saturating_mul(256);
const SLEEP: Duration = Duration::from_secs(1);
