//! Measures the way from a decoded surface to a textured one: `cargo run --release -p trellis-asset --example finish -- --faces 600000`.
//!
//! The surface is a bumpy sphere with as many faces as asked, the Gaussians lie around it as the decoder's do: 32 to each voxel of a 64³ grid
//! that the surface goes through. Both have the colours of one pattern, so that the error of the texture can be told.
//!
//! With `--noise` the surface is the worst that a decoder could make: the borders of voxels that are full at random.
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use trellis_asset::formats::{self, Format};
use trellis_asset::postprocess::{Options, Target, postprocess};
use trellis_asset::texture::{Source, bake};
use trellis_asset::{Gaussians, Mesh, Paint};

/// Voxels of the structure along each axis.
const VOXELS: f32 = 64.0;
/// Gaussians of each voxel.
const PER_VOXEL: usize = 32;

/// Voxels of a large structure.
const MAX_VOXELS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let faces = option("--faces")?.unwrap_or(600_000);
    let size = option("--texture")?.unwrap_or(1024);
    let runs = option("--runs")?.unwrap_or(5).max(1);
    let mesh = if std::env::args().any(|argument| argument == "--noise") {
        noise(((faces as f64 / 2.88).cbrt().round() as usize).max(2))
    } else {
        surface(((faces as f64 / 12.0).sqrt().round() as usize).max(2))
    };
    let gaussians = gaussians_around(&mesh);
    println!(
        "{} faces, {} Gaussians, texture of {size} × {size}, {} threads, {runs} runs",
        mesh.faces.len(),
        gaussians.positions.len(),
        rayon::current_num_threads()
    );
    let mut all: Vec<Vec<(&str, Duration)>> = vec![];
    for run in 0..runs {
        let start = Instant::now();
        // The colours come from the Gaussians.
        let bare = Mesh { paint: Paint::None, ..mesh.clone() };
        let cloned = Instant::now();
        let options = Options { simplify: Target::Ratio(0.95), ..Options::default() };
        let (simplified, processed) = postprocess(&bare, &options)?;
        let (textured, baked) = bake(&simplified, Source::Gaussians(&gaussians), u32::try_from(size)?)?;
        let writing = Instant::now();
        let file = formats::write(&textured, Format::Glb, &formats::Options::default())?;
        let mut stages = [processed.stages.clone(), baked.stages.clone()].concat();
        stages.push(("GLB", writing.elapsed()));
        stages.push(("total", start.elapsed().saturating_sub(cloned - start)));
        all.push(stages);
        if run == 0 {
            println!(
                "{} faces, error {:.5}; {} vertices, {} texels, {} without a colour, mean error {:.4}; {} bytes",
                processed.faces_after,
                processed.error,
                textured.vertices.len(),
                baked.texels,
                baked.texels - baked.colored,
                mean_error(&textured),
                file.len()
            );
            if let Some(folder) = text_option("--out") {
                save(&textured, &file, folder.as_ref())?;
            }
        }
    }
    print_table(&all);
    Ok(())
}

fn text_option(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn option(name: &str) -> Result<Option<usize>, std::num::ParseIntError> {
    text_option(name).map(|value| value.parse()).transpose()
}

fn save(mesh: &Mesh, file: &[u8], folder: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("finished.glb"), file)?;
    if let Paint::Texture { picture, .. } = &mesh.paint {
        picture.save(folder.join("texture.png"))?;
    }
    Ok(())
}

/// Median and least milliseconds of each stage.
fn print_table(runs: &[Vec<(&str, Duration)>]) {
    println!("\n| stage | median ms | min ms |\n|---|---|---|");
    for (index, (name, _)) in runs[0].iter().enumerate() {
        let mut times: Vec<f64> = runs.iter().map(|stages| stages[index].1.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.1} | {:.1} |", times[times.len() / 2], times[0]);
    }
}

/// A cube whose sides are divided into `side`² squares, blown up into a bumpy sphere.
fn surface(side: usize) -> Mesh {
    let mut numbers = std::collections::HashMap::new();
    let (mut vertices, mut faces) = (vec![], vec![]);
    let last = side as i64;
    for cube_side in 0..6 {
        let corner = |i: usize, j: usize| {
            let (a, b) = (2 * i as i64 - last, 2 * j as i64 - last);
            match cube_side {
                0 => [last, a, b],
                1 => [-last, b, a],
                2 => [a, -last, b],
                3 => [b, last, a],
                4 => [a, b, last],
                _ => [b, a, -last],
            }
        };
        let mut vertex = |i, j| {
            let corner = corner(i, j);
            *numbers.entry(corner).or_insert_with(|| {
                let angles = corner.map(|x| (x as f32 / last as f32 * std::f32::consts::FRAC_PI_4).tan());
                vertices.push(bumpy(normalised(angles)));
                vertices.len() as u32 - 1
            })
        };
        for (i, j) in (0..side).flat_map(|i| (0..side).map(move |j| (i, j))) {
            let [a, b, c, d] = [vertex(i, j), vertex(i + 1, j), vertex(i + 1, j + 1), vertex(i, j + 1)];
            faces.extend([[a, b, c], [a, c, d]]);
        }
    }
    let colors = vertices.iter().map(|&vertex| pattern(vertex)).collect();
    Mesh::new(vertices, faces, Paint::Vertices(colors))
}

/// The borders between the full and the empty ones of `side`³ voxels, of which two in five are full, with vertices moved a little.
fn noise(side: usize) -> Mesh {
    let mut random = random();
    let corners = side + 1;
    let full: Vec<bool> = (0..side * side * side).map(|_| random() < 0.4).collect();
    let is_full = |voxel: [usize; 3]| {
        voxel.iter().all(|&at| at < side) && full[(voxel[0] * side + voxel[1]) * side + voxel[2]]
    };
    let mut vertex = |at: usize| {
        let corner = [at / (corners * corners), at / corners % corners, at % corners];
        corner.map(|x| (x as f32 + 0.2 * random()) / side as f32 - 0.5)
    };
    let vertices: Vec<[f32; 3]> = (0..corners * corners * corners).map(&mut vertex).collect();
    let number = |[x, y, z]: [usize; 3]| ((x * corners + y) * corners + z) as u32;
    let mut faces = vec![];
    for at in 0..corners * corners * corners {
        let voxel = [at / (corners * corners), at / corners % corners, at % corners];
        for axis in 0..3 {
            let mut before = voxel;
            before[axis] = before[axis].wrapping_sub(1);
            if is_full(voxel) != is_full(before) {
                let corner = |steps: [usize; 2]| {
                    let mut corner = voxel;
                    corner[(axis + 1) % 3] += steps[0];
                    corner[(axis + 2) % 3] += steps[1];
                    number(corner)
                };
                let [a, b, c, d] = [[0, 0], [1, 0], [1, 1], [0, 1]].map(corner);
                faces.extend(if is_full(before) { [[a, b, c], [a, c, d]] } else { [[a, c, b], [a, d, c]] });
            }
        }
    }
    Mesh::new(vertices, faces, Paint::None)
}

/// Numbers in 0..1, always the same.
fn random() -> impl FnMut() -> f32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

fn normalised(v: [f32; 3]) -> [f32; 3] {
    let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.map(|x| x / length)
}

fn bumpy([x, y, z]: [f32; 3]) -> [f32; 3] {
    let bumps = 0.02 * (23.0 * x).sin() * (19.0 * y).sin() + 0.01 * (41.0 * z).sin() * (37.0 * x).cos();
    [x, y, z].map(|x| x * (0.42 + bumps))
}

/// Colours that change slowly with thin dark lines between.
fn pattern(point: [f32; 3]) -> [f32; 3] {
    let [x, y, z] = normalised(point);
    let line = [x, y, z].iter().any(|&x| (x * 6.0 + 0.5).rem_euclid(1.0) < 0.06);
    if line { [0.1, 0.1, 0.15] } else { [x, y, z].map(|x| 0.5 + 0.45 * (3.0 * x).sin()) }
}

/// Gaussians within three quarters of a voxel around each voxel that has a vertex, moved to the surface, as trained ones are.
fn gaussians_around(mesh: &Mesh) -> Gaussians {
    let voxel = |vertex: &[f32; 3]| vertex.map(|x| ((x + 0.5) * VOXELS) as u32);
    let mut voxels: Vec<[u32; 3]> = mesh.vertices.iter().map(voxel).collect();
    voxels.sort_unstable();
    voxels.dedup();
    let mut random = random();
    let mut gaussians = Gaussians::default();
    // As many as a decoder makes at most.
    let every = voxels.len() / MAX_VOXELS + 1;
    for voxel in voxels.iter().step_by(every).flat_map(|voxel| [voxel; PER_VOXEL]) {
        let place = voxel.map(|x| (x as f32 + 0.5 + 1.5 * (random() - 0.5)) / VOXELS - 0.5);
        let depth = 1.0 - 0.008 * random();
        let position = bumpy(normalised(place)).map(|x| x * depth);
        gaussians.positions.push(position);
        gaussians.harmonics.push(pattern(position).map(|x| (x - 0.5) / 0.282_094_8));
        gaussians.opacities.push(0.3 + 0.69 * random());
        gaussians.scales.push([0; 3].map(|_: u8| 0.0015 + 0.002 * random()));
        gaussians.rotations.push([0; 4].map(|_: u8| random() - 0.5));
    }
    gaussians
}

/// The mean absolute difference between the texture at the middles of the faces and the pattern, 0..1.
fn mean_error(mesh: &Mesh) -> f32 {
    let Paint::Texture { coordinates, picture } = &mesh.paint else { return f32::NAN };
    let middle =
        |face: &[u32; 3], axis: usize| face.iter().map(|&v| coordinates[v as usize][axis]).sum::<f32>() / 3.0;
    let error = |face: &[u32; 3]| {
        let point = [0, 1, 2].map(|axis| face.iter().map(|&v| mesh.vertices[v as usize][axis]).sum::<f32>());
        let [x, y] = [0, 1].map(|axis| (middle(face, axis) * picture.width() as f32) as u32);
        let pixel = picture.get_pixel(x.min(picture.width() - 1), y.min(picture.height() - 1));
        let expected = pattern(point);
        (0..3).map(|channel| (f32::from(pixel[channel]) / 255.0 - expected[channel]).abs()).sum::<f32>() / 3.0
    };
    mesh.faces.iter().map(error).sum::<f32>() / mesh.faces.len() as f32
}
