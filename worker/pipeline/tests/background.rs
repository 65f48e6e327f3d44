//! Background removal beside the Python rembg: `background/make_fixtures.py` made the networks and what rembg makes of
//! photos with them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgba, RgbaImage};
use tempfile::TempDir;
use trellis::Error;
use trellis::background::BackgroundRemover;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("TRELLIS_SOURCES")).join("worker/pipeline/tests/background").join(name)
}

fn photo(name: &str) -> RgbaImage {
    image::open(fixture(name)).unwrap().into_rgba8()
}

/// A model folder with nothing but this file of the fixtures, under the name `to`.
fn folder(from: &str, to: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture(from), folder.path().join(to)).unwrap();
    folder
}

#[test]
fn every_family_cuts_out_what_rembg_cuts_out() {
    for network in ["u2net", "isnet-general-use", "birefnet-general"] {
        let folder = folder(&format!("{network}.onnx"), &format!("{network}.onnx"));
        let remover = BackgroundRemover::in_folder(folder.path());
        for name in ["lamp", "tall", "wide"] {
            let actual = remover.remove(&photo(&format!("{name}.png"))).unwrap().into_owned();
            let expected = photo(&format!("{name}.{network}.png"));
            assert_eq!(actual.dimensions(), expected.dimensions(), "{name} by {network}");
            let differences = actual.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
            let furthest = differences.clone().max().unwrap();
            let differing = differences.filter(|&difference| difference > 0).count();
            println!(
                "{name} by {network}: {differing} of {} values differ, by at most {furthest}",
                expected.len()
            );
            assert!(furthest <= 1, "{name} by {network} is {furthest}/255 off");
        }
    }
}

#[test]
fn an_image_with_any_transparency_stays_as_it_is() {
    let mut image = RgbaImage::from_pixel(2000, 3, Rgba([1, 2, 3, 255]));
    image.put_pixel(7, 1, Rgba([1, 2, 3, 254]));
    let remover = BackgroundRemover::in_folder(Path::new("/nowhere"));
    assert_eq!(*remover.remove(&image).unwrap(), image);
}

#[test]
fn without_a_network_the_file_is_named_and_what_to_send_instead() {
    let folder = tempfile::tempdir().unwrap();
    let error = BackgroundRemover::in_folder(folder.path()).remove(&photo("lamp.png")).unwrap_err();
    assert!(matches!(error, Error::InvalidInput(_)));
    let message = error.to_string();
    assert!(
        message.contains("u2net.onnx") && message.ends_with("or send an image with transparency"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_no_such_network_is_named() {
    let remove = |folder: &TempDir| {
        BackgroundRemover::in_folder(folder.path()).remove(&photo("lamp.png")).unwrap_err().to_string()
    };
    let message = remove(&folder("lamp.png", "u2net.onnx"));
    assert!(message.contains("u2net.onnx: not an ONNX network"), "{message}");
    let message = remove(&folder("isnet-general-use.onnx", "u2net.onnx"));
    assert!(message.contains("u2net.onnx: is not the network that its name says"), "{message}");
}

#[test]
fn a_photo_of_one_pixel_is_cut_out_like_any_other() {
    let folder = folder("u2net.onnx", "u2net.onnx");
    let photo = RgbaImage::from_pixel(1, 1, Rgba([90, 90, 90, 255]));
    let cut_out = BackgroundRemover::in_folder(folder.path()).remove(&photo).unwrap();
    assert_eq!(cut_out.dimensions(), (1, 1));
}
