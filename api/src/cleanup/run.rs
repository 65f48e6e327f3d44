//! Reads what is there, has it decided what goes, and deletes that.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client};
use trellis_crds::GenerationJob;
use trellis_storage::{Error, Listed, ObjectUri, Storage};

use super::facts::{LiveJob, Record, Records};
use super::layout::Places;
use super::plan::{Deletion, Reason, Rules, records_needed, what_to_delete};
use super::survey::Survey;
use crate::cluster::{self, ClusterError};
use crate::jobs::archive::MAX_RECORD_BYTES;

/// How many jobs are read from the API server at a time.
const PAGE: u32 = 500;
/// How many requests to the storage are under way at a time.
const REQUESTS: usize = 32;

/// What is to be cleaned. `--help` is the manual.
#[derive(Debug, Clone, clap::Args)]
pub struct CleanSettings {
    /// Where the workers' outputs go unless a job says otherwise: gs://bucket/prefix or file:///path. Of this installation alone: the jobs of
    /// another cluster are not known here, and what is theirs would go.
    #[arg(long, env = "OUTPUT_URI")]
    pub output_uri: String,

    /// Where images that come over REST are stored, of this installation alone.
    #[arg(long, env = "INPUT_URI")]
    pub input_uri: String,

    /// The address of a Cloud Storage emulator, instead of Google's.
    #[arg(long, env = "STORAGE_EMULATOR_HOST")]
    pub storage_emulator_host: Option<String>,

    /// Deletes results and records of jobs that are gone so many days after their last attempt, eight at least. They stay where this is left
    /// out.
    #[arg(long, value_parser = clap::value_parser!(u16).range(8..))]
    pub keep_results_days: Option<u16>,

    /// Deletes nothing, and says what would be deleted.
    #[arg(long)]
    pub dry_run: bool,
}

/// Why the storage was not cleaned, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// An address is none of a storage.
    #[error("{name}: {source}")]
    Uri {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        source: Error,
    },
    /// What there is cannot be told.
    #[error("nothing was deleted, for the storage cannot be listed: {0}")]
    List(#[source] Error),
    /// The jobs that there are cannot be told.
    #[error("nothing was deleted, for the GenerationJobs of all namespaces cannot be listed: {0}")]
    Jobs(String),
    /// A job cannot be read, so that it is not known what it names.
    #[error(
        "nothing was deleted, for the GenerationJob {namespace}/{name} cannot be read; is its definition of another version? {error}"
    )]
    Job {
        /// The job's namespace.
        namespace: String,
        /// The job's name.
        name: String,
        /// What cannot be read.
        error: String,
    },
    /// Some objects are still there.
    #[error("{0} objects could not be deleted; the lines above name them")]
    Incomplete(usize),
    /// The report cannot be written.
    #[error("cannot say what was done: {0}")]
    Report(#[from] io::Error),
}

impl From<ClusterError> for CleanError {
    fn from(error: ClusterError) -> Self {
        Self::Jobs(error.to_string())
    }
}

/// Deletes what nobody will ask for any more, a line in `report` for each object, and in the end how many there were of each kind.
///
/// # Errors
/// When what there is or the jobs cannot be listed, before anything is deleted; when objects could not be deleted, after all others were.
pub async fn clean_storage(
    settings: &CleanSettings,
    client: Client,
    report: &mut (dyn Write + Send),
) -> Result<(), CleanError> {
    let places = places(settings)?;
    let storage = Storage::new(trellis_storage::Settings {
        emulator_host: settings.storage_emulator_host.clone(),
        file_roots: roots(&places).into_iter().filter_map(|uri| uri.file_path().map(PathBuf::from)).collect(),
    });
    let days = settings.keep_results_days.map(u64::from);
    let keep_results = days.map(|days| Duration::from_secs(days * 86_400));
    let rules = Rules { now: SystemTime::now(), keep_results };
    // The jobs come second: whoever has written one of these objects has its job by then.
    let listing = list(&storage, &places).await?;
    let jobs = jobs(client).await?;
    let survey = Survey::of(&places, &listing, &jobs, rules);
    let mut records = Records::new();
    loop {
        let needed = records_needed(&survey, &records);
        if needed.is_empty() {
            break;
        }
        let read = stream::iter(needed).map(|uri| read(&storage, uri)).buffer_unordered(REQUESTS);
        records.extend(read.collect::<Vec<_>>().await);
    }
    let deletions = what_to_delete(&survey, &records);
    if settings.dry_run {
        tell(deletions, "would be deleted", report)
    } else {
        delete(&storage, deletions, report).await
    }
}

fn places(settings: &CleanSettings) -> Result<Places, CleanError> {
    let parse = |name, text: &str| text.parse().map_err(|source| CleanError::Uri { name, source });
    Ok(Places {
        outputs: parse("OUTPUT_URI", &settings.output_uri)?,
        inputs: parse("INPUT_URI", &settings.input_uri)?,
    })
}

/// The folders that hold all there is, none below another.
fn roots(places: &Places) -> Vec<&ObjectUri> {
    let Places { outputs, inputs } = places;
    let holds = |above: &ObjectUri, below: &ObjectUri| above == below || below.strip_prefix(above).is_some();
    if holds(outputs, inputs) {
        vec![outputs]
    } else if holds(inputs, outputs) {
        vec![inputs]
    } else {
        vec![outputs, inputs]
    }
}

/// What there is of the layout.
async fn list(storage: &Storage, places: &Places) -> Result<Vec<Listed>, CleanError> {
    let mut listing = Vec::new();
    for folder in roots(places) {
        let mut objects = storage.list(folder);
        while let Some(object) = objects.try_next().await.map_err(CleanError::List)? {
            if places.kind(&object).is_some() {
                listing.push(object);
            }
        }
    }
    Ok(listing)
}

async fn jobs(client: Client) -> Result<Vec<LiveJob>, CleanError> {
    let api: Api<DeserializeGuard<GenerationJob>> = Api::all(client);
    let mut jobs = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = cluster::call(api.list(&params)).await?;
        for job in page.items {
            jobs.push(LiveJob::of(&readable(job)?));
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(jobs),
        }
    }
}

fn readable(job: DeserializeGuard<GenerationJob>) -> Result<GenerationJob, CleanError> {
    job.0.map_err(|invalid| CleanError::Job {
        namespace: invalid.metadata.namespace.unwrap_or_default(),
        name: invalid.metadata.name.unwrap_or_default(),
        error: invalid.error,
    })
}

async fn read(storage: &Storage, uri: ObjectUri) -> (ObjectUri, Option<Record>) {
    let record = match storage.get(&uri, MAX_RECORD_BYTES).await {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let record = record.and_then(|job| Record::of(&job).ok_or_else(|| "it names no attempt".to_owned()));
    if let Err(error) = &record {
        tracing::warn!(%uri, error, "a record cannot be read, and nothing goes that it may name; mend it, or delete it");
    }
    (uri, record.ok())
}

async fn delete(
    storage: &Storage,
    deletions: Vec<Deletion>,
    report: &mut (dyn Write + Send),
) -> Result<(), CleanError> {
    let tries = stream::iter(deletions).map(async |deletion| {
        let result = storage.delete(&deletion.uri).await;
        (deletion, result)
    });
    let mut tries = tries.buffer_unordered(REQUESTS);
    let (mut deleted, mut failed) = (Vec::new(), 0);
    while let Some((deletion, result)) = tries.next().await {
        match result {
            Ok(()) => deleted.push(deletion),
            // Somebody else was quicker.
            Err(Error::NotFound { .. }) => {}
            Err(error) => {
                failed += 1;
                writeln!(report, "not deleted: {error}")?;
            }
        }
    }
    tell(deleted, "deleted", report)?;
    if failed == 0 { Ok(()) } else { Err(CleanError::Incomplete(failed)) }
}

/// Says of each object what became of it, and how many there were of each kind.
fn tell(mut deletions: Vec<Deletion>, what: &str, report: &mut (dyn Write + Send)) -> Result<(), CleanError> {
    deletions.sort_by_cached_key(|deletion| deletion.uri.to_string());
    let mut sums = BTreeMap::<Reason, (u64, u64)>::new();
    for Deletion { uri, bytes, reason } in &deletions {
        writeln!(report, "{what}, {}: {uri} ({bytes} bytes)", reason.as_str())?;
        let (objects, sum) = sums.entry(*reason).or_default();
        (*objects, *sum) = (*objects + 1, *sum + bytes);
    }
    for (reason, (objects, bytes)) in sums {
        writeln!(report, "{objects} objects of {bytes} bytes {what}, {}", reason.as_str())?;
    }
    writeln!(
        report,
        "{} objects of {} bytes {what} in all",
        deletions.len(),
        deletions.iter().map(|d| d.bytes).sum::<u64>()
    )?;
    Ok(())
}
