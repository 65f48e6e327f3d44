//! What goes and what stays, by example and by property.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use trellis_crds::GenerationJob;
use trellis_storage::{Listed, ObjectUri};

use super::facts::{LiveJob, Record, Records};
use super::layout::{Folder, JobName, Kind, Places};
use super::plan::{Deletion, Reason, Rules, records_needed, what_to_delete};
use super::survey::Survey;

const DAY: u64 = 86_400;
const NAMESPACES: [&str; 2] = ["archive", "shop"];
const UIDS: [&str; 3] = [
    "11111111-1111-1111-1111-111111111111",
    "22222222-2222-2222-2222-222222222222",
    "33333333-3333-3333-3333-333333333333",
];
const NAMES: [&str; 3] = ["cup", "gj-00000000000000000000000001", "gj-00000000000000000000000002"];
const IMAGE: &str = "image-0123456789abcdef.png";
/// What is of no layout, though it looks like it.
const FOREIGN: [&str; 16] = [
    "out",
    "out/notes.txt",
    "out/shop/notes.txt",
    "out/shop/11111111-1111-1111-1111-111111111111/model.glb",
    "out/shop/11111111-1111-1111-1111-111111111111/0/model.glb",
    "out/shop/11111111-1111-1111-1111-111111111111/01/model.glb",
    "out/shop/11111111-1111-1111-1111-111111111111/1/a/model.glb",
    "out/shop/not-a-uid/1/model.glb",
    "out/Shop/11111111-1111-1111-1111-111111111111/1/model.glb",
    "out/archive/shop/a/cup.json",
    "out/archive/cup.json",
    "out/archive/shop/cup.txt",
    "outside/shop/11111111-1111-1111-1111-111111111111/1/model.glb",
    "in/shop/cup/image-0123456789abcdef.png",
    "in/shop/gj-00000000000000000000000001/photo.png",
    "in/shop/gj-00000000000000000000000001/image-0123456789abcdef.glb",
];

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1000 * DAY)
}

fn uri(name: &str) -> ObjectUri {
    format!("gs://bucket/{name}").parse().unwrap()
}

fn places() -> Places {
    Places { outputs: uri("out"), inputs: uri("in") }
}

fn object(name: &str, days: u64) -> Listed {
    let modified = now() - Duration::from_secs(days * DAY);
    Listed { uri: uri(name), bytes: 3, modified, is_unfinished: name.contains('#') }
}

fn rules(keep_days: Option<u64>) -> Rules {
    Rules { now: now(), keep_results: keep_days.map(|days| Duration::from_secs(days * DAY)) }
}

fn folder(namespace: &str, uid: &str, attempt: i32) -> Folder {
    Folder { namespace: namespace.into(), uid: uid.into(), attempt }
}

/// Reads records from `all` until it can be decided, and decides.
fn decide(
    listing: &[Listed],
    jobs: &[LiveJob],
    all: &Records,
    keep_days: Option<u64>,
) -> (Vec<Deletion>, Records) {
    let (survey, mut records) = (Survey::of(&places(), listing, jobs, rules(keep_days)), Records::new());
    loop {
        let needed = records_needed(&survey, &records);
        if needed.is_empty() {
            return (what_to_delete(&survey, &records), records);
        }
        records.extend(needed.into_iter().map(|uri| (uri.clone(), all.get(&uri).cloned().flatten())));
    }
}

/// The names of what goes of `listing`, and why.
fn goes(
    listing: &[Listed],
    jobs: &[LiveJob],
    records: &[(&str, Record)],
    keep_days: Option<u64>,
) -> Vec<(String, Reason)> {
    let records = records.iter().map(|(name, record)| (uri(name), Some(record.clone()))).collect();
    let (deletions, _) = decide(listing, jobs, &records, keep_days);
    let bucket = "gs://bucket".parse().unwrap();
    let named =
        deletions.iter().map(|gone| (gone.uri.strip_prefix(&bucket).unwrap().to_owned(), gone.reason));
    let mut named: Vec<_> = named.collect();
    named.sort();
    named
}

fn job(namespace: &str, name: &str, uid: &str, attempts: &[i32]) -> LiveJob {
    let name = JobName { namespace: namespace.into(), name: name.into() };
    LiveJob { name, uid: uid.into(), attempts: attempts.into(), addresses: Vec::new() }
}

fn record(is_complete: bool, attempt: i32) -> Record {
    Record { folder: folder("shop", UIDS[0], attempt), is_complete }
}

fn file(attempt: i32, name: &str, days: u64) -> Listed {
    object(&format!("out/shop/{}/{attempt}/{name}", UIDS[0]), days)
}

fn name(attempt: i32, name: &str) -> String {
    format!("out/shop/{}/{attempt}/{name}", UIDS[0])
}

#[test]
fn what_an_attempt_that_was_cut_off_left_goes_after_eight_days() {
    let live = [job("shop", "cup", UIDS[0], &[2])];
    assert_eq!(goes(&[file(1, "model.glb", 7)], &[], &[], None), []);
    let old = [file(1, "model.glb", 8), file(2, "model.glb", 8)];
    assert_eq!(goes(&old, &live, &[], None), [(name(1, "model.glb"), Reason::Leftover)]);
    assert_eq!(goes(&[file(1, "model.glb", 9), file(1, "preview.png", 7)], &[], &[], None), []);
}

#[test]
fn of_a_failed_attempt_the_record_stays() {
    let listing = [file(1, "model.glb", 9), file(1, "manifest.json", 9)];
    let manifest = name(1, "manifest.json");
    let failed = [(manifest.as_str(), record(false, 1))];
    assert_eq!(goes(&listing, &[], &failed, None), [(name(1, "model.glb"), Reason::Leftover)]);
    assert_eq!(goes(&listing, &[], &[(&manifest, record(true, 1))], None), []);
    assert_eq!(goes(&listing, &[], &[], None), [], "a record that cannot be read");
}

#[test]
fn results_stay_unless_asked_for_how_long() {
    let listing =
        [file(1, "model.glb", 31), file(1, "manifest.json", 31), object("out/archive/shop/cup.json", 31)];
    let archived = [("out/archive/shop/cup.json", record(true, 1))];
    assert_eq!(goes(&listing, &[], &archived, None), []);
    assert_eq!(goes(&listing, &[], &archived, Some(32)), []);
    let expired: Vec<_> = goes(&listing, &[], &archived, Some(31));
    assert!(
        expired.len() == 3 && expired.iter().all(|(_, reason)| *reason == Reason::Expired),
        "{expired:?}"
    );
    assert_eq!(goes(&listing, &[job("shop", "cup", UIDS[0], &[1])], &archived, Some(31)), []);
    // A later job of that name: the record is the one that the archive has.
    assert_eq!(goes(&listing, &[job("shop", "cup", UIDS[1], &[1])], &archived, Some(31)), []);
    let unreadable = goes(&listing, &[job("shop", "cup", UIDS[1], &[1])], &[], Some(31));
    assert_eq!(unreadable, [], "a record that may name anything");
}

#[test]
fn images_of_jobs_that_are_gone_and_files_that_were_never_finished_go() {
    let input = format!("in/shop/{}/{IMAGE}", NAMES[1]);
    let unfinished = name(1, "model.glb#1");
    let listing = [object(&input, 9), object(&unfinished, 9), object("out/notes.txt#1", 9)];
    let mut expected = vec![(input.clone(), Reason::Input), (unfinished.clone(), Reason::Unfinished)];
    assert_eq!(goes(&listing, &[], &[], None), expected);
    expected.remove(0);
    assert_eq!(goes(&listing, &[job("shop", NAMES[1], UIDS[1], &[])], &[], None), expected);
    let mut variant = job("shop", "variant", UIDS[1], &[]);
    variant.addresses.push(uri(&input));
    assert_eq!(goes(&listing, &[variant], &[], None), expected, "another job's input");
    assert_eq!(goes(&[object(&input, 7), object(&unfinished, 7)], &[], &[], None), []);
    let mesh = format!("in/shop/{}/mesh-0123456789abcdef.glb", NAMES[1]);
    assert_eq!(goes(&[object(&mesh, 9)], &[], &[], None), [(mesh, Reason::Input)]);
}

#[test]
fn a_job_names_its_attempts_its_outputs_and_its_inputs() {
    let time = "2026-11-24T07:00:00.000000Z";
    let attempt =
        |number| json!({"number": number, "worker": "a", "start": time, "end": time, "outcome": "Lost"});
    let job: GenerationJob = serde_json::from_value(json!({
        "apiVersion": "trellis3d.dev/v1alpha1", "kind": "GenerationJob",
        "metadata": {"namespace": "shop", "name": "cup", "uid": UIDS[0]},
        "spec": {"input": {
            "image": {"sources": [{"uri": "gs://bucket/in/a.png"}, {"uri": "https://host/b.png"}]},
            "variant": {"mesh": {"uri": "gs://bucket/out/mesh.glb"}, "prompt": "rust"},
        }},
        "status": {
            "assignment": {"pool": "image", "worker": "a", "podUid": "p", "attempt": 3, "time": time},
            "attempts": [attempt(1), attempt(2)],
            "outputs": [{"format": "glb", "uri": "gs://bucket/out/model.glb", "bytes": 1, "sha256": ""}],
        },
    }))
    .unwrap();
    let live = LiveJob::of(&job);
    assert_eq!((live.uid.as_str(), live.attempts), (UIDS[0], vec![3, 1, 2]));
    assert_eq!(live.addresses, ["out/model.glb", "in/a.png", "out/mesh.glb"].map(uri));
    assert_eq!(Record::of(&job), Some(Record { folder: folder("shop", UIDS[0], 3), is_complete: false }));
}

#[test]
fn what_is_not_of_the_layout_is_nothing() {
    for name in FOREIGN {
        assert_eq!(places().kind(&object(name, 9)), None, "{name}");
        assert_eq!(places().kind(&object(&format!("{name}#1"), 9)), None, "{name}#1");
    }
}

fn any_name() -> impl Strategy<Value = String> {
    let parts = (select(&NAMESPACES[..]), select(&UIDS[..]), 1..3, select(&NAMES[..]), 0..8);
    let ours = parts.prop_map(|(namespace, uid, attempt, job, kind)| match kind {
        0 => format!("out/archive/{namespace}/{job}.json"),
        1 if job != "cup" => format!("in/{namespace}/{job}/{IMAGE}"),
        2 => format!("out/{namespace}/{uid}/{attempt}/model.glb#1"),
        3 => format!("out/{namespace}/{uid}/{attempt}/preview.png"),
        4 | 5 => format!("out/{namespace}/{uid}/{attempt}/model.glb"),
        _ => format!("out/{namespace}/{uid}/{attempt}/manifest.json"),
    });
    prop_oneof![9 => ours, 1 => select(&FOREIGN[..]).prop_map(str::to_owned)]
}

fn any_listing() -> impl Strategy<Value = Vec<Listed>> {
    let objects = vec((any_name(), 0..40_u64), 0..40);
    objects.prop_map(|objects| {
        let unique: HashMap<_, _> = objects.into_iter().collect();
        unique.iter().map(|(name, days)| object(name, *days)).collect()
    })
}

fn any_folder() -> impl Strategy<Value = Folder> {
    (select(&NAMESPACES[..]), select(&UIDS[..]), 1..3)
        .prop_map(|(namespace, uid, attempt)| folder(namespace, uid, attempt))
}

fn any_job() -> impl Strategy<Value = LiveJob> {
    let parts = (
        select(&NAMESPACES[..]),
        select(&NAMES[..]),
        select(&UIDS[..]),
        vec(1..3, 0..2),
        vec(any_name(), 0..2),
    );
    parts.prop_map(|(namespace, name, its, attempts, addresses)| LiveJob {
        addresses: addresses.iter().filter(|name| !name.contains('#')).map(|name| uri(name)).collect(),
        ..job(namespace, name, its, &attempts)
    })
}

/// What the records of `listing` say: a manifest of its own folder, one in the archive of any; some cannot be read.
fn any_records(listing: &[Listed]) -> impl Strategy<Value = Records> + use<> {
    let uris: Vec<_> = listing.iter().map(|object| (object.uri.clone(), places().kind(object))).collect();
    let count = uris.len();
    vec((any_folder(), any::<bool>(), 0..5), count).prop_map(move |said| {
        let records = uris.iter().zip(said).filter_map(|((uri, kind), (named, is_complete, luck))| {
            let folder = match kind {
                Some(Kind::Manifest(own)) => own.clone(),
                Some(Kind::Record(_)) => named,
                _ => return None,
            };
            Some((uri.clone(), (luck > 0).then_some(Record { folder, is_complete })))
        });
        records.collect()
    })
}

fn situation() -> impl Strategy<Value = (Vec<Listed>, Vec<LiveJob>, Records, Option<u64>)> {
    (any_listing(), vec(any_job(), 0..4), prop::option::of(0..40_u64)).prop_flat_map(
        |(listing, jobs, keep)| {
            let records = any_records(&listing);
            (Just(listing), Just(jobs), records, Just(keep))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_goes_that_anybody_may_ask_for((listing, jobs, all, keep) in situation()) {
        let (deletions, _) = decide(&listing, &jobs, &all, keep);
        let gone: HashSet<_> = deletions.iter().map(|deletion| &deletion.uri).collect();
        prop_assert_eq!(gone.len(), deletions.len(), "twice");
        let kinds: HashMap<_, _> = listing.iter().map(|object| (&object.uri, places().kind(object))).collect();
        let named: HashSet<_> = jobs.iter().flat_map(|job| &job.addresses).collect();
        let age = |uri: &ObjectUri| {
            let object = listing.iter().find(|object| object.uri == *uri).unwrap();
            now().duration_since(object.modified).unwrap().as_secs() / DAY
        };
        let is_live = |name: &JobName| jobs.iter().any(|job| job.name == *name);
        for Deletion { uri, reason, .. } in &deletions {
            prop_assert!(age(uri) >= 8 && !named.contains(uri), "{}", uri);
            let expired = keep.is_some_and(|keep| age(uri) >= keep);
            prop_assert!(*reason != Reason::Expired || expired, "{} too early", uri);
            match kinds[uri].as_ref().expect("of the layout") {
                Kind::Unfinished => {}
                Kind::Input(name) => prop_assert!(!is_live(name), "{}", uri),
                Kind::Record(name) => prop_assert!(!is_live(name) && expired, "{}", uri),
                Kind::Output(folder) | Kind::Manifest(folder) => {
                    let names = |job: &&LiveJob| {
                        job.uid == folder.uid && job.name.namespace == folder.namespace && job.attempts.contains(&folder.attempt)
                    };
                    prop_assert!(!jobs.iter().any(|job| names(&job)), "{} is an attempt of a job", uri);
                    for (other, kind) in &kinds {
                        match kind {
                            Some(Kind::Output(its)) if its == folder => prop_assert!(!named.contains(*other), "{}", uri),
                            Some(Kind::Manifest(its)) if its == folder => {
                                prop_assert!(!named.contains(*other), "{}", uri);
                                let failed = all.get(*other).cloned().flatten().is_some_and(|record| !record.is_complete);
                                prop_assert!(failed || *reason == Reason::Expired, "{} may be a result", uri);
                            }
                            Some(Kind::Record(name)) if !gone.contains(*other) => match all[*other].as_ref() {
                                Some(kept) => prop_assert!(kept.folder != *folder, "{} is on record", uri),
                                None => prop_assert!(name.namespace != folder.namespace, "{} may be", uri),
                            },
                            _ => {}
                        }
                    }
                    let is_gone = !jobs.iter().any(|job| job.uid == folder.uid);
                    prop_assert!(*reason == Reason::Leftover || is_gone, "{}", uri);
                    prop_assert!(*reason == Reason::Expired || !matches!(kinds[uri], Some(Kind::Manifest(_))), "{}", uri);
                }
            }
        }
    }
}
