//! The gateway under test: the gateway's own `main`, built in this package so that tests find the program.

fn main() -> std::process::ExitCode {
    witgate::cli::main()
}
