//! ONNX Runtime, a shared library that is opened when a network is first needed.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;

use crate::{Error, Result};

const LIBRARY: &str = "libonnxruntime.so";

/// The process's one environment. `file` is the network that needs it.
///
/// # Errors
/// [`Error::Model`] about `file` when the library is not found or cannot be used.
pub(super) fn environment(file: &Path, folder: &Path) -> Result<Environment> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(environment) = &*environment {
        return Ok(environment.clone());
    }
    let refuse = |reason: String| Error::model(file, format!("needs ONNX Runtime, but {reason}"));
    let library = find(env::var_os("ORT_DYLIB_PATH").map(PathBuf::from), env::current_exe().ok(), folder)
        .map_err(refuse)?;
    let made = ort::init_from(&library).map_err(|error| refuse(error.to_string()))?.build();
    let made = made.map_err(|error| refuse(format!("{} does not start: {error}", library.display())))?;
    Ok(environment.insert(made).clone())
}

/// Where the library lies: where the variable says, or beside the program, or in the model folder.
fn find(
    variable: Option<PathBuf>,
    program: Option<PathBuf>,
    folder: &Path,
) -> std::result::Result<PathBuf, String> {
    if let Some(named) = variable.filter(|path| !path.as_os_str().is_empty()) {
        // Relative paths would be tried in the program's folder.
        let named = std::path::absolute(&named).unwrap_or(named);
        return if named.exists() {
            Ok(named)
        } else {
            Err(format!("ORT_DYLIB_PATH names {}, which does not exist", named.display()))
        };
    }
    let beside = program.and_then(|program| Some(program.parent()?.join(LIBRARY)));
    beside.into_iter().chain([folder.join(LIBRARY)]).find(|path| path.exists()).ok_or_else(|| {
        format!(
            "{LIBRARY} was not found; put it beside the program or into the model folder, or let ORT_DYLIB_PATH name it \
             (it comes with the onnxruntime package of PyPI), or send an image with transparency"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_is_where_the_variable_says_else_beside_the_program_else_in_the_model_folder() {
        let [beside, model] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let program = || Some(beside.path().join("trellis"));
        let lacking = find(None, program(), model.path()).unwrap_err();
        assert!(lacking.contains("or send an image with transparency"), "{lacking}");

        let in_model = model.path().join(LIBRARY);
        std::fs::write(&in_model, "").unwrap();
        assert_eq!(find(None, program(), model.path()).unwrap(), in_model);
        let by_program = beside.path().join(LIBRARY);
        std::fs::write(&by_program, "").unwrap();
        assert_eq!(find(Some("".into()), program(), model.path()).unwrap(), by_program);
        assert_eq!(find(Some(in_model.clone()), program(), model.path()).unwrap(), in_model);
        let nowhere = find(Some("/nowhere/x.so".into()), program(), model.path()).unwrap_err();
        assert!(nowhere.contains("/nowhere/x.so"), "{nowhere}");
    }
}
