//! Logs: one JSON object a line on standard output, in the fields that Cloud Logging and Error Reporting read.
//! <https://cloud.google.com/logging/docs/structured-logging>,
//! <https://cloud.google.com/error-reporting/docs/formatting-error-messages>

use std::fmt;
use std::io::{self, BufWriter};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::TryInitError;

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The level is no filter that tracing understands.
    #[error(
        "log level {level:?} is not understood ({source}); use error, warn, info, debug, trace or target=level pairs"
    )]
    Level {
        /// What was asked for.
        level: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The process logs already.
    #[error("logging was started twice: {0}")]
    Twice(#[from] TryInitError),
}

/// How many lines may wait to be written: some MiB. Beyond that whoever logs waits for its turn, because a line that says what went wrong must not
/// be the one that is left out.
const WAITING: usize = 8192;

/// The thread that writes the log. Keep this until the program ends: what waits is written when it is dropped.
#[derive(Debug)]
#[must_use = "lines that wait are lost where this is not kept until the program ends"]
pub struct Logging(#[expect(dead_code, reason = "its drop is what it is for")] WorkerGuard);

/// Starts logging for the whole process as `service`.
///
/// Lines are written by a thread of their own, many at a time where many wait, so that no request waits for who reads them.
/// `level` is a level or a filter such as `info,kube=debug`.
///
/// # Errors
/// When `level` cannot be parsed or the process has a logger already.
pub fn init_logs(service: &'static str, level: &str) -> Result<Logging, LogsError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let (writer, writing) = queue(io::stdout(), WAITING);
    subscriber(service, level, writer)?.try_init()?;
    Ok(Logging(writing))
}

fn queue(output: impl io::Write + Send + 'static, waiting: usize) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(waiting)
        .lossy(false)
        .thread_name("logs")
        .finish(BufWriter::with_capacity(64 << 10, output))
}

/// What [`init_logs`] starts, writing elsewhere.
///
/// # Errors
/// When `level` cannot be parsed.
pub fn subscriber<W>(
    service: &'static str,
    level: &str,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, LogsError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter =
        EnvFilter::try_new(level).map_err(|source| LogsError::Level { level: level.into(), source })?;
    let project = std::env::var("GOOGLE_CLOUD_PROJECT").ok().filter(|project| !project.is_empty());
    Ok(tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(JsonFields::new())
        .event_format(CloudJson { service, project })
        .with_writer(writer)
        .finish())
}

/// The type by which Error Reporting knows what to count.
const REPORTED_ERROR: &str =
    "type.googleapis.com/google.devtools.clouderrorreporting.v1beta1.ReportedErrorEvent";

/// Writes an event, with the fields of the spans around it, as one flat JSON object.
struct CloudJson {
    service: &'static str,
    /// The Google Cloud project of the traces, where it is known.
    project: Option<String>,
}

impl CloudJson {
    /// A trace's id, where a span around the event has it in its field `trace`, under the name that links the line to the trace.
    fn link_trace(&self, line: &mut Map<String, Value>) {
        if let Some(Value::String(trace)) = line.remove("trace") {
            let name = match &self.project {
                Some(project) => format!("projects/{project}/traces/{trace}"),
                None => trace,
            };
            line.insert("logging.googleapis.com/trace".into(), name.into());
        }
    }

    /// What Error Reporting asks of an error that has no stack trace.
    fn report(&self, line: &mut Map<String, Value>, metadata: &Metadata<'_>) {
        let place = json!({
            "filePath": metadata.file(), "lineNumber": metadata.line(), "functionName": metadata.target(),
        });
        line.insert("@type".into(), REPORTED_ERROR.into());
        line.insert("context".into(), json!({"reportLocation": place}));
        let version = env!("CARGO_PKG_VERSION");
        line.insert("serviceContext".into(), json!({"service": self.service, "version": version}));
    }
}

impl<S> FormatEvent<S, JsonFields> for CloudJson
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>().map(|fields| fields.fields.as_str());
            if let Some(Ok(fields)) = fields.map(serde_json::from_str::<Map<String, Value>>) {
                line.extend(fields);
            }
        }
        event.record(&mut Fields(&mut line));
        self.link_trace(&mut line);
        if *event.metadata().level() == Level::ERROR {
            self.report(&mut line, event.metadata());
        }
        line.insert("severity".into(), severity(event.metadata().level()).into());
        line.insert("time".into(), now()?.into());
        line.insert("service".into(), self.service.into());
        line.insert("target".into(), event.metadata().target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The names of <https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#logseverity>.
fn severity(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

fn now() -> Result<String, fmt::Error> {
    let mut text = String::new();
    SystemTime.format_time(&mut Writer::new(&mut text))?;
    Ok(text)
}

/// Collects the fields of an event.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().into(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged while `work` runs.
    fn logged(project: Option<&str>, work: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(CloudJson { service: "tester", project: project.map(str::to_owned) })
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_carries_what_cloud_logging_reads_and_the_fields_around_it() {
        let lines = logged(None, || {
            let span = tracing::info_span!("job", namespace = "a", attempt = 2);
            span.in_scope(|| tracing::warn!(job = "photo", "slow \"disk\""));
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["severity"], "WARNING");
        assert_eq!(line["message"], "slow \"disk\"");
        assert_eq!(line["service"], "tester");
        assert_eq!(line["namespace"], "a");
        assert_eq!(line["attempt"], 2);
        assert_eq!(line["job"], "photo");
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line.get("@type").is_none(), "{line}");
    }

    #[test]
    fn an_error_is_one_for_error_reporting_too() {
        let lines = logged(None, || tracing::error!("it broke"));
        assert_eq!(lines[0]["@type"], REPORTED_ERROR);
        assert_eq!(lines[0]["serviceContext"]["service"], "tester");
        let place = &lines[0]["context"]["reportLocation"];
        assert!(
            place["filePath"].as_str().unwrap().ends_with("logs.rs") && place["lineNumber"].is_u64(),
            "{place}"
        );
    }

    #[test]
    fn a_line_is_linked_to_its_trace() {
        let log = || tracing::info_span!("request", trace = "4bf9").in_scope(|| tracing::info!("answered"));
        let name = "logging.googleapis.com/trace";
        assert_eq!(logged(Some("shop"), log)[0][name], "projects/shop/traces/4bf9");
        let lines = logged(None, log);
        assert_eq!(lines[0][name], "4bf9");
        assert!(lines[0].get("trace").is_none(), "{lines:?}");
        let none =
            || tracing::info_span!("request", trace = None::<String>).in_scope(|| tracing::info!("alone"));
        assert!(logged(None, none)[0].get(name).is_none());
    }

    #[test]
    fn every_line_is_written_before_the_program_ends_however_many_wait() {
        let sink = Sink::default();
        let (writer, writing) = queue(sink.clone(), 4);
        let subscriber = subscriber("tester", "info", writer).unwrap();
        let lines = 100;
        tracing::subscriber::with_default(subscriber, || {
            (0..lines).for_each(|number| tracing::info!(number, "a line"));
        });
        drop(writing);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), lines);
    }

    #[test]
    fn a_bad_level_is_named_with_what_to_use_instead() {
        let error = init_logs("tester", "info,,=loud=").unwrap_err().to_string();
        assert!(error.contains("info,,=loud=") && error.contains("warn"), "{error}");
    }
}
