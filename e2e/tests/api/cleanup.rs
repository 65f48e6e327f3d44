//! Cleaning the storage, with the jobs of a real API server.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use trellis_api::{CleanError, CleanSettings, clean_storage};
use trellis_crds::InputKind;

use crate::service::Service;

const GONE: &str = "11111111-1111-1111-1111-111111111111";

fn settings(folder: &Path) -> CleanSettings {
    CleanSettings {
        output_uri: format!("file://{}", folder.join("outputs").display()),
        input_uri: format!("file://{}", folder.join("inputs").display()),
        storage_emulator_host: None,
        keep_results_days: None,
        dry_run: false,
    }
}

/// Writes a file of ten days ago.
fn write(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "abc").unwrap();
    age(path);
}

fn age(path: &Path) {
    let days = Duration::from_secs(10 * 86_400);
    File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - days).unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path.display().to_string()] })
        .collect();
    files.sort();
    files
}

async fn clean(service: &Service, settings: &CleanSettings) -> String {
    let mut report = Vec::new();
    clean_storage(settings, service.namespace.client().clone(), &mut report).await.unwrap();
    String::from_utf8(report).unwrap()
}

#[tokio::test]
async fn what_jobs_that_are_gone_left_is_deleted_and_nothing_else() {
    let service = Service::start("clean", &[InputKind::Image]).await;
    let (id, namespace) = (service.submit().await, service.namespace.name().to_owned());
    let job = service.jobs().get(&id).await.unwrap();
    let folder = service.folder.path();
    let (inputs, outputs) = (folder.join("inputs").join(&namespace), folder.join("outputs").join(&namespace));
    let image = fs::read_dir(inputs.join(&id)).unwrap().next().unwrap().unwrap().path();
    age(&image);
    let status = crate::service::completed(folder, &job, b"abc");
    service.set_status(&id, status).await;
    let result = outputs.parent().unwrap().join(job.folder_of_attempt(1)).join("model.glb");
    age(&result);
    write(&folder.join("outputs/notes.txt"));
    let kept = files(folder);

    let cut_off = outputs.join(GONE).join("1");
    let orphan = inputs.join("gj-00000000000000000000000000");
    let gone =
        [cut_off.join("model.glb"), cut_off.join("preview.png#1"), orphan.join("image-0123456789abcdef.png")];
    gone.iter().for_each(|path| write(path));
    let all = files(folder);
    let dry = clean(&service, &CleanSettings { dry_run: true, ..settings(folder) }).await;
    assert_eq!(files(folder), all);
    assert!(dry.ends_with("3 objects of 9 bytes would be deleted in all\n"), "{dry}");

    let report = clean(&service, &settings(folder)).await;
    assert_eq!(files(folder), kept);
    assert!(!cut_off.exists() && !orphan.exists(), "empty folders stay");
    for reason in ["left over by an attempt", "never finished", "image of a job that is gone"] {
        assert!(report.contains(&format!("1 objects of 3 bytes deleted, {reason}\n")), "{report}");
    }
    assert!(clean(&service, &settings(folder)).await.starts_with("0 objects"));
    service.stop().await;
}

#[tokio::test]
async fn nothing_is_deleted_while_the_jobs_cannot_be_listed() {
    let service = Service::start("clean-away", &[]).await;
    let folder = service.folder.path();
    let file = folder.join("outputs").join(service.namespace.name()).join(GONE).join("1/model.glb");
    write(&file);
    let server = trellis_e2e::ApiServer::start().await.unwrap();
    let client = server.client().await.unwrap();
    // A server without the definition of GenerationJob.
    let refused = clean_storage(&settings(folder), client, &mut Vec::new()).await;
    assert!(matches!(refused, Err(CleanError::Jobs(_))), "{refused:?}");
    assert!(file.exists());
    tokio::task::spawn_blocking(|| drop(server)).await.unwrap();
    service.stop().await;
}
