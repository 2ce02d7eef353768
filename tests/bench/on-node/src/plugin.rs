//! The plugin, exec'd as a runtime does it, with the time from exec to its end.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::namespace::Namespace;

/// The plugin and the configuration that it gets.
#[derive(Clone, Debug)]
pub(crate) struct Plugin {
    program: PathBuf,
    conf: Value,
}

/// What a run of the plugin said, and how long it took.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) took: Duration,
    /// Null for verbs that print nothing.
    pub(crate) document: Value,
}

impl Plugin {
    pub(crate) fn new(program: &Path, conf: Value) -> Self {
        Self {
            program: program.to_owned(),
            conf,
        }
    }

    pub(crate) fn add(&self, name: &str, namespace: &Namespace) -> Result<Ran> {
        self.run("ADD", name, namespace.path(), None)
    }

    pub(crate) fn del(&self, name: &str, namespace: &Namespace, result: &Value) -> Result<Ran> {
        self.run("DEL", name, namespace.path(), Some(result))
    }

    /// A DEL of what nobody knows: one question to the daemon, nothing to take away.
    pub(crate) fn ask_only(&self) -> Result<Ran> {
        self.run("DEL", "nobody", Path::new("/run/netns/nobody"), None)
    }

    fn run(&self, verb: &str, name: &str, netns: &Path, result: Option<&Value>) -> Result<Ran> {
        let input = self.input(result);
        let mut command = self.command(verb, name, netns);
        let began = Instant::now();
        let mut child = command.spawn().context("exec the plugin")?;
        let mut stdin = child.stdin.take().context("the plugin's standard input")?;
        stdin.write_all(input.as_bytes()).context("write to the plugin")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for the plugin")?;
        let took = began.elapsed();
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{verb} of {name}: {text}");
        let document = match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text).context("read the plugin's document")?,
        };
        Ok(Ran { took, document })
    }

    /// What it gets on standard input.
    pub(crate) fn input(&self, result: Option<&Value>) -> String {
        let mut conf = self.conf.clone();
        if let (Some(fields), Some(result)) = (conf.as_object_mut(), result) {
            fields.insert("prevResult".to_owned(), result.clone());
        }
        conf.to_string()
    }

    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    fn command(&self, verb: &str, name: &str, netns: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(environment(verb, name, netns));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command
    }
}

/// What a runtime sets for a pod.
pub(crate) fn environment(verb: &str, name: &str, netns: &Path) -> [(&'static str, String); 6] {
    let args = format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID=c-{name}"
    );
    [
        ("CNI_COMMAND", verb.to_owned()),
        ("CNI_CONTAINERID", format!("c-{name}")),
        ("CNI_NETNS", netns.to_string_lossy().into_owned()),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_PATH", "/opt/cni/bin".to_owned()),
        ("CNI_ARGS", args),
    ]
}
