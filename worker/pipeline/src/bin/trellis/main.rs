//! The command-line tool: makes assets of photos, and says what a model folder holds.

#![allow(clippy::print_stdout, reason = "standard output is this program's result")]

mod bench;
mod convert;
mod generate;
mod inspect;
mod render;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Turns a photo into a 3D asset with TRELLIS.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a 3D asset of a photo whose background is transparent.
    Generate(generate::Arguments),
    /// Say what a model folder holds and what it lacks.
    Inspect(inspect::Arguments),
    /// Convert an asset file to another format.
    Convert(convert::Arguments),
    /// Draw a picture of an asset, or a turntable.
    Render(render::Arguments),
    /// Time each stage.
    Bench(bench::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// 2 where the request or a path must change, as for arguments that cannot be parsed; 1 where this run failed.
fn exit_code(error: &trellis::Error) -> u8 {
    use trellis::Error;
    match error {
        Error::InvalidInput(_) | Error::Model { .. } | Error::Weights(_) | Error::Device(_) => 2,
        _ => 1,
    }
}
