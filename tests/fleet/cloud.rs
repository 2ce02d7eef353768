//! One account's EC2, without a wire, and what it was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use vpc_sim::model::error::Ec2Error;
use vpc_sim::model::request::{Call, Operation};
use vpc_sim::model::response::Response;
use vpc_sim::model::{Handled, Model};

/// What EC2 was asked, by operation.
#[derive(Default)]
pub(crate) struct Tally {
    calls: BTreeMap<Operation, u32>,
    pub(crate) throttled: BTreeMap<Operation, u32>,
}

impl Tally {
    pub(crate) fn calls(&self, operation: Operation) -> u32 {
        self.calls.get(&operation).copied().unwrap_or_default()
    }

    pub(crate) fn totals(&self) -> (u32, u32) {
        (self.calls.values().sum(), self.throttled.values().sum())
    }
}

/// Makes a call; says what came of it, and when that is heard.
pub(crate) fn make(
    model: &mut Model,
    tally: &mut Tally,
    now: Duration,
    call: &Call,
) -> (Result<Response, Ec2Error>, Duration) {
    let operation = call.request.operation();
    *tally.calls.entry(operation).or_default() += 1;
    let Handled::Answered { result, at } = model.handle(now, call) else {
        panic!("there are no faults here");
    };
    if result == Err(Ec2Error::Throttled) {
        *tally.throttled.entry(operation).or_default() += 1;
    }
    (result, at)
}
