//! The CustomResourceDefinitions, from the types.

use crate::{GenerationJob, WorkerPool};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

/// The definitions of both kinds as the API server is to get them: GenerationJob, WorkerPool.
pub fn definitions() -> [CustomResourceDefinition; 2] {
    [complete(GenerationJob::crd()), complete(WorkerPool::crd())]
}

fn complete(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let schema = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            tidy(schema);
            default_status(schema);
        }
    }
    crd
}

/// Lets a fresh object say that nothing has looked at it: without this, kstatus calls an object without conditions ready.
fn default_status(root: &mut JSONSchemaProps) {
    if let Some(status) = root.properties.as_mut().and_then(|p| p.get_mut("status")) {
        status.default = Some(JSON(json!({ "observedGeneration": -1 })));
    }
}

/// Takes `nullable` away, so that a rule's `has(self.x)` means that x has a value, and the line breaks of the source
/// from descriptions. Both recur in every field.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(description) = &mut schema.description {
        *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    schema.properties.iter_mut().flat_map(|p| p.values_mut()).for_each(tidy);
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with the path and the schema of every field.
    fn walk(path: &str, schema: &JSONSchemaProps, visit: &mut impl FnMut(&str, &JSONSchemaProps)) {
        visit(path, schema);
        for (name, field) in schema.properties.iter().flatten() {
            walk(&format!("{path}.{name}"), field, visit);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            walk(&format!("{path}[]"), items, visit);
        }
    }

    fn for_each_field(mut visit: impl FnMut(&str, &JSONSchemaProps)) {
        for crd in definitions() {
            let version = &crd.spec.versions[0];
            let schema = version.schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
            walk(&crd.spec.names.kind, schema, &mut visit);
        }
    }

    #[test]
    fn every_field_explains_itself() {
        for_each_field(|path, schema| {
            let said = schema.description.as_deref().unwrap_or_default();
            let item = path.ends_with("[]");
            assert!(
                item || said.ends_with(['.', ')', '/']),
                "{path} is not described in full sentences: {said:?}"
            );
        });
    }

    #[test]
    fn every_list_and_text_of_a_spec_has_a_limit() {
        for_each_field(|path, schema| match schema.type_.as_deref() {
            Some("array") if path.contains(".spec") => {
                assert!(schema.max_items.is_some(), "{path} has no maxItems")
            }
            Some("string") if path.contains(".spec") && schema.enum_.is_none() => {
                assert!(schema.max_length.is_some(), "{path} has no maxLength")
            }
            _ => {}
        });
    }
}
