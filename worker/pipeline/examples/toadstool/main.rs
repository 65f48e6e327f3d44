//! A house in a toadstool, from a formula to a textured asset: what the library does after the networks, to be looked at.
//!
//! `cargo run --release -p trellis --example toadstool -- out` writes `toadstool.glb`, `toadstool.ply` and `toadstool.webp`, the picture of the steps.
//!
//! The formula takes the place of the decoders: it gives signed distances and colours at the corners of those cubes that the surface may pass
//! through, and Gaussians on the surface, 32 to a voxel. From there on everything is the library: FlexiCubes, cleaning, simplification, unwrapping,
//! baking, files and pictures.

#![allow(clippy::print_stdout, reason = "a program that says what it does")]

mod field;
mod noise;
mod panels;
mod shape;
mod solid;
mod splats;
mod vector;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use trellis::asset::formats::Format;
use trellis::asset::render;
use trellis::finish::Finish;
use trellis::pipeline::{Asset, Quality};
use trellis::{Error, Result};

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "out".to_owned()));
    fs::create_dir_all(&folder).map_err(Error::io(&folder))?;

    let start = Instant::now();
    let voxels = field::voxels();
    let extracted = field::surface(&voxels)?;
    let gaussians = splats::on(&voxels);
    println!(
        "{} voxels, {} faces and {} Gaussians in {:.1} s",
        voxels.len(),
        extracted.faces.len(),
        gaussians.positions.len(),
        start.elapsed().as_secs_f32()
    );

    let asset = Asset {
        mesh: Some(extracted.clone()),
        gaussians: Some(gaussians),
        radiance_field: None,
        seed: 0,
        sample: 0,
        voxels: voxels.len(),
        timings: vec![],
        peak_memory: None,
    };
    let finished = Finish::from(Quality::Balanced).apply(asset)?;
    let mesh = finished.mesh.as_ref().ok_or(Error::Empty("no surface"))?;
    println!("{} faces with a texture in {:.1} s", mesh.faces.len(), finished.duration.as_secs_f32());

    for (name, format) in [("toadstool.glb", Format::Glb), ("toadstool.ply", Format::Ply)] {
        write(&folder.join(name), &finished.file(format)?)?;
    }
    let picture = panels::picture(&extracted, mesh)?;
    write(&folder.join("toadstool.webp"), &render::webp(&picture)?)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(Error::io(path))?;
    println!("{}: {} bytes", path.display(), bytes.len());
    Ok(())
}
