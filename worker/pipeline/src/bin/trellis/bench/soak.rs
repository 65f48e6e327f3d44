//! Many generations one after the other, each of another object: whether memory stays what it is.

use std::fmt;
use std::time::Instant;

use serde::Serialize;
use tch::{Cuda, Device, Tensor};
use trellis::dinov2::DinoV2;
use trellis::noise::Noise;
use trellis::sampler::{Condition, MultiImage, sample};
use trellis::slat::{FlowOnGrid, MeshDecoder, SlatFlow};
use trellis::sparse::{Grid, SparseTensor};
use trellis::sparse_structure::{SparseStructureDecoder, SparseStructureFlow};
use trellis::weights::Placement;
use trellis::{Error, Result, gpu, host};

use super::shape::Shape;

/// Rows of the table, but for the first generation.
const ROWS: u32 = 10;

/// What was seen.
#[derive(Debug, Serialize)]
pub(super) struct Soak {
    setting: String,
    generations: Vec<Generation>,
}

/// What was seen after a generation.
#[derive(Debug, Clone, Serialize)]
struct Generation {
    number: u32,
    voxels: i64,
    milliseconds: f64,
    /// The process's memory on the host.
    host_mib: Option<f64>,
    /// Memory of the GPU that somebody holds.
    gpu_mib: Option<f64>,
}

/// Generates `count` objects with networks of random weights, from a photo to a mesh.
pub(super) fn run(shape: &Shape, placement: Placement, count: u32) -> Result<Soak> {
    let _no_grad = tch::no_grad_guard();
    let models = Models::load(shape, placement)?;
    let generations = (0..count).map(|number| models.generate(shape, number)).collect::<Result<_>>()?;
    let device = gpu::name(placement.device).unwrap_or_else(|| "CPU".into());
    Ok(Soak { setting: format!("{device}, random weights, {count} generations"), generations })
}

struct Models {
    device: Device,
    encoder: DinoV2,
    structure_flow: SparseStructureFlow,
    structure_decoder: SparseStructureDecoder,
    latent_flow: SlatFlow,
    mesh_decoder: MeshDecoder,
}

impl Models {
    fn load(shape: &Shape, placement: Placement) -> Result<Self> {
        Ok(Self {
            device: placement.device,
            encoder: DinoV2::load(&shape.model("image_encoder")?, placement)?,
            structure_flow: SparseStructureFlow::load(&shape.model("sparse_structure_flow")?, placement)?,
            structure_decoder: SparseStructureDecoder::load(
                &shape.model("sparse_structure_decoder")?,
                placement,
            )?,
            latent_flow: SlatFlow::load(&shape.model("slat_flow")?, placement)?,
            mesh_decoder: MeshDecoder::load(&shape.model("mesh_decoder")?, placement)?,
        })
    }

    fn generate(&self, shape: &Shape, number: u32) -> Result<Generation> {
        // What the networks of random weights would find is noise: the object is a sphere of another size each time.
        let sphere = shape.sphere.scaled(0.6 + 0.4 * f64::from(number * 37 % 100) / 100.0);
        let voxels = Tensor::f_from_slice(&sphere.voxels())?.f_view([-1, 4])?.f_to_device(self.device)?;
        let start = Instant::now();
        self.photo_to_mesh(shape, &voxels, number.into())?;
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Ok(Generation {
            number: number + 1,
            voxels: voxels.size2()?.0,
            milliseconds: start.elapsed().as_secs_f64() * 1000.0,
            host_mib: host::resident().map(mib),
            gpu_mib: gpu::memory(self.device).map(|memory| mib(memory.total - memory.free)),
        })
    }

    fn photo_to_mesh(&self, shape: &Shape, voxels: &Tensor, seed: u64) -> Result<()> {
        let mut noise = Noise::new(seed);
        let image = noise.draw(&[1, 3, shape.image_side, shape.image_side], self.device)?;
        let encoding = self.encoder.encode(&image)?;
        let negative = encoding.f_zeros_like()?;
        let condition = Condition { images: vec![encoding], negative, multi_image: MultiImage::Stochastic };
        let steps = shape.steps.iter().copied().min().unwrap_or(1);

        let start = noise.draw(&self.structure_flow.noise_shape(1), self.device)?;
        let sampling = Shape::sampling(steps, shape.sparse_structure_guidance);
        let latent = sample(&self.structure_flow, start, &condition, &sampling, &mut |_, _| Ok(()))?;
        drop(self.structure_decoder.forward(&latent)?);

        let grid = Grid::new(voxels.shallow_clone())?;
        let start = noise.draw(&[grid.len(), self.latent_flow.channels()], self.device)?;
        let sampling = Shape::sampling(steps, shape.latent_guidance);
        let flow = FlowOnGrid { model: &self.latent_flow, grid: &grid };
        let latents = sample(&flow, start, &condition, &sampling, &mut |_, _| Ok(()))?;
        match self.mesh_decoder.surfaces(&SparseTensor::new(grid, latents)?) {
            // Networks of random weights may well see nothing.
            Err(Error::Empty(_)) => Ok(()),
            result => result.map(drop),
        }
    }
}

impl fmt::Display for Soak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n\n| generation | voxels | ms | host MiB | GPU MiB |\n|--:|--:|--:|--:|--:|",
            self.setting
        )?;
        let count = self.generations.len() as u32;
        let is_shown =
            |number: u32| number == 1 || number.is_multiple_of(count.div_ceil(ROWS)) || number == count;
        for seen in self.generations.iter().filter(|seen| is_shown(seen.number)) {
            let mib = |held: Option<f64>| held.map_or_else(String::new, |mib| format!("{mib:.0}"));
            let (host, gpu) = (mib(seen.host_mib), mib(seen.gpu_mib));
            writeln!(f, "| {} | {} | {:.0} | {host} | {gpu} |", seen.number, seen.voxels, seen.milliseconds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_is_of_another_object_and_tells_what_it_holds() {
        let shape = Shape::parse(include_str!("smallest.json")).unwrap();
        let soak = run(&shape, Placement::float(Device::Cpu), 3).unwrap();
        let voxels: Vec<i64> = soak.generations.iter().map(|seen| seen.voxels).collect();
        assert!(voxels[0] != voxels[1] && voxels[1] != voxels[2], "{voxels:?}");
        assert!(soak.generations.iter().all(|seen| seen.host_mib.is_some_and(|mib| mib > 1.0)));
        assert_eq!(soak.to_string().lines().count(), 7, "{soak}");
    }
}
