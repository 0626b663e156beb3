//! Writing into a fixed space without panics: what does not fit is `None`.

/// A space and how much of it is written.
pub(crate) struct Room<'a> {
    bytes: &'a mut [u8],
    written: usize,
}

impl<'a> Room<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, written: 0 }
    }

    pub(crate) fn written(&self) -> usize {
        self.written
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.change(self.written, bytes)?;
        self.written = self.written.checked_add(bytes.len())?;
        Some(())
    }

    pub(crate) fn byte(&mut self, value: u8) -> Option<()> {
        self.put(&[value])
    }

    pub(crate) fn word(&mut self, value: u16) -> Option<()> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn double(&mut self, value: u32) -> Option<()> {
        self.put(&value.to_le_bytes())
    }

    pub(crate) fn quad(&mut self, value: u64) -> Option<()> {
        self.put(&value.to_le_bytes())
    }

    /// Zeros up to `end`.
    pub(crate) fn zeros_to(&mut self, end: usize) -> Option<()> {
        while self.written < end {
            self.byte(0)?;
        }
        Some(())
    }

    /// Writes over what stands at `at`.
    pub(crate) fn change(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let end = at.checked_add(bytes.len())?;
        let place = self.bytes.get_mut(at..end)?;
        for (old, new) in place.iter_mut().zip(bytes) {
            *old = *new;
        }
        Some(())
    }

    /// Sets the byte at `at` so that all from `start` to what is written add up to zero (ACPI 6.5, section 5.2.6).
    pub(crate) fn balance(&mut self, start: usize, end: usize, at: usize) -> Option<()> {
        self.change(at, &[0])?;
        let sum = self
            .bytes
            .get(start..end)?
            .iter()
            .fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        self.change(at, &[sum.wrapping_neg()])
    }
}
