//! XML as EC2 writes it: elements and text, lists of `item`, no attributes but the namespace.

use std::fmt::{Display, Write};

use super::RequestId;
use crate::model::error::Ec2Error;
use crate::model::request::Tags;

/// The namespace of the one API version there is.
const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
const PROLOGUE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// A document being written.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// A whole response document of an action.
    pub(super) fn response(action: &str, id: RequestId, content: impl FnOnce(&mut Self)) -> String {
        let mut xml = Self(format!("{PROLOGUE}<{action}Response xmlns=\"{NAMESPACE}\">"));
        xml.leaf("requestId", id);
        content(&mut xml);
        xml.push(&format!("</{action}Response>\n"));
        xml.0
    }

    /// An element with text.
    pub(super) fn leaf(&mut self, name: &str, text: impl Display) {
        self.push(&format!("<{name}>"));
        let mut escaped = Escaped(&mut self.0);
        // Writing into a string cannot fail.
        let _ = write!(escaped, "{text}");
        self.push(&format!("</{name}>"));
    }

    /// An element with text, if there is any.
    pub(super) fn maybe(&mut self, name: &str, text: Option<impl Display>) {
        if let Some(text) = text {
            self.leaf(name, text);
        }
    }

    /// An element with elements.
    pub(super) fn node(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.push(&format!("<{name}>"));
        content(self);
        self.push(&format!("</{name}>"));
    }

    /// An element with one `item` per member.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        members: impl IntoIterator<Item = T>,
        mut content: impl FnMut(&mut Self, T),
    ) {
        self.node(name, |xml| {
            for member in members {
                xml.node("item", |xml| content(xml, member));
            }
        });
    }

    /// A list of plain texts.
    pub(super) fn texts<T: Display>(&mut self, name: &str, members: impl IntoIterator<Item = T>) {
        self.node(name, |xml| {
            for member in members {
                xml.leaf("item", member);
            }
        });
    }

    /// `tagSet`, which every resource has.
    pub(super) fn tags(&mut self, tags: &Tags) {
        self.list("tagSet", tags, |xml, (key, value)| {
            xml.leaf("key", key);
            xml.leaf("value", value);
        });
    }

    fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }
}

/// The document of a refusal.
pub(super) fn error(error: &Ec2Error, id: RequestId) -> String {
    let mut xml = Xml(PROLOGUE.to_owned());
    xml.node("Response", |xml| {
        xml.node("Errors", |xml| {
            xml.node("Error", |xml| {
                xml.leaf("Code", error.code());
                xml.leaf("Message", error);
            });
        });
        xml.leaf("RequestID", id);
    });
    xml.0
}

/// Escapes what XML would misread.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_ec2s_shape() {
        let document = Xml::response("X", RequestId(1), |xml| xml.texts("set", ["a<b"]));
        assert!(
            document.contains("<XResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>")
        );
        assert!(document.contains("<set><item>a&lt;b</item></set></XResponse>"));
        let refused = error(&Ec2Error::AddressLimit, RequestId(2));
        let inside = "<Response><Errors><Error><Code>PrivateIpAddressLimitExceeded</Code><Message>";
        assert!(refused.contains(inside), "{refused}");
        assert!(refused.contains("<RequestID>00000000-0000-4000-8000-000000000002</RequestID></Response>"));
    }
}
