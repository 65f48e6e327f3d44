//! From the mesh decoder's channels to the field that FlexiCubes reads (SPEC section 6).

use tch::{Kind, Tensor};

use crate::Result;
use crate::flexicubes::{CubeWeights, Field, Surface, VertexValues, extract, surface_of_cubes};
use crate::kernels::flexicubes::Columns;
use crate::sparse::{Groups, coords_of_keys, keys};

const CORNERS: i64 = 8;
const WEIGHTS: i64 = 21;
const DEFORM: i64 = 3;
/// Colour and normal.
const ATTRIBUTES: i64 = 6;

/// Which channels of a cube mean what: distances of its corners, their deformations, the cube's weights and, where the
/// model was so trained, colours and normals of its corners.
#[derive(Debug, Clone, Copy)]
pub struct CubeLayout {
    /// Cubes on a side of the grid.
    resolution: u16,
    attributes: i64,
}

/// What the cubes that meet at each grid vertex say on average.
#[derive(Debug)]
pub struct Corners {
    /// The vertices, lexicographic.
    pub values: VertexValues,
    /// The vertex at each corner of each cube, `[N, 8]`.
    pub of_cubes: Tensor,
    /// Whether all eight cubes around a vertex were given, `[V]`.
    pub is_inner: Tensor,
}

impl CubeLayout {
    /// The layout on a grid of `resolution`³ cubes, with or without colours.
    pub fn new(resolution: u16, use_color: bool) -> Self {
        Self { resolution, attributes: if use_color { ATTRIBUTES } else { 0 } }
    }

    /// Channels of a cube.
    pub fn channels(self) -> i64 {
        CORNERS * (1 + DEFORM + self.attributes) + WEIGHTS
    }

    /// The surface of one sample: cubes at `coords` `[N, 3]` with `feats` `[N, channels]`.
    ///
    /// # Errors
    /// As [`CubeLayout::field`].
    pub fn surface(self, coords: &Tensor, feats: &Tensor) -> Result<Surface> {
        let deform = CORNERS;
        let weights = deform + CORNERS * DEFORM;
        let columns = Columns { deform, weights, attribute: weights + WEIGHTS, attributes: self.attributes };
        match surface_of_cubes(self.resolution, coords, feats, columns, self.bias() as f32)? {
            Some(surface) => Ok(surface),
            None => Ok(extract(&self.field(coords, feats)?)),
        }
    }

    /// What is taken off distances, so that an untrained model's space is empty.
    fn bias(self) -> f64 {
        1.0 / f64::from(self.resolution)
    }

    /// The field of one sample: cubes at `coords` `[N, 3]` with `feats` `[N, channels]`.
    ///
    /// # Errors
    /// When a cube lies outside the grid, there is none, or libtorch fails.
    pub fn field(self, coords: &Tensor, feats: &Tensor) -> Result<Field> {
        let Corners { values, of_cubes, is_inner } = self.corners(coords, feats)?;
        let is_inside = values.sdf.f_lt(0.0)?;
        let inside = is_inside.f_index_select(0, &of_cubes.f_flatten(0, 1)?)?.f_view([-1, CORNERS])?;
        let is_crossed = inside.f_any_dim(1, false)?.f_logical_xor(&inside.f_all_dim(1, false)?)?;
        let crossed = rows_where(&is_crossed)?;
        let crossed =
            crossed.f_index_select(0, &keys(&coords.f_index_select(0, &crossed)?)?.f_argsort(0, false)?)?;

        // Most vertices and cubes are far from the surface: leave their values where they are. The surface passes
        // through crossed cubes and through those that the decoder did not give, which only outer vertices touch.
        let corners = of_cubes.f_index_select(0, &crossed)?.f_flatten(0, 1)?;
        let near = rows_where(&is_inner.f_logical_not()?.f_index_fill(0, &corners, 1)?)?;
        let inside = values.coords.f_index_select(0, &rows_where(&is_inside)?)?;
        let weights = feats.f_narrow(1, CORNERS * (1 + DEFORM), WEIGHTS)?;
        let cubes = CubeWeights {
            coords: coords.f_index_select(0, &crossed)?,
            raw: weights.f_index_select(0, &crossed)?,
        };
        Field::new(self.resolution, &inside, &values.at(&near)?, &cubes)
    }

    /// Values of the grid vertices: the mean over the cubes that touch each.
    ///
    /// # Errors
    /// When there is no cube or libtorch fails.
    pub fn corners(self, coords: &Tensor, feats: &Tensor) -> Result<Corners> {
        let steps: Vec<i32> = (0..8).flat_map(|corner| [corner & 1, corner >> 1 & 1, corner >> 2]).collect();
        let steps = Tensor::f_from_slice(&steps)?.f_view([CORNERS, 3])?.f_to_device(coords.device())?;
        let places = coords.f_unsqueeze(1)?.f_add(&steps)?.f_flatten(0, 1)?;
        let vertices = Groups::by_key(&keys(&places)?, CORNERS)?;

        let counts = vertices.counts().f_to_kind(Kind::Float)?.f_unsqueeze(1)?;
        let mean = vertices.sum(&self.corner_values(feats)?.f_flatten(0, 1)?)?.f_div(&counts)?;
        let values = VertexValues {
            coords: coords_of_keys(vertices.keys(), 3)?,
            sdf: mean.f_select(1, 0)?,
            deform: mean.f_narrow(1, 1, DEFORM)?,
            attributes: mean.f_narrow(1, 1 + DEFORM, self.attributes)?,
        };
        Ok(Corners {
            values,
            of_cubes: vertices.group_of_row().f_view([-1, CORNERS])?,
            is_inner: vertices.counts().f_eq(CORNERS)?,
        })
    }

    /// `[N, 8, 4 or 10]`: distance, deformation, attributes.
    fn corner_values(self, feats: &Tensor) -> Result<Tensor> {
        let part =
            |start, width: i64| feats.f_narrow(1, start, CORNERS * width)?.f_unflatten(1, [CORNERS, width]);
        let sdf = part(0, 1)?.f_sub_scalar(self.bias())?;
        let attributes = part(CORNERS * (1 + DEFORM) + WEIGHTS, self.attributes)?;
        Ok(Tensor::f_cat(&[sdf, part(CORNERS, DEFORM)?, attributes], 2)?)
    }
}

/// The rows at which `[N]` is true, ascending.
fn rows_where(flags: &Tensor) -> Result<Tensor> {
    Ok(flags.f_nonzero()?.f_squeeze_dim(1)?)
}
