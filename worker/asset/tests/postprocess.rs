//! Meshes as decoders make them, and worse, on their way to ones that people use.

use std::f32::consts::PI;

use trellis_asset::postprocess::{Options, Target, postprocess};
use trellis_asset::{Error, Mesh, Paint};

/// A bumpy sphere of `2 · around²` faces, nearly, with colours that follow its height.
fn sphere(around: u32, centre: [f32; 3], radius: f32, inwards: bool) -> Mesh {
    let (mut vertices, rings) = (vec![], around);
    for ring in 0..=rings {
        let (ring_radius, z) = (PI * ring as f32 / rings as f32).sin_cos();
        for step in 0..around {
            let (y, x) = (2.0 * PI * step as f32 / around as f32).sin_cos();
            let bump = radius * (1.0 + 0.05 * (9.0 * z).sin() * ring_radius);
            let direction = [x * ring_radius, y * ring_radius, -z];
            vertices.push(std::array::from_fn(|axis| centre[axis] + bump * direction[axis]));
        }
    }
    let mut faces = vec![];
    for (ring, step) in (0..rings).flat_map(|ring| (0..around).map(move |step| (ring, step))) {
        let at = |ring: u32, step: u32| match ring {
            0 => 0,
            last if last == rings => rings * around,
            _ => ring * around + step % around,
        };
        let [a, b, c, d] = [at(ring, step), at(ring, step + 1), at(ring + 1, step + 1), at(ring + 1, step)];
        faces.extend([[a, b, c], [a, c, d]].map(|[a, b, c]| if inwards { [a, c, b] } else { [a, b, c] }));
    }
    let colors = vertices.iter().map(|v: &[f32; 3]| [0.5 + v[2], 0.25, 0.5]).collect();
    Mesh::new(vertices, faces, Paint::Vertices(colors))
}

fn together(meshes: &[Mesh]) -> Mesh {
    let (mut vertices, mut faces, mut colors) = (vec![], vec![], vec![]);
    for mesh in meshes {
        let offset = vertices.len() as u32;
        vertices.extend(&mesh.vertices);
        faces.extend(mesh.faces.iter().map(|face| face.map(|vertex| vertex + offset)));
        let Paint::Vertices(more) = &mesh.paint else { unreachable!() };
        colors.extend(more);
    }
    Mesh::new(vertices, faces, Paint::Vertices(colors))
}

fn keep() -> Options {
    Options { simplify: Target::Keep, ..Options::default() }
}

/// How far a point of the sphere is from the sphere without bumps, at most.
fn farthest(mesh: &Mesh) -> f32 {
    let radius = |v: &[f32; 3]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    mesh.vertices.iter().map(radius).fold(0.0, f32::max)
}

#[test]
fn floaters_inner_shells_and_holes_go_and_the_rest_stays() {
    let mut outer = sphere(120, [0.0; 3], 0.4, false);
    // A hole of three by three squares.
    let hole = |face: usize| (40..43).contains(&(face / 240)) && (20..26).contains(&(face % 240));
    let mut index = 0..;
    outer.faces.retain(|_| !hole(index.next().unwrap()));
    let speck = sphere(8, [0.45, 0.45, 0.45], 0.005, false);
    let wanted = sphere(40, [0.45, -0.45, 0.45], 0.05, false);
    let all = together(&[outer, sphere(60, [0.0; 3], 0.3, true), speck, wanted.clone()]);
    let (mesh, report) = postprocess(&all, &keep()).unwrap();
    assert_eq!((report.floaters, report.holes, report.hidden), (1, 1, 1));
    let whole = sphere(120, [0.0; 3], 0.4, false);
    let expected = whole.faces.len() - 2 * 120 + wanted.faces.len() - 2 * 40 - 18 + 10;
    assert_eq!(mesh.faces.len(), expected);
    assert!(report.error == 0.0 && report.faces_after == expected);
}

#[test]
fn an_inner_shell_goes_however_near_it_comes_to_what_is_seen() {
    for distance in [0.05, 0.002, 0.0004] {
        let shells = [sphere(150, [0.0; 3], 0.4, false), sphere(150, [0.0; 3], 0.4 - distance, true)];
        let (mesh, report) = postprocess(&together(&shells), &keep()).unwrap();
        assert_eq!(report.hidden, 1, "{distance}");
        assert!((farthest(&mesh) - 0.42).abs() < 0.005, "{distance}: the outer one is left");
    }
}

#[test]
fn a_twentieth_of_the_faces_keeps_shape_colours_and_normals() {
    let (mesh, report) = postprocess(&sphere(150, [0.0; 3], 0.4, false), &Options::default()).unwrap();
    assert!((2100..=2250).contains(&report.faces_after), "{} faces", report.faces_after);
    assert!(report.error < 0.005, "error {}", report.error);
    assert!((farthest(&mesh) - 0.42).abs() < 0.005);
    let Paint::Vertices(colors) = &mesh.paint else { panic!("colours are lost") };
    for ((vertex, color), normal) in mesh.vertices.iter().zip(colors).zip(&mesh.normals) {
        assert!((color[0] - 0.5 - vertex[2]).abs() < 0.02, "{vertex:?} {color:?}");
        let outwards: f32 = vertex.iter().zip(normal).map(|(v, n)| v * n).sum();
        assert!(outwards > 0.25, "{vertex:?} {normal:?}");
    }
}

#[test]
fn one_thread_and_five_make_the_same_mesh() {
    let input = together(&[sphere(100, [0.0; 3], 0.4, false), sphere(30, [0.3; 3], 0.2, false)]);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| postprocess(&input, &Options::default()).unwrap().0)
    };
    assert_eq!(run(1), run(5));
}

#[test]
fn noise_is_handled_and_bad_options_are_refused() {
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut vertices: Vec<[f32; 3]> =
        (0..3000).map(|_| [random() - 0.5, random() - 0.5, random() - 0.5]).collect();
    vertices[17][1] = f32::NAN;
    vertices[18][0] = f32::INFINITY;
    let faces = (0..30_000).map(|_| [0; 3].map(|_: u8| (random() * 3000.0) as u32)).collect();
    let soup = Mesh::new(vertices, faces, Paint::None);
    let (mesh, _) = postprocess(&soup, &Options::default()).unwrap();
    assert!(!mesh.is_empty() && mesh.vertices.as_flattened().iter().all(|x| x.is_finite()));
    let (mesh, _) = postprocess(&soup, &keep()).unwrap();
    assert!(mesh.faces.len() > 20_000);

    for target in [Target::Ratio(1.0), Target::Ratio(f32::NAN), Target::Ratio(-0.1), Target::Faces(0)] {
        let options = Options { simplify: target, ..Options::default() };
        assert!(matches!(postprocess(&soup, &options), Err(Error::InvalidInput(_))), "{target:?}");
    }
    let empty = Mesh { faces: vec![], ..soup };
    assert!(matches!(postprocess(&empty, &Options::default()), Err(Error::Empty(_))));
}
