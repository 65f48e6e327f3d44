//! How the programs here end.

use std::process::ExitCode;

/// What a program ends with: where it failed, that is told on standard error first.
pub fn exit(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
