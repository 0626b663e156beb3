//! Memory that begins at a cache line.

/// A fixed number of elements, zero at first, whose first lies at a multiple of 64 bytes.
pub(crate) struct Aligned<T> {
    memory: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Copy + Default> Aligned<T> {
    pub(crate) fn zeroed(len: usize) -> Self {
        let memory = vec![T::default(); len + 64 / size_of::<T>()];
        let start = memory.as_ptr().align_offset(64).min(memory.len() - len);
        Self { memory, start, len }
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.memory[self.start..self.start + self.len]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory[self.start..self.start + self.len]
    }
}
