//! Following a job: long polls, streams of events, answers that wait.

use reqwest::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use trellis_crds::InputKind;

use crate::service::{Service, body, completed, photo, problem};

/// Submits a photo, and returns the path of the job once the service's watch has told of it.
async fn submit(service: &Service) -> String {
    let path = format!("/api/v1/jobs/{}", service.submit().await);
    let is_told =
        async |response: Response| response.json::<Value>().await.unwrap()["queue_position"] != json!(null);
    service.wait_for(&path, is_told).await;
    path
}

fn id_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

fn tag(response: &Response) -> String {
    response.headers()[ETAG].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_long_poll_is_answered_as_soon_as_the_job_changes() {
    let service = Service::start("poll", &[InputKind::Image]).await;
    let path = submit(&service).await;
    for path in [path.clone(), format!("{path}/status")] {
        let first = tag(&service.get(&path).send().await.unwrap());
        let again = || service.get(&path).header(IF_NONE_MATCH, &first);
        let same = again().send().await.unwrap();
        assert_eq!((same.status(), tag(&same)), (StatusCode::NOT_MODIFIED, first.clone()));
        let waited = again().header("prefer", "wait=1").send().await.unwrap();
        assert_eq!(waited.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(waited.headers()["preference-applied"], "wait=1");

        let poll = tokio::spawn(again().header("prefer", "wait=60").send());
        let progress = json!({"stage": path, "percent": 1, "updatedAt": "2026-11-24T07:00:00.000000Z"});
        service
            .set_status(
                id_of(path.trim_end_matches("/status")),
                json!({"phase": "Processing", "progress": progress}),
            )
            .await;
        let changed = poll.await.unwrap().unwrap();
        assert_ne!(tag(&changed), first);
        assert_eq!(changed.headers()["preference-applied"], "wait=60");
        assert_eq!(body(changed, StatusCode::OK).await["progress"]["stage"], path);
    }
    service.stop().await;
}

/// The events of a stream, one by one.
struct Events {
    response: Response,
    text: String,
}

/// The id and the data of an event.
type Event = (String, Value);

impl Events {
    async fn open(service: &Service, path: &str, last: Option<&str>) -> Self {
        let request = service.get(&format!("{path}/events"));
        let request = last.into_iter().fold(request, |request, id| request.header("last-event-id", id));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        Self { response, text: String::new() }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
                let read = field("data:").map(|data| {
                    assert_eq!(field("event:"), Some("status"));
                    (field("id:").unwrap().to_owned(), serde_json::from_str(data).unwrap())
                });
                self.text = rest.to_owned();
                if read.is_some() {
                    return read;
                }
                continue;
            }
            self.text += std::str::from_utf8(&self.response.chunk().await.unwrap()?).unwrap();
        }
    }
}

#[tokio::test]
async fn events_come_as_they_happen_and_end_with_the_job() {
    let service = Service::start("events", &[InputKind::Image]).await;
    let path = submit(&service).await;
    let mut events = Events::open(&service, &path, None).await;
    let (_, first) = events.next().await.unwrap();
    assert_eq!(
        first,
        body(service.get(&format!("{path}/status")).send().await.unwrap(), StatusCode::OK).await
    );
    assert_eq!((&first["status"], &first["queue_position"]), (&json!("pending"), &json!(1)));

    service.set_status(id_of(&path), json!({"phase": "Processing"})).await;
    let (second_id, second) = events.next().await.unwrap();
    assert_eq!(second["status"], "processing");
    let mut resumed = Events::open(&service, &path, Some(&second_id)).await;

    let job = service.jobs().get(id_of(&path)).await.unwrap();
    service.set_status(id_of(&path), completed(service.folder.path(), &job, b"glTF")).await;
    let (last_id, last) = events.next().await.unwrap();
    assert_eq!(last["status"], "completed");
    assert_eq!(events.next().await, None, "the stream goes on after the end of the job");
    assert_eq!(resumed.next().await.unwrap(), (last_id.clone(), last), "what was there already came again");
    assert_eq!(resumed.next().await, None);

    // A browser that comes again is told not to.
    let again = service.get(&format!("{path}/events")).header("last-event-id", last_id);
    assert_eq!(again.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let strangers =
        reqwest::Client::new().get(format!("{}{path}/events", service.url)).bearer_auth(&service.bob);
    problem(strangers, 404, "job_not_found").await;
    service.stop().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_job_is_deleted_or_the_service_stops() {
    let service = Service::start("ends", &[InputKind::Image]).await;
    let [deleted, running] = [submit(&service).await, submit(&service).await];
    let mut of_deleted = Events::open(&service, &deleted, None).await;
    let mut of_running = Events::open(&service, &running, None).await;
    assert!(of_deleted.next().await.is_some() && of_running.next().await.is_some());
    assert_eq!(service.delete(&deleted).send().await.unwrap().status(), StatusCode::NO_CONTENT);
    while of_deleted.next().await.is_some() {}

    let known = tag(&service.get(&running).send().await.unwrap());
    let poll = service.get(&running).header(IF_NONE_MATCH, known).header("prefer", "wait=60");
    let poll = tokio::spawn(poll.send());
    let ends = tokio::spawn(async move { while of_running.next().await.is_some() {} });
    service.stop().await;
    ends.await.unwrap();
    // Answered, where it had come at all.
    let _ = poll.await.unwrap();
}

#[tokio::test]
async fn places_in_the_queue_follow_the_jobs_before() {
    let service = Service::start("queue", &[InputKind::Image]).await;
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(submit(&service).await);
    }
    let mut events = Events::open(&service, &paths[2], None).await;
    assert_eq!(events.next().await.unwrap().1["queue_position"], 3);
    service.set_status(id_of(&paths[0]), json!({"phase": "Processing"})).await;
    assert_eq!(events.next().await.unwrap().1["queue_position"], 2);
    let listed = body(service.get("/api/v1/jobs").send().await.unwrap(), StatusCode::OK).await;
    let places: Vec<_> =
        listed["jobs"].as_array().unwrap().iter().map(|job| &job["queue_position"]).collect();
    assert_eq!(places, [&json!(2), &json!(1), &json!(null)]);
    service.stop().await;
}

#[tokio::test]
async fn an_answer_waits_for_the_end_of_its_job_as_long_as_the_client_likes() {
    let service = Service::start("wait", &[InputKind::Image]).await;
    let submit = |wait: &str| {
        service.post("/api/v1/generate/image-to-3d").header("prefer", wait).json(&photo()).send()
    };
    let impatient = submit("wait=1").await.unwrap();
    assert_eq!(impatient.headers()["preference-applied"], "wait=1");
    let id = body(impatient, StatusCode::ACCEPTED).await["id"].as_str().unwrap().to_owned();
    service.jobs().delete(&id, &Default::default()).await.unwrap();

    let patient = tokio::spawn(submit("respond-async, wait=60"));
    let is_there = async |response: Response| {
        let listed = response.json::<Value>().await.unwrap();
        listed["jobs"].as_array().unwrap().len() == 1 && listed["jobs"][0]["id"] != id
    };
    service.wait_for("/api/v1/jobs", is_there).await;
    let made = service.jobs().list(&Default::default()).await.unwrap().items.remove(0);
    let status = completed(service.folder.path(), &made, b"glTF");
    service.set_status(made.metadata.name.as_deref().unwrap(), status).await;
    let done = body(patient.await.unwrap().unwrap(), StatusCode::OK).await;
    assert_eq!((&done["status"], &done["outputs"][0]["format"]), (&json!("completed"), &json!("glb")));
    service.stop().await;
}
