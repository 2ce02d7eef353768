//! The command `vpc-sim`.

use std::net::SocketAddr;
use std::time::SystemTime;

use anyhow::Context;
use clap::{Parser, Subcommand};
use vpc_sim::serve::Serve;

/// A VPC on a laptop: EC2's API for network interfaces, without an AWS account.
#[derive(Debug, Parser)]
#[command(name = "vpc-sim", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API alone, with an example VPC: two zones, a subnet and a c5.large in each.
    ///
    /// The first line printed is the endpoint's URL; then come the ids of the VPC, its subnets and instances. Point any
    /// EC2 client at it, for example with AWS_ENDPOINT_URL_EC2 and arbitrary access keys. It ends on SIGINT or SIGTERM.
    Serve {
        /// Where to listen; port 0 takes a free one.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Ids, MACs, chosen addresses and delays follow from it.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
        /// Nothing is late and nothing is throttled. Unless set, views lag as EC2's do.
        #[arg(long)]
        instant: bool,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Runtime::new().context("starting the asynchronous runtime")?;
    runtime.block_on(run(arguments.command))
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve {
            listen,
            seed,
            instant,
        } => {
            let serve = Serve {
                listen,
                seed,
                instant,
                epoch: SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .context("reading the clock")?,
            };
            serve.run(&mut std::io::stdout()).await.context("serving the API")
        }
    }
}
