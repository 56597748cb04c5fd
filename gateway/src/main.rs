//! The `witgate` binary: everything is in the library, so that tests can run the same program.

use std::process::ExitCode;

/// Frees and reuses memory of one thread without asking the others. Without huge pages (feature `no_thp`): with them an
/// idle connection keeps 29 KiB resident instead of 17, and the idle gateway 20 MiB instead of 13.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    witgate::cli::main()
}
