//! Meshes: told apart by how they begin, and looked at as far as costs little. The worker reads them whole.

use super::Fault;

/// How far into a file its header may reach.
const HEADER: usize = 64 << 10;

/// The extension and the media type of the mesh in `bytes`. The worker goes by the extension.
pub(super) fn check(bytes: &[u8]) -> Result<(&'static str, &'static str), Fault> {
    if bytes.starts_with(b"glTF") {
        glb(bytes)?;
        Ok(("glb", "model/gltf-binary"))
    } else if bytes.starts_with(b"ply\n") || bytes.starts_with(b"ply\r\n") {
        ply(bytes)?;
        Ok(("ply", "application/octet-stream"))
    } else if bytes.starts_with(b"PK\x03\x04") {
        // An OBJ file with its materials and textures.
        Ok(("zip", "application/zip"))
    } else if is_binary_stl(bytes) {
        Ok(("stl", "model/stl"))
    } else if bytes.trim_ascii_start().starts_with(b"solid") {
        if has_line(bytes, "facet") { Ok(("stl", "model/stl")) } else { Err(Fault::NoFaces) }
    } else if is_text(bytes) && has_line(bytes, "v") {
        if has_line(bytes, "f") { Ok(("obj", "model/obj")) } else { Err(Fault::NoFaces) }
    } else {
        Err(Fault::UnknownFormat("GLB, OBJ, PLY or STL"))
    }
}

/// Binary glTF says its version and its length after its name.
fn glb(bytes: &[u8]) -> Result<(), Fault> {
    match (word(bytes, 4), word(bytes, 8)) {
        (Some(2), Some(length)) if length == bytes.len() => Ok(()),
        (Some(2), Some(length)) => {
            Err(Fault::Damaged(format!("it says that it has {length} bytes, and it has {}", bytes.len())))
        }
        (Some(version), Some(_)) => Err(Fault::Damaged(format!("it is glTF {version}; version 2 is read"))),
        _ => Err(Fault::Damaged("it ends in its header".to_owned())),
    }
}

fn ply(bytes: &[u8]) -> Result<(), Fault> {
    let header = &bytes[..bytes.len().min(HEADER)];
    if !has_line(header, "end_header") {
        return Err(Fault::Damaged("its header has no end".to_owned()));
    }
    let faces = lines(header)
        .take_while(|line| *line != b"end_header")
        .any(|line| line.starts_with(b"element face "));
    if faces { Ok(()) } else { Err(Fault::NoFaces) }
}

/// Binary STL has no name; its length follows from the number of its triangles.
fn is_binary_stl(bytes: &[u8]) -> bool {
    let length = word(bytes, 80).and_then(|triangles| triangles.checked_mul(50)?.checked_add(84));
    length == Some(bytes.len()) && bytes.len() > 84
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

fn is_text(bytes: &[u8]) -> bool {
    !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii)
}

/// Whether a line begins with `word`.
fn has_line(bytes: &[u8], word: &str) -> bool {
    lines(bytes).any(|line| {
        line.strip_prefix(word.as_bytes())
            .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glb_of(version: u32, length: u32) -> Vec<u8> {
        [&b"glTF"[..], &version.to_le_bytes(), &length.to_le_bytes()].concat()
    }

    fn stl_of(triangles: u32) -> Vec<u8> {
        [&[0; 80][..], &triangles.to_le_bytes(), &vec![0; 50 * triangles as usize]].concat()
    }

    #[test]
    fn each_accepted_format_is_told_by_its_bytes() {
        let ply = b"ply\nformat ascii 1.0\nelement vertex 3\nelement face 1\nend_header\n".to_vec();
        for (file, extension) in [
            (glb_of(2, 12), "glb"),
            (ply, "ply"),
            (stl_of(1), "stl"),
            (b"solid cup\n facet normal 0 0 1\n".to_vec(), "stl"),
            (b"# a cup\nmtllib cup.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n".to_vec(), "obj"),
            (b"PK\x03\x04...".to_vec(), "zip"),
        ] {
            assert_eq!(check(&file).map(|kind| kind.0), Ok(extension), "{file:?}");
        }
    }

    #[test]
    fn a_file_cut_short_is_damaged() {
        for file in [glb_of(2, 100), glb_of(1, 12), b"glTF\x02".to_vec(), b"ply\nformat ascii 1.0\n".to_vec()]
        {
            assert!(matches!(check(&file), Err(Fault::Damaged(_))), "{file:?}");
        }
        assert!(matches!(check(&stl_of(2)[..100]), Err(Fault::UnknownFormat(_))));
    }

    #[test]
    fn points_alone_are_no_mesh() {
        let points: [&[u8]; 3] = [
            b"ply\nelement vertex 3\nend_header\nelement face 1\n",
            b"v 0 0 0\nv 1 0 0\n",
            b"solid cup\nendsolid\n",
        ];
        for file in points {
            assert_eq!(check(file), Err(Fault::NoFaces), "{file:?}");
        }
    }

    #[test]
    fn other_files_are_no_meshes_whatever_they_are_called() {
        for file in
            [&b"%PDF-1.7"[..], b"\x89PNG\r\n\x1a\n", b"{\"asset\": {\"version\": \"2.0\"}}", b"v", b"f 1 2 3"]
        {
            assert!(check(file).is_err(), "{file:?}");
        }
    }
}
