//! The MAC address of an ENI or of a subnet's router.

use std::fmt;
use std::str::FromStr;

/// Six bytes, shown in lower case with colons as instance metadata does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

/// A text that is not six hexadecimal bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a MAC address; write six bytes like 0a:00:00:00:00:01")]
pub struct MalformedMac(String);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = MalformedMac;

    fn from_str(text: &str) -> Result<Self, MalformedMac> {
        let malformed = || MalformedMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts
                .next()
                .filter(|part| part.len() == 2)
                .ok_or_else(malformed)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| malformed())?;
        }
        if parts.next().is_some() {
            Err(malformed())
        } else {
            Ok(Self(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_parses() {
        let mac = Mac([0x0a, 0, 0xff, 1, 2, 3]);
        assert_eq!(mac.to_string(), "0a:00:ff:01:02:03");
        assert_eq!(mac.to_string().parse(), Ok(mac));
        for bad in [
            "",
            "0a:00:ff:01:02",
            "0a:00:ff:01:02:03:04",
            "0a:00:ff:01:02:3",
            "zz:00:ff:01:02:03",
        ] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
