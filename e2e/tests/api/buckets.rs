//! The service with a bucket as its storage, as it runs on a cluster.

use reqwest::StatusCode;
use reqwest::header::{CONTENT_RANGE, RANGE};
use trellis_crds::{GenerationJob, InputKind};
use trellis_e2e::{ApiServer, EmulatedBucket};
use trellis_storage::{ObjectUri, Storage};

use crate::service::{PHOTO, Service, completed_with, output};

#[tokio::test]
async fn photos_go_to_the_bucket_and_results_come_from_it() {
    let bucket = EmulatedBucket::start().await.unwrap();
    let server = ApiServer::shared().await.unwrap();
    let service = Service::start_with(server, "buckets", &[InputKind::Image], |settings, _| {
        settings.input_uri = format!("{}/inputs", EmulatedBucket::URI);
        settings.output_uri = Some(format!("{}/outputs", EmulatedBucket::URI));
        settings.storage_emulator_host = Some(bucket.host().into());
    })
    .await;
    let storage = Storage::new(trellis_storage::Settings {
        emulator_host: Some(bucket.host().into()),
        file_roots: Vec::new(),
    });

    let id = service.submit().await;
    let job = service.jobs().get(&id).await.unwrap();
    assert_eq!(storage.get(&photo_of(&job), 1 << 20).await.unwrap(), PHOTO);

    let mut outputs = Vec::new();
    for (format, content) in [("glb", "0123456789"), ("ply", "abc")] {
        let uri = format!("{}/outputs/{}/model.{format}", EmulatedBucket::URI, job.folder_of_attempt(1));
        storage.put(&uri.parse().unwrap(), content.into(), "model/any").await.unwrap();
        outputs.push(output(format, &uri, content.as_bytes()));
    }
    service.set_status(&id, completed_with(&outputs)).await;
    let path = format!("/api/v1/jobs/{id}/result");
    assert_eq!(service.get(&path).send().await.unwrap().bytes().await.unwrap(), "0123456789");
    let part = service.get(&format!("{path}?format=glb")).header(RANGE, "bytes=3-5").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[CONTENT_RANGE], "bytes 3-5/10");
    assert_eq!(part.bytes().await.unwrap(), "345");
    let zipped = service.get(&format!("{path}?format=zip")).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(zip::ZipArchive::new(std::io::Cursor::new(&zipped)).unwrap().len(), 2);

    // Of a file that is gone: the bucket is named to nobody.
    storage.delete(&outputs[0]["uri"].as_str().unwrap().parse().unwrap()).await.unwrap();
    let gone = service.get(&path).send().await.unwrap();
    let said = gone.text().await.unwrap();
    assert!(said.contains("\"code\"") && !said.contains("gs://"), "{said}");
    service.stop().await;
}

fn photo_of(job: &GenerationJob) -> ObjectUri {
    let sources: Vec<_> = job.spec.input.sources().collect();
    let [source] = &sources[..] else { panic!("{sources:?}") };
    source.uri.as_deref().unwrap().parse().unwrap()
}
