//! The networks one by one, with random weights.

use tch::{Kind, Tensor};
use trellis::dinov2::DinoV2;
use trellis::noise::Noise;
use trellis::sampler::{Condition, MultiImage, Velocity, sample};
use trellis::slat::{CubeLayout, FlowOnGrid, GaussianDecoder, MeshDecoder, RadianceFieldDecoder, SlatFlow};
use trellis::sparse::{Grid, SparseTensor};
use trellis::sparse_structure::{SparseStructureDecoder, SparseStructureFlow};
use trellis::weights::Placement;
use trellis::{Result, gpu};

use super::clock::{Clock, Held};
use super::shape::Shape;
use super::table::{Report, Row};

/// Cubes on a side of the grid that the mesh decoder fills.
const CUBES: u16 = 256;

/// Times every stage of a shape in whose name `only` occurs, and adds up those that a photo goes through to become a mesh. With a `batch`
/// of more than one object only those that requests share: each object is decoded alone.
pub(super) fn run(shape: &Shape, placement: Placement, runs: u32, only: &str, batch: i64) -> Result<Report> {
    let _no_grad = tch::no_grad_guard();
    let device = placement.device;
    let voxels = Tensor::f_from_slice(&shape.sphere.voxels())?.f_view([-1, 4])?.f_to_device(device)?;
    let clock = Clock { device, runs, only: only.to_owned(), rows: Vec::new() };
    let mut bench = Bench { shape, placement, voxels, batch, clock };
    let condition = bench.image_encoder()?;
    bench.structure_flow(&condition)?;
    bench.structure_decoder()?;
    bench.latent_flow(&condition)?;
    if batch > 1 {
        return bench.report(runs);
    }
    bench.mesh()?;
    bench.others()?;
    bench.report(runs)
}

struct Bench<'a> {
    shape: &'a Shape,
    placement: Placement,
    /// Of one object.
    voxels: Tensor,
    /// How many objects are computed together.
    batch: i64,
    clock: Clock,
}

impl Bench<'_> {
    fn image_encoder(&mut self) -> Result<Condition> {
        let before = self.clock.held();
        let model = DinoV2::load(&self.shape.model("image_encoder")?, self.placement)?;
        let side = self.shape.image_side;
        let image = self.noise(&[self.batch, 3, side, side])?;
        self.clock.time("image encoder", before, || model.encode(&image))?;
        let encoding = model.encode(&image)?;
        Ok(Condition {
            negative: encoding.f_zeros_like()?,
            images: vec![encoding],
            multi_image: MultiImage::Stochastic,
        })
    }

    fn structure_flow(&mut self, condition: &Condition) -> Result<()> {
        let before = self.clock.held();
        let model = SparseStructureFlow::load(&self.shape.model("sparse_structure_flow")?, self.placement)?;
        let noise = self.noise(&model.noise_shape(self.batch))?;
        if let [image] = &condition.images[..] {
            let (name, t) = ("sparse-structure flow, 1 forward", self.time_of_sample()?);
            self.clock.time(name, before, || model.forward(&noise, &t, image))?;
        }
        let guidance = self.shape.sparse_structure_guidance;
        self.sampler("sparse-structure", before, guidance, condition, &noise, |run| run(&model))
    }

    fn structure_decoder(&mut self) -> Result<()> {
        let before = self.clock.held();
        let flow =
            SparseStructureFlow::load(&self.shape.model("sparse_structure_flow")?, Placement::unread())?;
        let model =
            SparseStructureDecoder::load(&self.shape.model("sparse_structure_decoder")?, self.placement)?;
        let latent = self.noise(&flow.noise_shape(self.batch))?;
        self.clock.time("sparse-structure decoder", before, || model.forward(&latent))
    }

    fn latent_flow(&mut self, condition: &Condition) -> Result<()> {
        let before = self.clock.held();
        let model = SlatFlow::load(&self.shape.model("slat_flow")?, self.placement)?;
        let voxels = self.voxels_of_batch()?;
        let noise = self.noise(&[voxels.size2()?.0, model.channels()])?;
        if let [image] = &condition.images[..] {
            let (name, t) = ("latent flow, 1 forward", self.time_of_sample()?);
            let forward = |x: SparseTensor| Ok(model.forward(&x, &t, image)?.feats().shallow_clone());
            self.clock.time(name, before, || forward(on_new_grid(&voxels, &noise)?))?;
        }
        self.sampler("latent", before, self.shape.latent_guidance, condition, &noise, |run| {
            let grid = Grid::new(voxels.shallow_clone())?;
            run(&FlowOnGrid { model: &model, grid: &grid })
        })
    }

    /// `with_model` lends the model to each run.
    fn sampler(
        &mut self,
        name: &str,
        before: Held,
        guidance: f64,
        condition: &Condition,
        noise: &Tensor,
        with_model: impl Fn(&dyn Fn(&dyn Velocity) -> Result<Tensor>) -> Result<Tensor>,
    ) -> Result<()> {
        for &steps in &self.shape.steps {
            let sampling = Shape::sampling(steps, guidance);
            let run =
                |model: &dyn Velocity| sample(model, noise.copy(), condition, &sampling, &mut |_, _| Ok(()));
            self.clock.time(sampler_name(name, steps), before, || with_model(&run))?;
        }
        Ok(())
    }

    fn mesh(&mut self) -> Result<()> {
        let before = self.clock.held();
        let model = MeshDecoder::load(&self.shape.model("mesh_decoder")?, self.placement)?;
        let (voxels, latents) = (&self.voxels, self.latents()?);
        self.clock.time("mesh decoder", before, || {
            Ok(model.cubes(&on_new_grid(voxels, &latents)?)?.feats().shallow_clone())
        })?;
        drop(model);

        let before = self.clock.held();
        let finer = Grid::new(self.voxels.shallow_clone())?.subdivided()?.subdivided()?;
        let cubes = finer.positions()?;
        let layout = CubeLayout::new(CUBES, true);
        let feats = self.sphere_of_cubes(&cubes, layout.channels())?;
        self.clock.time("FlexiCubes", before, || {
            let surface = layout.surface(&cubes, &feats)?;
            Ok((surface.vertices, surface.faces, surface.attributes))
        })
    }

    /// What a decoder would give of cubes at `[N, 3]` whose corners' distances are those to the sphere.
    fn sphere_of_cubes(&self, cubes: &Tensor, channels: i64) -> Result<Tensor> {
        let side = f64::from(CUBES);
        let corners: Vec<i32> =
            (0..8).flat_map(|corner| [corner & 1, corner >> 1 & 1, corner >> 2]).collect();
        let corners = Tensor::f_from_slice(&corners)?.f_view([8, 3])?.f_to_device(cubes.device())?;
        let places = cubes.f_unsqueeze(1)?.f_add(&corners)?.f_to_kind(Kind::Float)?;
        let length = places.f_div_scalar(side)?.f_sub_scalar(0.5)?.f_norm_scalaropt_dim(2, [2], false)?;
        // The decoder's distances lie one cube above those that are meant.
        let distance = length.f_sub_scalar(self.shape.sphere.radius - 1.0 / side)?;
        let others = self.noise(&[cubes.size2()?.0, channels - 8])?.f_mul_scalar(0.1)?;
        Ok(Tensor::f_cat(&[distance, others], 1)?)
    }

    /// Until what was decoded is on the device: the reference's figures end there too.
    fn others(&mut self) -> Result<()> {
        let latents = self.latents()?;
        let before = self.clock.held();
        let model = GaussianDecoder::load(&self.shape.model("gaussian_decoder")?, self.placement)?;
        let voxels = &self.voxels;
        self.clock.time("Gaussian decoder", before, || {
            let raw = model.raw(&on_new_grid(voxels, &latents)?)?;
            let samples = model.parameters(&raw)?;
            Ok(samples.into_iter().map(|sample| (sample.positions, sample.scales)).collect::<Vec<_>>())
        })?;
        drop(model);
        let before = self.clock.held();
        let model = RadianceFieldDecoder::load(&self.shape.model("radiance_field_decoder")?, self.placement)?;
        self.clock.time("radiance-field decoder", before, || {
            Ok(model.raw(&on_new_grid(voxels, &latents)?)?.feats().shallow_clone())
        })
    }

    fn report(mut self, runs: u32) -> Result<Report> {
        // The reference's are of one object.
        for row in self.clock.rows.iter_mut().filter(|_| self.batch == 1) {
            row.reference = self.shape.reference.get(&row.stage).copied();
        }
        for &steps in &self.shape.steps {
            let parts = photo_to_mesh(steps);
            let rows: Vec<&Row> = self.clock.rows.iter().filter(|row| parts.contains(&row.stage)).collect();
            if rows.len() == parts.len() {
                let sum = Row::sum(format!("photo to mesh, {steps} + {steps} steps"), &rows);
                self.clock.rows.push(sum);
            }
        }
        let device = self.placement.device;
        let device = gpu::name(device).unwrap_or_else(|| "CPU".into());
        let precision = if self.placement.torso == Kind::Half { "f16" } else { "f32" };
        let voxels = self.voxels.size2()?.0;
        let objects = if self.batch > 1 { format!("{} objects of ", self.batch) } else { String::new() };
        let setting = format!("{device}, {precision}, random weights, {objects}{voxels} voxels, {runs} runs");
        Ok(Report { setting, rows: self.clock.rows })
    }

    fn latents(&self) -> Result<Tensor> {
        let flow = SlatFlow::load(&self.shape.model("slat_flow")?, Placement::unread())?;
        self.noise(&[self.voxels.size2()?.0, flow.channels()])
    }

    /// The voxels of all objects of the batch, `[batch × N, 4]`: each row begins with its object's number.
    fn voxels_of_batch(&self) -> Result<Tensor> {
        let one = |object: i64| {
            let voxels = self.voxels.copy();
            let _ = voxels.f_select(1, 0)?.f_fill_(object)?;
            Ok(voxels)
        };
        Ok(Tensor::f_cat(&(0..self.batch).map(one).collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// In the middle of a run, for each object.
    fn time_of_sample(&self) -> Result<Tensor> {
        Ok(Tensor::f_full([self.batch], 500.0, (Kind::Float, self.placement.device))?)
    }

    fn noise(&self, shape: &[i64]) -> Result<Tensor> {
        Noise::new(0).draw(shape, self.placement.device)
    }
}

/// A tensor on a grid that knows nothing yet, as each request has it.
fn on_new_grid(voxels: &Tensor, feats: &Tensor) -> Result<SparseTensor> {
    SparseTensor::new(Grid::new(voxels.shallow_clone())?, feats.shallow_clone())
}

fn sampler_name(of: &str, steps: usize) -> String {
    format!("{of} sampler, {steps} steps")
}

/// The stages of a request for a mesh.
fn photo_to_mesh(steps: usize) -> [String; 6] {
    [
        "image encoder".into(),
        sampler_name("sparse-structure", steps),
        "sparse-structure decoder".into(),
        sampler_name("latent", steps),
        "mesh decoder".into(),
        "FlexiCubes".into(),
    ]
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::super::shape::ShapeName;
    use super::*;

    #[test]
    fn every_stage_is_timed_and_has_a_figure_of_the_reference_beside_it() {
        let shape = Shape::parse(include_str!("smallest.json")).unwrap();
        let report = run(&shape, Placement::float(Device::Cpu), 1, "", 1).unwrap();
        let published = ShapeName::ImageLarge.shape().unwrap();
        for steps in [25, 12] {
            for stage in photo_to_mesh(steps) {
                assert!(published.reference.contains_key(&stage), "{stage}");
            }
        }
        let stages: Vec<&str> = report.rows.iter().map(|row| row.stage.as_str()).collect();
        for stage in photo_to_mesh(1) {
            assert!(stages.contains(&stage.as_str()), "{stage} is not in {stages:?}");
        }
        assert!(report.rows.iter().all(|row| row.same_bytes == Some(true)), "{report}");
        assert!(stages.last().unwrap().starts_with("photo to mesh"), "{report}");
    }

    #[test]
    fn of_a_batch_the_stages_are_timed_that_its_requests_share() {
        let shape = Shape::parse(include_str!("smallest.json")).unwrap();
        let report = run(&shape, Placement::float(Device::Cpu), 1, "", 2).unwrap();
        let stages: Vec<&str> = report.rows.iter().map(|row| row.stage.as_str()).collect();
        assert!(stages.contains(&"latent sampler, 1 steps"), "{stages:?}");
        assert!(!stages.contains(&"mesh decoder"), "{stages:?}");
        assert!(report.rows.iter().all(|row| row.reference.is_none()), "{report}");
    }
}
