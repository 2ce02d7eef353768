//! The time at 169.254.169.123, as a server of SNTP (RFC 4330) tells it.
//!
//! It answers clients only, statelessly, with the machine's own clock. It leaves out authentication, control messages
//! and leap seconds, of which the kernel says nothing here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;

/// A message without extensions.
const MESSAGE_BYTES: usize = 48;
/// From 1900, where NTP begins, to 1970 (RFC 4330, section 3).
const NTP_EPOCH: Duration = Duration::from_secs(2_208_988_800);
const CLIENT: u8 = 3;
const SERVER: u8 = 4;
/// What Amazon's time service says of itself (observed).
const STRATUM: u8 = 3;
/// About a microsecond, as a power of two.
const PRECISION: i8 = -20;

/// Tells everybody who asks at this socket the time, until dropped.
pub async fn tell_time(socket: UdpSocket) {
    let mut request = [0; 512];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut request).await else {
            continue;
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if let Some(answer) = request.get(..length).and_then(|request| answer(request, now)) {
            // Whether it arrives is for the asker to find out.
            drop(socket.send_to(&answer, from).await);
        }
    }
}

/// The answer to a client's request at a time since 1970; none to anything else.
fn answer(request: &[u8], now: Duration) -> Option<[u8; MESSAGE_BYTES]> {
    let request: &[u8; MESSAGE_BYTES] = request.get(..MESSAGE_BYTES)?.try_into().ok()?;
    let [flags, _, poll, ..] = *request;
    if flags & 7 != CLIENT {
        return None;
    }
    let version = flags & 0b0011_1000;
    let sent_by_client = request.get(40..)?;
    let now = timestamp(now);
    let mut message = Vec::with_capacity(MESSAGE_BYTES);
    message.extend([version | SERVER, STRATUM, poll]);
    message.extend(PRECISION.to_be_bytes());
    // Delay and dispersion to the root: none to speak of. The reference is named by four letters.
    message.extend([0; 8]);
    message.extend(*b"SIML");
    message.extend(now);
    message.extend(sent_by_client);
    message.extend(now);
    message.extend(now);
    message.try_into().ok()
}

/// Seconds since 1900 and their fraction, 32 bits each; the seconds begin anew in 2036 (RFC 4330, section 3).
fn timestamp(since_1970: Duration) -> [u8; 8] {
    let since_1900 = since_1970 + NTP_EPOCH;
    let fraction = (u64::from(since_1900.subsec_nanos()) << 32) / 1_000_000_000;
    ((since_1900.as_secs() << 32) | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_the_time_in_its_own_version() {
        let mut request = [0; MESSAGE_BYTES];
        request[0] = 0b0010_0011;
        request[2] = 6;
        request[40..].copy_from_slice(b"asked at");
        let answer = answer(&request, Duration::from_millis(1_500)).unwrap();
        let now = [0x83, 0xaa, 0x7e, 0x81, 0x80, 0, 0, 0];
        assert_eq!(answer[..4], [0b0010_0100, 3, 6, 0xec]);
        assert_eq!(answer[24..32], *b"asked at");
        for place in [16, 32, 40] {
            assert_eq!(answer[place..place + 8], now, "{place}");
        }
    }

    #[test]
    fn others_are_told_nothing() {
        let mut server = [0; MESSAGE_BYTES];
        server[0] = 0b0010_0100;
        for request in [&server[..], &[0b0010_0011; 47], &[]] {
            assert_eq!(answer(request, Duration::ZERO), None);
        }
    }
}
