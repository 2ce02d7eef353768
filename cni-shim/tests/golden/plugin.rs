//! Runs the plugin once.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What it said.
#[derive(Debug)]
pub(crate) struct Said {
    /// 128 and more: the signal that ended it.
    pub(crate) code: i32,
    pub(crate) document: Option<Value>,
    pub(crate) raw: String,
    pub(crate) errors: String,
}

impl Said {
    /// CALL-5: nothing else on standard output.
    pub(crate) fn is_at_most_one_document(&self) -> bool {
        self.raw.is_empty() || self.document.is_some()
    }

    pub(crate) fn error_code(&self) -> u64 {
        let document = self.document.as_ref().unwrap_or_else(|| panic!("{self:?}"));
        document["code"].as_u64().unwrap_or_else(|| panic!("{self:?}"))
    }

    pub(crate) fn result(self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        self.document.unwrap_or_else(|| panic!("a result"))
    }

    pub(crate) fn succeeded_silently(&self) -> bool {
        self.code == 0 && self.raw.is_empty()
    }
}

/// The plugin, with nothing of this process' environment.
pub(crate) fn plugin() -> Command {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_cni-shim"));
    plugin.env_clear();
    plugin
}

pub(crate) fn run(environment: &[(&str, &str)], input: &str) -> Said {
    let mut plugin = plugin();
    plugin.envs(environment.iter().copied());
    finish(plugin, input)
}

/// Runs a prepared plugin to its end.
pub(crate) fn finish(mut plugin: Command, input: &str) -> Said {
    let piped = plugin
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = piped.spawn().unwrap();
    // One that refuses early does not read: a broken pipe is as good.
    let _ = running.stdin.take().unwrap().write_all(input.as_bytes());
    said(running.wait_with_output().unwrap())
}

pub(crate) fn said(output: std::process::Output) -> Said {
    let raw = String::from_utf8(output.stdout).unwrap();
    Said {
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default()),
        document: serde_json::from_str(&raw).ok(),
        raw,
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
