//! Every decision of Berth, without IO, clock, randomness or async.

pub mod instance;
pub mod max_pods;
