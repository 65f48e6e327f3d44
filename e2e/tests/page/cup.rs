//! What simulated workers make: a cup of coffee on its saucer, as on the example photo.

use std::f32::consts::TAU;

use trellis_asset::{Mesh, Paint};

type Colour = [f32; 3];

const RED: Colour = [0.62, 0.17, 0.09];
const CREAM: Colour = [0.96, 0.91, 0.83];
const COFFEE: Colour = [0.66, 0.42, 0.2];

/// Corners of each ring around the axis.
const CORNERS: u32 = 64;

/// The cup: z up, its handle to the left of who looks at it.
pub(crate) fn cup() -> Mesh {
    let mut parts = Parts::default();
    let saucer =
        [(0.0, 0.0), (0.22, 0.0), (0.4, 0.04), (0.48, 0.1), (0.485, 0.11), (0.47, 0.115), (0.38, 0.065)];
    parts.turned(&[&saucer[..], &[(0.2, 0.03), (0.0, 0.03)]].concat(), RED);
    parts.turned(&[(0.12, 0.03), (0.13, 0.05), (0.2, 0.12), (0.25, 0.24), (0.27, 0.42)], RED);
    parts.turned(&[(0.27, 0.42), (0.268, 0.432), (0.258, 0.436), (0.248, 0.43), (0.235, 0.33)], CREAM);
    parts.turned(&[(0.237, 0.345), (0.1, 0.347), (0.0, 0.347)], COFFEE);
    parts.handle();
    Mesh::new(parts.vertices, parts.faces, Paint::Vertices(parts.colours))
}

#[derive(Default)]
struct Parts {
    vertices: Vec<[f32; 3]>,
    colours: Vec<Colour>,
    faces: Vec<[u32; 3]>,
}

impl Parts {
    /// What a line of (distance from the axis, height) sweeps when it turns around the axis.
    fn turned(&mut self, line: &[(f32, f32)], colour: Colour) {
        let rings = line.iter().map(|&(radius, height)| {
            ring(CORNERS, |angle| [radius * angle.cos(), radius * angle.sin(), height])
        });
        self.tube(rings.collect(), colour);
    }

    /// A bent tube at the side of the cup.
    fn handle(&mut self) {
        let rings = (0..=24).map(|step| {
            let bend = TAU / 4.0 + TAU / 2.0 * step as f32 / 24.0;
            ring(12, |angle| {
                let reach = 0.1 + 0.026 * angle.cos();
                [-0.24 + reach * 1.1 * bend.cos(), 0.04 * angle.sin(), 0.26 + reach * bend.sin()]
            })
        });
        self.tube(rings.collect(), RED);
    }

    /// The surface between neighbouring rings.
    fn tube(&mut self, rings: Vec<Vec<[f32; 3]>>, colour: Colour) {
        for pair in 1..rings.len() {
            let (below, corners) = (
                self.vertices.len() as u32 + (pair as u32 - 1) * rings[0].len() as u32,
                rings[0].len() as u32,
            );
            for corner in 0..corners {
                let next = (corner + 1) % corners;
                let (a, b, c, d) =
                    (below + corner, below + next, below + corners + next, below + corners + corner);
                self.faces.extend([[a, b, c], [a, c, d]]);
            }
        }
        for ring in rings {
            self.colours.extend(ring.iter().map(|_| colour));
            self.vertices.extend(ring);
        }
    }
}

fn ring(corners: u32, place: impl Fn(f32) -> [f32; 3]) -> Vec<[f32; 3]> {
    (0..corners).map(|corner| place(TAU * corner as f32 / corners as f32)).collect()
}
