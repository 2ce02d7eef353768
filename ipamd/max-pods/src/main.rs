//! `max-pods`: how many pods a node of an EC2 type can have, and why.
//!
//! Accepts the flags of `max-pods-calculator.sh` as they are and prints the same number. No network is used unless
//! `--instance-type-from-imds` is given. The arithmetic is `ipamd_core::max_pods`; here are only words.

mod arguments;
mod imds;
mod show;

use std::process::ExitCode;

use arguments::{Arguments, Fault};
use clap::Parser;
use ipamd_core::instance::Table;
use ipamd_core::max_pods::max_pods;
use show::Answered;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(text) => {
            #[expect(clippy::print_stdout, reason = "the answer of the program")]
            {
                print!("{text}");
            }
            ExitCode::SUCCESS
        }
        Err(fault) => {
            #[expect(clippy::print_stderr, reason = "the complaint of the program")]
            {
                eprintln!("max-pods: {fault}");
            }
            ExitCode::from(fault.exit_code())
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, Fault> {
    let table = Table::builtin().map_err(|error| Fault::Table(error.clone()))?;
    let question = arguments.question();
    let types = if arguments.all {
        table.iter().map(|(name, _)| name.to_owned()).collect()
    } else {
        arguments.types()?
    };
    let mut answers = Vec::new();
    let mut faults = Vec::new();
    for name in types {
        match table.get(&name).map(|limits| max_pods(&name, limits, &question)) {
            Some(Ok(answer)) => answers.push(Answered { name, answer }),
            Some(Err(reason)) => faults.push(Fault::NoAnswer { name, reason }),
            None => faults.push(Fault::unknown_type(name, table)),
        }
    }
    if arguments.all && !answers.is_empty() {
        faults.clear();
    }
    match Fault::all(faults) {
        Some(fault) => Err(fault),
        None => {
            show::notes(&answers, arguments);
            show::answers(&answers, arguments).map_err(Fault::Json)
        }
    }
}
