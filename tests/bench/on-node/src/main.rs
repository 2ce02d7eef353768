//! The process on the node: its one argument is the setup.

use std::process::ExitCode;

fn main() -> ExitCode {
    let setup = std::env::args().nth(1).unwrap_or_default();
    match on_node::serve(&setup) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "the last word of a program that failed")]
            {
                eprintln!("on-node: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
