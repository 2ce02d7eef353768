//! Answers in words, as the command prints them.

use std::fmt;

use super::{Answer, DropLine, FaultLine, NodeLine, Ping, PodId, PodLine};

impl Answer {
    /// Whether what was asked for happened: a ping without an answer did not.
    #[must_use]
    pub fn is_good(&self) -> bool {
        match self {
            Self::Refused { .. } => false,
            Self::Ping(ping) => ping.replies.iter().all(|reply| reply.result.is_ok()),
            _ => true,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes { nodes } => lines(f, nodes, "no nodes"),
            Self::PodAdded { pod, milliseconds } => write!(f, "{pod} after {milliseconds} ms"),
            Self::PodGone { milliseconds } => write!(f, "gone after {milliseconds} ms"),
            Self::Pods { pods } => lines(f, pods, "no pods; add one with `vpc-sim pod add NODE NAME`"),
            Self::Ping(ping) => ping.fmt(f),
            Self::Drops { drops } => lines(f, drops, "nothing was dropped"),
            Self::Faults { faults } => lines(f, faults, "no faults"),
            Self::FaultAdded { id } => write!(f, "fault {id}"),
            Self::Enter { .. } | Self::Done => f.write_str("done"),
            Self::Refused { reason } => f.write_str(reason),
        }
    }
}

fn lines<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: &[T], none: &str) -> fmt::Result {
    if items.is_empty() {
        return f.write_str(none);
    }
    for (index, item) in items.iter().enumerate() {
        let end = if index == 0 { "" } else { "\n" };
        write!(f, "{end}{item}")?;
    }
    Ok(())
}

impl fmt::Display for PodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for NodeLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            instance,
            address,
            public,
            has_ipamd,
        } = self;
        let public = public.map_or_else(String::new, |public| format!(", public {public}"));
        let daemon = if *has_ipamd { "runs ipamd" } else { "bare" };
        write!(f, "{name}  {address}{public}  {instance}  {daemon}")
    }
}

impl fmt::Display for PodLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  on {}", self.pod, self.address, self.node)
    }
}

impl fmt::Display for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, reply) in self.replies.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            let what = match &reply.result {
                Ok(seen) => format!("answered, and saw {seen}"),
                Err(reason) => format!("NO ANSWER: {reason}"),
            };
            write!(f, "{end}{}  {}  {what}", self.target, reply.protocol)?;
        }
        for drop in &self.dropped {
            write!(f, "\nmeanwhile {drop}")?;
        }
        Ok(())
    }
}

impl fmt::Display for DropLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            eni,
            node,
            reason,
            packets,
            explanation,
        } = self;
        let node = node
            .as_ref()
            .map_or_else(String::new, |node| format!(" of {node}"));
        let plural = if *packets == 1 { "" } else { "s" };
        write!(
            f,
            "dropped on {eni}{node}: {packets} packet{plural}, {reason}: {explanation}"
        )
    }
}

impl fmt::Display for FaultLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = &self.fault;
        let about = fault
            .about
            .as_ref()
            .map_or_else(String::new, |about| format!(" about {about}"));
        let times = match fault.count {
            Some(count) => format!("at most {count} times"),
            None => "until removed".to_owned(),
        };
        write!(
            f,
            "{}  {}{about}  {}  {times}  {} calls since",
            self.id, fault.operation, fault.effect, self.calls
        )
    }
}
