//! Certificates and lists as trees of DER, to be changed and written again with lengths that add up, or not.

use crate::random::Random;

/// One element; what is constructed has elements inside.
#[derive(Clone)]
struct Element {
    tag: u8,
    contents: Contents,
    /// Whether the length is written longer than needed, as DER forbids.
    long: bool,
    /// What is added to the length that is written.
    off_by: i64,
}

#[derive(Clone)]
enum Contents {
    Bytes(Vec<u8>),
    Elements(Vec<Element>),
}

impl Element {
    /// The elements that `bytes` are, one after the other.
    fn parse(mut bytes: &[u8]) -> Option<Vec<Self>> {
        let mut elements = Vec::new();
        while let [tag, first, rest @ ..] = bytes {
            let (length, rest) = match *first {
                0x80.. => {
                    let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                    let length = digits
                        .iter()
                        .fold(0usize, |length, digit| length << 8 | usize::from(*digit));
                    (length, rest)
                }
                length => (usize::from(length), rest),
            };
            let (contents, rest) = rest.split_at_checked(length)?;
            let inner = if tag & 0x20 != 0 {
                Self::parse(contents)
            } else {
                None
            };
            elements.push(Self {
                tag: *tag,
                contents: inner.map_or_else(|| Contents::Bytes(contents.to_vec()), Contents::Elements),
                long: false,
                off_by: 0,
            });
            bytes = rest;
        }
        bytes.is_empty().then_some(elements)
    }

    fn encode(&self, to: &mut Vec<u8>) {
        let contents = match &self.contents {
            Contents::Bytes(bytes) => bytes.clone(),
            Contents::Elements(elements) => encode(elements),
        };
        to.push(self.tag);
        let length = (contents.len() as i64 + self.off_by).clamp(0, 0xffff) as usize;
        match (length, self.long) {
            (0..0x80, false) => to.push(length as u8),
            (0..0x100, false) | (0..0x80, true) => to.extend([0x81, length as u8]),
            _ if self.long => to.extend([0x83, 0, (length >> 8) as u8, length as u8]),
            _ => to.extend([0x82, (length >> 8) as u8, length as u8]),
        }
        to.extend(contents);
    }
}

fn encode(elements: &[Element]) -> Vec<u8> {
    let mut bytes = Vec::new();
    elements.iter().for_each(|element| element.encode(&mut bytes));
    bytes
}

/// Some list of siblings in the tree, less likely the deeper.
fn siblings<'a>(random: &mut Random, elements: &'a mut Vec<Element>) -> &'a mut Vec<Element> {
    let mut constructed: Vec<usize> = Vec::new();
    for (at, element) in elements.iter().enumerate() {
        if matches!(&element.contents, Contents::Elements(inner) if !inner.is_empty()) {
            constructed.push(at);
        }
    }
    if constructed.is_empty() || random.below(5) == 0 {
        return elements;
    }
    let at = *random.pick(&constructed);
    match &mut elements[at].contents {
        Contents::Elements(inner) => siblings(random, inner),
        Contents::Bytes(_) => unreachable!("only constructed ones were listed"),
    }
}

/// Changes one thing of one element, or the order or number of elements.
pub(super) fn mutate(random: &mut Random, document: &mut Vec<u8>, other: &[u8]) {
    let (Some(mut tree), Some(mut theirs)) = (Element::parse(document), Element::parse(other)) else {
        return;
    };
    let list = siblings(random, &mut tree);
    let at = random.below(list.len());
    match random.below(12) {
        0 => list[at].off_by = if random.below(2) == 0 { 1 } else { -1 },
        1 => list[at].off_by = [i64::MIN / 2, 0xffff][random.below(2)],
        2 => list[at].long = true,
        3 => {
            let again = list[at].clone();
            list.insert(at, again);
        }
        4 => drop(list.remove(at)),
        5 => {
            let with = random.below(list.len());
            list.swap(at, with);
        }
        6 => list[at].tag ^= 1 << random.below(8),
        7 => {
            list[at].tag = *random.pick(&[
                0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x17, 0x18, 0x30, 0x31, 0xa0, 0xa3,
            ])
        }
        8 | 9 => {
            let theirs = siblings(random, &mut theirs);
            let from = random.below(theirs.len());
            list[at] = theirs[from].clone();
        }
        10 => match &mut list[at].contents {
            Contents::Bytes(bytes) => super::resize(random, bytes),
            Contents::Elements(inner) => inner.clear(),
        },
        _ => {
            if let Contents::Bytes(bytes) = &mut list[at].contents {
                let end = bytes.len();
                random.flip(bytes, 0, end);
            }
        }
    }
    *document = encode(&tree);
}
