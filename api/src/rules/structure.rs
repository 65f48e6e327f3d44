//! The limits of a structural schema. Types and names of fields are not looked at: the Rust types have seen to those.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::Value;

use crate::cluster::Violation;

/// How a message about too long a text begins.
pub(super) const TOO_LONG: &str = "must have at most";

/// Adds to `violations` which limits `value` exceeds, which is the field `path`.
pub(super) fn check(schema: &JSONSchemaProps, value: &Value, path: &str, violations: &mut Vec<Violation>) {
    let faults = [one_of(schema, value), range(schema, value), length(schema, value), items(schema, value)];
    violations
        .extend(faults.into_iter().flatten().map(|message| Violation { field: path.to_owned(), message }));
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let Some(schema) = schema.properties.as_ref().and_then(|fields| fields.get(name)) {
                    check(schema, value, &format!("{path}.{name}"), violations);
                }
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if is_set(schema) && values[..index].contains(value) {
                    let message = "must not be there twice".to_owned();
                    violations.push(Violation { field: path.clone(), message });
                }
                if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                    check(schema, value, &path, violations);
                }
            }
        }
        _ => {}
    }
}

fn is_set(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_list_type.as_deref() == Some("set")
}

fn one_of(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let known = schema.enum_.as_ref()?;
    let known: Vec<_> = known.iter().map(|JSON(known)| known).collect();
    (!known.contains(&value)).then(|| {
        let known: Vec<_> = known.into_iter().map(ToString::to_string).collect();
        format!("must be one of {}", known.join(", "))
    })
}

fn range(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    match (schema.minimum, schema.maximum) {
        (Some(minimum), _) if number < minimum => Some(format!("must be at least {minimum}")),
        (_, Some(maximum)) if number > maximum => Some(format!("must be at most {maximum}")),
        _ => None,
    }
}

fn length(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let length = i64::try_from(value.as_str()?.chars().count()).ok()?;
    outside(length, schema.min_length, schema.max_length, "characters")
}

fn items(schema: &JSONSchemaProps, value: &Value) -> Option<String> {
    let length = i64::try_from(value.as_array()?.len()).ok()?;
    outside(length, schema.min_items, schema.max_items, "items")
}

fn outside(length: i64, minimum: Option<i64>, maximum: Option<i64>, what: &str) -> Option<String> {
    match (minimum, maximum) {
        (Some(1), _) if length == 0 => Some("must not be empty".to_owned()),
        (Some(minimum), _) if length < minimum => Some(format!("must have at least {minimum} {what}")),
        (_, Some(maximum)) if length > maximum => Some(format!("{TOO_LONG} {maximum} {what}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keywords that [`check`] knows, and those that limit nothing, or nothing that the types leave open.
    const KNOWN: [&str; 18] = [
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "properties",
        "required",
        "type",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
        "x-kubernetes-map-type",
        "x-kubernetes-list-map-keys",
    ];

    fn keywords(schema: &JSONSchemaProps, visit: &mut impl FnMut(&str)) {
        let own = serde_json::to_value(schema).unwrap();
        own.as_object().unwrap().keys().for_each(|keyword| visit(keyword));
        schema.properties.iter().flatten().for_each(|(_, field)| keywords(field, visit));
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
            keywords(items, visit);
        }
    }

    #[test]
    fn the_schema_has_no_limit_that_is_not_checked_here() {
        keywords(&crate::rules::spec_schema(), &mut |keyword| {
            assert!(KNOWN.contains(&keyword), "`{keyword}` is not checked");
        });
    }
}
