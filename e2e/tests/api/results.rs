//! Fetching what jobs made: parts of a file, all files in one, addresses of the storage.

use std::io::Read as _;

use reqwest::StatusCode;
use reqwest::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use trellis_crds::InputKind;

use crate::service::{Service, completed, output, problem};

#[tokio::test]
async fn a_part_of_a_result_is_sent_alone() {
    let service = Service::start("range", &[InputKind::Image]).await;
    let id = service.submit().await;
    let job = service.jobs().get(&id).await.unwrap();
    let model: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    service.set_status(&id, completed(service.folder.path(), &job, &model)).await;
    let path = format!("/api/v1/jobs/{id}/result");
    let whole = service.get(&path).send().await.unwrap();
    assert_eq!(whole.headers()[ACCEPT_RANGES], "bytes");
    let tag = whole.headers()[ETAG].clone();

    for (range, part) in
        [("bytes=0-0", 0..1), ("bytes=199990-", 199_990..200_000), ("bytes=-5", 199_995..200_000)]
    {
        let response = service.get(&path).header(RANGE, range).header(IF_RANGE, &tag).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let expected = format!("bytes {}-{}/200000", part.start, part.end - 1);
        assert_eq!(response.headers()[CONTENT_RANGE], expected);
        assert_eq!(response.headers()[ETAG], tag);
        assert_eq!(response.bytes().await.unwrap(), model[part]);
    }
    let other = service.get(&path).header(RANGE, "bytes=0-0").header(IF_RANGE, "\"another\"");
    for request in [other, service.get(&path).header(RANGE, "bytes=0-0,5-6")] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.content_length(), Some(200_000));
    }
    let beyond = service.get(&path).header(RANGE, "bytes=200000-").send().await.unwrap();
    assert_eq!(beyond.headers()[CONTENT_RANGE], "bytes */200000");
    problem(service.get(&path).header(RANGE, "bytes=200000-"), 416, "range_not_satisfiable").await;
    let head = reqwest::Client::new().head(format!("{}{path}", service.url)).bearer_auth(&service.alice);
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-length"], "200000");
    // Files have no address at which anybody could fetch them.
    let redirected = service.get(&format!("{path}?redirect=true")).send().await.unwrap();
    assert_eq!((redirected.status(), redirected.content_length()), (StatusCode::OK, Some(200_000)));
    service.stop().await;
}

#[tokio::test]
async fn all_files_of_a_job_come_in_one() {
    let service = Service::start("zip", &[InputKind::Image]).await;
    let id = service.submit().await;
    let job = service.jobs().get(&id).await.unwrap();
    let mut status = completed(service.folder.path(), &job, b"glTF");
    let preview = service.folder.path().join("outputs").join(job.folder_of_attempt(1)).join("preview.png");
    std::fs::write(&preview, b"png").unwrap();
    let described = output("png", &format!("file://{}", preview.display()), b"png");
    status["outputs"].as_array_mut().unwrap().push(described);
    service.set_status(&id, status).await;

    let path = format!("/api/v1/jobs/{id}/result?format=zip");
    let response = service.get(&path).send().await.unwrap();
    let headers = response.headers().clone();
    assert_eq!(headers[CONTENT_TYPE], "application/zip");
    assert_eq!(headers[CONTENT_DISPOSITION], format!("attachment; filename=\"{id}.zip\""));
    assert_eq!(headers[ACCEPT_RANGES], "none");
    let bytes = response.bytes().await.unwrap();
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    assert_eq!(archive.len(), 2);
    for (name, content) in [("model.glb", "glTF"), ("preview.png", "png")] {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, content, "{name}");
    }
    let again = service.get(&path).header(IF_NONE_MATCH, &headers[ETAG]).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(
        service.get(&path).send().await.unwrap().bytes().await.unwrap(),
        bytes,
        "not the same to the byte"
    );

    // An archive that lacks a file must not pass for a whole one.
    std::fs::remove_file(preview).unwrap();
    let cut = service.get(&path).send().await.unwrap();
    assert!(cut.bytes().await.is_err(), "an archive without one of its files came to a good end");
    service.stop().await;
}
