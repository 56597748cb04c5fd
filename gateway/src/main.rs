//! The `witgate` binary: everything is in the library, so that tests can run the same program.

fn main() -> std::process::ExitCode {
    witgate::cli::main()
}
