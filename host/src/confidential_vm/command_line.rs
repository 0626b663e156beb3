//! QEMU's command line as values: options, and properties with their commas doubled as QEMU reads them.

use std::fmt;

/// Words of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    program: String,
    options: Vec<(String, Option<String>)>,
}

impl CommandLine {
    /// A command line of `program` alone.
    pub fn new(program: &str) -> Self {
        Self {
            program: program.to_owned(),
            options: Vec::new(),
        }
    }

    /// Adds what every guest of ours begins with: a name, no device but those that are asked for, no second start inside
    /// the same process, no display, and QEMU's own sandbox.
    pub fn begin_guest(&mut self, name: Properties) {
        self.properties("name", name);
        self.flag("nodefaults");
        self.flag("no-user-config");
        self.flag("no-reboot");
        self.option("display", "none");
        self.properties(
            "sandbox",
            Properties::of("on")
                .with("obsolete", "deny")
                .with("elevateprivileges", "deny")
                .with("spawn", "deny")
                .with("resourcecontrol", "deny"),
        );
    }

    /// Adds an option without a value.
    pub fn flag(&mut self, name: &str) {
        self.options.push((format!("-{name}"), None));
    }

    /// Adds an option with a value that QEMU takes as it is.
    pub fn option(&mut self, name: &str, value: impl Into<String>) {
        self.options.push((format!("-{name}"), Some(value.into())));
    }

    /// Adds an option whose value is a list of properties.
    pub fn properties(&mut self, name: &str, properties: Properties) {
        self.option(name, properties.0);
    }

    /// The program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Its arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.options
            .iter()
            .flat_map(|(name, value)| core::iter::once(name.as_str()).chain(value.as_deref()))
    }
}

/// One option a line, quoted for a shell.
impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.program))?;
        for (name, value) in &self.options {
            write!(f, " \\\n    {name}")?;
            if let Some(value) = value {
                write!(f, " {}", quoted(value))?;
            }
        }
        writeln!(f)
    }
}

/// `kind,key=value,...` with the commas of values doubled.
#[derive(Debug)]
pub struct Properties(String);

impl Properties {
    /// Properties of a thing of `kind`.
    pub fn of(kind: &str) -> Self {
        Self(doubled(kind))
    }

    /// Adds a property.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0
            .push_str(&format!(",{key}={}", doubled(&value.to_string())));
        self
    }
}

fn doubled(text: &str) -> String {
    text.replace(',', ",,")
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@+%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_add_a_property() {
        let mut line = CommandLine::new("qemu");
        line.properties("object", Properties::of("x").with("path", "/a,policy=0x0"));
        assert_eq!(
            line.arguments().collect::<Vec<_>>(),
            ["-object", "x,path=/a,,policy=0x0"]
        );
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        let mut line = CommandLine::new("qemu");
        line.option("append", "it's a $(line)");
        line.flag("nodefaults");
        assert_eq!(
            line.to_string(),
            "qemu \\\n    -append 'it'\\''s a $(line)' \\\n    -nodefaults\n"
        );
    }
}
