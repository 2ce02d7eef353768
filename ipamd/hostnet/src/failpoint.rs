//! Steps at which tests kill plugin or daemon, as `kill -9` and a power cut do: at once, and nothing is tidied up.
//!
//! Compiled in by the feature `failpoints` only; without it [`reach`] is nothing. With it the process dies when it reaches
//! the step that `BERTH_DIE_AT` names, or at the n-th time with `step:n`. Read from the environment here and not in
//! `main`, because no program of ours is to know of this.

/// Names steps, in the order in which a pod's life and a daemon's reach them.
macro_rules! steps {
    ($($(#[doc = $doc:literal])* $step:ident = $name:literal,)*) => {
        /// A step after which the world has changed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step {
            $($(#[doc = $doc])* $step,)*
        }

        impl Step {
            /// Every step.
            pub const ALL: &[Self] = &[$(Self::$step),*];

            /// Its name: first the program and what it is doing.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }
        }
    };
}

steps! {
    /// The plugin is about to ask for an address.
    AddAsks = "plugin-add-asks",
    /// The daemon has answered.
    AddAnswered = "plugin-add-answered",
    /// The pair of devices is there, both ends down.
    PairCreated = "plugin-add-pair-created",
    /// The node's end is up.
    HostEndUp = "plugin-add-host-end-up",
    /// The pod's end is up.
    PodEndUp = "plugin-add-pod-end-up",
    /// The pod's end has its address.
    PodAddressed = "plugin-add-pod-addressed",
    /// The pod has its routes and its neighbour.
    PodRouted = "plugin-add-pod-routed",
    /// The node has its route to the pod.
    HostRouted = "plugin-add-host-routed",
    /// The result is printed.
    AddPrinted = "plugin-add-printed",
    /// The plugin is about to tell that the pod goes.
    DelAsks = "plugin-del-asks",
    /// The daemon has answered.
    DelAnswered = "plugin-del-answered",
    /// The node's route to the pod is gone.
    HostRouteGone = "plugin-del-route-gone",
    /// The node's end is down.
    HostEndDown = "plugin-del-end-down",
    /// The node's end is among the doomed.
    HostEndDoomed = "plugin-del-end-doomed",
    /// The release is recorded.
    ReleaseRecorded = "plugin-del-release-recorded",
    /// The daemon has said what is stale.
    GcAnswered = "plugin-gc-answered",
    /// One of the stale is taken away.
    GcUnwired = "plugin-gc-unwired",
    /// The socket is open; nothing is known yet.
    SocketOpen = "daemon-start-socket-open",
    /// The state is read, and the journal begun anew.
    Restored = "daemon-start-restored",
    /// Entries are in the journal's file, not yet on disk.
    JournalWritten = "daemon-journal-written",
    /// Entries are on disk.
    JournalSynced = "daemon-journal-synced",
    /// Whoever waited for the journal is answered.
    Answered = "daemon-answered",
    /// The peer's files are about to be replaced, and the journal knows.
    CheckpointIntended = "daemon-checkpoint-intended",
    /// One of the peer's files is replaced.
    CheckpointRenamed = "daemon-checkpoint-renamed",
    /// A call to EC2 is intended and recorded.
    CallIntended = "daemon-call-intended",
    /// A call to EC2 came back; nobody knows yet.
    CallReturned = "daemon-call-returned",
    /// What came of a call is in the ledger, not yet in the journal.
    OutcomeNoted = "daemon-outcome-noted",
    /// One change of the kernel is made.
    KernelChanged = "daemon-kernel-changed",
    /// The nftables table is written.
    FirewallLoaded = "daemon-firewall-loaded",
    /// The journal is written anew under another name.
    CompactWritten = "daemon-compact-written",
    /// The fresh journal has its name.
    CompactRenamed = "daemon-compact-renamed",
    /// Recorded releases are done, their files still there.
    ReleasesDone = "daemon-releases-done",
}

/// Dies here, if this is the step that is named.
#[cfg(feature = "failpoints")]
pub fn reach(step: Step) {
    use std::sync::atomic::{AtomicU32, Ordering};

    /// How often the named step was reached.
    static REACHED: AtomicU32 = AtomicU32::new(0);

    let Ok(wish) = std::env::var("BERTH_DIE_AT") else {
        return;
    };
    let (name, time) = wish.split_once(':').unwrap_or((&wish, "1"));
    let reached = || REACHED.fetch_add(1, Ordering::Relaxed) + 1;
    if name == step.name() && time.parse() == Ok(reached()) {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: Step) {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_step_has_its_own_name() {
        let names: BTreeSet<&str> = Step::ALL.iter().map(|step| step.name()).collect();
        assert_eq!(names.len(), Step::ALL.len());
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("plugin-") || name.starts_with("daemon-"))
        );
    }
}
