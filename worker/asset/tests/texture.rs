//! Textures: where the surface lies in the picture, and that its colours are right.

use trellis_asset::radiance_field::{RANK, SAMPLES};
use trellis_asset::texture::{Source, bake, unwrap};
use trellis_asset::{Error, Gaussians, Mesh, Paint, RadianceField};

const HARMONIC: f32 = 0.282_094_8;
const RADIUS: f32 = 0.4;

fn normalised(v: [f32; 3]) -> [f32; 3] {
    let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
    v.map(|x| x / length)
}

/// A sphere: an octahedron whose faces are divided into `parts`² each.
fn sphere(parts: u32) -> Mesh {
    let (mut vertices, mut faces) = (vec![], vec![]);
    for octant in 0..8u32 {
        let sign = [0, 1, 2].map(|axis| if octant >> axis & 1 == 1 { -1.0 } else { 1.0 });
        let first = vertices.len() as u32;
        let row = |i: u32| first + i * (parts + 1) - i * i.saturating_sub(1) / 2;
        for (i, j) in (0..=parts).flat_map(|i| (0..=parts - i).map(move |j| (i, j))) {
            let direction = normalised([i, j, parts - i - j].map(|x| x as f32));
            vertices.push([0, 1, 2].map(|axis| direction[axis] * sign[axis] * RADIUS));
            let mut face =
                |a, b, c| faces.push(if octant.count_ones() % 2 == 0 { [a, b, c] } else { [a, c, b] });
            if i + j < parts {
                face(row(i) + j, row(i + 1) + j, row(i) + j + 1);
            }
            if i + j + 1 < parts {
                face(row(i + 1) + j, row(i + 1) + j + 1, row(i) + j + 1);
            }
        }
    }
    let mesh = Mesh::new(vertices, faces, Paint::None);
    match trellis_asset::postprocess::clean(&mesh) {
        Ok(mesh) => Mesh::new(mesh.vertices, mesh.faces, Paint::None),
        Err(error) => panic!("{error}"),
    }
}

fn pattern(point: [f32; 3]) -> [f32; 3] {
    normalised(point).map(|x| 0.5 + 0.45 * (5.0 * x).sin())
}

fn random() -> impl FnMut() -> f32 {
    let mut state = 1u64;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    }
}

/// Gaussians in a thin layer at the given distance from the centre.
fn shell(count: usize, radius: f32, color: impl Fn([f32; 3]) -> [f32; 3]) -> Gaussians {
    let mut random = random();
    let mut gaussians = Gaussians::default();
    while gaussians.positions.len() < count {
        let place = [0; 3].map(|_: u8| 2.0 * random() - 1.0);
        let length = place.iter().map(|x| x * x).sum::<f32>().sqrt();
        if (0.1..1.0).contains(&length) {
            let depth = radius + 0.004 * (random() - 0.5);
            let position = place.map(|x| x / length * depth);
            gaussians.positions.push(position);
            gaussians.harmonics.push(color(position).map(|x| (x - 0.5) / HARMONIC));
            gaussians.opacities.push(0.2 + 0.79 * random());
            gaussians.scales.push([0; 3].map(|_: u8| 0.004 + 0.004 * random()));
            gaussians.rotations.push([0; 4].map(|_: u8| random() - 0.5));
        }
    }
    gaussians
}

fn texture(mesh: &Mesh) -> (&[[f32; 2]], &image::RgbImage) {
    match &mesh.paint {
        Paint::Texture { coordinates, picture } => (coordinates, picture),
        other => panic!("no texture: {other:?}"),
    }
}

/// The colour of a point of a face, as a viewer interpolates it between texels.
fn look_up(mesh: &Mesh, face: [u32; 3], shares: [f32; 3]) -> [f32; 3] {
    let (coordinates, picture) = texture(mesh);
    let [u, v]: [f32; 2] = [0, 1]
        .map(|axis| (0..3).map(|corner| shares[corner] * coordinates[face[corner] as usize][axis]).sum());
    let [width, height] = [picture.width(), picture.height()].map(|side| side as f32);
    let at = [u * width - 0.5, v * height - 0.5].map(|x: f32| x.max(0.0));
    let (low, part) = (at.map(|x| x as u32), at.map(f32::fract));
    let pixel = |dx: u32, dy: u32| {
        picture.get_pixel((low[0] + dx).min(width as u32 - 1), (low[1] + dy).min(height as u32 - 1))
    };
    [0, 1, 2].map(|channel| {
        let value = |dx, dy| f32::from(pixel(dx, dy)[channel]) / 255.0;
        let row = |dy| value(0, dy) * (1.0 - part[0]) + value(1, dy) * part[0];
        row(0) * (1.0 - part[1]) + row(1) * part[1]
    })
}

/// Mean and greatest difference to what is expected, at the middles of the faces, near their corners and on their sides.
fn errors(mesh: &Mesh, expected: impl Fn([f32; 3]) -> [f32; 3]) -> (f32, f32) {
    let (mut sum, mut greatest, mut count) = (0.0f32, 0.0f32, 0.0f32);
    for face in &mesh.faces {
        for shares in [[1.0 / 3.0; 3], [0.98, 0.01, 0.01], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]] {
            let point = [0, 1, 2].map(|axis| {
                (0..3).map(|corner| shares[corner] * mesh.vertices[face[corner] as usize][axis]).sum::<f32>()
            });
            let (color, expected) = (look_up(mesh, *face, shares), expected(point));
            let error = (0..3).map(|channel| (color[channel] - expected[channel]).abs()).fold(0.0, f32::max);
            (sum, greatest, count) = (sum + error, greatest.max(error), count + 1.0);
        }
    }
    (sum / count, greatest)
}

#[test]
fn pieces_lie_apart_in_the_picture_and_every_face_has_a_place() {
    let size = 512usize;
    let mesh = unwrap(&sphere(16), size as u32).unwrap();
    let (coordinates, _) = texture(&mesh);
    assert_eq!(mesh.faces.len(), 8 * 16 * 16);
    assert!(coordinates.as_flattened().iter().all(|x| (0.0..=1.0).contains(x)));

    let mut pieces: Vec<usize> = (0..coordinates.len()).collect();
    for _ in 0..64 {
        for face in &mesh.faces {
            let least = face.iter().map(|&vertex| pieces[vertex as usize]).min().unwrap();
            face.iter().for_each(|&vertex| pieces[vertex as usize] = least);
        }
    }
    let mut owner = vec![usize::MAX; size * size];
    for face in &mesh.faces {
        let [a, b, c] = face.map(|vertex| coordinates[vertex as usize].map(|x| x * size as f32));
        let area = |a: [f32; 2], b: [f32; 2], c: [f32; 2]| {
            (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        };
        let whole = area(a, b, c);
        assert!(whole.abs() > 1.0, "a face of {whole} texels");
        for (y, x) in (0..size).flat_map(|y| (0..size).map(move |x| (y, x))) {
            let at = [x as f32 + 0.5, y as f32 + 0.5];
            let near = |axis: usize| (a[axis] - at[axis]).abs() < 64.0;
            let inside = |part: f32| part / whole > 1e-3;
            if near(0) && near(1) && [area(b, c, at), area(c, a, at), area(a, b, at)].into_iter().all(inside)
            {
                assert_eq!(owner[y * size + x], usize::MAX, "two faces share the texel {x}, {y}");
                owner[y * size + x] = pieces[face[0] as usize];
            }
        }
    }
    let taken = owner.iter().filter(|owner| **owner != usize::MAX).count();
    assert!(taken * 2 > size * size, "{taken} texels of {}", size * size);
    for (y, x) in (3..size - 3).flat_map(|y| (3..size - 3).map(move |x| (y, x))) {
        let this = owner[y * size + x];
        for (dy, dx) in (0..7).flat_map(|dy| (0..7).map(move |dx| (dy, dx))) {
            let other = owner[(y + dy - 3) * size + x + dx - 3];
            assert!(
                this == usize::MAX || other == usize::MAX || this == other,
                "two pieces meet at {x}, {y}"
            );
        }
    }
}

#[test]
fn thousands_of_pieces_lie_apart_and_keep_their_shapes() {
    let (size, count) = (512usize, 20_000u32);
    let mut random = random();
    let mut vertices = vec![];
    for _ in 0..count {
        let middle = [0; 3].map(|_: u8| random() - 0.5);
        vertices.extend([0; 3].map(|_: u8| middle.map(|x| x + 0.02 * (random() - 0.5))));
    }
    let faces = (0..count).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect();
    let mesh = unwrap(&Mesh::new(vertices, faces, Paint::None), size as u32).unwrap();
    let (coordinates, _) = texture(&mesh);
    assert_eq!(mesh.faces.len(), count as usize);

    let mut taken = vec![false; size * size];
    let (mut least, mut greatest) = (f32::INFINITY, 0.0f32);
    for face in &mesh.faces {
        let corners = face.map(|vertex| coordinates[vertex as usize].map(|x| x * size as f32));
        let [columns, rows] = [0, 1].map(|axis| {
            let at = corners.map(|corner| corner[axis]);
            let low = at.into_iter().fold(f32::INFINITY, f32::min);
            low as usize..at.into_iter().fold(0.0, f32::max).ceil() as usize
        });
        for (x, y) in columns.flat_map(|x| rows.clone().map(move |y| (x, y))) {
            assert!(
                !std::mem::replace(&mut taken[y * size + x], true),
                "two pieces share the texel {x}, {y}"
            );
        }
        let length = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        for (a, b) in [(0, 1), (1, 2), (2, 0)] {
            let [from, to] = [a, b].map(|corner: usize| mesh.vertices[face[corner] as usize]);
            if length(&from, &to) > 0.002 {
                let scale = length(&corners[a], &corners[b]) / length(&from, &to);
                (least, greatest) = (least.min(scale), greatest.max(scale));
            }
        }
    }
    assert!(greatest < 1.05 * least, "between {least} and {greatest} texels to a unit");
}

#[test]
fn gaussians_give_their_colours_without_a_seam() {
    let gaussians = shell(60_000, RADIUS, pattern);
    let (mesh, report) = bake(&sphere(12), Source::Gaussians(&gaussians), 256).unwrap();
    assert_eq!(report.colored, report.texels);
    let (mean, greatest) = errors(&mesh, pattern);
    assert!(mean < 0.015 && greatest < 0.12, "mean error {mean}, greatest {greatest}");
}

#[test]
fn what_lies_beneath_the_surface_does_not_show() {
    let mut gaussians = shell(60_000, RADIUS, |_| [0.9, 0.2, 0.2]);
    let below = shell(60_000, RADIUS - 0.015, |_| [0.0, 0.0, 1.0]);
    gaussians.positions.extend(below.positions);
    gaussians.harmonics.extend(below.harmonics);
    gaussians.opacities.extend(below.opacities);
    gaussians.scales.extend(below.scales);
    gaussians.rotations.extend(below.rotations);
    let (mesh, _) = bake(&sphere(12), Source::Gaussians(&gaussians), 128).unwrap();
    let (mean, _) = errors(&mesh, |_| [0.9, 0.2, 0.2]);
    assert!(mean < 0.03, "mean error {mean}");
}

#[test]
fn a_wall_close_by_keeps_its_colour_to_itself() {
    // Two parallel walls that face each other across half a voxel, red and green, each 0.8 wide.
    let wall = |x: f32| [[x, -0.4, -0.4], [x, 0.4, -0.4], [x, 0.4, 0.4], [x, -0.4, 0.4]];
    let vertices = [wall(0.0), wall(0.006)].concat();
    let faces = vec![[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6]];
    let walls = Mesh {
        normals: [vec![[1.0, 0.0, 0.0]; 4], vec![[-1.0, 0.0, 0.0]; 4]].concat(),
        ..Mesh::new(vertices, faces, Paint::None)
    };
    let (mut gaussians, mut random) = (Gaussians::default(), random());
    for index in 0..60_000 {
        let [x, color] = if index % 2 == 0 { [0.0, 0.9] } else { [0.006, 0.1] };
        gaussians.positions.push([x, 0.9 * random() - 0.45, 0.9 * random() - 0.45]);
        gaussians.harmonics.push([(color - 0.5) / HARMONIC, (0.5 - color) / HARMONIC, 0.0]);
        gaussians.opacities.push(0.9);
        gaussians.scales.push([0.0005, 0.005, 0.005]);
        gaussians.rotations.push([1.0, 0.0, 0.0, 0.0]);
    }
    let (mesh, _) = bake(&walls, Source::Gaussians(&gaussians), 64).unwrap();
    let (mean, greatest) = errors(&mesh, |[x, ..]| if x < 0.003 { [0.9, 0.1, 0.5] } else { [0.1, 0.9, 0.5] });
    assert!(mean < 0.02 && greatest < 0.1, "mean error {mean}, greatest {greatest}");
}

#[test]
fn a_radiance_field_gives_its_colours() {
    let mut field = RadianceField::default();
    let logit = |x: f32| (x / (1.0 - x)).ln();
    for (x, y, z) in (0..64).flat_map(|x| (0..64).flat_map(move |y| (0..64).map(move |z| (x, y, z)))) {
        let centre = [x, y, z].map(|i| (i as f32 + 0.5) / 64.0);
        let place = centre.map(|x| x - 0.5);
        let distance = place.iter().map(|x| x * x).sum::<f32>().sqrt();
        if (distance - RADIUS).abs() < 1.5 / 64.0 {
            field.positions.push(centre);
            field.vectors.push([[[1.0; SAMPLES]; 3]; RANK]);
            field.density.push([300.0 / RANK as f32; RANK]);
            field.harmonics.push([pattern(place).map(|x| logit(x) / HARMONIC / RANK as f32); RANK]);
        }
    }
    let (mesh, _) = bake(&sphere(10), Source::RadianceField(&field), 128).unwrap();
    // Each voxel has one colour: half a voxel is 3 % of the way between the extremes.
    let (mean, _) = errors(&mesh, pattern);
    assert!(mean < 0.05, "mean error {mean}");
}

#[test]
fn a_finer_mesh_gives_its_colours() {
    let fine = sphere(64);
    let colors = fine.vertices.iter().map(|&vertex| pattern(vertex)).collect();
    let fine = Mesh { paint: Paint::Vertices(colors), ..fine };
    let (mesh, _) = bake(&sphere(8), Source::Surface(&fine), 256).unwrap();
    let (mean, greatest) = errors(&mesh, pattern);
    assert!(mean < 0.01 && greatest < 0.1, "mean error {mean}, greatest {greatest}");

    // And a texture as good as the one it is read from.
    let (again, _) = bake(&sphere(8), Source::Surface(&mesh), 256).unwrap();
    let (mean, _) = errors(&again, pattern);
    assert!(mean < 0.02, "mean error {mean}");
}

#[test]
fn one_thread_and_five_make_the_same_texture() {
    let (mesh, gaussians) = (sphere(10), shell(20_000, RADIUS, pattern));
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bake(&mesh, Source::Gaussians(&gaussians), 128).unwrap().0)
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn bad_input_is_an_error_or_is_passed_over() {
    let (mesh, mut gaussians) = (sphere(4), shell(20_000, RADIUS, |_| [0.25, 0.5, 0.75]));
    for (index, bad) in [f32::NAN, f32::INFINITY, 1e30, -1e30, 0.0].into_iter().enumerate() {
        gaussians.positions[5 * index][1] = bad;
        gaussians.harmonics[5 * index + 1][2] = bad.min(0.0);
        gaussians.opacities[5 * index + 2] = bad.min(1.0);
        gaussians.scales[5 * index + 3] = [bad.min(0.0); 3];
        gaussians.rotations[5 * index + 4] = [bad; 4];
    }
    let (textured, _) = bake(&mesh, Source::Gaussians(&gaussians), 64).unwrap();
    assert!(errors(&textured, |_| [0.25, 0.5, 0.75]).0 < 0.02);
    gaussians.scales.pop();
    assert!(matches!(bake(&mesh, Source::Gaussians(&gaussians), 64), Err(Error::Damaged(_))));

    // Nothing to see: grey all over.
    let (grey, report) = bake(&mesh, Source::Gaussians(&Gaussians::default()), 64).unwrap();
    assert!(report.colored == 0 && errors(&grey, |_| [0.5; 3]).1 < 0.01);
    let (grey, _) = bake(&mesh, Source::RadianceField(&RadianceField::default()), 64).unwrap();
    assert!(errors(&grey, |_| [0.5; 3]).1 < 0.01);

    let source = Source::Surface(&mesh);
    assert!(matches!(bake(&mesh, source, 0), Err(Error::InvalidInput(_))));
    assert!(
        matches!(bake(&sphere(20), source, 16), Err(Error::InvalidInput(what)) if what.contains("faces"))
    );
    let empty = Mesh::new(vec![], vec![], Paint::None);
    assert!(matches!(bake(&empty, source, 64), Err(Error::Empty(_))));
    let mut damaged = mesh.clone();
    damaged.faces[3][1] = 1 << 20;
    assert!(matches!(bake(&damaged, source, 64), Err(Error::Damaged(_))));
    damaged = mesh.clone();
    damaged.vertices[3][1] = f32::NAN;
    assert!(matches!(bake(&damaged, source, 64), Err(Error::Damaged(_))));
}
