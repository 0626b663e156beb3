//! `adyton completions`.

use clap::CommandFactory;

use crate::{cli::Cli, error::ClientError, output::tolerate_closed_pipe};

/// Prints completions for `shell` on standard output.
pub fn run(shell: clap_complete::Shell) -> Result<u8, ClientError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "adyton", &mut script);
    tolerate_closed_pipe(std::io::Write::write_all(&mut std::io::stdout(), &script))?;
    Ok(0)
}
