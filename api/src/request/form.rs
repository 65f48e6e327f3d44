//! Forms as the OpenAPI document describes them: the fields of the JSON body, and files.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::{ImageTo3d, Variant};

/// A form with images.
pub(crate) struct ImageForm;

impl PartialSchema for ImageForm {
    fn schema() -> RefOr<Schema> {
        let images = ArrayBuilder::new().items(file()).min_items(Some(1)).max_items(Some(8)).description(
            Some("One PNG, JPEG or WebP file, or several of the same object: a field of this name for each."),
        );
        form(ImageTo3d::schema(), "image", images.into())
    }
}

impl ToSchema for ImageForm {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ImageTo3d::schemas(schemas);
    }
}

/// A form with a mesh.
pub(crate) struct VariantForm;

impl PartialSchema for VariantForm {
    fn schema() -> RefOr<Schema> {
        let mesh = file().description(Some(
            "A GLB, OBJ, PLY or STL file. A field `mesh` without a file's name is the option of this name, in JSON.",
        ));
        form(Variant::schema(), "mesh", mesh.into())
    }
}

impl ToSchema for VariantForm {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Variant::schemas(schemas);
    }
}

fn file() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .content_media_type("application/octet-stream")
}

/// The body `json` with the field `name` for its files.
fn form(json: RefOr<Schema>, name: &str, files: Schema) -> RefOr<Schema> {
    match json {
        RefOr::T(Schema::Object(mut body)) => {
            body.example = None;
            body.properties.insert(name.to_owned(), files.into());
            RefOr::T(Schema::Object(body))
        }
        other => other,
    }
}
