//! Requests of one plan on their way through the stages together.

use std::rc::Rc;

use tch::{Device, Tensor};
use trellis_asset::voxelize::voxelize;
use trellis_asset::{Gaussians, Mesh, RadianceField};

use super::decoders::{Decoders, join_voxels};
use super::generator::{Generator, OnStep};
use super::memory::{Budget, in_parts};
use super::plan::Plan;
use super::progress::{Observer, Run, Stage};
use super::request::{Asset, Input, Request};
use crate::noise::Noise;
use crate::sampler::{Condition, Sampling};
use crate::sparse::{Grid, SparseTensor};
use crate::{Error, Result};

/// What requests run through.
#[derive(Clone, Copy)]
pub(super) struct Models<'a> {
    pub(super) generator: &'a Generator,
    pub(super) decoders: &'a Decoders,
    pub(super) budget: &'a Budget,
}

/// The requests, and what has come of them so far.
pub(super) struct Batch<'a> {
    models: Models<'a>,
    plan: &'a Plan,
    jobs: Vec<Job<'a>>,
}

struct Job<'a> {
    request: &'a Request,
    noise: Noise,
    /// Each condition's encoding, `[1, tokens, width]`.
    encodings: Vec<Tensor>,
}

/// A sample of a job that has voxels.
struct Sample {
    job: usize,
    number: usize,
    /// `[N, 3]`.
    voxels: Tensor,
}

/// What a stage reports after each part: the parts done, and all of them.
type Report<'r> = dyn FnMut(usize, usize) -> Result<()> + 'r;

/// An object without what the request says of it.
#[derive(Default)]
struct Decoded {
    mesh: Option<Mesh>,
    gaussians: Option<Gaussians>,
    radiance_field: Option<RadianceField>,
}

impl Decoded {
    /// What a stage of decoding makes.
    fn add(&mut self, stage: Stage, decoders: &Decoders, latents: &SparseTensor) -> Result<()> {
        match stage {
            Stage::Mesh => self.mesh = Some(decoders.surface(latents)?.into_mesh()),
            Stage::Gaussians => self.gaussians = Some(decoders.gaussians(latents)?),
            Stage::RadianceField => self.radiance_field = Some(decoders.radiance_field(latents)?),
            Stage::Encode | Stage::SparseStructure | Stage::StructuredLatent => {}
        }
        Ok(())
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(models: Models<'a>, plan: &'a Plan, requests: &[&'a Request]) -> Self {
        let job = |request: &&'a Request| Job {
            request,
            noise: Noise::new(request.options.seed),
            encodings: Vec::new(),
        };
        Self { models, plan, jobs: requests.iter().map(job).collect() }
    }

    /// Runs all stages: the assets of each request, or that the model found nothing for it.
    pub(super) fn run(mut self, device: Device, observer: &mut Observer) -> Result<Vec<Result<Vec<Asset>>>> {
        let mut run = Run::new(device, observer);
        run.stage(Stage::Encode, |_| self.encode())?;
        let plan = self.plan;
        let samples = match &plan.sparse_structure {
            Some(sampling) => {
                run.stage(Stage::SparseStructure, |report| self.find_voxels(sampling, device, report))?
            }
            None => self.take_voxels(device)?,
        };
        let latents = run.stage(Stage::StructuredLatent, |report| {
            self.sample_latents(&samples, &plan.structured_latent, device, report)
        })?;
        let decoded = self.decode(&samples, &latents, &mut run)?;
        Ok(self.hand_out(&samples, decoded, &run))
    }

    fn encode(&mut self) -> Result<()> {
        for job in &mut self.jobs {
            job.encodings = match &job.request.input {
                Input::Images(images) => self.models.generator.encode_images(images)?,
                Input::Text(prompt) | Input::Variant { prompt, .. } => {
                    vec![self.models.generator.encode_prompt(prompt)?]
                }
            };
        }
        Ok(())
    }

    /// The first stage.
    fn find_voxels(
        &mut self,
        sampling: &Sampling,
        device: Device,
        report: &mut Report,
    ) -> Result<Vec<Sample>> {
        let Models { generator, decoders, budget } = self.models;
        let mut starts = Vec::new();
        for (index, job) in self.jobs.iter_mut().enumerate() {
            let shape = generator.structure_noise_shape(job.request.options.samples);
            let noise = job.noise.draw(&shape, device)?.f_split(1, 0)?;
            starts.extend(noise.into_iter().enumerate().map(|(number, noise)| (index, number, noise)));
        }
        let parts = budget.parts_of_structures(starts.len())?;
        let all = starts.len() * sampling.steps;
        let mut samples = in_parts(parts, |range| {
            let (first, starts) = (range.start * sampling.steps, &starts[range]);
            let noise = Tensor::f_cat(&starts.iter().map(|(.., noise)| noise).collect::<Vec<_>>(), 0)?;
            let condition = self.condition(starts.iter().map(|(job, ..)| *job))?;
            let on_step: &mut OnStep = &mut |step, _| report(first + step * starts.len(), all);
            let latents = generator.sample_structure(noise, &condition, sampling, on_step)?;
            let found = decoders.voxels(&decoders.structure(&latents)?)?;
            let sample = |(&(job, number, _), voxels): (&(usize, usize, Tensor), Tensor)| Sample {
                job,
                number,
                voxels,
            };
            Ok(starts.iter().zip(found).map(sample).collect())
        })?;
        // A sample without voxels has no rows in the noise and nothing to go on with.
        samples.retain(|sample| voxel_count(&sample.voxels) > 0);
        Ok(samples)
    }

    /// What stands for the first stage where shapes are given.
    fn take_voxels(&self, device: Device) -> Result<Vec<Sample>> {
        let mut samples = Vec::new();
        for (job, Job { request, .. }) in self.jobs.iter().enumerate() {
            let Input::Variant { mesh, .. } = &request.input else { continue };
            let flat: Vec<i32> = voxelize(mesh)?.into_flattened().into_iter().map(i32::from).collect();
            let voxels = Tensor::f_from_slice(&flat)?.f_view([-1, 3])?.f_to_device(device)?;
            samples.extend((0..request.options.samples).map(|number| Sample {
                job,
                number,
                voxels: voxels.shallow_clone(),
            }));
        }
        Ok(samples)
    }

    /// The second stage: the latents of each sample on a grid of its own.
    fn sample_latents(
        &mut self,
        samples: &[Sample],
        sampling: &Sampling,
        device: Device,
        report: &mut Report,
    ) -> Result<Vec<SparseTensor>> {
        let Models { generator, budget, .. } = self.models;
        let counts: Vec<i64> = samples.iter().map(|sample| voxel_count(&sample.voxels)).collect();
        // What will not fit shows before time is spent on sampling.
        budget.check_meshes(&self.voxels_of_meshes(samples))?;
        let parts = budget.parts_of_latents(&counts)?;
        let noise = self.draw_latents(samples, device)?;
        let all = samples.len() * sampling.steps;
        in_parts(parts, |range| {
            let (first, members) = (range.start * sampling.steps, &samples[range.clone()]);
            let grid = join_voxels(&members.iter().map(|sample| &sample.voxels).collect::<Vec<_>>())?;
            let condition = self.condition(members.iter().map(|sample| sample.job))?;
            let on_step: &mut OnStep = &mut |step, _| report(first + step * members.len(), all);
            let noise = Tensor::f_cat(&noise[range], 0)?;
            let slat = generator.sample_slat(noise, &grid, &condition, sampling, on_step)?;
            divide(&grid, &generator.denormalize(&slat)?, members)
        })
    }

    fn voxels_of_meshes(&self, samples: &[Sample]) -> Vec<i64> {
        let of_meshes = samples.iter().filter(|sample| self.wants(sample, Stage::Mesh));
        of_meshes.map(|sample| voxel_count(&sample.voxels)).collect()
    }

    /// Each sample's noise; a job's samples share one draw.
    fn draw_latents(&mut self, samples: &[Sample], device: Device) -> Result<Vec<Tensor>> {
        let mut noise = Vec::new();
        for (index, job) in self.jobs.iter_mut().enumerate() {
            let own = samples.iter().filter(|sample| sample.job == index);
            let counts: Vec<i64> = own.map(|sample| voxel_count(&sample.voxels)).collect();
            if !counts.is_empty() {
                let shape = self.models.generator.slat_noise_shape(counts.iter().sum());
                noise.extend(job.noise.draw(&shape, device)?.f_split_with_sizes(&counts, 0)?);
            }
        }
        Ok(noise)
    }

    /// The conditions of samples of these jobs, a row for each.
    fn condition(&self, jobs: impl Iterator<Item = usize> + Clone) -> Result<Condition> {
        let images = (0..self.plan.conditions).map(|index| {
            let rows: Vec<&Tensor> = jobs.clone().map(|job| &self.jobs[job].encodings[index]).collect();
            match &rows[..] {
                [one] => Ok(one.shallow_clone()),
                several => Ok(Tensor::f_cat(several, 0)?),
            }
        });
        let images = images.collect::<Result<Vec<_>>>()?;
        let first = images.first().ok_or_else(|| Error::InvalidInput("there is nothing to follow".into()))?;
        Ok(Condition {
            negative: self.models.generator.negative(first)?,
            images,
            multi_image: self.plan.multi_image,
        })
    }

    /// What is asked for of each sample, kind by kind.
    fn decode(
        &self,
        samples: &[Sample],
        latents: &[SparseTensor],
        run: &mut Run,
    ) -> Result<Vec<Result<Decoded>>> {
        let mut decoded: Vec<Result<Decoded>> = samples.iter().map(|_| Ok(Decoded::default())).collect();
        for stage in [Stage::Mesh, Stage::Gaussians, Stage::RadianceField] {
            let wanted = |index: &usize| self.wants(&samples[*index], stage);
            let members: Vec<usize> = (0..samples.len()).filter(wanted).collect();
            if members.is_empty() {
                continue;
            }
            run.stage(stage, |report| {
                for (done, &index) in members.iter().enumerate() {
                    if done > 0 {
                        report(done, members.len())?;
                    }
                    let Ok(object) = &mut decoded[index] else { continue };
                    match object.add(stage, self.models.decoders, &latents[index]) {
                        Err(error @ Error::Empty(_)) => decoded[index] = Err(error),
                        result => result?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(decoded)
    }

    fn wants(&self, sample: &Sample, stage: Stage) -> bool {
        let outputs = self.jobs[sample.job].request.options.outputs;
        match stage {
            Stage::Mesh => outputs.mesh,
            Stage::Gaussians => outputs.gaussians,
            Stage::RadianceField => outputs.radiance_field,
            Stage::Encode | Stage::SparseStructure | Stage::StructuredLatent => false,
        }
    }

    fn hand_out(
        &self,
        samples: &[Sample],
        decoded: Vec<Result<Decoded>>,
        run: &Run,
    ) -> Vec<Result<Vec<Asset>>> {
        let mut results: Vec<Vec<Result<Asset>>> = self.jobs.iter().map(|_| Vec::new()).collect();
        for (sample, decoded) in samples.iter().zip(decoded) {
            let asset = decoded.map(|Decoded { mesh, gaussians, radiance_field }| Asset {
                mesh,
                gaussians,
                radiance_field,
                seed: self.jobs[sample.job].request.options.seed,
                sample: sample.number,
                voxels: voxel_count(&sample.voxels) as usize,
                timings: run.timings.clone(),
                peak_memory: run.peak_memory,
            });
            results[sample.job].push(asset);
        }
        results.into_iter().map(found).collect()
    }
}

/// The samples that hold an object; if none does, why.
fn found(samples: Vec<Result<Asset>>) -> Result<Vec<Asset>> {
    let mut reason = Error::Empty("no active voxel");
    let mut assets = Vec::new();
    for sample in samples {
        match sample {
            Ok(asset) => assets.push(asset),
            Err(error) => reason = error,
        }
    }
    if assets.is_empty() { Err(reason) } else { Ok(assets) }
}

fn voxel_count(voxels: &Tensor) -> i64 {
    voxels.size().first().copied().unwrap_or_default()
}

/// Latents on a grid of several samples, each on a grid of its own.
fn divide(grid: &Rc<Grid>, slat: &Tensor, samples: &[Sample]) -> Result<Vec<SparseTensor>> {
    if samples.len() == 1 {
        return Ok(vec![SparseTensor::new(Rc::clone(grid), slat.shallow_clone())?]);
    }
    let parts = slat.f_split_with_sizes(grid.lengths(), 0)?;
    let alone = |(sample, part): (&Sample, Tensor)| SparseTensor::new(join_voxels(&[&sample.voxels])?, part);
    samples.iter().zip(parts).map(alone).collect()
}
