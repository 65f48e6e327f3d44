//! The fixture that other crates test against.

use std::path::Path;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use trellis_e2e::{ApiServer, Namespace};

#[tokio::test]
async fn writes_can_be_counted() {
    let server = ApiServer::shared().await.unwrap();
    let client = server.client().await.unwrap();
    let namespace = Namespace::create(&client, "count").await.unwrap();
    let maps = namespace.api::<ConfigMap>();
    let mut map = ConfigMap::default();
    map.metadata.name = Some("one".to_owned());
    maps.create(&PostParams::default(), &map).await.unwrap();
    maps.get("one").await.unwrap();

    let events = server.audit_events().unwrap();
    let about = events.iter().filter(|event| event.is_about(namespace.name(), "configmaps"));
    let verbs: Vec<_> = about.filter(|event| event.is_write()).map(|event| event.verb.as_str()).collect();
    assert_eq!(verbs, ["create"]);
    namespace.delete().await.unwrap();
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_file() {
    let server = ApiServer::start().await.unwrap();
    let folder = server.kubeconfig().parent().unwrap().to_owned();
    assert!(!processes_mentioning(&folder).is_empty(), "no process mentions {}", folder.display());
    drop(server);
    assert_eq!(processes_mentioning(&folder), Vec::<String>::new());
    assert!(!folder.exists(), "{} is still there", folder.display());
}

fn processes_mentioning(folder: &Path) -> Vec<String> {
    let needle = folder.to_string_lossy();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&*needle))
        .collect()
}
