//! Simplification beside that of the reference's export (SPEC section 8): the same number of faces, no farther from the surface.

use std::path::Path;

use safetensors::SafeTensors;
use trellis_asset::postprocess::{Options, Target, postprocess};
use trellis_asset::{Mesh, Paint};

fn surface(file: &SafeTensors<'_>, name: &str) -> Mesh {
    let bytes = |part| match file.tensor(&format!("{name}.{part}")) {
        Ok(tensor) => tensor.data().as_chunks::<4>().0.to_vec(),
        Err(error) => panic!("{name}.{part}: {error}"),
    };
    let (vertices, faces) = (bytes("vertices"), bytes("faces"));
    let vertices = vertices.as_chunks::<3>().0.iter().map(|v| v.map(f32::from_le_bytes)).collect();
    let faces = faces.as_chunks::<3>().0.iter().map(|face| face.map(u32::from_le_bytes)).collect();
    Mesh::new(vertices, faces, Paint::None)
}

fn minus(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [0, 1, 2].map(|axis| a[axis] - b[axis])
}

fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|axis| a[axis] * b[axis]).sum()
}

/// The distance of a point to a triangle: to its plane if it is above or below the triangle, to the nearest side if not.
fn distance(point: [f32; 3], corners: [[f32; 3]; 3]) -> f32 {
    let [a, b, c] = corners;
    let (ab, ac, ap) = (minus(b, a), minus(c, a), minus(point, a));
    let (uu, uv, vv, pu, pv) = (dot(ab, ab), dot(ab, ac), dot(ac, ac), dot(ap, ab), dot(ap, ac));
    let area = uu * vv - uv * uv;
    let (s, t) = ((vv * pu - uv * pv) / area, (uu * pv - uv * pu) / area);
    if s >= 0.0 && t >= 0.0 && s + t <= 1.0 {
        let way = [0, 1, 2].map(|axis| ap[axis] - s * ab[axis] - t * ac[axis]);
        return dot(way, way).sqrt();
    }
    let side = |from: [f32; 3], to: [f32; 3]| {
        let (side, way) = (minus(to, from), minus(point, from));
        let share = (dot(way, side) / dot(side, side)).clamp(0.0, 1.0);
        let way = [0, 1, 2].map(|axis| way[axis] - share * side[axis]);
        dot(way, way).sqrt()
    };
    side(a, b).min(side(b, c)).min(side(c, a))
}

/// How far the vertices of a mesh are from the surface of another at most.
fn farthest(from: &Mesh, to: &Mesh) -> f32 {
    let nearest = |&point: &[f32; 3]| {
        let distances = to.faces.iter().map(|face| distance(point, face.map(|v| to.vertices[v as usize])));
        distances.fold(f32::INFINITY, f32::min)
    };
    from.vertices.iter().map(nearest).fold(0.0, f32::max)
}

#[test]
fn simplification_keeps_as_many_faces_as_the_reference_and_stays_as_close_to_the_surface() {
    let path = Path::new(env!("TRELLIS_SOURCES"))
        .join("worker/pipeline/tests/golden/13_postprocess/outputs.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (input, theirs) = (surface(&file, "mesh"), surface(&file, "simplified90"));
    for (ratio, faces) in [(0.5, 2586), (0.9, 516), (0.95, 257)] {
        let options = Options { simplify: Target::Ratio(ratio), ..Options::default() };
        let (mesh, report) = postprocess(&input, &options).unwrap();
        assert!(report.faces_after.abs_diff(faces) <= 3, "{} faces instead of {faces}", report.faces_after);
        let (ours, back) = (farthest(&input, &mesh), farthest(&mesh, &input));
        println!("{ratio}: {} faces, {ours} and back {back}, reported {}", report.faces_after, report.error);
        if ratio == 0.9 {
            let (theirs, their_back) = (farthest(&input, &theirs), farthest(&theirs, &input));
            println!("theirs: {theirs} and back {their_back}");
            assert!(ours <= theirs * 1.1, "{ours}, the reference {theirs}");
        }
    }
}
