//! Writes the CustomResourceDefinitions as YAML and as a chart's templates; `--check` compares instead.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Helm leaves objects with this annotation in place when the chart is uninstalled, and with them everyone's jobs.
const KEEP: (&str, &str) = ("helm.sh/resource-policy", "keep");
const HEADER: &str = "# Written by `make crds` from the types in crds/src. Do not edit.\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => write(),
        ["--check"] => check(),
        _ => Err("usage: crdgen [--check]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn write() -> Result<(), String> {
    for (path, text) in files()? {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot create {}: {e}", folder.display()))?;
        std::fs::write(&path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

fn check() -> Result<(), String> {
    let stale: Vec<String> = files()?
        .into_iter()
        .filter(|(path, text)| std::fs::read_to_string(path).ok().as_ref() != Some(text))
        .map(|(path, _)| path.display().to_string())
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    Err(format!("not what the types in crds/src say; run `make crds` and commit:\n  {}", stale.join("\n  ")))
}

/// Every generated file with its content.
fn files() -> Result<Vec<(PathBuf, String)>, String> {
    let project = Path::new(env!("TRELLIS_SOURCES"));
    let mut files = Vec::new();
    for crd in trellis_crds::definitions() {
        let name = format!("{}.yaml", crd.spec.names.plural);
        files.push((project.join("crds/yaml").join(&name), yaml(&crd)?));
        files.push((project.join("charts/trellis-crds/templates").join(&name), yaml(&kept(crd))?));
    }
    Ok(files)
}

fn kept(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let (key, value) = KEEP;
    crd.metadata.annotations.get_or_insert_default().insert(key.into(), value.into());
    crd
}

fn yaml(crd: &CustomResourceDefinition) -> Result<String, String> {
    let text = serde_yaml::to_string(crd)
        .map_err(|e| format!("cannot write {} as YAML: {e}", crd.spec.names.kind))?;
    Ok(format!("{HEADER}{text}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_generated_files_are_what_the_types_say() {
        super::check().unwrap();
    }
}
