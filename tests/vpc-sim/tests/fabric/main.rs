//! The data plane against the facts it claims to have: two nodes, pods, the internet.
//!
//! The outside part starts this program again, which makes a world and runs the tests in it; afterwards it looks at
//! what is left on the machine.

#[cfg(test)]
mod facts;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod ipv6;
#[cfg(test)]
mod rig;

fn main() {
    harness::main();
}
