//! Layered configuration: flag, then environment, then file, then default; the same for every flag.
//!
//! Each long flag `--token-file` of any command is also the environment variable `ADYTON_TOKEN_FILE` and the TOML key
//! `token_file`: at the top of the file for every command that has the flag, or in the command's own table
//! (`[proxy]`, `[audit.verify]`), which wins over the top. Unknown keys and tables are refused: a misspelt `policy`
//! must not silently become the default policy. Secrets are never values here, only names of files.
//!
//! The file's value becomes the argument's default in clap, so that one parser checks all four layers.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Command, builder::BoolishValueParser};
use toml::{Table, Value};

use crate::error::ClientError;

/// Configuration files above this are refused (bytes).
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Flags that only make sense where they are typed.
const FLAGS_WITHOUT_LAYERS: [&str; 3] = ["help", "version", "config"];

/// The TOML layer, or nothing where there is no file.
pub struct FileLayer {
    path: PathBuf,
    table: Table,
}

impl FileLayer {
    /// No file: only flags, environment and defaults.
    pub fn empty() -> Self {
        Self {
            path: PathBuf::new(),
            table: Table::new(),
        }
    }

    /// Reads `path`.
    pub fn read(path: &Path) -> Result<Self, ClientError> {
        let text = crate::private_file::read_text(path, FILE_BYTES_MAX)?;
        let table = text.parse::<Table>().map_err(|error| ClientError::Config {
            path: path.to_owned(),
            problem: error.to_string(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            table,
        })
    }

    /// The file named by `--config` or `ADYTON_CONFIG` (which must exist), else the one at the default place (which
    /// may be missing).
    pub fn locate(command: &Command, arguments: &[OsString]) -> Result<Self, ClientError> {
        if let Some(path) = named_file(command, arguments) {
            return Self::read(&path);
        }
        match default_path() {
            Some(path) if path.exists() => Self::read(&path),
            _ => Ok(Self::empty()),
        }
    }

    /// Adds the environment and file layers to every flag of `command` and its subcommands.
    pub fn apply(&self, command: Command) -> Result<Command, ClientError> {
        self.refuse_unknown(&command)?;
        Ok(layer(command, &[&self.table]))
    }

    fn refuse_unknown(&self, command: &Command) -> Result<(), ClientError> {
        let mut flags = BTreeMap::new();
        collect(command, "", &mut flags);
        let all: BTreeSet<&String> = flags.values().flatten().collect();
        for (key, value) in &self.table {
            if value.is_table() && flags.contains_key(key) {
                self.refuse_unknown_in(key, value, &flags)?;
            } else if !all.contains(key) || value.is_table() {
                return Err(self.problem(format!("unknown key `{key}`")));
            } else {
                self.refuse_shape(key, value)?;
            }
        }
        Ok(())
    }

    fn refuse_unknown_in(
        &self,
        path: &str,
        value: &Value,
        flags: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<(), ClientError> {
        let own = &flags[path];
        for (key, value) in value.as_table().into_iter().flatten() {
            let inner = format!("{path}.{key}");
            if value.is_table() && flags.contains_key(&inner) {
                self.refuse_unknown_in(&inner, value, flags)?;
            } else if !own.contains(key) || value.is_table() {
                return Err(self.problem(format!("unknown key `{key}` in [{path}]")));
            } else {
                self.refuse_shape(key, value)?;
            }
        }
        Ok(())
    }

    fn refuse_shape(&self, key: &str, value: &Value) -> Result<(), ClientError> {
        match scalars(value) {
            Some(_) => Ok(()),
            None => Err(self.problem(format!(
                "`{key}` must be text, a number, true or false, or a list of these"
            ))),
        }
    }

    fn problem(&self, problem: String) -> ClientError {
        ClientError::Config {
            path: self.path.clone(),
            problem,
        }
    }
}

fn layer(command: Command, tables: &[&Table]) -> Command {
    let command = command.mut_args(|arg| with_layers(arg, tables));
    let none = Table::new();
    command.mut_subcommands(|sub| {
        let own = tables
            .last()
            .and_then(|table| table.get(sub.get_name()))
            .and_then(Value::as_table);
        // The innermost table is last and wins.
        layer(sub, &[tables, &[own.unwrap_or(&none)]].concat())
    })
}

/// `ADYTON_TOKEN_FILE` for `token-file`.
pub fn environment_name(flag: &str) -> String {
    format!("ADYTON_{}", flag.replace('-', "_").to_uppercase())
}

/// `token_file` for `token-file`.
pub fn key_name(flag: &str) -> String {
    flag.replace('-', "_")
}

/// `$XDG_CONFIG_HOME/adyton/config.toml`, else `~/.config/adyton/config.toml`.
pub fn default_path() -> Option<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".config"));
    Some(
        absolute("XDG_CONFIG_HOME")
            .or_else(home)?
            .join("adyton")
            .join("config.toml"),
    )
}

fn named_file(command: &Command, arguments: &[OsString]) -> Option<PathBuf> {
    let lenient = command
        .clone()
        .ignore_errors(true)
        .mut_args(|arg| match arg.get_id().as_str() {
            "config" => arg.env(environment_name("config")),
            _ => arg,
        });
    let matches = lenient.try_get_matches_from(arguments).ok()?;
    matches.try_get_one::<PathBuf>("config").ok().flatten().cloned()
}

/// Every command path (`proxy`, `audit.verify`) with the keys that its flags give it.
fn collect(command: &Command, path: &str, flags: &mut BTreeMap<String, BTreeSet<String>>) {
    let own = command
        .get_arguments()
        .filter(|arg| has_layers(arg))
        .filter_map(Arg::get_long)
        .map(key_name);
    flags.insert(path.to_owned(), own.collect());
    for sub in command.get_subcommands() {
        let inner = if path.is_empty() {
            sub.get_name().to_owned()
        } else {
            format!("{path}.{}", sub.get_name())
        };
        collect(sub, &inner, flags);
    }
}

fn has_layers(arg: &Arg) -> bool {
    arg.get_long()
        .is_some_and(|long| !FLAGS_WITHOUT_LAYERS.contains(&long))
}

fn with_layers(arg: Arg, tables: &[&Table]) -> Arg {
    if arg.get_long() == Some("config") {
        return arg.env(environment_name("config")).hide_env(true);
    }
    if !has_layers(&arg) {
        return arg;
    }
    let flag = arg
        .get_long()
        .expect("has_layers asks for a long flag")
        .to_owned();
    // The name of the variable follows from the flag's: help says how once, not at every flag.
    let arg = settable_switch(arg).env(environment_name(&flag)).hide_env(true);
    let key = key_name(&flag);
    // The innermost table that has the key wins.
    match tables
        .iter()
        .rev()
        .find_map(|table| table.get(&key))
        .and_then(scalars)
    {
        Some(values) => arg.default_values(values).required(false),
        None => arg,
    }
}

/// A switch that can also be turned off (`--json=false`), so that a flag can undo what environment or file turned on.
fn settable_switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .value_parser(BoolishValueParser::new())
        .default_missing_value("true")
        .default_value("false")
        .hide_default_value(true)
        .hide_possible_values(true)
        .value_name("BOOL")
}

fn scalars(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Float(number) => Some(vec![number.to_string()]),
        Value::Boolean(switch) => Some(vec![switch.to_string()]),
        Value::Datetime(time) => Some(vec![time.to_string()]),
        Value::Array(list) => {
            let nested = list.iter().any(Value::is_array);
            let items: Option<Vec<_>> = list.iter().map(scalars).collect();
            items.filter(|_| !nested).map(|items| items.concat())
        }
        Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches};

    use crate::cli::{self, Cli};

    fn file(text: &str) -> FileLayer {
        FileLayer {
            path: "config.toml".into(),
            table: text.parse().expect("the test's own TOML"),
        }
    }

    fn parse(text: &str, arguments: &[&str]) -> Cli {
        let arguments: Vec<OsString> = ["adyton"].iter().chain(arguments).map(OsString::from).collect();
        match Cli::with_file(&file(text), &arguments) {
            Ok(cli) => cli,
            Err(failure) => panic!("{failure:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        let command = <Cli as CommandFactory>::command();
        file(text)
            .apply(command)
            .expect_err("the file is refused")
            .to_string()
    }

    fn proxy(cli: Cli) -> cli::Proxy {
        match cli.command {
            cli::Command::Proxy(proxy) => proxy,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file_and_the_file_over_the_default() {
        let text =
            "listen = \"127.0.0.1:7\"\nurl = \"https://top\"\njson = true\n[proxy]\nurl = \"https://own\"";
        let from_file = parse(text, &["proxy"]);
        assert!(from_file.global.json);
        let from_file = proxy(from_file);
        assert_eq!(from_file.listen.port(), 7);
        assert_eq!(from_file.deployment.url.as_deref(), Some("https://own"));
        let typed = parse(
            text,
            &[
                "--json=false",
                "proxy",
                "--listen",
                "127.0.0.1:9",
                "--url",
                "https://typed",
            ],
        );
        assert!(!typed.global.json);
        let typed = proxy(typed);
        assert_eq!(
            (typed.listen.port(), typed.deployment.url.as_deref()),
            (9, Some("https://typed"))
        );
        assert_eq!(proxy(parse("", &["proxy"])).listen.port(), 8080);
    }

    #[test]
    fn lists_and_required_flags_come_from_the_file_too() {
        let text = "[token.new]\nissuer_key = \"k\"\ntenant = \"t\"\nout = \"o\"\nmodels = [\"a\", \"b\"]";
        match parse(text, &["token", "new"]).command {
            cli::Command::Token(cli::Token::New(new)) => {
                assert_eq!(
                    (new.tenant.as_str(), new.models.as_slice()),
                    ("t", ["a".to_owned(), "b".to_owned()].as_slice())
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unknown_keys_tables_and_shapes_are_refused() {
        assert!(refusal("polcy = \"x\"").contains("unknown key `polcy`"));
        assert!(refusal("[proxy]\nexplain = true").contains("`explain` in [proxy]"));
        assert!(refusal("[nothing]\nurl = \"x\"").contains("`nothing`"));
        assert!(refusal("url = [[1]]").contains("`url`"));
        assert!(refusal("[proxy.url]\nx = 1").contains("`url`"));
        assert!(refusal("config = \"x\"").contains("`config`"));
    }

    #[test]
    fn every_flag_has_its_variable_and_no_two_flags_share_one() {
        fn check(command: &Command) {
            let mut seen = BTreeSet::new();
            for arg in command.get_arguments().filter(|arg| has_layers(arg)) {
                let name = environment_name(arg.get_long().expect("it has layers"));
                assert_eq!(arg.get_env().and_then(|env| env.to_str()), Some(name.as_str()));
                assert!(seen.insert(name), "{arg}");
            }
            command.get_subcommands().for_each(check);
        }
        check(
            &FileLayer::empty()
                .apply(<Cli as CommandFactory>::command())
                .expect("an empty file"),
        );
    }

    #[test]
    fn the_command_line_is_consistent_with_and_without_layers() {
        <Cli as CommandFactory>::command().debug_assert();
        let layered = FileLayer::empty()
            .apply(<Cli as CommandFactory>::command())
            .expect("an empty file");
        layered.clone().debug_assert();
        let matches = layered.get_matches_from(["adyton", "verify", "--explain"]);
        assert!(Cli::from_arg_matches(&matches).is_ok());
    }

    #[test]
    fn the_file_is_found_by_flag_wherever_it_stands() {
        let command = <Cli as CommandFactory>::command();
        for arguments in [
            ["adyton", "--config", "x", "verify"],
            ["adyton", "verify", "--config", "x"],
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(named_file(&command, &arguments), Some(PathBuf::from("x")));
        }
    }
}
