//! One netlink message as bytes: header, family header, attributes, nests. Lengths are written when their ends are
//! known.

use anyhow::{Context, Result};

/// A request that wants an acknowledgement.
const REQUEST_AND_ACK: u16 = 1 | 4;

/// Attributes that hold attributes say so.
const NESTED: u16 = 0x8000;

pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(512);
        bytes.extend([0; 4]);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST_AND_ACK).to_ne_bytes());
        bytes.extend([0; 8]);
        Self(bytes)
    }

    /// `struct ifinfomsg`.
    pub(super) fn link_header(&mut self, index: u32, flags: u32, change: u32) {
        self.raw(&[0; 4]);
        for word in [index, flags, change] {
            self.raw(&word.to_ne_bytes());
        }
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    pub(super) fn text(&mut self, kind: u16, text: &str) {
        self.with_header(kind, |message| {
            message.raw(text.as_bytes());
            message.raw(&[0]);
        });
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.with_header(kind, |message| message.raw(value));
    }

    pub(super) fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        self.with_header(kind | NESTED, content);
    }

    /// The length counts header and content, not the padding to four bytes.
    fn with_header(&mut self, kind: u16, content: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        content(self);
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        if let Some(place) = self.0.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = self.0.clone();
        let length = u32::try_from(bytes.len()).context("a message too long")?;
        let place = bytes.get_mut(..4).context("a message without header")?;
        place.copy_from_slice(&length.to_ne_bytes());
        Ok(bytes)
    }
}
