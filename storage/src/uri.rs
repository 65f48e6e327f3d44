//! Addresses of objects.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use url::Url;

use crate::Error;

/// The address of an object, or of a folder of objects: `gs://bucket/name` or `file:///path`. Equal where they lead to the same place, however
/// they are written.
#[derive(Clone, Debug)]
pub struct ObjectUri {
    text: String,
    pub(crate) place: Place,
}

/// Where an address points to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// An object of a Cloud Storage bucket; the name is empty for the bucket itself.
    Gs { bucket: String, object: String },
    /// A file, by its absolute path.
    File(PathBuf),
}

impl ObjectUri {
    /// The address `name` below this one. `name` may have several parts, separated by `/`.
    ///
    /// # Errors
    /// [`Error::Refused`] when the result is no valid address.
    pub fn join(&self, name: &str) -> Result<Self, Error> {
        format!("{}/{name}", self.text).parse()
    }

    /// The address of the file at an absolute path.
    pub(crate) fn of_file(path: &Path) -> Self {
        let text = Url::from_file_path(path).map_or_else(|()| path.display().to_string(), String::from);
        Self { text, place: Place::File(path.into()) }
    }

    /// The address of an object, by the name that its store gives.
    pub(crate) fn of_object(bucket: &str, object: &str) -> Self {
        let place = Place::Gs { bucket: bucket.into(), object: object.into() };
        Self { text: format!("gs://{bucket}/{object}"), place }
    }

    /// The name of this object below `folder`, not percent-encoded; `None` where it is not below it.
    pub fn strip_prefix(&self, folder: &Self) -> Option<&str> {
        let name = match (&self.place, &folder.place) {
            (Place::File(path), Place::File(folder)) => path.strip_prefix(folder).ok()?.to_str(),
            _ => self.text.strip_prefix(&folder.text)?.strip_prefix('/'),
        };
        name.filter(|name| !name.is_empty())
    }

    /// The address that this one is directly below; a bucket and the root of the file system have none.
    pub fn parent(&self) -> Option<Self> {
        self.text.rsplit_once('/')?.0.parse().ok()
    }

    /// The local path of a `file://` address.
    pub fn file_path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Gs { .. } => None,
        }
    }
}

impl PartialEq for ObjectUri {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for ObjectUri {}

impl Hash for ObjectUri {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.place.hash(state);
    }
}

impl fmt::Display for ObjectUri {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl FromStr for ObjectUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let text = text.trim_end_matches('/');
        match parse(text) {
            Ok(place) => Ok(Self { text: text.into(), place }),
            Err(why) => Err(Error::refused(text, why)),
        }
    }
}

fn parse(text: &str) -> Result<Place, &'static str> {
    if text.chars().any(char::is_control) {
        return Err("it contains control characters");
    }
    if let Some(rest) = text.strip_prefix("gs://") {
        let (bucket, object) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(bucket)?;
        check_object(object)?;
        return Ok(Place::Gs { bucket: bucket.into(), object: object.into() });
    }
    if text.starts_with("file:///") {
        return parse_file(text);
    }
    match text.split_once("://") {
        Some(("s3", _)) => Err("s3:// is not offered; copy the object to gs://, or serve it at https://"),
        _ => Err("use gs://bucket/name or file:///path"),
    }
}

/// <https://cloud.google.com/storage/docs/buckets#naming>
fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    let limit = if bucket.contains('.') { 222 } else { 63 };
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [bucket.bytes().next(), bucket.bytes().next_back()];
    if !(3..=limit).contains(&bucket.len())
        || !bucket.bytes().all(|byte| alphanumeric(byte) || b"-_.".contains(&byte))
        || !ends.into_iter().flatten().all(alphanumeric)
    {
        return Err(
            "a bucket name has 3 to 63 lower-case letters, digits, dashes, dots or underscores, and begins and ends with a letter or digit",
        );
    }
    if bucket.parse::<std::net::Ipv4Addr>().is_ok() {
        return Err("a bucket name is no IP address");
    }
    if bucket.starts_with("goog") || bucket.contains("google") {
        return Err("bucket names do not begin with goog or contain google");
    }
    Ok(())
}

/// <https://cloud.google.com/storage/docs/objects#naming>
fn check_object(object: &str) -> Result<(), &'static str> {
    if object.len() > 1024 {
        return Err("an object name has at most 1024 bytes");
    }
    if object.split('/').any(|part| part == "." || part == "..") {
        return Err("an object name has no part that is . or ..");
    }
    Ok(())
}

fn parse_file(text: &str) -> Result<Place, &'static str> {
    let url = Url::parse(text).map_err(|_| "it is no file:// address")?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("write ? as %3F and # as %23 in a file:// address");
    }
    let path = url.to_file_path().map_err(|()| "a file:// address names an absolute path")?;
    // The URL parser resolves `..`, but not one that hides behind an encoded slash.
    if path.components().any(|part| part == Component::ParentDir) {
        return Err("a path has no part that is ..");
    }
    Ok(Place::File(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse::<ObjectUri>().unwrap().place
    }

    #[test]
    fn gs_names_are_taken_as_they_are_written() {
        let expected = Place::Gs { bucket: "my-bucket".into(), object: "a b/ü%20#1?.png".into() };
        assert_eq!(place("gs://my-bucket/a b/ü%20#1?.png"), expected);
        assert_eq!(place("gs://my-bucket"), Place::Gs { bucket: "my-bucket".into(), object: String::new() });
    }

    #[test]
    fn file_addresses_are_percent_decoded() {
        assert_eq!(place("file:///data/a%20b.png"), Place::File("/data/a b.png".into()));
        let parse = |text: &str| text.parse::<ObjectUri>().unwrap();
        assert_eq!(parse("file:///data/a%20b.png"), parse("file:///data/a b.png"));
    }

    #[test]
    fn joining_adds_parts_below() {
        let folder: ObjectUri = "gs://my-bucket/out/".parse().unwrap();
        assert_eq!(folder.join("ns/1/model.glb").unwrap().to_string(), "gs://my-bucket/out/ns/1/model.glb");
        let bucket: ObjectUri = "gs://my-bucket".parse().unwrap();
        assert_eq!(bucket.join("x").unwrap().to_string(), "gs://my-bucket/x");
        assert!(folder.join("../other").is_err());
    }

    #[test]
    fn a_name_below_a_folder_is_what_is_left_of_the_address() {
        let below = |text: &str, folder: &str| {
            let (uri, folder): (ObjectUri, ObjectUri) = (text.parse().unwrap(), folder.parse().unwrap());
            uri.strip_prefix(&folder).map(str::to_owned)
        };
        assert_eq!(below("gs://bucket/out/a b/c", "gs://bucket/out").as_deref(), Some("a b/c"));
        assert_eq!(below("gs://bucket/c", "gs://bucket").as_deref(), Some("c"));
        assert_eq!(below("file:///my%20out/a%23b", "file:///my out/").as_deref(), Some("a#b"));
        for other in ["gs://bucket/outside/c", "gs://bucket/out", "gs://bucket2/out/c", "file:///out/c"] {
            assert_eq!(below(other, "gs://bucket/out"), None, "{other}");
        }
    }

    #[test]
    fn a_parent_is_as_far_up_as_there_are_addresses() {
        let above = |text: &str| {
            let parents = std::iter::successors(text.parse().ok(), ObjectUri::parent);
            parents.skip(1).map(|uri| uri.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(above("gs://bucket/models/x/"), ["gs://bucket/models", "gs://bucket"]);
        assert_eq!(above("file:///models/x"), ["file:///models"]);
    }

    #[test]
    fn what_is_no_object_address_is_refused_with_a_reason() {
        for text in [
            "",
            "/etc/passwd",
            "gs://",
            "gs:///name",
            "gs://ab/name",
            "gs://Upper/name",
            "gs://-dash/name",
            "gs://dash-/name",
            "gs://with space/name",
            "gs://google-data/name",
            "gs://goog-data/name",
            "gs://10.0.0.1/name",
            "gs://user@bucket/name",
            "gs://bucket/a/../b",
            "gs://bucket/./b",
            "gs://bucket/a\nb",
            "s3://bucket/name",
            "http://host/name",
            "https://host/name",
            "file://host/path",
            "file:path",
            "file:///data/..%2f..%2fetc/passwd",
            "file:///data/a?b",
            "ftp://host/path",
        ] {
            let error = text.parse::<ObjectUri>().unwrap_err();
            assert!(matches!(error, Error::Refused { .. }), "{text}: {error:?}");
        }
        assert!("s3://bucket/name".parse::<ObjectUri>().unwrap_err().to_string().contains("copy the object"));
        assert!(format!("gs://bucket/{}", "x".repeat(1025)).parse::<ObjectUri>().is_err());
    }
}
