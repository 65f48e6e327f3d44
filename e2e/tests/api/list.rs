//! Lists of jobs.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use trellis_crds::InputKind;

use crate::service::{Service, body, id, problem};

async fn list(service: &Service, query: &str) -> Value {
    body(service.get(&format!("/api/v1/jobs?{query}")).send().await.unwrap(), StatusCode::OK).await
}

fn ids(list: &Value) -> Vec<String> {
    list["jobs"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn a_list_has_the_jobs_that_are_asked_for_page_by_page_and_counts_all() {
    let service = Service::start("list", &[InputKind::Image, InputKind::Text]).await;
    let mut made = Vec::new();
    for _ in 0..4 {
        made.push(service.submit().await);
    }
    let text = service.post("/api/v1/generate/text-to-3d").json(&json!({"prompt": "a cup"}));
    made.push(id(&body(text.send().await.unwrap(), StatusCode::ACCEPTED).await));
    let all = async |response: Response| ids(&response.json().await.unwrap()).len() == 5;
    service.wait_for("/api/v1/jobs", all).await;
    service.set_status(&made[0], json!({"phase": "Failed"})).await;
    service.set_status(&made[1], json!({"phase": "Processing"})).await;

    let mut pages = Vec::new();
    let mut query = "limit=2".to_owned();
    loop {
        let page = list(&service, &query).await;
        pages.push(ids(&page));
        assert_eq!(
            page["totals"],
            json!({"pending": 3, "processing": 1, "completed": 0, "failed": 1, "cancelled": 0})
        );
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={cursor}");
    }
    // Jobs of one second are in the order of their ids, which are by creation.
    let mut newest_first = made.clone();
    newest_first.reverse();
    assert_eq!(pages.concat(), newest_first);
    assert_eq!(pages.len(), 3);

    let pending = list(&service, "status=pending&input=image").await;
    assert_eq!(ids(&pending), [made[3].clone(), made[2].clone()]);
    let totals = json!({"pending": 2, "processing": 1, "completed": 0, "failed": 1, "cancelled": 0});
    assert_eq!(pending["totals"], totals, "of all that fit, whatever their status");
    assert_eq!(ids(&list(&service, "input=text").await), [made[4].clone()]);
    assert_eq!(ids(&list(&service, "created_after=2100-01-01T00:00:00Z").await).len(), 0);
    assert_eq!(ids(&list(&service, "created_before=2100-01-01T00:00:00Z").await).len(), 5);

    for wrong in [
        "status=done",
        "input=video",
        "created_after=yesterday",
        "limit=many",
        "limit=0",
        "limit=101",
        "cursor=x",
        "sort=up",
    ] {
        problem(service.get(&format!("/api/v1/jobs?{wrong}")), 400, "invalid_parameter").await;
    }
    service.stop().await;
}
