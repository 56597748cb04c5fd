//! Overload, assessed: memory and lateness against what is allowed, the step that follows, and the word about it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Shared;
use crate::config::model::{MemoryLimit, Overload as Limits};
use crate::heap;
use crate::server::{Overload, Refusal, Stairs, Step};

/// What workers and control plane share, for a gateway that has not begun.
pub(super) fn shared(workers: usize, limits: &Limits) -> Arc<Overload> {
    Arc::new(Overload::new(workers, connections_max(limits)))
}

/// Assesses until the gateway is gone.
pub(super) fn start(shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    tokio::spawn(async move {
        let mut watch = Watch::default();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let Some(shared) = shared.upgrade() else { return };
            watch.look(&shared);
        }
    });
}

/// The half of the files that the process may open which its clients may have: most connections need one to an upstream. As many are
/// asked for as the system allows.
fn connections_max(limits: &Limits) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let more = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = if more.is_ok() { maximum } else { current };
    let files = usize::try_from(files.unwrap_or(FILES_WITHOUT_LIMIT)).unwrap_or(usize::MAX);
    limits.connections.unwrap_or_else(|| (files.saturating_sub(FILES_RESERVED) / 2).max(1))
}

#[derive(Default)]
struct Watch {
    stairs: Stairs,
    step: Step,
    generation: u64,
    memory_max: u64,
    /// When free memory was given back last.
    gave_back: Option<Instant>,
    /// One look's lateness may be an accident; that of two in a row is not.
    late_before: Duration,
    refused: [u64; Refusal::ALL.len()],
}

impl Watch {
    fn look(&mut self, shared: &Shared) {
        let snapshot = shared.current.load();
        let limits = &snapshot.overload;
        if self.generation != snapshot.generation {
            self.generation = snapshot.generation;
            self.memory_max = memory_max(limits.memory);
            shared.overload.allow_connections(connections_max(limits));
        }
        let late = shared.overload.latest();
        let steadily_late = late.min(std::mem::replace(&mut self.late_before, late));
        let memory = self.memory();
        let pressure = memory.max(steadily_late.as_secs_f64() / limits.lag.as_secs_f64());
        let step = self.stairs.next(pressure, Instant::now());
        if step != std::mem::replace(&mut self.step, step) {
            shared.overload.give_up(step);
            self.tell(shared, memory, late);
        }
        shared.metrics.overload(step as i64, late);
        for (refusal, told) in Refusal::ALL.into_iter().zip(&mut self.refused) {
            let count = shared.overload.refused(refusal);
            shared.metrics.refused(refusal.name(), count - std::mem::replace(told, count));
        }
    }

    /// The share of its memory that the process has. What is free of that is given back now and then, and before memory is called scarce.
    fn memory(&mut self) -> f64 {
        let share = |memory_max: u64| resident_bytes().unwrap_or(0) as f64 / memory_max.max(1) as f64;
        let memory = share(self.memory_max);
        let interval = if memory < FULL { GIVE_BACK_INTERVAL } else { GIVE_BACK_INTERVAL_FULL };
        if self.gave_back.is_some_and(|at| at.elapsed() < interval) {
            return memory;
        }
        heap::give_back();
        self.gave_back = Some(Instant::now());
        share(self.memory_max)
    }

    fn tell(&self, shared: &Shared, memory: f64, late: Duration) {
        let memory_percent = (memory * 100.0).round();
        let late_ms = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        let gives_up = self.step.name();
        match self.step {
            Step::Nothing => tracing::info!(memory_percent, late_ms, "overload is over"),
            _ => tracing::warn!(gives_up, memory_percent, late_ms, "overload"),
        }
        shared.event(
            "overload",
            [("gives_up", gives_up.into()), ("memory_percent", memory_percent.into()), ("late_ms", late_ms.into())],
        );
    }
}

fn memory_max(limit: MemoryLimit) -> u64 {
    match limit {
        MemoryLimit::Size(size) => size.0,
        MemoryLimit::Share(percent) => (memory_allowed() as f64 * percent / 100.0) as u64,
    }
}

/// What this process may have: the memory of the machine, or of the groups that it is in (cgroup v2, or the root of v1).
fn memory_allowed() -> u64 {
    let machine = kib_of("/proc/meminfo", "MemTotal:");
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let mut limits: Vec<u64> = machine.into_iter().collect();
    let mut above = Some(group);
    while let Some(path) = above {
        limits.extend(number_of(&format!("/sys/fs/cgroup/{path}/memory.max")));
        above = path.rsplit_once('/').map(|(above, _)| above).or((!path.is_empty()).then_some(""));
    }
    limits.extend(number_of("/sys/fs/cgroup/memory/memory.limit_in_bytes"));
    limits.into_iter().min().unwrap_or(u64::MAX)
}

fn resident_bytes() -> Option<u64> {
    kib_of("/proc/self/status", "VmRSS:")
}

fn kib_of(file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

fn number_of(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often free memory is given back: what a reload frees serves the next one, if that comes soon.
const GIVE_BACK_INTERVAL: Duration = Duration::from_secs(10);
/// The same where memory may be scarce, which is from this share on.
const GIVE_BACK_INTERVAL_FULL: Duration = Duration::from_secs(1);
const FULL: f64 = 0.5;
/// For the configuration, plugins, listeners, logs.
const FILES_RESERVED: usize = 64;
const FILES_WITHOUT_LIMIT: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_may_have_more() {
        let resident = resident_bytes().expect("Linux tells VmRSS");
        let allowed = memory_allowed();
        assert!(resident > 0 && resident < allowed, "{resident} of {allowed}");
        assert_eq!(memory_max(MemoryLimit::Share(100.0)), allowed);
    }

    #[test]
    fn clients_may_have_half_of_the_files() {
        let allowed = connections_max(&Limits::default());
        assert!(allowed >= 100, "{allowed}");
        assert_eq!(connections_max(&Limits { connections: Some(7), ..Limits::default() }), 7);
    }
}
