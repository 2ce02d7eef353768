//! The run's faults: from the words of the command line to the model's faults, numbered and listed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;

use super::{Answer, FaultLine, NewFault};
use crate::cloud::{Cloud, CloudGone};
use crate::model::error::Ec2Error;
use crate::model::fault::{Effect, Fault, FaultId, Times};
use crate::model::request::Operation;

/// What a fault can do, as it is written.
const EFFECTS: &str =
    "throttle, deny, lose-answer, hold-before, hold-after, slow=SECONDS, no-device, refuse=CODE";

/// The status of an EC2 error that says no more of itself (AWS documentation: most client errors are 400).
const CLIENT_ERROR: u16 = 400;

/// The longest delay that makes sense: SDKs give up within minutes.
const SLOWEST_SECONDS: f64 = 3600.0;

/// What is no fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{word:?} is no action that is served; choose one of {}", operations())]
    Operation { word: String },
    #[error("{0:?} is no effect; choose one of {EFFECTS}")]
    Effect(String),
    #[error("a fault that happens 0 times is none; give --count 1 or more, or leave it out")]
    Never,
    #[error("no-device is for AttachNetworkInterface; {0} makes no device")]
    NoDevice(Operation),
    #[error("no fault {0}; `vpc-sim faults list` shows those there are")]
    Unknown(u32),
    #[error(transparent)]
    Cloud(#[from] CloudGone),
}

fn operations() -> String {
    Operation::ALL.map(Operation::name).join(", ")
}

/// The faults that were added and not taken away.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Added>);

#[derive(Debug, Default)]
struct Added {
    last: u32,
    faults: BTreeMap<u32, Entry>,
}

#[derive(Debug)]
struct Entry {
    id: FaultId,
    operation: Operation,
    asked: NewFault,
    /// Calls of the action before it was added.
    calls_before: usize,
}

impl Faults {
    pub(super) async fn add(&self, cloud: &Cloud, asked: NewFault) -> Result<Answer, Error> {
        let fault = parse(&asked)?;
        let operation = fault.operation;
        let calls_before = calls(cloud, operation).await?;
        let id = cloud.inject(fault).await?;
        let mut added = self.0.lock().await;
        added.last += 1;
        let number = added.last;
        let entry = Entry {
            id,
            operation,
            asked,
            calls_before,
        };
        added.faults.insert(number, entry);
        Ok(Answer::FaultAdded { id: number })
    }

    pub(super) async fn list(&self, cloud: &Cloud) -> Result<Answer, Error> {
        let added = self.0.lock().await;
        let mut faults = Vec::new();
        for (id, entry) in &added.faults {
            faults.push(FaultLine {
                id: *id,
                fault: entry.asked.clone(),
                calls: calls(cloud, entry.operation)
                    .await?
                    .saturating_sub(entry.calls_before),
            });
        }
        Ok(Answer::Faults { faults })
    }

    /// Forgets a fault; calls that it holds go on.
    pub(super) async fn end(&self, cloud: &Cloud, id: u32) -> Result<Answer, Error> {
        let entry = self.0.lock().await.faults.remove(&id);
        cloud.release(entry.ok_or(Error::Unknown(id))?.id).await?;
        Ok(Answer::Done)
    }
}

async fn calls(cloud: &Cloud, operation: Operation) -> Result<usize, CloudGone> {
    let counts = cloud.call_counts().await?;
    Ok(counts.get(&operation).copied().unwrap_or_default())
}

fn parse(asked: &NewFault) -> Result<Fault, Error> {
    let operation = Operation::named(&asked.operation).ok_or_else(|| Error::Operation {
        word: asked.operation.clone(),
    })?;
    let effect = effect(&asked.effect).ok_or_else(|| Error::Effect(asked.effect.clone()))?;
    if effect == Effect::NoDevice && operation != Operation::AttachNetworkInterface {
        return Err(Error::NoDevice(operation));
    }
    let times = match asked.count {
        Some(0) => return Err(Error::Never),
        Some(count) => Times::Count(count),
        None => Times::UntilRemoved,
    };
    Ok(Fault {
        operation,
        subject: asked.about.clone(),
        times,
        effect,
    })
}

fn effect(words: &str) -> Option<Effect> {
    let effect = match words.split_once('=') {
        None => match words {
            "throttle" => Effect::Refuse(Ec2Error::Throttled),
            "deny" => Effect::Deny,
            "lose-answer" => Effect::LoseAnswer,
            "hold-before" => Effect::HoldBefore,
            "hold-after" => Effect::HoldAfter,
            "no-device" => Effect::NoDevice,
            _ => return None,
        },
        Some(("slow", seconds)) => {
            let seconds: f64 = seconds.parse().ok()?;
            let seconds = (0.0..=SLOWEST_SECONDS).contains(&seconds).then_some(seconds)?;
            Effect::Slow(Duration::from_secs_f64(seconds))
        }
        Some(("refuse", code)) if !code.is_empty() => Effect::Refuse(Ec2Error::Scripted {
            code: code.to_owned(),
            message: "refused by a scripted fault".to_owned(),
            status: CLIENT_ERROR,
        }),
        Some(_) => return None,
    };
    Some(effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_faults_or_say_what_is_wrong() {
        let rows = [
            ("AttachNetworkInterface", "throttle", None, "ok"),
            ("AttachNetworkInterface", "no-device", Some(2), "ok"),
            ("CreateNetworkInterface", "slow=1.5", None, "ok"),
            (
                "CreateNetworkInterface",
                "refuse=InsufficientFreeAddressesInSubnet",
                None,
                "ok",
            ),
            ("CreateNetworkInterface", "no-device", None, "makes no device"),
            (
                "CreateNetworkInterface",
                "slow=-1",
                None,
                "choose one of throttle",
            ),
            (
                "CreateNetworkInterface",
                "slow=NaN",
                None,
                "choose one of throttle",
            ),
            (
                "CreateNetworkInterface",
                "refuse=",
                None,
                "choose one of throttle",
            ),
            ("CreateTags", "deny", Some(0), "--count 1"),
            ("RunInstance", "deny", None, "AssignPrivateIpAddresses, Attach"),
        ];
        for (operation, effect, count, expected) in rows {
            let asked = NewFault {
                operation: operation.to_owned(),
                effect: effect.to_owned(),
                count,
                about: None,
            };
            let said = parse(&asked).map_or_else(|error| error.to_string(), |_| "ok".to_owned());
            assert!(said.contains(expected), "{operation} {effect}: {said}");
        }
    }
}
