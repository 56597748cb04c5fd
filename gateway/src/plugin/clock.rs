//! The clock that ends endless loops: it advances the engine's epoch, by which guest CPU time is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use wasmtime::EngineWeak;

/// Advances the engine's epoch once a millisecond while guests run, and sleeps while none does.
///
/// It is a thread of the operating system: as a task on a worker it would never run beside an endless loop.
pub(super) struct Clock {
    /// Set by calls, cleared by the clock: whether anybody called since it last looked.
    busy: AtomicBool,
    asleep: AtomicBool,
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
            asleep: AtomicBool::new(false),
            thread: thread.thread().clone(),
            started: Instant::now(),
        });
        give.send(clock.clone()).expect("the clock waits for this");
        clock
    }

    /// Says that a guest is about to run: wakes the clock if it sleeps. Costs one shared load while it runs.
    pub(super) fn touch(&self) {
        if !self.busy.load(Ordering::Relaxed) {
            self.busy.store(true, Ordering::SeqCst);
            if self.asleep.load(Ordering::SeqCst) {
                self.thread.unpark();
            }
        }
    }

    /// The time since the engine was made.
    pub(super) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }

    /// Holds the engine only for the moment of a tick, so that the last owner's drop frees it and ends the thread.
    fn run(&self, engine: &EngineWeak) {
        let mut ticks: u32 = 0;
        while let Some(live) = engine.upgrade() {
            live.increment_epoch();
            drop(live);
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(TICKS_BETWEEN_LOOKS) && !self.busy.swap(false, Ordering::SeqCst) {
                self.sleep(engine);
            } else {
                thread::sleep(TICK);
            }
        }
    }

    /// Sleeps until somebody calls a guest, or the engine is gone.
    fn sleep(&self, engine: &EngineWeak) {
        self.asleep.store(true, Ordering::SeqCst);
        // A call that came between the look and the line above has set `busy`, and did not see us asleep.
        while !self.busy.load(Ordering::SeqCst) && engine.upgrade().is_some() {
            thread::park_timeout(SLEEP_MAX);
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

/// The unit of guest CPU time.
pub(super) const TICK: Duration = Duration::from_millis(1);
const TICKS_BETWEEN_LOOKS: u32 = 256;
const SLEEP_MAX: Duration = Duration::from_secs(1);
