//! What a worker leaves behind of why it ended: an exit code for the operator, a sentence for people.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use trellis_crds::{EXIT_FAULTY, EXIT_NO_MODEL};
use trellis_worker_core::Ended;

/// The most bytes of a termination message that the kubelet keeps.
const LONGEST_MESSAGE: usize = 4096;

/// The model cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the model {uri} cannot be loaded")]
pub(crate) struct NoModel {
    pub(crate) uri: String,
    pub(crate) source: anyhow::Error,
}

/// Tells the operator whether a job that was just assigned can be to blame, and whether other workers of the pool would end the same way.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    let code = if error.is::<NoModel>() {
        EXIT_NO_MODEL
    } else if let Some(Ended::Faulty) = error.downcast_ref() {
        EXIT_FAULTY
    } else {
        return ExitCode::FAILURE;
    };
    u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Writes why the worker ends where the kubelet looks for it. Outside of Kubernetes there is no such file, and none is made.
pub(crate) fn leave_message(path: &Path, error: &anyhow::Error) -> io::Result<()> {
    let mut file = match OpenOptions::new().write(true).truncate(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let message = format!("{error:#}").replace('\n', " ");
    file.write_all(&message.as_bytes()[..message.floor_char_boundary(LONGEST_MESSAGE)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_model() -> anyhow::Error {
        let source = anyhow::anyhow!("there is no object gs://bucket/model/pipeline.json");
        NoModel { uri: "gs://bucket/model".into(), source }.into()
    }

    #[test]
    fn the_exit_code_says_whose_fault_it_is() {
        let code = |error: anyhow::Error| format!("{:?}", exit_code(&error));
        assert_eq!(code(Ended::Faulty.into()), format!("{:?}", ExitCode::from(75)));
        assert_eq!(code(no_model()), format!("{:?}", ExitCode::from(66)));
        // Its attempt is not on record: it counts.
        assert_eq!(code(Ended::Refused.into()), format!("{:?}", ExitCode::FAILURE));
        assert_eq!(code(anyhow::anyhow!("cannot listen")), format!("{:?}", ExitCode::FAILURE));
    }

    #[test]
    fn the_termination_message_is_one_sentence_of_all_causes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("termination-log");
        leave_message(&path, &no_model()).unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        leave_message(&path, &no_model()).unwrap();
        let message = "the model gs://bucket/model cannot be loaded: there is no object gs://bucket/model/pipeline.json";
        assert_eq!(std::fs::read_to_string(path).unwrap(), message);
    }

    #[test]
    fn a_long_message_keeps_its_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("termination-log");
        std::fs::write(&path, "").unwrap();
        leave_message(&path, &anyhow::anyhow!("x{}", "ä".repeat(LONGEST_MESSAGE))).unwrap();
        assert_eq!(std::fs::read(path).unwrap().len(), LONGEST_MESSAGE - 1);
    }
}
