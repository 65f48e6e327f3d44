//! `gs://` against fake-gcs-server, and against a store that misbehaves.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use trellis_e2e::EmulatedBucket;
use trellis_storage::{Error, Listed, ObjectUri, Settings, Storage, Stored};

fn storage_of(bucket: &EmulatedBucket) -> Storage {
    storage_at(bucket.host())
}

fn storage_at(address: &str) -> Storage {
    Storage::new(Settings { emulator_host: Some(address.into()), file_roots: Vec::new() })
}

fn uri(name: &str) -> ObjectUri {
    format!("{}/{name}", EmulatedBucket::URI).parse().expect("a valid address")
}

#[tokio::test]
async fn objects_come_back_as_they_were_written() -> Result<()> {
    let bucket = EmulatedBucket::start().await?;
    let storage = storage_of(&bucket);
    // The last is above the size from which on the client would cut uploads into parts.
    let large: Vec<u8> = (0..20_u32 << 20).map(|i| (i % 251) as u8).collect();
    for (name, content) in
        [("empty", Vec::new()), ("a b/ü#1?%2F.png", b"abc".to_vec()), ("large/model.bin", large)]
    {
        let uri = uri(name);
        let stored =
            storage.put(&uri, content.clone().into(), "application/octet-stream").await.context(name)?;
        assert_eq!(stored, Stored::of(&content), "{name}");
        assert_eq!(storage.open(&uri).await?.size, stored.bytes, "{name}");
        assert!(storage.get(&uri, stored.bytes).await? == content, "{name} differs");
        let folder = tempfile::tempdir()?;
        assert_eq!(storage.download(&uri, &folder.path().join("copy")).await?, stored, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_part_of_an_object_is_read_alone() -> Result<()> {
    let bucket = EmulatedBucket::start().await?;
    let storage = storage_of(&bucket);
    let uri = uri("out/model.glb");
    storage.put(&uri, "0123456789".into(), "model/gltf-binary").await?;
    for (range, expected) in [(0..1, "0"), (3..7, "3456"), (9..10, "9"), (8..20, "89")] {
        let reader = storage.open_range(&uri, range.clone()).await?;
        assert_eq!(reader.size, 10, "{range:?}");
        let pieces: Vec<_> = reader.into_stream().try_collect().await?;
        assert_eq!(pieces.concat(), expected.as_bytes(), "{range:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_written_is_listed_until_it_is_deleted() -> Result<()> {
    let bucket = EmulatedBucket::start().await?;
    let storage = storage_of(&bucket);
    for name in ["out/shop/a b/ü#1.glb", "out/shop/manifest.json", "outside", "other/x"] {
        storage.put(&uri(name), "abc".into(), "text/plain").await?;
    }
    let names = async |folder: ObjectUri| {
        let listed: Vec<_> = storage.list(&folder).try_collect().await?;
        let recent =
            |object: &Listed| object.modified.elapsed().unwrap_or_default() < Duration::from_secs(3600);
        assert!(listed.iter().all(|object| object.bytes == 3 && recent(object)), "{listed:?}");
        let mut names: Vec<_> = listed.iter().map(|object| object.uri.to_string()).collect();
        names.sort();
        anyhow::Ok(names)
    };
    let [first, second] =
        ["out/shop/a b/ü#1.glb", "out/shop/manifest.json"].map(|name| uri(name).to_string());
    assert_eq!(names(uri("out")).await?, [first, second.clone()]);
    assert_eq!(names(EmulatedBucket::URI.parse()?).await?.len(), 4);
    assert_eq!(names(uri("nothing")).await?, Vec::<String>::new());

    storage.delete(&uri("out/shop/a b/ü#1.glb")).await?;
    assert_eq!(names(uri("out")).await?, [second]);
    let gone = storage.delete(&uri("out/shop/a b/ü#1.glb")).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    let signed = storage.sign_get(&uri("outside"), Duration::from_secs(60)).await;
    assert!(matches!(signed, Err(Error::Unsupported { .. })), "{signed:?}");
    Ok(())
}

#[tokio::test]
async fn a_listing_that_is_refused_ends_with_that() -> Result<()> {
    let refusal = |status| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let address = misbehaving(vec![refusal("403 Forbidden"), refusal("404 Not Found")]).await?;
    let storage = storage_at(&address);
    let list = || storage.list(&uri("out")).try_collect::<Vec<_>>();
    let (denied, missing) = (list().await, list().await);
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    Ok(())
}

#[tokio::test]
async fn a_second_write_replaces_the_first() -> Result<()> {
    let bucket = EmulatedBucket::start().await?;
    let storage = storage_of(&bucket);
    for content in ["first", "second"] {
        storage.put(&uri("manifest.json"), content.into(), "application/json").await?;
    }
    assert_eq!(storage.get(&uri("manifest.json"), 100).await?, "second");
    Ok(())
}

#[tokio::test]
async fn what_is_not_there_or_too_large_is_named() -> Result<()> {
    let bucket = EmulatedBucket::start().await?;
    let storage = storage_of(&bucket);
    let missing = storage.get(&uri("missing"), 1).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
    let bucket: ObjectUri = "gs://no-such-bucket/x".parse()?;
    let put = storage.put(&bucket, "".into(), "text/plain").await;
    assert!(matches!(put, Err(Error::NotFound { .. })), "{put:?}");
    storage.put(&uri("large"), vec![0; 1000].into(), "text/plain").await?;
    let large = storage.get(&uri("large"), 999).await;
    assert!(matches!(large, Err(Error::TooLarge { limit: 999, .. })), "{large:?}");
    Ok(())
}

/// Answers the next connections with `answers`, one each, and returns where it listens.
async fn misbehaving(answers: Vec<String>) -> Result<String> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?.to_string();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await?;
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(answer.as_bytes()).await?;
        }
        std::io::Result::Ok(())
    });
    Ok(address)
}

fn object(content: &str, crc32c: &str) -> String {
    let length = content.len();
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\nx-goog-generation: 1\r\n\
         x-goog-metageneration: 1\r\nx-goog-hash: crc32c={crc32c}\r\n\r\n{content}"
    )
}

/// The CRC32C of `123456789`, big-endian in base64.
const CHECKSUM: &str = "4waSgw==";

#[tokio::test]
async fn a_read_that_was_damaged_on_its_way_is_no_success() -> Result<()> {
    let address = misbehaving(vec![object("123456780", CHECKSUM)]).await?;
    let read = storage_at(&address).get(&uri("x"), 100).await;
    assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
    Ok(())
}

#[tokio::test]
async fn a_busy_store_is_asked_again() -> Result<()> {
    let busy = |status| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let answers = vec![busy("503 Busy"), busy("429 Slow down"), object("123456789", CHECKSUM)];
    let address = misbehaving(answers).await?;
    assert_eq!(storage_at(&address).get(&uri("x"), 100).await?, "123456789");
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_final() -> Result<()> {
    let refusal = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let address = misbehaving(vec![refusal.into()]).await?;
    let read = storage_at(&address).get(&uri("x"), 100).await;
    assert!(matches!(read, Err(Error::Denied { .. })), "{read:?}");
    Ok(())
}
