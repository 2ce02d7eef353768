//! Calls on their way to the model and answers on their way back, and what an operator does there by hand.

use std::time::Duration;

use ipamd_core::action::{Action, Fault};
use ipamd_core::moment::Moment;
use ipamd_core::snapshot::Owner;
use ipamd_core::tag;
use vpc_sim::model::Handled;
use vpc_sim::model::request::{AttachEni, Call, Caller, CreateEni, Request, Resource, Wanted};
use vpc_sim::model::response::{EniDescription, Response};

use crate::call::{self, id, owner};
use crate::script::Act;
use crate::world::{Event, Stop, World};

/// `HTTP_TIMEOUT` of the product, by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An action that is being executed.
pub(crate) struct Flight {
    action: Action,
    begun: Moment,
    /// Calls still to be made, last first.
    calls: Vec<Call>,
    responses: Vec<Response>,
}

impl World {
    /// Makes the first call of an action.
    pub(crate) fn begin(&mut self, action: &Action) -> Result<u64, Stop> {
        self.say(|| format!("call: {action}"));
        self.check_call(action).map_err(Stop::Broken)?;
        match action {
            Action::ReadEni { .. } | Action::ReadAll { .. } | Action::ReadUnattached { .. } => {
                self.reads += 1
            }
            _ => self.changes += 1,
        }
        let number = u64::from(self.steps_passed);
        let mut calls = call::calls(action, &self.instance);
        calls.reverse();
        let flight = Flight {
            action: action.clone(),
            begun: self.moment(),
            calls,
            responses: Vec::new(),
        };
        self.flights.insert(number, flight);
        self.next_call(number);
        Ok(number)
    }

    fn next_call(&mut self, number: u64) {
        let Some(call) = self
            .flights
            .get_mut(&number)
            .and_then(|flight| flight.calls.pop())
        else {
            return;
        };
        let handled = self.model.handle(self.now, &call);
        self.look();
        let incarnation = self.incarnation;
        let hear = |heard| Event::Hear {
            incarnation,
            flight: number,
            heard,
        };
        // Held calls wait for something between nothing and half a minute.
        let held = Duration::from_millis((number * 7919 + self.setting.seed) % 30_000);
        match handled {
            Handled::Answered { result, at } => self.answer(number, result, at - self.now),
            Handled::AnswerLost(_) => {
                self.push(Duration::from_millis(200), hear(lost("the connection ended")))
            }
            Handled::HeldBefore(_) => {
                let call = Box::new(call);
                self.push(
                    held,
                    Event::Arrive {
                        incarnation,
                        flight: number,
                        call,
                    },
                );
                self.push(TIMEOUT, hear(lost("timed out")));
            }
            Handled::HeldAfter(_, result) => self.answer(number, result, held),
        }
    }

    /// A call that was held up reaches EC2, whoever still waits for it.
    pub(crate) fn arrive(&mut self, incarnation: u32, flight: u64, call: &Call) -> Result<(), String> {
        self.say(|| format!("a late call reaches EC2: {}", call.request.operation()));
        let handled = self.model.handle_released(self.now, call);
        self.look();
        let waits = incarnation == self.incarnation && self.flights.contains_key(&flight);
        self.orphaned |= !waits;
        if let Handled::Answered { result, at } = handled
            && waits
        {
            self.answer(flight, result, at - self.now);
        }
        Ok(())
    }

    fn answer(
        &mut self,
        number: u64,
        result: Result<Response, vpc_sim::model::error::Ec2Error>,
        wait: Duration,
    ) {
        let Some(flight) = self.flights.get(&number) else {
            return;
        };
        let heard = result.map_err(|error| call::fault(&flight.action, &error, &self.instance));
        let (wait, heard) = if wait < TIMEOUT {
            (wait, heard)
        } else {
            (TIMEOUT, lost("timed out"))
        };
        let incarnation = self.incarnation;
        self.push(
            wait,
            Event::Hear {
                incarnation,
                flight: number,
                heard,
            },
        );
    }

    /// An answer arrives: the next call is made, or the outcome is known.
    pub(crate) fn hear_from_ec2(
        &mut self,
        incarnation: u32,
        number: u64,
        heard: Result<Response, Fault>,
    ) -> Result<(), String> {
        if incarnation != self.incarnation {
            return Ok(());
        }
        let Some(flight) = self.flights.get_mut(&number) else {
            return Ok(());
        };
        match heard {
            Ok(response) => {
                flight.responses.push(response);
                if flight.calls.is_empty() {
                    let Some(flight) = self.flights.remove(&number) else {
                        return Ok(());
                    };
                    let effect = call::effect(&flight.action, flight.responses, &self.instance, flight.begun);
                    self.outcome(number, Ok(effect));
                } else {
                    self.next_call(number);
                }
            }
            Err(fault) => {
                self.flights.remove(&number);
                self.outcome(number, Err(fault));
            }
        }
        Ok(())
    }

    /// What an operator does by hand; what cannot be done is left.
    pub(crate) fn operate(&mut self, act: Act) {
        let instance = self.instance.clone();
        let attached: Vec<EniDescription> = self.enis().to_vec();
        let ours = attached
            .iter()
            .filter(|eni| eni.attachment.is_some() && matches!(owner(eni, &instance), Owner::Ours(_)));
        let ours: Vec<&EniDescription> = ours.collect();
        let pick = |which: usize| ours.get(which % ours.len().max(1)).copied();
        let request = match act {
            Act::Detach(which) => pick(which).and_then(|eni| {
                self.record.touched.insert(eni.id.to_string(), self.now);
                let attachment = eni.attachment.as_ref()?.id.clone();
                Some(Request::DetachNetworkInterface { attachment })
            }),
            Act::Unassign(which) => {
                let holding: Vec<&EniDescription> = attached
                    .iter()
                    .filter(|eni| !eni.secondary.is_empty() && owner(eni, &instance) != Owner::Foreign)
                    .collect();
                holding.get(which % holding.len().max(1)).and_then(|eni| {
                    let address = *eni.secondary.get(which % eni.secondary.len())?;
                    self.record.touched.insert(address.to_string(), self.now);
                    self.record.touched.insert(eni.id.to_string(), self.now);
                    Some(Request::UnassignPrivateIpAddresses {
                        eni: eni.id.clone(),
                        addresses: vec![address],
                        prefixes: Vec::new(),
                    })
                })
            }
            Act::Assign(which) => pick(which).map(|eni| {
                self.record.touched.insert(eni.id.to_string(), self.now);
                Request::AssignPrivateIpAddresses {
                    eni: eni.id.clone(),
                    wanted: Wanted::Addresses(1),
                }
            }),
            Act::AttachForeign => {
                self.attach_foreign(&attached);
                None
            }
            Act::DeleteTag(which) => pick(which).map(|eni| {
                self.record.touched.insert(eni.id.to_string(), self.now);
                Request::DeleteTags {
                    resources: vec![Resource::Eni(eni.id.clone())],
                    tags: [(tag::INSTANCE.to_owned(), None)].into(),
                }
            }),
        };
        if let Some(request) = request {
            self.ask_by_hand(request);
        }
    }

    fn attach_foreign(&mut self, attached: &[EniDescription]) {
        let Some(primary) = attached.iter().find(|eni| eni.attachment.is_some()) else {
            return;
        };
        let made = self.ask_by_hand(Request::CreateNetworkInterface(CreateEni::plain(
            primary.subnet.clone(),
        )));
        // A moment later, when EC2 finds it by its id.
        if let Some(Response::Created { eni, .. }) = made {
            let taken = attached.iter().filter_map(|eni| eni.attachment.as_ref());
            let device_index = taken.map(|at| at.device_index).max().unwrap_or(0) + 1;
            self.record.touched.insert(eni.id.to_string(), self.now);
            let attach = Request::AttachNetworkInterface(AttachEni {
                eni: eni.id.clone(),
                instance: id(&self.instance),
                device_index,
                network_card: 0,
            });
            self.push(Duration::from_secs(1), Event::ByHand(Box::new(attach)));
        }
    }

    pub(crate) fn ask_by_hand(&mut self, request: Request) -> Option<Response> {
        let call = Call {
            caller: Caller::AccessKey("operator".to_owned()),
            dry_run: false,
            request,
        };
        let handled = self.model.handle(self.now, &call);
        self.look();
        match handled {
            Handled::Answered { result, .. } => {
                if let Err(error) = &result {
                    let error = error.to_string();
                    self.say(|| format!("   which fails: {error}"));
                }
                result.ok()
            }
            _ => None,
        }
    }
}

fn lost(reason: &str) -> Result<Response, Fault> {
    Err(Fault::Unknown {
        reason: reason.to_owned(),
    })
}
