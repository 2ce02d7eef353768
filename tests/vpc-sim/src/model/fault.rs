//! Scripted faults: what shall go wrong, for which action, about what, and how often.
//!
//! The first fault that matches a call is used, and only that one. Holding and losing answers is done by whoever carries
//! them; the model says only that it shall be done.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::Ec2Error;
use super::request::Operation;

/// Something that shall go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For calls of this action.
    pub operation: Operation,
    /// Only for calls about this id (ENI, subnet, attachment …) or from this instance.
    pub subject: Option<String>,
    /// How often.
    pub times: Times,
    /// What happens.
    pub effect: Effect,
}

impl Fault {
    /// Once, whatever the call is about.
    #[must_use]
    pub fn once(operation: Operation, effect: Effect) -> Self {
        Self {
            operation,
            subject: None,
            times: Times::Count(1),
            effect,
        }
    }

    /// Until it is removed, whatever the call is about.
    #[must_use]
    pub fn always(operation: Operation, effect: Effect) -> Self {
        Self {
            times: Times::UntilRemoved,
            ..Self::once(operation, effect)
        }
    }

    /// Only for calls about this id or from this instance.
    #[must_use]
    pub fn about(self, subject: impl ToString) -> Self {
        Self {
            subject: Some(subject.to_string()),
            ..self
        }
    }
}

/// How often a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// So often.
    Count(u32),
    /// For ever.
    UntilRemoved,
}

/// What happens to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No effect, this error.
    Refuse(Ec2Error),
    /// No effect; IAM denies the action to the caller.
    Deny,
    /// The effect happens, the answer never arrives: the connection ends.
    LoseAnswer,
    /// The effect happens, the answer is this error.
    FailAfter(Ec2Error),
    /// No effect and no answer until the fault is released; then both.
    HoldBefore,
    /// The effect happens, and no answer until the fault is released.
    HoldAfter,
    /// The answer comes so much later.
    Slow(Duration),
    /// A describe shows what was seen so long ago (up to ten minutes).
    Stale(Duration),
    /// A describe leaves these ids out, as if they did not exist.
    Partial(BTreeSet<String>),
    /// An attach whose device never appears in the kernel.
    NoDevice,
}

/// By which a fault is removed or released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FaultId(u64);

/// The faults that can still happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    last: u64,
    active: BTreeMap<FaultId, Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) -> FaultId {
        self.last += 1;
        let id = FaultId(self.last);
        self.active.insert(id, fault);
        id
    }

    pub(crate) fn remove(&mut self, id: FaultId) {
        self.active.remove(&id);
    }

    /// The first fault that matches, used up by one.
    pub(crate) fn take(&mut self, operation: Operation, subjects: &[String]) -> Option<(FaultId, Effect)> {
        let (id, fault) = self.active.iter_mut().find(|(_, fault)| {
            let about = fault
                .subject
                .as_ref()
                .is_none_or(|subject| subjects.contains(subject));
            fault.operation == operation && about && fault.times != Times::Count(0)
        })?;
        let taken = (*id, fault.effect.clone());
        if let Times::Count(left) = &mut fault.times {
            *left -= 1;
        }
        self.active.retain(|_, fault| fault.times != Times::Count(0));
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_happens_as_often_as_said_and_only_to_its_subject() {
        let mut faults = Faults::default();
        let operation = Operation::DeleteNetworkInterface;
        faults.add(Fault::once(operation, Effect::LoseAnswer).about("eni-1"));
        let always = faults.add(Fault::always(operation, Effect::Deny));
        assert_eq!(faults.take(Operation::CreateTags, &["eni-1".to_owned()]), None);
        let effects: Vec<_> = (0..2)
            .filter_map(|_| faults.take(operation, &["eni-1".to_owned()]))
            .map(|(_, effect)| effect)
            .collect();
        assert_eq!(effects, [Effect::LoseAnswer, Effect::Deny]);
        faults.remove(always);
        assert_eq!(faults.take(operation, &[]), None);
    }
}
