//! What the formats of a job's files are called elsewhere.

/// A format as [`OutputFile::format`](super::OutputFile::format) names it, the media type, the extension.
type Kind = (&'static str, &'static str, &'static str);

const KINDS: [Kind; 7] = [
    ("glb", "model/gltf-binary", "glb"),
    ("obj", "application/zip", "zip"),
    ("ply", ANY.1, "ply"),
    ("stl", "model/stl", "stl"),
    ("usdz", "model/vnd.usdz+zip", "usdz"),
    ("png", "image/png", "png"),
    ("json", "application/json", "json"),
];
/// What stands for a format that is none of these. A worker wrote it, so it goes into no header itself.
const ANY: Kind = ("", "application/octet-stream", "bin");

fn kind(format: &str) -> Kind {
    KINDS.into_iter().find(|(known, ..)| *known == format).unwrap_or(ANY)
}

/// The media type of the files of a format.
pub fn media_type(format: &str) -> &'static str {
    kind(format).1
}

/// The extension of their names, without the dot.
pub fn extension(format: &str) -> &'static str {
    kind(format).2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_is_none_of_ours_says_nothing_of_itself() {
        assert_eq!((media_type("obj"), extension("obj")), ("application/zip", "zip"));
        for format in ["", "exe\"; x=\"", "a\r\nb: c", "GLB"] {
            assert_eq!((media_type(format), extension(format)), ("application/octet-stream", "bin"));
        }
    }
}
