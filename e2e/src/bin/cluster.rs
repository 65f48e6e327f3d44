//! Starts and stops the local Kubernetes cluster and builds what it is made of.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use trellis_e2e::cluster::Cluster;
use trellis_e2e::images::{IMAGES, Image, build_binaries};
use trellis_e2e::tools;

/// A real Kubernetes on this machine, without Docker. Needs root; all it writes lies in $TRELLIS_CACHE (~/.cache/trellis3d).
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start the cluster, or what of it does not run; quick when it is up.
    Up {
        /// How many nvidia.com/gpu the node offers. They are counted, not real.
        #[arg(long, default_value_t = 4)]
        gpus: u32,
    },
    /// Stop the cluster and remove everything of it.
    Down,
    /// Say what runs. Exit status 0 when everything does, else 1.
    Status {
        /// Say nothing.
        #[arg(long)]
        quiet: bool,
    },
    /// Print the path of the administrator's kubeconfig.
    Kubeconfig,
    /// Load images from OCI archives.
    LoadImage {
        /// Archives, such as `cluster images` prints.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Build the container images that have changed, and print their archives.
    Images {
        /// Names, e.g. trellis-operator; all when none is given.
        names: Vec<String>,
        /// Load them into the cluster too.
        #[arg(long)]
        load: bool,
    },
    /// Build programs of the cluster from their Go source where that has not happened yet.
    Tools {
        /// Names, e.g. etcd; all when none is given.
        names: Vec<String>,
    },
    /// Print the path of one program of the cluster, built where it is not yet.
    Tool {
        /// The name, e.g. helm.
        name: String,
    },
}

fn main() -> ExitCode {
    run(Arguments::parse().action).unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn run(action: Action) -> Result<ExitCode> {
    let cluster = Cluster::new();
    match action {
        Action::Up { gpus } => up(&cluster, gpus)?,
        Action::Down => cluster.down()?,
        Action::Status { quiet } => return status(&cluster, quiet),
        Action::Kubeconfig => print(cluster.kubeconfig().display()),
        Action::LoadImage { archives } => {
            for archive in archives {
                cluster.load_image(&archive)?;
            }
        }
        Action::Images { names, load } => images(&cluster, &names, load)?,
        Action::Tools { names } => {
            let all = tools::PROGRAMS.iter().map(|program| program.name.to_owned());
            for name in if names.is_empty() { all.collect() } else { names } {
                print(tools::path(&name)?.display());
            }
        }
        Action::Tool { name } => print(tools::path(&name)?.display()),
    }
    Ok(ExitCode::SUCCESS)
}

fn up(cluster: &Cluster, gpus: u32) -> Result<()> {
    let start = Instant::now();
    cluster.up(gpus)?;
    print(format_args!(
        "The cluster is up ({:.0} s). Use it: export KUBECONFIG={}",
        start.elapsed().as_secs_f64(),
        cluster.kubeconfig().display()
    ));
    Ok(())
}

fn status(cluster: &Cluster, quiet: bool) -> Result<ExitCode> {
    let status = cluster.status()?;
    if !quiet {
        for (name, runs) in &status {
            print(format_args!("{name:<24} {}", if *runs { "runs" } else { "does not run" }));
        }
    }
    Ok(if status.iter().all(|(_, runs)| *runs) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn images(cluster: &Cluster, names: &[String], load: bool) -> Result<()> {
    let chosen: Vec<Image> = IMAGES
        .into_iter()
        .filter(|image| {
            names.is_empty() || names.iter().any(|name| image.name == format!("localhost/{name}"))
        })
        .collect();
    if chosen.len() < names.len() {
        let known: Vec<_> = IMAGES.iter().map(|image| image.name.trim_start_matches("localhost/")).collect();
        bail!("there is no image of that name; known are {}", known.join(", "));
    }
    let binaries = build_binaries(&chosen)?;
    for image in chosen {
        let archive = image.build(&binaries)?;
        let size = std::fs::metadata(&archive)?.len() as f64 / 1e6;
        print(format_args!("{:<36} {size:>7.1} MB  {}", image.reference(), archive.display()));
        if load {
            cluster.load_image(&archive)?;
        }
    }
    Ok(())
}

/// The result of a command, on standard output.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
fn print(result: impl std::fmt::Display) {
    println!("{result}");
}
