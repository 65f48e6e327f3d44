//! Values out of the binary part of a GLB file.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use meshopt::encoding as codec;

use super::document::{Accessor, Compression, Document};
use super::{JSON_CHUNK, MAGIC};
use crate::Result;
use crate::formats::Format;
use crate::formats::check::{self, damaged};

/// A document with its buffers.
pub(super) struct File<'a> {
    pub(super) document: Document,
    binary: &'a [u8],
}

impl<'a> File<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self> {
        let mut rest = bytes
            .get(12..)
            .filter(|_| bytes.starts_with(MAGIC))
            .ok_or_else(|| broken("it does not begin as one"))?;
        let (kind, text) = chunk(&mut rest)?;
        if kind != JSON_CHUNK {
            return Err(broken("its first part is not the document"));
        }
        let document: Document = serde_json::from_slice(text).map_err(|error| damaged(Format::Glb, error))?;
        let binary = if rest.is_empty() { rest } else { chunk(&mut rest)?.1 };
        Ok(Self { document, binary })
    }

    /// The bytes of a buffer.
    fn buffer(&self, index: usize) -> Result<Cow<'a, [u8]>> {
        let buffer = self.document.buffers.get(index).ok_or_else(|| missing("buffer", index))?;
        match buffer.uri.as_deref() {
            None if index == 0 => Ok(Cow::Borrowed(self.binary)),
            None => Err(missing("the bytes of buffer", index)),
            Some(uri) => data_uri(uri).map(Cow::Owned),
        }
    }

    fn part(&self, buffer: usize, offset: usize, length: usize) -> Result<Cow<'a, [u8]>> {
        let outside = || broken("a view reaches beyond its buffer");
        let end = offset.checked_add(length).ok_or_else(outside)?;
        match self.buffer(buffer)? {
            Cow::Borrowed(bytes) => bytes.get(offset..end).map(Cow::Borrowed).ok_or_else(outside),
            Cow::Owned(bytes) => {
                bytes.get(offset..end).map(|part| Cow::Owned(part.to_vec())).ok_or_else(outside)
            }
        }
    }

    /// The bytes of a view, decoded, and the distance of its values if it says one.
    pub(super) fn view(&self, index: usize) -> Result<(Cow<'a, [u8]>, Option<usize>)> {
        let view = self.document.buffer_views.get(index).ok_or_else(|| missing("view", index))?;
        if let Some(compression) = &view.extensions.meshopt {
            let encoded = self.part(compression.buffer, compression.byte_offset, compression.byte_length)?;
            return Ok((Cow::Owned(decode(&encoded, compression)?), Some(compression.byte_stride)));
        }
        Ok((self.part(view.buffer, view.byte_offset, view.byte_length)?, view.byte_stride))
    }

    /// The values of an accessor as vectors of `N`, fractions where its integers mean such. A colour may leave out its alpha: what an accessor has
    /// beyond `N` is dropped, what it lacks is an error.
    pub(super) fn vectors<const N: usize>(&self, index: usize) -> Result<Vec<[f32; N]>> {
        let values = self.values(index)?;
        if values.components < N {
            return Err(damaged(Format::Glb, format_args!("accessor {index} has too few components")));
        }
        values.rows().map(|row| row.map(|row| std::array::from_fn(|axis| values.float(row, axis)))).collect()
    }

    /// The values of an accessor of indices.
    pub(super) fn indices(&self, index: usize) -> Result<Vec<u32>> {
        let values = self.values(index)?;
        values.rows().map(|row| row.map(|row| values.integer(row))).collect()
    }

    fn values(&self, index: usize) -> Result<Values<'a>> {
        let accessor = self.document.accessors.get(index).ok_or_else(|| missing("accessor", index))?;
        Values::new(self, accessor)
    }
}

fn chunk<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8])> {
    let short = || broken("it ends before its last part");
    let (header, after) = rest.split_at_checked(8).ok_or_else(short)?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let (content, after) = after.split_at_checked(length).ok_or_else(short)?;
    *rest = after;
    Ok((&header[4..], content))
}

/// The content of a `data:` address.
pub(super) fn data_uri(uri: &str) -> Result<Vec<u8>> {
    let Some((_, text)) = uri.strip_prefix("data:").and_then(|uri| uri.split_once(";base64,")) else {
        return Err(broken("it needs files beside it; export it with everything inside"));
    };
    BASE64_STANDARD.decode(text).map_err(|error| damaged(Format::Glb, error))
}

/// Values that lie somewhere in a view.
struct Values<'a> {
    bytes: Cow<'a, [u8]>,
    offset: usize,
    stride: usize,
    count: usize,
    components: usize,
    component: u32,
    normalized: bool,
}

impl<'a> Values<'a> {
    fn new(file: &File<'a>, accessor: &Accessor) -> Result<Self> {
        if accessor.sparse.is_some() {
            return Err(broken("it has sparse accessors, which are not supported"));
        }
        let components = match accessor.shape.as_str() {
            "SCALAR" => 1,
            "VEC2" => 2,
            "VEC3" => 3,
            "VEC4" => 4,
            other => return Err(damaged(Format::Glb, format_args!("an accessor holds {other:?}"))),
        };
        let size = component_size(accessor.component_type)? * components;
        let count = check::count(Format::Glb, "values in an accessor", accessor.count)?;
        let view = accessor.buffer_view.ok_or_else(|| broken("an accessor has no view"))?;
        let (bytes, stride) = file.view(view)?;
        let stride = stride.unwrap_or(size);
        let end = count.checked_sub(1).map_or(Some(0), |last| {
            last.checked_mul(stride)?.checked_add(size)?.checked_add(accessor.byte_offset)
        });
        if stride < size || end.is_none_or(|end| end > bytes.len()) {
            return Err(broken("an accessor reaches beyond its view"));
        }
        Ok(Self {
            bytes,
            offset: accessor.byte_offset,
            stride,
            count,
            components,
            component: accessor.component_type,
            normalized: accessor.normalized,
        })
    }

    fn rows(&self) -> impl Iterator<Item = Result<&[u8]>> {
        (0..self.count).map(|row| {
            let start = self.offset + row * self.stride;
            self.bytes.get(start..).ok_or_else(|| broken("an accessor reaches beyond its view"))
        })
    }

    fn float(&self, row: &[u8], axis: usize) -> f32 {
        let at = |size: usize| &row[axis * size..][..size];
        let (value, one) = match self.component {
            5120 => (f32::from(at(1)[0] as i8), f32::from(i8::MAX)),
            5121 => (f32::from(at(1)[0]), f32::from(u8::MAX)),
            5122 => (f32::from(i16::from_le_bytes([at(2)[0], at(2)[1]])), f32::from(i16::MAX)),
            5123 => (f32::from(u16::from_le_bytes([at(2)[0], at(2)[1]])), f32::from(u16::MAX)),
            5125 => (self.integer(&row[axis * 4..]) as f32, u32::MAX as f32),
            _ => (f32::from_le_bytes([at(4)[0], at(4)[1], at(4)[2], at(4)[3]]), 1.0),
        };
        if self.normalized { (value / one).max(-1.0) } else { value }
    }

    fn integer(&self, row: &[u8]) -> u32 {
        match self.component {
            5120 | 5121 => u32::from(row[0]),
            5122 | 5123 => u32::from(u16::from_le_bytes([row[0], row[1]])),
            _ => u32::from_le_bytes([row[0], row[1], row[2], row[3]]),
        }
    }
}

fn component_size(component: u32) -> Result<usize> {
    match component {
        5120 | 5121 => Ok(1),
        5122 | 5123 => Ok(2),
        5125 | 5126 => Ok(4),
        other => Err(damaged(Format::Glb, format_args!("an accessor has components of type {other}"))),
    }
}

/// Decodes a view of `EXT_meshopt_compression`. Its decoders are made for input that nobody trusts; what they need is as much room as is declared.
fn decode(encoded: &[u8], compression: &Compression) -> Result<Vec<u8>> {
    let Compression { count, byte_stride: stride, .. } = *compression;
    check::count(Format::Glb, "values in a view", count)?;
    if encoded.is_empty() {
        return Err(broken("a compressed view is empty"));
    }
    let failed = |error: meshopt::Error| damaged(Format::Glb, error);
    let unsupported =
        |what: &str| damaged(Format::Glb, format_args!("it has compressed {what}, which is not supported"));
    match (compression.mode.as_str(), stride) {
        ("ATTRIBUTES", 4) => vertices::<4>(encoded, count),
        ("ATTRIBUTES", 8) => vertices::<8>(encoded, count),
        ("ATTRIBUTES", 12) => vertices::<12>(encoded, count),
        ("ATTRIBUTES", 16) => vertices::<16>(encoded, count),
        ("TRIANGLES", 2) if count % 3 == 0 => {
            let values: Vec<u16> = codec::decode_index_buffer(encoded, count).map_err(failed)?;
            Ok(bytemuck::cast_slice(&values).to_vec())
        }
        ("TRIANGLES", 4) if count % 3 == 0 => {
            let values: Vec<u32> = codec::decode_index_buffer(encoded, count).map_err(failed)?;
            Ok(bytemuck::cast_slice(&values).to_vec())
        }
        (mode, stride) => Err(unsupported(&format!("{mode} of {stride} bytes"))),
    }
    .and_then(|bytes| match (compression.filter.as_deref(), stride) {
        (None | Some("NONE"), _) => Ok(bytes),
        (Some("OCTAHEDRAL"), 4) => Ok(filtered::<[i8; 4]>(&bytes, codec::decode_filter_oct)),
        (Some("OCTAHEDRAL"), 8) => Ok(filtered::<[i16; 4]>(&bytes, codec::decode_filter_oct)),
        (Some("EXPONENTIAL"), 4) => Ok(filtered::<[u32; 1]>(&bytes, codec::decode_filter_exp)),
        (Some("EXPONENTIAL"), 8) => Ok(filtered::<[u32; 2]>(&bytes, codec::decode_filter_exp)),
        (Some("EXPONENTIAL"), 12) => Ok(filtered::<[u32; 3]>(&bytes, codec::decode_filter_exp)),
        (Some("EXPONENTIAL"), 16) => Ok(filtered::<[u32; 4]>(&bytes, codec::decode_filter_exp)),
        (Some(filter), stride) => Err(unsupported(&format!("{filter} values of {stride} bytes"))),
    })
}

fn vertices<const STRIDE: usize>(encoded: &[u8], count: usize) -> Result<Vec<u8>>
where
    [u8; STRIDE]: Default,
{
    let values: Vec<[u8; STRIDE]> =
        codec::decode_vertex_buffer(encoded, count).map_err(|error| damaged(Format::Glb, error))?;
    Ok(values.concat())
}

fn filtered<T: bytemuck::Pod>(bytes: &[u8], filter: impl Fn(&mut [T])) -> Vec<u8> {
    let mut values: Vec<T> = bytemuck::pod_collect_to_vec(bytes);
    filter(&mut values);
    bytemuck::cast_slice(&values).to_vec()
}

pub(super) fn broken(what: &str) -> crate::Error {
    damaged(Format::Glb, what)
}

pub(super) fn missing(what: &str, index: usize) -> crate::Error {
    damaged(Format::Glb, format_args!("it lacks {what} {index}"))
}
