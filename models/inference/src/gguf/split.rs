//! One GGUF in several files, as llama.cpp's `gguf-split` and the package gguf write it: the first has the metadata, each has
//! some of the tensors, and each says which one it is of how many.

use super::reader::{Gguf, shown};

const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";
/// What a file behind the first may say beside that.
const OF_EACH_FILE: [&str; 4] = [NUMBER, COUNT, TENSORS, "general.alignment"];
/// Digits of a number in a name.
const DIGITS: usize = 5;

/// A file's place among those of one model, by its name: `STEM-00002-of-00003.gguf`, counted from one.
pub(crate) fn place_of(name: &str) -> Option<(&str, usize, usize)> {
    let rest = name.strip_suffix(".gguf")?;
    let (rest, count) = rest.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let whole = |digits: &str| {
        let digits = (digits.len() == DIGITS).then_some(digits)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
        digits.parse().ok()
    };
    Some((stem, whole(number)?, whole(count)?))
}

impl<'a> Gguf<'a> {
    /// Parses and validates the files of one model, in their order; of one file alone too.
    pub(super) fn parse_files(files: &[&'a [u8]]) -> Result<Self, String> {
        let mut parts = files.iter().enumerate();
        let Some((_, first)) = parts.next() else {
            return Err("there is no file".to_owned());
        };
        let mut whole = Self::parse(first)?;
        whole.check_place(0, files.len())?;
        for (number, file) in parts {
            let part = Self::parse(file)?;
            part.check_place(number, files.len())?;
            if let Some(key) = part.keys().find(|key| !OF_EACH_FILE.contains(key)) {
                return Err(format!("{} stands behind the first file", shown(key)));
            }
            for (name, tensor) in part.tensors {
                if whole.tensors.insert(name, tensor).is_some() {
                    return Err(format!("{} is in two files", shown(name)));
                }
            }
        }
        let announced = whole.value(TENSORS).map(|count| count.whole());
        if announced.is_some_and(|count| count != Some(whole.tensors.len() as u64)) {
            return Err("the files have more or fewer tensors than they announce".to_owned());
        }
        Ok(whole)
    }

    fn check_place(&self, number: usize, count: usize) -> Result<(), String> {
        let said = |key, alone: usize| match self.value(key) {
            None => Some(alone as u64),
            Some(value) => value.whole(),
        };
        // A file without these words is a whole model.
        let (of_count, of_number) = (said(COUNT, 1).map(|count| count.max(1)), said(NUMBER, 0));
        if of_count != Some(count as u64) {
            let said = of_count.unwrap_or(0);
            return Err(format!("it is one of {said} files, and {count} are there"));
        }
        if of_number != Some(number as u64) {
            return Err(format!(
                "what is file {} by its name is another by its own word",
                number + 1
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_place() {
        assert_eq!(place_of("m-Q4_K_M-00002-of-00003.gguf"), Some(("m-Q4_K_M", 2, 3)));
        for other in [
            "m.gguf",
            "m-2-of-3.gguf",
            "m-00002-of-00003.safetensors",
            "00002-of-00003.gguf",
            "m-0000x-of-00003.gguf",
            "m-+0002-of-00003.gguf",
        ] {
            assert_eq!(place_of(other), None, "{other}");
        }
    }
}
