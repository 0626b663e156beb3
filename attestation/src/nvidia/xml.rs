//! A strict reader of XML 1.0 with namespaces, as much of it as NVIDIA's manifests use.
//!
//! Every construct that lets two readers see two documents is refused: document types and entities of
//! their own, character references, comments, processing instructions, CDATA sections, names that are
//! not ASCII, attributes of the `xml` namespace, undeclared or empty or relative namespaces. What is
//! left has one meaning, and one canonical form ([`super::canonical`]).

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
const DEPTH_MAX: usize = 12;
const ELEMENTS_MAX: usize = 4096;
const ATTRIBUTES_MAX: usize = 96;
const NAMESPACES_MAX: usize = 16;

/// Not a document of the kind that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct XmlFault;

/// An element with what is in it.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) prefix: String,
    pub(super) local: String,
    pub(super) namespace: String,
    /// Declarations in this element: prefix (empty for the default) and namespace.
    pub(super) declared: Vec<(String, String)>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) children: Vec<Node>,
}

/// An attribute that is no namespace declaration.
#[derive(Debug)]
pub(super) struct Attribute {
    pub(super) prefix: String,
    pub(super) local: String,
    /// Empty without a prefix.
    pub(super) namespace: String,
    pub(super) value: String,
}

/// What an element contains.
#[derive(Debug)]
pub(super) enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    /// Reads a whole document and returns its root.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, XmlFault> {
        if bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(XmlFault);
        }
        let text = core::str::from_utf8(bytes).map_err(|_| XmlFault)?;
        let mut reader = Reader {
            rest: text,
            elements: 0,
            scope: Vec::new(),
        };
        reader.declaration()?;
        reader.skip_space();
        reader.expect("<")?;
        let root = reader.element(0)?;
        reader.skip_space();
        if reader.rest.is_empty() {
            Ok(root)
        } else {
            Err(XmlFault)
        }
    }

    pub(super) fn is(&self, namespace: &str, local: &str) -> bool {
        self.namespace == namespace && self.local == local
    }

    pub(super) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// Whether nothing but white space stands between the child elements.
    pub(super) fn has_only_elements(&self) -> bool {
        self.children.iter().all(|node| match node {
            Node::Element(_) => true,
            Node::Text(text) => text.bytes().all(is_space),
        })
    }

    /// The text of an element without child elements.
    pub(super) fn text(&self) -> Option<&str> {
        match self.children.as_slice() {
            [] => Some(""),
            [Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The value of an attribute; `namespace` is empty for one without a prefix.
    pub(super) fn attribute(&self, namespace: &str, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.namespace == namespace && attribute.local == local)
            .map(|attribute| attribute.value.as_str())
    }
}

struct Reader<'a> {
    rest: &'a str,
    elements: usize,
    /// Declarations in force, innermost last.
    scope: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    fn expect(&mut self, text: &str) -> Result<(), XmlFault> {
        self.rest = self.rest.strip_prefix(text).ok_or(XmlFault)?;
        Ok(())
    }

    fn skip_space(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self
            .rest
            .trim_start_matches(|character: char| u8::try_from(character).is_ok_and(is_space));
        self.rest.len() < before
    }

    /// The XML declaration in its usual spellings, or none.
    fn declaration(&mut self) -> Result<(), XmlFault> {
        if !self.rest.starts_with("<?") {
            return Ok(());
        }
        let (declaration, rest) = self.rest.split_once("?>").ok_or(XmlFault)?;
        self.rest = rest;
        let spelled = declaration.replace('\'', "\"").to_ascii_lowercase();
        let known = [
            "<?xml version=\"1.0\"",
            "<?xml version=\"1.0\" encoding=\"utf-8\"",
            "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"yes\"",
            "<?xml version=\"1.0\" encoding=\"utf-8\" standalone=\"no\"",
        ];
        known.contains(&spelled.trim_end()).then_some(()).ok_or(XmlFault)
    }

    /// An element whose `<` was read.
    fn element(&mut self, depth: usize) -> Result<Element, XmlFault> {
        self.elements += 1;
        if depth == DEPTH_MAX || self.elements > ELEMENTS_MAX {
            return Err(XmlFault);
        }
        let outer = self.scope.len();
        let name = self.name()?;
        let mut declared = Vec::new();
        let mut written: Vec<((&str, &str), String)> = Vec::new();
        let empty = loop {
            let spaced = self.skip_space();
            if self.rest.starts_with("/>") {
                self.expect("/>")?;
                break true;
            }
            if self.rest.starts_with('>') {
                self.expect(">")?;
                break false;
            }
            if !spaced || written.len() == ATTRIBUTES_MAX || declared.len() == NAMESPACES_MAX {
                return Err(XmlFault);
            }
            let attribute = self.name()?;
            let value = self.attribute_value()?;
            match attribute {
                ("", "xmlns") => declare(&mut declared, "", value)?,
                ("xmlns", prefix) => declare(&mut declared, prefix, value)?,
                _ => written.push((attribute, value)),
            }
        };
        self.scope.extend(declared.iter().cloned());
        let attributes = self.attributes(written)?;
        let namespace = self.namespace(name.0)?;
        let children = if empty {
            Vec::new()
        } else {
            self.children(name, depth)?
        };
        self.scope.truncate(outer);
        Ok(Element {
            prefix: name.0.to_string(),
            local: name.1.to_string(),
            namespace,
            declared,
            attributes,
            children,
        })
    }

    fn attributes(&self, written: Vec<((&str, &str), String)>) -> Result<Vec<Attribute>, XmlFault> {
        let mut attributes: Vec<Attribute> = Vec::new();
        for ((prefix, local), value) in written {
            let namespace = match prefix {
                "" => String::new(),
                _ => self.namespace(prefix)?,
            };
            let doubled = attributes
                .iter()
                .any(|other| other.namespace == namespace && other.local == local);
            if doubled {
                return Err(XmlFault);
            }
            attributes.push(Attribute {
                prefix: prefix.to_string(),
                local: local.to_string(),
                namespace,
                value,
            });
        }
        Ok(attributes)
    }

    /// The namespace of a prefix; the empty prefix may have none.
    fn namespace(&self, prefix: &str) -> Result<String, XmlFault> {
        let found = self.scope.iter().rev().find(|(of, _)| of == prefix);
        match found {
            Some((_, namespace)) => Ok(namespace.clone()),
            None if prefix.is_empty() => Ok(String::new()),
            None => Err(XmlFault),
        }
    }

    /// Everything up to and including the end tag of `name`.
    fn children(&mut self, name: (&str, &str), depth: usize) -> Result<Vec<Node>, XmlFault> {
        let mut children = Vec::new();
        loop {
            let (text, rest) = self.rest.split_once('<').ok_or(XmlFault)?;
            self.rest = rest;
            if !text.is_empty() {
                children.push(Node::Text(unescape(text, false)?));
            }
            if self.rest.starts_with('/') {
                self.expect("/")?;
                if self.name()? != name {
                    return Err(XmlFault);
                }
                self.skip_space();
                self.expect(">")?;
                return Ok(children);
            }
            children.push(Node::Element(self.element(depth + 1)?));
        }
    }

    /// Prefix and local part.
    fn name(&mut self) -> Result<(&'a str, &'a str), XmlFault> {
        let end = self
            .rest
            .find(|character: char| !(is_name(character) || character == ':'))
            .ok_or(XmlFault)?;
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let (prefix, local) = name.split_once(':').map_or(("", name), |parts| parts);
        let starts = |part: &str| part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let prefixed = name.contains(':');
        let whole = starts(local) && local.chars().all(is_name) && (!prefixed || starts(prefix));
        if whole && prefix != "xml" {
            Ok((prefix, local))
        } else {
            Err(XmlFault)
        }
    }

    fn attribute_value(&mut self) -> Result<String, XmlFault> {
        self.skip_space();
        self.expect("=")?;
        self.skip_space();
        let quote = self
            .rest
            .chars()
            .next()
            .filter(|quote| matches!(quote, '"' | '\''));
        let quote = quote.ok_or(XmlFault)?;
        let (value, rest) = self
            .rest
            .get(1..)
            .and_then(|rest| rest.split_once(quote))
            .ok_or(XmlFault)?;
        self.rest = rest;
        unescape(value, true)
    }
}

/// A declaration of a namespace: not empty, absolute, not reserved, once for each prefix.
fn declare(declared: &mut Vec<(String, String)>, prefix: &str, namespace: String) -> Result<(), XmlFault> {
    let reserved = prefix == "xmlns"
        || namespace == "http://www.w3.org/XML/1998/namespace"
        || namespace == "http://www.w3.org/2000/xmlns/";
    if reserved || !namespace.contains(':') || declared.iter().any(|(other, _)| other == prefix) {
        return Err(XmlFault);
    }
    declared.push((prefix.to_string(), namespace));
    Ok(())
}

/// Resolves the five predefined entities and normalises line ends (XML 1.0 sections 2.11, 3.3.3, 4.6).
fn unescape(raw: &str, attribute: bool) -> Result<String, XmlFault> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        let mut used = character.len_utf8();
        match character {
            '&' => {
                let (entity, _) = rest[1..].split_once(';').ok_or(XmlFault)?;
                used += entity.len() + 1;
                text.push(match entity {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ => return Err(XmlFault),
                });
            }
            '<' => return Err(XmlFault),
            '\r' if rest[1..].starts_with('\n') => {}
            '\t' | '\n' | '\r' if attribute => text.push(' '),
            '\r' => text.push('\n'),
            '\t' | '\n' => text.push(character),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => return Err(XmlFault),
            ']' if !attribute && rest.starts_with("]]>") => return Err(XmlFault),
            _ => text.push(character),
        }
        rest = &rest[used..];
    }
    Ok(text)
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

const fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.')
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString as _;

    use super::Element;

    fn read(text: &str) -> Option<Element> {
        Element::parse(text.as_bytes()).ok()
    }

    #[test]
    fn names_and_namespaces_are_read() {
        for text in [
            "<_a/>",
            "<a-1.b_c/>",
            "<a b='1' c='2'/>",
            "<a c='1' b:c='2' xmlns:b='urn:b'/>",
            "<a b:c='1' b:d='2' xmlns:b='urn:b'/>",
            "<a b:c='1' d:c='2' xmlns:b='urn:b' xmlns:d='urn:d'/>",
            "<_b:a xmlns:_b='urn:b'/>",
            "<a xmlns:b='urn:b'><c xmlns:b='urn:c'/></a>",
            "<a b=']]&gt;]]>'/>",
        ] {
            assert!(read(text).is_some(), "{text}");
        }
        for text in [
            "<1a/>",
            "<-a/>",
            "<:a/>",
            "<a:/>",
            "<b:a/>",
            "<a><b:c/></a>",
            "<a b:c='1'/>",
            "<1:a xmlns:1='urn:b'/>",
            "<b:1a xmlns:b='urn:b'/>",
            "<b:c:d xmlns:b='urn:b'/>",
            "<xml:a/>",
            "<a b='1' b='2'/>",
            "<a b:c='1' d:c='2' xmlns:b='urn:b' xmlns:d='urn:b'/>",
            "<a b='1'c='2'/>",
            "<a xmlns:xmlns='urn:b'/>",
            "<a xmlns:b='http://www.w3.org/XML/1998/namespace'/>",
            "<a xmlns:b='http://www.w3.org/2000/xmlns/'/>",
            "<a xmlns:b='b'/>",
            "<a xmlns:b=''/>",
            "<a xmlns:b='urn:b' xmlns:b='urn:c'/>",
            // A declaration ends with its element.
            "<a><b xmlns:c='urn:c'/><c:d/></a>",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn text_is_characters_and_predefined_entities() {
        let text = |text: &str| {
            read(&["<a>", text, "</a>"].concat())?
                .text()
                .map(|text| text.to_string())
        };
        for (written, meant) in [
            ("", ""),
            ("a\u{e4}\u{1f600}", "a\u{e4}\u{1f600}"),
            ("]", "]"),
            ("]] >", "]] >"),
            ("&amp;&lt;&gt;&quot;&apos;.", "&<>\"'."),
            ("&amp;amp;", "&amp;"),
            ("\t\r\n\r\n", "\t\n\n"),
        ] {
            assert_eq!(text(written).as_deref(), Some(meant), "{written:?}");
        }
        for written in [
            "]]>", "&", "&amp", "&a;", "&#9;", "\u{1}", "\u{b}", "\u{fffe}", "\u{ffff}",
        ] {
            assert_eq!(text(written), None, "{written:?}");
        }
        assert_eq!(read("<a/>").expect("XML").text(), Some(""));
        assert_eq!(read("<a>b<c/></a>").expect("XML").text(), None);
        assert!(read("<a b='<'/>").is_none());
    }
}
