//! Canonical XML 1.1 without comments (W3C Recommendation, 2 May 2008), of documents that
//! [`super::xml`] reads. Those have no attributes of the `xml` namespace, so version 1.1 says of them
//! what version 1.0 says.

use alloc::string::String;
use alloc::vec::Vec;

use super::xml::{Element, Node};

/// The canonical form of `element`. `ancestors` are the elements around it, outermost first: a part of
/// a document keeps the namespaces of the whole (section 2.3). `without` is a child that is left out.
pub(super) fn canonical(element: &Element, ancestors: &[&Element], without: Option<usize>) -> Vec<u8> {
    let mut writer = Writer {
        text: String::new(),
        scope: ancestors
            .iter()
            .flat_map(|ancestor| &ancestor.declared)
            .map(|(prefix, namespace)| (prefix.as_str(), namespace.as_str()))
            .collect(),
        rendered: Vec::new(),
    };
    writer.element(element, without);
    writer.text.into_bytes()
}

struct Writer<'a> {
    text: String,
    /// Declarations in force, innermost last.
    scope: Vec<(&'a str, &'a str)>,
    /// Those of them that the output has.
    rendered: Vec<(&'a str, &'a str)>,
}

impl<'a> Writer<'a> {
    fn element(&mut self, element: &'a Element, without: Option<usize>) {
        let (scope, rendered) = (self.scope.len(), self.rendered.len());
        self.scope.extend(
            element
                .declared
                .iter()
                .map(|(prefix, namespace)| (prefix.as_str(), namespace.as_str())),
        );
        self.open(element);
        for (at, node) in element.children.iter().enumerate() {
            match node {
                _ if Some(at) == without => {}
                Node::Element(child) => self.element(child, None),
                Node::Text(text) => self.escape(text, false),
            }
        }
        self.text.push_str("</");
        self.name(&element.prefix, &element.local);
        self.text.push('>');
        self.scope.truncate(scope);
        self.rendered.truncate(rendered);
    }

    /// Start tag: namespaces by prefix, then attributes by namespace and local name.
    fn open(&mut self, element: &'a Element) {
        self.text.push('<');
        self.name(&element.prefix, &element.local);
        for (prefix, namespace) in self.new_namespaces() {
            self.text.push_str(" xmlns");
            if !prefix.is_empty() {
                self.text.push(':');
                self.text.push_str(prefix);
            }
            self.value(namespace);
            self.rendered.push((prefix, namespace));
        }
        let mut attributes: Vec<_> = element.attributes.iter().collect();
        attributes.sort_by_key(|attribute| (&attribute.namespace, &attribute.local));
        for attribute in attributes {
            self.text.push(' ');
            self.name(&attribute.prefix, &attribute.local);
            self.value(&attribute.value);
        }
        self.text.push('>');
    }

    /// Namespaces in force that the output does not have in force yet, by prefix.
    fn new_namespaces(&self) -> Vec<(&'a str, &'a str)> {
        let mut new: Vec<(&str, &str)> = Vec::new();
        for (prefix, namespace) in self.scope.iter().rev() {
            let shadowed = new.iter().any(|(other, _)| other == prefix);
            if !shadowed {
                new.push((prefix, namespace));
            }
        }
        new.retain(|(prefix, namespace)| {
            let last = self.rendered.iter().rev().find(|(other, _)| other == prefix);
            last.is_none_or(|(_, other)| other != namespace)
        });
        new.sort_unstable();
        new
    }

    fn name(&mut self, prefix: &str, local: &str) {
        if !prefix.is_empty() {
            self.text.push_str(prefix);
            self.text.push(':');
        }
        self.text.push_str(local);
    }

    fn value(&mut self, value: &str) {
        self.text.push_str("=\"");
        self.escape(value, true);
        self.text.push('"');
    }

    /// Of the characters that section 2.3 writes as references, the reader leaves no others: it takes no character
    /// references and has normalised line ends.
    fn escape(&mut self, text: &str, attribute: bool) {
        for character in text.chars() {
            match character {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' if !attribute => self.text.push_str("&gt;"),
                '"' if attribute => self.text.push_str("&quot;"),
                _ => self.text.push(character),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::canonical;
    use crate::nvidia::xml::{Element, Node};

    const DOCUMENT: &str = "<?xml version=\"1.0\"?>\n<a  xmlns:b='urn:x:b'\txmlns=\"urn:x:a\" b:c = \"1\"\n\
        d='&lt;&amp;&gt;&quot;&apos;\tx\r\ny' ><b:e/>\r\n&lt;&amp;&gt;&quot;&apos;\t\r\
        <f xmlns=\"urn:x:a\" xmlns:b='urn:x:other'><b:g/></f ></a>";

    fn text(element: &Element, ancestors: &[&Element], without: Option<usize>) -> String {
        String::from_utf8(canonical(element, ancestors, without)).expect("text")
    }

    /// Sections 1.1 and 2.3, read by hand.
    #[test]
    fn a_document_has_one_form() {
        let root = Element::parse(DOCUMENT.as_bytes()).expect("XML");
        let start = "<a xmlns=\"urn:x:a\" xmlns:b=\"urn:x:b\" d=\"&lt;&amp;>&quot;' x y\" b:c=\"1\">";
        let words = "\n&lt;&amp;&gt;\"'\t\n";
        let last = "<f xmlns:b=\"urn:x:other\"><b:g></b:g></f>";
        let whole = [start, "<b:e></b:e>", words, last, "</a>"].concat();
        assert_eq!(text(&root, &[], None), whole);
        assert_eq!(text(&root, &[], Some(0)), [start, words, last, "</a>"].concat());
        let child = root.children.iter().rev().find_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        });
        // A part of it has the namespaces in force around it.
        let part = "<f xmlns=\"urn:x:a\" xmlns:b=\"urn:x:other\"><b:g></b:g></f>";
        assert_eq!(text(child.expect("an element"), &[&root], None), part);
    }
}
