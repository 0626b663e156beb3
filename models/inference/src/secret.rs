//! Text and tokens that wipe themselves. Neither `Debug`, `Display`, `Clone` nor `Serialize`.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::error::InferenceError;

/// A part of a prompt or a completion.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretText(String);

impl SecretText {
    /// Takes ownership; `text` is wiped when the value is dropped.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself. Whoever copies it is responsible for the copy.
    pub fn expose_text(&self) -> &str {
        &self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends without leaving the old buffer behind: growth moves into a new buffer and wipes the old one.
    pub fn push_str(&mut self, text: &str) {
        let needed = self.0.len() + text.len();
        if needed > self.0.capacity() {
            let mut grown = String::with_capacity(needed.next_power_of_two());
            grown.push_str(&self.0);
            self.0.zeroize();
            self.0 = grown;
        }
        self.0.push_str(text);
    }

    /// Removes and returns the first `bytes` bytes, which must be a character border.
    pub(crate) fn take_front(&mut self, bytes: usize) -> SecretText {
        let (front, back) = self.0.split_at(bytes);
        let (front, mut rest) = (SecretText(front.to_owned()), SecretText(back.to_owned()));
        std::mem::swap(self, &mut rest);
        front
    }
}

/// Token identifiers of a prompt or a completion.
pub struct SecretTokens(Zeroizing<Vec<u32>>);

impl SecretTokens {
    /// Takes ownership; the identifiers are wiped when the value is dropped.
    pub fn new(tokens: Vec<u32>) -> Self {
        Self(Zeroizing::new(tokens))
    }

    /// The identifiers.
    pub fn expose_tokens(&self) -> &[u32] {
        &self.0
    }

    /// A copy with room for `capacity` tokens in all.
    pub(crate) fn with_room_for(&self, capacity: usize) -> Self {
        let mut tokens = Vec::with_capacity(capacity.max(self.len()));
        tokens.extend_from_slice(self.expose_tokens());
        Self::new(tokens)
    }

    /// Appends where there is room: a vector that grows leaves its tokens behind in the memory it outgrew.
    pub(crate) fn push_within_room(&mut self, token: u32) -> Result<(), InferenceError> {
        if self.0.len() == self.0.capacity() {
            return Err(InferenceError::ComputeFailed);
        }
        self.0.push(token);
        Ok(())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
