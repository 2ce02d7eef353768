//! The bench's part on one node, over its standard streams: an order goes in, an answer comes out.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use on_node::order::{Order, Setup};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use vpc_sim::vpc::machine::Machine;

/// A node's part of the bench; it ends with its handle.
pub(crate) struct Agent {
    node: String,
    _child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Agent {
    pub(crate) fn start(machine: &Machine, program: &Path, setup: &Setup) -> Result<Self> {
        let mut child = machine
            .node()
            .command(&program.to_string_lossy())
            .arg(serde_json::to_string(setup)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the bench on a node")?;
        let orders = child.stdin.take().context("its standard input")?;
        let answers = child.stdout.take().context("its standard output")?;
        Ok(Self {
            node: machine.node().name().to_owned(),
            _child: child,
            orders,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// Orders something and waits until it is done.
    pub(crate) async fn ask<T: DeserializeOwned>(&mut self, order: &Order) -> Result<T> {
        let mut line = serde_json::to_string(order)?;
        line.push('\n');
        self.orders.write_all(line.as_bytes()).await.context("order")?;
        let answer = self.answers.next_line().await.context("hear the answer")?;
        let answer = answer.with_context(|| format!("the bench on {} ended during {line}", self.node))?;
        let mut answer: Value = serde_json::from_str(&answer).context("read the answer")?;
        match answer.get_mut("ok") {
            Some(done) => serde_json::from_value(done.take()).context("understand the answer"),
            None => bail!("on {}, {}: {answer}", self.node, line.trim()),
        }
    }
}
