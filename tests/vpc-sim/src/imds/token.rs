//! Metadata tokens: they name their instance and their end, with a check so that none can be made up by accident.
//!
//! Nothing is remembered about them, and nothing here is secret: this is a simulation.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;
use std::time::Duration;

use crate::model::id::InstanceId;

/// The longest life of a token, in seconds (AWS documentation, "Use IMDSv2": six hours).
const LONGEST: u64 = 21_600;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) instance: InstanceId,
    /// On the model's clock.
    pub(super) expires: Duration,
}

/// A text that is no token of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoToken;

/// The life that a request asks for: between one second and six hours.
pub(super) fn life(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    (1..=LONGEST)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

impl Token {
    fn check(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.instance.hash(&mut hasher);
        self.expires.as_nanos().hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.instance.as_str().trim_start_matches("i-");
        write!(
            f,
            "AQAE{digits}-{:x}-{:016x}==",
            self.expires.as_nanos(),
            self.check()
        )
    }
}

impl FromStr for Token {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let inside = text.strip_prefix("AQAE").and_then(|rest| rest.strip_suffix("=="));
        let mut parts = inside.ok_or(NoToken)?.split('-');
        let (Some(digits), Some(expires), Some(_)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NoToken);
        };
        let token = Self {
            instance: format!("i-{digits}").parse().map_err(|_| NoToken)?,
            expires: u64::from_str_radix(expires, 16)
                .map(Duration::from_nanos)
                .map_err(|_| NoToken)?,
        };
        if token.to_string() == text {
            Ok(token)
        } else {
            Err(NoToken)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_a_changed_one_does_not() {
        let token = Token {
            instance: InstanceId::numbered(7),
            expires: Duration::from_millis(90_000),
        };
        let text = token.to_string();
        assert_eq!(text.parse(), Ok(token));
        for at in 0..text.len() {
            let mut changed = text.clone();
            changed.replace_range(at..=at, "g");
            assert_eq!(changed.parse::<Token>(), Err(NoToken), "{changed}");
        }
    }

    #[test]
    fn a_token_lives_between_one_second_and_six_hours() {
        let rows = [
            ("0", None),
            ("1", Some(1)),
            ("21600", Some(21_600)),
            ("21601", None),
            ("x", None),
            ("-1", None),
            ("", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(life(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
