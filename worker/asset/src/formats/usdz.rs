//! USDZ (<https://openusd.org/release/spec_usdz.html>): a scene of Universal Scene Description and its texture in an archive without compression.
//! The scene is written as text, which every USD program reads as it reads the binary form.

use std::fmt::{Display, Write};

use rayon::prelude::*;

use super::archive::{self, Storage};
use super::{Format, Options, texture, y_up};
use crate::mesh::linear_from_srgb;
use crate::{Mesh, Paint, Result};

/// Values that one thread writes as text at once.
const CHUNK: usize = 1 << 14;

pub(super) fn write(mesh: &Mesh, options: &Options) -> Result<Vec<u8>> {
    let format = options.texture.without_webp(Format::Usdz)?;
    let picture = match &mesh.paint {
        Paint::Texture { picture, .. } => {
            Some((format!("texture.{}", format.extension()), texture::encode(picture, format)?))
        }
        _ => None,
    };
    let scene = scene(mesh, picture.as_ref().map(|(name, _)| name.as_str()));
    let mut files = vec![("model.usda".to_owned(), scene.into_bytes())];
    files.extend(picture);
    archive::write(&files, Storage::Aligned)
}

fn scene(mesh: &Mesh, texture: Option<&str>) -> String {
    let material = material(texture);
    format!(
        "#usda 1.0\n(\n    defaultPrim = \"Asset\"\n    metersPerUnit = 1\n    upAxis = \"Y\"\n)\n\n\
         def Xform \"Asset\" (\n    kind = \"component\"\n)\n{{\n{}\n{material}}}\n",
        geometry(mesh)
    )
}

fn geometry(mesh: &Mesh) -> String {
    let points: Vec<_> = mesh.vertices.iter().copied().map(y_up).collect();
    let normals: Vec<_> = mesh.normals.iter().copied().map(y_up).collect();
    let (low, high) = extent(&points);
    let mut text = format!(
        "    def Mesh \"Mesh\" (\n        prepend apiSchemas = [\"MaterialBindingAPI\"]\n    )\n    {{\n        \
         uniform token subdivisionScheme = \"none\"\n        \
         float3[] extent = [{}, {}]\n        \
         int[] faceVertexCounts = [{}]\n        \
         int[] faceVertexIndices = [{}]\n        \
         point3f[] points = [{}]\n        \
         normal3f[] normals = [{}] (\n            interpolation = \"vertex\"\n        )\n        \
         rel material:binding = </Asset/Material>\n",
        vector(&low),
        vector(&high),
        list(&mesh.faces, |_| 3),
        list(mesh.faces.as_flattened(), |index| *index),
        list(&points, |point| vector(point)),
        list(&normals, |normal| vector(normal)),
    );
    let primvar = match &mesh.paint {
        Paint::None => None,
        Paint::Vertices(colors) => {
            let colors = list(colors, |color| vector(&color.map(linear_from_srgb)));
            Some(format!("color3f[] primvars:displayColor = [{colors}]"))
        }
        Paint::Texture { coordinates, .. } => {
            // USD has the first row of a picture at the bottom.
            let places = list(coordinates, |[u, v]| vector(&[*u, 1.0 - v]));
            Some(format!("texCoord2f[] primvars:st = [{places}]"))
        }
    };
    if let Some(primvar) = primvar {
        text.extend(["        ", &primvar, " (\n            interpolation = \"vertex\"\n        )\n"]);
    }
    text.push_str("    }\n");
    text
}

/// A material that is rough and no metal; its colour comes from the texture, or from the vertices by the name that viewers know.
fn material(texture: Option<&str>) -> String {
    let reader = |kind: &str, name: &str, value: &str| {
        format!(
            "\n        def Shader \"Reader\"\n        {{\n            \
             uniform token info:id = \"UsdPrimvarReader_{kind}\"\n            \
             string inputs:varname = \"{name}\"\n            {value}{kind} outputs:result\n        }}\n"
        )
    };
    let (color, shaders) = match texture {
        Some(file) => (
            "Texture.outputs:rgb",
            format!(
                "{}\n        def Shader \"Texture\"\n        {{\n            \
                 uniform token info:id = \"UsdUVTexture\"\n            \
                 asset inputs:file = @{file}@\n            \
                 float2 inputs:st.connect = </Asset/Material/Reader.outputs:result>\n            \
                 token inputs:sourceColorSpace = \"sRGB\"\n            \
                 token inputs:wrapS = \"repeat\"\n            token inputs:wrapT = \"repeat\"\n            \
                 float3 outputs:rgb\n        }}\n",
                reader("float2", "st", "")
            ),
        ),
        None => (
            "Reader.outputs:result",
            reader("float3", "displayColor", "float3 inputs:fallback = (0.214, 0.214, 0.214)\n            "),
        ),
    };
    format!(
        "    def Material \"Material\"\n    {{\n        \
         token outputs:surface.connect = </Asset/Material/Surface.outputs:surface>\n\n        \
         def Shader \"Surface\"\n        {{\n            uniform token info:id = \"UsdPreviewSurface\"\n            \
         color3f inputs:diffuseColor.connect = </Asset/Material/{color}>\n            \
         float inputs:metallic = 0\n            float inputs:roughness = 1\n            \
         token outputs:surface\n        }}\n{shaders}    }}\n"
    )
}

fn extent(points: &[[f32; 3]]) -> ([f32; 3], [f32; 3]) {
    let bound = |pick: fn(f32, f32) -> f32, start: f32| {
        points
            .iter()
            .fold([start; 3], |bound, point| std::array::from_fn(|axis| pick(bound[axis], point[axis])))
    };
    (bound(f32::min, f32::INFINITY), bound(f32::max, f32::NEG_INFINITY))
}

/// Values between commas.
fn list<T: Sync, D: Display>(values: &[T], text: impl Fn(&T) -> D + Sync) -> String {
    let chunk = |values: &[T]| {
        let mut chunk = String::with_capacity(values.len() * 8);
        for value in values {
            // Writing to a string does not fail.
            let _ = write!(chunk, "{}, ", text(value));
        }
        chunk
    };
    let mut list: String = values.par_chunks(CHUNK).map(chunk).collect::<Vec<_>>().concat();
    list.truncate(list.len().saturating_sub(2));
    list
}

fn vector(values: &[f32]) -> String {
    let values: Vec<String> = values.iter().map(f32::to_string).collect();
    format!("({})", values.join(", "))
}
