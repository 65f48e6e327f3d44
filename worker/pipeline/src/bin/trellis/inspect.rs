//! `trellis inspect`: the models of a folder.

use std::path::PathBuf;

use trellis::pipeline::{ModelFolder, Role};
use trellis::weights::TensorFile;
use trellis::{Error, Result};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A model folder in the released layout.
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let folder = ModelFolder::open(&arguments.folder)?;
    println!("{}: a model that takes {} input", folder.root().display(), folder.modality().name());
    for (stage, sampling) in [
        ("sparse structure", folder.sparse_structure_sampling()),
        ("structured latent", folder.slat_sampling()),
    ] {
        let (low, high) = sampling.cfg_interval;
        println!(
            "  samples the {stage} in {} steps, guidance {} for t in [{low}, {high}], rescale {}",
            sampling.steps, sampling.cfg_strength, sampling.rescale_t
        );
    }
    let mut failures = 0;
    let roles: Vec<Role> = folder.roles().collect();
    for &role in &roles {
        match describe(&folder, role) {
            Ok(line) => println!("  {:<28} {line}", role.key()),
            Err(error) => {
                failures += 1;
                println!("  {:<28} unusable: {error}", role.key());
            }
        }
    }
    match failures {
        0 => Ok(()),
        _ => Err(Error::model(folder.root(), format!("{failures} of {} models cannot be used", roles.len()))),
    }
}

/// Class, parameters and size of a model.
fn describe(folder: &ModelFolder, role: Role) -> Result<String> {
    let checkpoint = folder.checkpoint(role)?;
    let file = TensorFile::open(checkpoint.weights_path())?;
    folder.check(role)?;
    let parameters: i64 = file.shapes().map(|(_, shape)| shape.iter().product::<i64>()).sum();
    Ok(format!("{:<24} {:>11} parameters {:>11} bytes", checkpoint.class(), parameters, file.bytes()))
}
