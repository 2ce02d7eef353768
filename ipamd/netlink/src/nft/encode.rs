//! Netlink messages as bytes: attributes, nests and headers, appended to one buffer.
//!
//! Integers of nf_tables are big-endian, except inside register data, which is as packets have it.

/// Set on every nest (kernel, include/uapi/linux/netlink.h, `NLA_F_NESTED`).
const NLA_F_NESTED: u16 = 0x8000;

/// A growing sequence of messages. Too long an attribute marks it, so that it is never sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) bytes: Vec<u8>,
    pub(crate) too_long: bool,
}

/// A message's headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) family: u8,
    pub(crate) resource: u16,
}

impl Encoder {
    /// Appends one whole message.
    pub(crate) fn message(&mut self, header: Header, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(header.message_type.to_ne_bytes());
        self.bytes.extend(header.flags.to_ne_bytes());
        self.bytes.extend(header.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([header.family, 0]);
        self.bytes.extend(header.resource.to_be_bytes());
        body(self);
        self.write_length(start, 4);
    }

    /// Appends an attribute.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend(value);
        self.close(start);
    }

    /// Appends a string attribute, ended by a zero byte.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// Appends a 32-bit attribute.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Appends a nest and what `body` puts into it.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.open(kind | NLA_F_NESTED);
        body(self);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        self.write_length(start, 2);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Writes the length since `start` into the two or four bytes there.
    fn write_length(&mut self, start: usize, width: usize) {
        let length = self.bytes.len().saturating_sub(start);
        let Ok(length32) = u32::try_from(length) else {
            self.too_long = true;
            return;
        };
        self.too_long |= width == 2 && length > usize::from(u16::MAX);
        let little = length32.to_le_bytes();
        let native = if cfg!(target_endian = "big") {
            // The low bytes come last there.
            length32.to_be_bytes().get(4 - width..).map(<[u8]>::to_vec)
        } else {
            little.get(..width).map(<[u8]>::to_vec)
        };
        if let (Some(place), Some(native)) = (self.bytes.get_mut(start..start + width), native) {
            place.copy_from_slice(&native);
        }
    }
}

/// The attributes of a message or nest, as far as they are well formed.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & 0x3fff, value))
    })
}

/// The messages of a datagram: type, flags, sequence number and what follows netlink's header.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?)).ok()?;
        let message = Message {
            message_type: u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?),
            flags: u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?),
            sequence: u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?),
            body: bytes.get(16..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// One received or sent message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) message_type: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut encoder = Encoder::default();
        let header = Header {
            message_type: 0xa00,
            flags: 5,
            sequence: 7,
            family: 1,
            resource: 10,
        };
        encoder.message(header, |body| {
            body.text(1, "berth");
            body.nest(2, |nest| nest.number(3, 9));
        });
        let message = messages(&encoder.bytes).next().unwrap();
        assert_eq!(
            (message.message_type, message.flags, message.sequence),
            (0xa00, 5, 7)
        );
        assert_eq!(message.body[..4], [1, 0, 0, 10]);
        let read: Vec<_> = attributes(&message.body[4..]).collect();
        assert_eq!(read[0], (1, b"berth\0".as_slice()));
        assert_eq!(attributes(read[1].1).next(), Some((3, [0, 0, 0, 9].as_slice())));
        assert_eq!(encoder.bytes.len() % 4, 0);
    }

    #[test]
    fn an_attribute_that_outgrows_its_length_is_noticed() {
        let mut encoder = Encoder::default();
        encoder.put(1, &[0; 65_532]);
        assert!(encoder.too_long);
    }
}
