//! The rules of the resource, asked before anything is fetched, stored or created: so a client hears at once of every field that is
//! wrong. The API server's answer stays the last word.

mod structure;

use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use kube::core::cel::{CompiledSchema, compile_schema, validate_compiled};
use trellis_crds::{GenerationJobSpec, definitions};

use crate::cluster::Violation;

static RULES: LazyLock<Rules> = LazyLock::new(Rules::new);

struct Rules {
    /// What `spec` may hold.
    schema: JSONSchemaProps,
    /// The CEL rules in it.
    cel: CompiledSchema,
}

impl Rules {
    fn new() -> Self {
        let schema = spec_schema();
        let json = serde_json::to_value(&schema).expect("a schema has string keys only");
        Self { schema, cel: compile_schema(&json) }
    }
}

/// The schema of a job's `spec`, as the API server has it.
fn spec_schema() -> JSONSchemaProps {
    let [jobs, _] = definitions();
    let version = jobs.spec.versions.into_iter().next();
    let schema = version.and_then(|version| version.schema?.open_api_v3_schema);
    schema
        .and_then(|schema| schema.properties?.remove("spec"))
        .expect("the definition of GenerationJob has a spec")
}

/// Every rule that a new job of this specification breaks.
#[must_use]
pub(crate) fn check(spec: &GenerationJobSpec) -> Vec<Violation> {
    let object = serde_json::to_value(spec).expect("a spec has string keys only");
    let mut violations = Vec::new();
    structure::check(&RULES.schema, &object, "spec", &mut violations);
    // The CEL rules copy what they look at.
    if !violations.iter().any(|violation| violation.message.starts_with(structure::TOO_LONG)) {
        let broken = validate_compiled(&RULES.cel, &object, None).err();
        violations.extend(broken.into_iter().flatten().map(|error| {
            let field = format!("spec.{}", error.field_path);
            Violation { field: field.trim_end_matches('.').to_owned(), message: error.message }
        }));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::build::request_path;
    use serde_json::{Value, json};

    fn broken(fields: Value) -> Vec<(String, String)> {
        let mut spec = json!({"input": {"text": {"prompt": "a chest"}}});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let spec = serde_json::from_value(spec).unwrap();
        check(&spec).into_iter().map(|violation| (violation.field, violation.message)).collect()
    }

    #[test]
    fn every_rule_of_the_resource_can_be_asked_here() {
        fn faults(compiled: &CompiledSchema) -> usize {
            let below = compiled.properties.values().chain(compiled.items.as_deref()).map(faults);
            compiled.compilation_errors().len() + below.sum::<usize>()
        }
        assert_eq!(faults(&RULES.cel), 0);
    }

    #[test]
    fn what_is_within_the_limits_breaks_no_rule() {
        let most = json!({
            "input": {"image": {"sources": vec![json!({"uri": "gs://inputs/a.png"}); 8], "multiImageMode": "multidiffusion"}},
            "model": "m", "pool": "p", "quality": "high", "priority": -1000, "backoffLimit": 20,
            "sampling": {"seed": 4_294_967_295_u32, "samples": 4, "sparseStructure": {"steps": 200, "cfgStrength": 20.0}},
            "output": {
                "formats": ["glb", "obj", "ply", "stl", "usdz"], "preview": false,
                "mesh": {"simplify": 0.99, "textureSize": 4096, "fillHoles": false},
            },
            "deadlines": {"queueSeconds": 1, "startSeconds": 30, "runSeconds": 604_800},
            "ttlSecondsAfterFinished": 0, "ttlSecondsAfterFailed": 31_536_000,
            "webhook": {"url": "https://example.com"},
        });
        assert_eq!(broken(most), []);
        assert_eq!(broken(json!({})), []);
    }

    #[test]
    fn every_broken_rule_is_named_at_once() {
        let broken = broken(json!({
            "sampling": {"seed": -1, "structuredLatent": {"steps": 201}},
            "output": {"formats": ["glb", "glb"], "mesh": {"textureSize": 1000, "simplify": 1.0}},
            "webhook": {"url": "http://example.com"},
        }));
        let text = |text: &str| text.to_owned();
        let mut sorted = broken;
        sorted.sort();
        assert_eq!(
            sorted,
            [
                (text("spec.output.formats[1]"), text("must not be there twice")),
                (text("spec.output.mesh.simplify"), text("write a number from 0 to 0.99")),
                (text("spec.output.mesh.textureSize"), text("write 512, 1024, 2048 or 4096")),
                (text("spec.sampling.seed"), text("must be at least 0")),
                (text("spec.sampling.structuredLatent.steps"), text("must be at most 200")),
                (text("spec.webhook.url"), text("write https://host/path")),
            ]
        );
    }

    /// The fields of a job that REST does not offer.
    const NOT_OFFERED: [&str; 5] = [
        "spec.suspend",
        "spec.cancel",
        "spec.output.destination",
        "spec.input.image.sources",
        "spec.input.variant.mesh",
    ];
    const LIMITS: [&str; 6] = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"];

    /// The schema that `schema` refers to, where it may be `null` or not.
    fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        let schema = choices.clone().find(|choice| choice["type"] != "null").unwrap_or(schema);
        let reference =
            schema["$ref"].as_str().and_then(|text| document.pointer(text.trim_start_matches('#')));
        reference.map_or(schema, |schema| resolved(document, schema))
    }

    /// The field of a request at `path`, in any of the bodies.
    fn field<'a>(document: &'a Value, path: &[String]) -> Option<&'a Value> {
        let bodies =
            ["ImageTo3d", "TextTo3d", "Variant"].map(|name| &document["components"]["schemas"][name]);
        let step = |schema, name: &String| {
            resolved(document, schema)["properties"].get(name).map(|field| resolved(document, field))
        };
        bodies.into_iter().find_map(|body| path.iter().try_fold(body, step))
    }

    /// Calls `visit` with the path and the schema of every field that has none below it.
    fn leaves(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        match schema["properties"].as_object() {
            _ if NOT_OFFERED.contains(&path) => {}
            Some(fields) => {
                fields.iter().for_each(|(name, field)| leaves(&format!("{path}.{name}"), field, visit))
            }
            None => visit(path, schema),
        }
    }

    #[test]
    fn all_that_a_job_can_say_a_request_can_and_its_description_has_every_limit() {
        let document: Value = serde_json::from_str(&crate::openapi::document()).unwrap();
        let schema = serde_json::to_value(spec_schema()).unwrap();
        leaves("spec", &schema, &mut |path, rule| {
            let field =
                field(&document, &request_path(path)).unwrap_or_else(|| panic!("no request has {path}"));
            for limit in LIMITS {
                let number = |schema: &Value| schema[limit].as_f64();
                assert!(rule[limit].is_null() || number(rule) == number(field), "{limit} of {path}: {field}");
            }
            assert_eq!(rule["x-kubernetes-list-type"] == "set", field["uniqueItems"] == true, "{path}");
            let (rule, field) = match rule["items"].is_null() {
                true => (rule, field),
                false => (&rule["items"], resolved(&document, &field["items"])),
            };
            assert!(rule["enum"].is_null() || rule["enum"] == field["enum"], "{path}: {field}");
        });
    }

    #[test]
    fn a_text_of_megabytes_is_refused_by_its_length_alone() {
        let broken =
            broken(json!({"input": {"text": {"prompt": "a".repeat(4 << 20)}}, "webhook": {"url": "no"}}));
        assert_eq!(broken, [("spec.input.text.prompt".into(), "must have at most 1000 characters".into())]);
    }
}
