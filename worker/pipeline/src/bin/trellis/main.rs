//! The command-line tool: makes assets of photos and texts, and says what a model folder holds.

#![allow(clippy::print_stdout, reason = "standard output is this program's result")]

mod bench;
mod convert;
mod download;
mod generate;
mod inspect;
mod memory_size;
mod model;
mod output;
mod progress;
mod render;
mod request;
mod save;
mod variant;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Turns photos and texts into 3D assets with TRELLIS.
///
/// Exit status: 0 done; 1 a file cannot be read or written, or the run failed; 2 an argument, what a file holds or the model folder must change; 3 the model found no object, another seed may
/// help; 4 memory did not suffice.
#[derive(Debug, Parser)]
#[command(version, about, long_about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make 3D assets of photos of one object, or of a text.
    Generate(generate::Arguments),
    /// Cover the shape of a given mesh anew, as a text says.
    Variant(variant::Arguments),
    /// Fetch a released model from the Hugging Face Hub.
    Download(download::Arguments),
    /// Say what a model folder holds and what it lacks.
    Inspect(inspect::Arguments),
    /// Convert an asset file to another format.
    Convert(convert::Arguments),
    /// Draw a picture of an asset, or a turntable.
    Render(render::Arguments),
    /// Time each stage.
    Bench(bench::Arguments),
    /// Print the completions of a shell, to be saved where that shell looks for them.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Generate(arguments) => generate::run(&arguments),
        Command::Variant(arguments) => variant::run(&arguments),
        Command::Download(arguments) => download::run(&arguments),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Render(arguments) => render::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "trellis", &mut io::stdout());
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// What a script may want to tell apart; [`Arguments`] says what they mean. Arguments that cannot be parsed end with 2, too.
fn exit_code(error: &trellis::Error) -> u8 {
    use trellis::Error;
    match error {
        Error::InvalidInput(_) | Error::Model { .. } | Error::Weights(_) | Error::Device(_) => 2,
        Error::Empty(_) => 3,
        Error::OutOfMemory(_) => 4,
        _ => 1,
    }
}
