//! A worker: one thread, one runtime, its own sockets, connections and instances.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::LocalRuntime;
use tokio::sync::{mpsc, oneshot};

use super::listener::{Door, Permits};
use super::overload::{Overload, Step};
use super::pulse::{LOOK_INTERVAL, Pulses};
use crate::plugin::{Failure, Release, Runtime};
use crate::proxy::Worker;
use crate::snapshot::{Listener, Snapshot};
use crate::sockets::Listening;
use crate::telemetry::Telemetry;

/// What the control plane asks of a worker.
pub enum Order {
    /// Accept on this socket; a listener may have several.
    Listen { listener: Arc<Listener>, socket: Listening, permits: Permits },
    /// Stop accepting there, end what is in flight on its connections, and close them. Those that are idle may bring one more request
    /// within `linger`.
    Unlisten { listener: Arc<str>, linger: Duration },
    /// Make and warm an instance of a release that is about to serve, and say whether that went well.
    Warm { release: Arc<Release>, done: oneshot::Sender<Result<(), Failure>> },
    /// It will not serve after all.
    ForgetWarm,
    /// Take up the newest snapshot now, and say so.
    Adopt { done: oneshot::Sender<()> },
    /// Stop accepting, end what is in flight, and say when nothing is left. Idle connections are as with `Unlisten`.
    Drain { linger: Duration, done: oneshot::Sender<()> },
    /// Say what is there.
    Count { done: oneshot::Sender<Left> },
}

/// What a worker has to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    pub connections: usize,
    pub requests: usize,
}

/// This worker's part in what all of them bear.
struct Load {
    number: usize,
    overload: Arc<Overload>,
}

/// The control plane's end of a worker. Dropping it ends the worker, whatever is in flight.
pub struct WorkerHandle {
    orders: Option<mpsc::UnboundedSender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerHandle {
    /// Gives an order. A worker lives as long as its handle, so it always arrives.
    pub fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // Only a worker whose thread panicked does not listen, and then there is nobody to tell.
            let _ = orders.send(order);
        }
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        self.orders.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Starts worker number `number`.
///
/// # Errors
/// The system gives no thread, or no means to wait for sockets.
pub fn spawn(
    number: usize,
    current: Arc<ArcSwap<Snapshot>>,
    plugins: Arc<Runtime>,
    overload: Arc<Overload>,
    telemetry: Arc<Telemetry>,
) -> std::io::Result<WorkerHandle> {
    let (orders, received) = mpsc::unbounded_channel();
    let (started, start) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()) {
            Ok(runtime) => {
                let _ = started.send(Ok(()));
                runtime
            }
            Err(error) => return drop(started.send(Err(error))),
        };
        let worker = || Worker::new(current, &plugins, &telemetry);
        run(&runtime, received, worker, Load { number, overload });
    })?;
    start.recv().unwrap_or_else(|_| Err(std::io::Error::other("the worker's thread ended at once")))?;
    Ok(WorkerHandle { orders: Some(orders), thread: Some(thread) })
}

fn run(
    runtime: &LocalRuntime,
    mut orders: mpsc::UnboundedReceiver<Order>,
    worker: impl FnOnce() -> Rc<Worker>,
    load: Load,
) {
    runtime.block_on(async move {
        let worker = worker();
        let pulses = Pulses::new(load.overload.clone());
        tokio::task::spawn_local(watch(worker.clone(), pulses.clone(), load));
        // Dropping an end closes the door.
        let mut doors: HashMap<Arc<str>, Vec<oneshot::Sender<()>>> = HashMap::new();
        let alive = Rc::new(());
        while let Some(order) = orders.recv().await {
            match order {
                Order::Listen { listener, socket, permits } => {
                    let name = listener.name.clone();
                    let (worker, pulses, alive) = (worker.clone(), pulses.clone(), alive.clone());
                    match socket.acceptor() {
                        Ok(acceptor) => {
                            let (door, closing) = oneshot::channel();
                            doors.entry(name).or_default().push(door);
                            let serving = Door { listener, permits, worker, pulses, alive };
                            tokio::task::spawn_local(serving.serve(acceptor, closing));
                        }
                        Err(error) => tracing::error!(listener = &*name, %error, "cannot listen"),
                    }
                }
                Order::Unlisten { listener, linger } => {
                    doors.remove(&listener);
                    pulses.drain_listener(&listener, linger);
                }
                Order::Warm { release, done } => {
                    let worker = worker.clone();
                    // A task of its own: a guest that takes its time must not hold up the next order.
                    tokio::task::spawn_local(async move {
                        let _ = done.send(worker.warm(&release).await);
                    });
                }
                Order::ForgetWarm => worker.forget_warm(),
                Order::Adopt { done } => {
                    drop(worker.generation());
                    let _ = done.send(());
                }
                Order::Drain { linger, done } => {
                    doors.clear();
                    pulses.drain(linger);
                    tokio::task::spawn_local(emptied(worker.clone(), pulses.clone(), alive.clone(), done));
                }
                Order::Count { done } => {
                    let _ = done.send(Left { connections: pulses.open(), requests: pulses.requests() });
                }
            }
        }
    });
}

async fn watch(worker: Rc<Worker>, pulses: Rc<Pulses>, load: Load) {
    let mut looks: u32 = 0;
    loop {
        let due = Instant::now() + LOOK_INTERVAL;
        tokio::time::sleep_until(due.into()).await;
        load.overload.is_late(load.number, due.elapsed());
        worker.refuse_requests(load.overload.step() >= Step::Requests);
        pulses.look();
        worker.make_room();
        worker.tell();
        looks = looks.wrapping_add(1);
        if looks.is_multiple_of(LOOKS_PER_SWEEP) {
            worker.sweep();
        }
    }
}

/// Waits until nobody accepts, and no connection is left. `alive` is held by the worker and by this.
async fn emptied(worker: Rc<Worker>, pulses: Rc<Pulses>, alive: Rc<()>, done: oneshot::Sender<()>) {
    while pulses.open() > 0 || Rc::strong_count(&alive) > 2 {
        tokio::time::sleep(DRAIN_LOOK_INTERVAL).await;
    }
    // Nothing that was told of them may be lost.
    worker.tell();
    let _ = done.send(());
}

const LOOKS_PER_SWEEP: u32 = 20;
const DRAIN_LOOK_INTERVAL: Duration = Duration::from_millis(10);
