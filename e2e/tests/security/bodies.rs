//! Bodies that are too large, too deep, too slow or none at all.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::json;

use crate::fixture::{Fixture, IMAGE, PHOTO, TEXT, VARIANT, problem};

/// A PNG file of which only the head is there: so many pixels a side.
fn png_head(side: u32) -> Vec<u8> {
    let side = side.to_be_bytes();
    let header = chunk("IHDR", &[&side[..], &side, &[8, 6, 0, 0, 0]].concat());
    [b"\x89PNG\r\n\x1a\n".to_vec(), header].concat()
}

/// A part of a PNG file.
fn chunk(kind: &str, content: &[u8]) -> Vec<u8> {
    let mut checksum = Crc::new();
    checksum.update(kind.as_bytes());
    checksum.update(content);
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[..], kind.as_bytes(), content, &checksum.sum().to_be_bytes()].concat()
}

/// So many zeros, as they stand in a PNG file.
fn packed_zeros(length: u64) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    std::io::copy(&mut std::io::repeat(0).take(length), &mut packed).unwrap();
    packed.finish().unwrap()
}

#[tokio::test]
async fn what_cannot_be_a_request_is_refused_and_the_service_goes_on() {
    let fixture = Fixture::start("bodies").await;
    let send = |path: &str, media_type: &str, body: Vec<u8>| {
        fixture
            .with_key("alice", &Method::POST, path)
            .header("content-type", media_type.to_owned())
            .body(body)
    };
    let json = |body: &[u8]| send(IMAGE, "application/json", body.to_vec());
    let form = |body: &str| send(IMAGE, "multipart/form-data; boundary=b", body.as_bytes().to_vec());
    let image = |file: Vec<u8>| {
        let part = reqwest::multipart::Part::bytes(file).file_name("../../etc/passwd");
        let form = reqwest::multipart::Form::new().part("image", part);
        fixture.with_key("alice", &Method::POST, IMAGE).multipart(form)
    };
    let mesh = |file: &[u8]| {
        let part = reqwest::multipart::Part::bytes(file.to_vec()).file_name("a.glb");
        let form = reqwest::multipart::Form::new().text("prompt", "rust").part("mesh", part);
        fixture.with_key("alice", &Method::POST, VARIANT).multipart(form)
    };
    let part =
        |head: &str, value: &str| format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n");
    let many: String = (0..5000).map(|number| part(&format!("name=\"f{number}\""), "x")).collect();
    let deep = |open: &str, depth: usize| open.repeat(depth).into_bytes();
    let nested = |depth: usize| {
        format!("{{\"sampling\": {}1{}}}", "{\"sparse_structure\":".repeat(depth), "}".repeat(depth))
    };
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend(r#"{"prompt":"a"}"#.encode_utf16().flat_map(u16::to_le_bytes));

    let refused: Vec<(&str, RequestBuilder, &[u16])> = vec![
        ("nothing", json(b""), &[400]),
        ("no JSON", json(b"{"), &[400]),
        ("two documents", json(b"{}{}"), &[400]),
        ("another type", json(b"[1]"), &[400, 422]),
        ("a number", json(b"7"), &[400, 422]),
        (
            "a list for an object",
            json(br#"{"image_url": "https://192.0.2.1/a.png", "mesh": [0.9, 1024, true]}"#),
            &[422],
        ),
        ("bytes that are no text", json(b"{\"image_url\": \"\xff\xfe\"}"), &[400, 422]),
        ("UTF-16", json(&utf16), &[400]),
        ("half a surrogate", json(br#"{"image_url": "\ud800"}"#), &[400, 422]),
        ("a field twice", json(br#"{"image_url": "https://a.example/a", "image_url": "b"}"#), &[400, 422]),
        ("depth of lists", json(&deep("[", 200_000)), &[400, 422]),
        ("as deep as JSON is read", json(nested(100).as_bytes()), &[422]),
        (
            "depth in a field of a form",
            form(
                &(part("name=\"sampling\"", &nested(100_000))
                    + &part("name=\"image\"; filename=\"a\"", "x")
                    + "--b--\r\n"),
            ),
            &[400, 422],
        ),
        ("depth of objects", json(&deep("{\"a\":", 200_000)), &[400, 422]),
        (
            "a number without end",
            json(format!("{{\"seed\": {}}}", "9".repeat(100_000)).as_bytes()),
            &[400, 422],
        ),
        ("a number that is none", json(br#"{"seed": 1e999}"#), &[400, 422]),
        ("a prompt for an image", json(br#"{"prompt": "a cup"}"#), &[422]),
        ("a prototype", json(br#"{"__proto__": {"scopes": ["admin"]}}"#), &[422]),
        ("no form", form("x"), &[400]),
        ("a form that is cut off", form(&part("name=\"image\"; filename=\"a\"", "x")), &[400]),
        ("a form of many fields", form(&(many + "--b--\r\n")), &[400, 413, 422]),
        ("a form without names", form(&(part("filename=\"a\"", "x") + "--b--\r\n")), &[400, 422]),
        ("a form without boundary", send(IMAGE, "multipart/form-data", b"--b--".to_vec()), &[400]),
        (
            "another media type",
            send(IMAGE, "text/xml", b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>".to_vec()),
            &[415],
        ),
        ("a media type that is none", send(IMAGE, "///", b"{}".to_vec()), &[415]),
        ("a packed body", json(b"\x1f\x8b\x08\0").header("content-encoding", "gzip"), &[400, 415]),
        ("no image", image(b"GIF89a".to_vec()), &[422]),
        ("half an image", image(PHOTO[..PHOTO.len() / 2].to_vec()), &[422]),
        ("a programme", image(b"\x7fELF\x02\x01\x01".to_vec()), &[422]),
        ("an image of a billion pixels", image(png_head(100_000)), &[422]),
        ("an image of no pixel", image(png_head(0)), &[422]),
        ("an SVG", image(b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".to_vec()), &[422]),
        (
            "a bomb for a mesh",
            mesh(&[b"glTF\x02\0\0\0\xff\xff\xff\xff".as_slice(), &[0; 1000]].concat()),
            &[422],
        ),
        ("a mesh of four billion triangles", mesh(&[[0; 80].as_slice(), &[0xff; 4]].concat()), &[422]),
        ("text without a prompt", fixture.post(TEXT, &json!({})), &[422]),
        ("a prompt without end", fixture.post(TEXT, &json!({"prompt": "a".repeat(1_000_000)})), &[413, 422]),
    ];
    for (what, request, expected) in refused {
        let answer = request.send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let status = answer.status().as_u16();
        assert!(expected.contains(&status), "{what}: {status} {}", answer.text().await.unwrap());
        problem(answer, what).await;
    }
    assert!(!fixture.rest.folder().join("inputs").exists(), "something was stored");
    fixture.submit().await;
    let (now, _) = fixture.rest.process.memory().unwrap();
    println!("memory afterwards: {now:.0} MiB");
    fixture.stop().await;
}

#[tokio::test]
async fn a_small_image_that_hides_a_large_one_takes_no_more_memory_than_it_says() {
    const SIDE: u32 = 64;
    const BOMB_MIB: u32 = 256;
    let fixture = Fixture::start("bombs").await;
    let bomb = packed_zeros(u64::from(BOMB_MIB) << 20);
    let pixels = chunk("IDAT", &packed_zeros(u64::from(SIDE * (SIDE * 4 + 1))));
    let hidden = |kind: &str, head: &[u8]| [chunk(kind, &[head, &bomb].concat()), pixels.clone()].concat();
    for (place, chunks) in [
        ("the pixels", chunk("IDAT", &bomb)),
        ("the colour profile", hidden("iCCP", b"profile\0\0")),
        ("a comment", hidden("zTXt", b"Comment\0\0")),
        ("a comment in another language", hidden("iTXt", b"Comment\0\x01\0\0\0")),
    ] {
        let file = [png_head(SIDE), chunks, chunk("IEND", b"")].concat();
        let form = reqwest::multipart::Form::new().part("image", reqwest::multipart::Part::bytes(file));
        let before = fixture.rest.process.memory().unwrap();
        let answer = fixture.with_key("alice", &Method::POST, IMAGE).multipart(form).send().await.unwrap();
        let status = answer.status().as_u16();
        assert!([202, 422].contains(&status), "{place}: {status} {}", answer.text().await.unwrap());
        let (_, peak) = fixture.rest.process.memory().unwrap();
        assert!(peak - before.1 < f64::from(BOMB_MIB / 4), "{place}: {before:?} MiB before, {peak} then");
    }
    fixture.stop().await;
}

/// Speaks HTTP by hand, and returns what comes back until the other side closes or `limit` is over.
fn raw(fixture: &Fixture, text: &[u8], limit: Duration) -> (String, bool) {
    let mut stream = TcpStream::connect(fixture.rest.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The other side may have closed before all was sent.
    let _ = stream.write_all(text);
    let (start, mut answer, mut piece) = (Instant::now(), Vec::new(), [0; 4096]);
    while start.elapsed() < limit {
        match stream.read(&mut piece) {
            Ok(0) => return (String::from_utf8_lossy(&answer).into_owned(), true),
            Ok(read) => answer.extend(&piece[..read]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) => {
                if !answer.is_empty() {
                    break;
                }
            }
            Err(_) => return (String::from_utf8_lossy(&answer).into_owned(), true),
        }
    }
    (String::from_utf8_lossy(&answer).into_owned(), false)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_or_says_two_things_is_refused_before_it_is_a_request() {
    let fixture = Fixture::start("raw").await;
    let key = fixture.rest.key("alice").to_owned();
    let head = |more: &str| {
        format!(
            "POST {TEXT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{more}\r\n"
        )
    };
    let body = r#"{"prompt": "a cup"}"#;
    let length = body.len();
    for (what, text, expected) in [
        ("no HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n".to_owned(), "400"),
        ("no version", "GET /\r\n\r\n".into(), "400"),
        ("a header that is none", "GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n\r\n".into(), "400"),
        ("a folded header", "GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n".into(), "400"),
        ("a length that is none", head("content-length: -1\r\n"), "400"),
        ("two lengths", head("content-length: 1\r\ncontent-length: 19\r\n") + body, "400"),
        (
            "a header without end",
            format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(1 << 20)),
            "431",
        ),
        (
            "a thousand headers",
            format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: 1\r\n".repeat(1000)),
            "431",
        ),
        (
            "an address without end",
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20)),
            "414 431 400",
        ),
        ("more than may be sent", head("content-length: 41943040\r\n") + &" ".repeat(40 << 20), "413"),
    ] {
        let (answer, _) =
            tokio::task::block_in_place(|| raw(&fixture, text.as_bytes(), Duration::from_secs(20)));
        let status = answer.split(' ').nth(1).unwrap_or("nothing");
        assert!(expected.contains(status), "{what}: {answer}");
    }
    // A length beside chunks: the chunks count, and the connection is not used again for what follows them.
    let smuggled = format!(
        "{}0\r\n\r\nGET /livez HTTP/1.1\r\nhost: a\r\n\r\n",
        head(&format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"))
    );
    let (answer, _) =
        tokio::task::block_in_place(|| raw(&fixture, smuggled.as_bytes(), Duration::from_secs(20)));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    fixture.submit().await;
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make security"]
async fn who_is_slow_is_cut_off() {
    let fixture = Fixture::start("slow").await;
    let key = fixture.rest.key("alice").to_owned();
    let limit = Duration::from_secs(100);
    let patience = |text: String| {
        let (answer, closed) = tokio::task::block_in_place(|| raw(&fixture, text.as_bytes(), limit));
        assert!(closed || !answer.is_empty(), "the service waits for more than {limit:?}");
        answer
    };
    patience("GET /livez HTTP/1.1\r\nhost: a\r\nx: ".into());
    let body = patience(format!(
        "POST {TEXT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    ));
    assert!(body.is_empty() || body.contains(" 408 ") || body.contains(" 503 "), "{body}");
    let held: Vec<_> = (0..500)
        .map(|_| {
            let mut stream = TcpStream::connect(fixture.rest.address()).unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    let answer = fixture.with_key("alice", &Method::GET, "/api/v1/jobs").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "five hundred who say half a request keep out the others");
    drop(held);
    fixture.stop().await;
}
