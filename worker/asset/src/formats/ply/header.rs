//! What a PLY file declares.

use super::super::Format;
use super::super::check::damaged;
use crate::Result;

/// How the values after the header are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Text,
    Little,
    Big,
}

/// The type of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    F32,
    F64,
}

/// What a row of an element holds under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: String,
    /// The type of a list's length; `None`: it is one number.
    pub(super) length: Option<Number>,
    pub(super) number: Number,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) count: usize,
    pub(super) properties: Vec<Property>,
}

#[derive(Debug)]
pub(super) struct Header {
    pub(super) encoding: Encoding,
    pub(super) elements: Vec<Element>,
}

/// The header, and the bytes after it.
pub(super) fn parse(bytes: &[u8]) -> Result<(Header, &[u8])> {
    let mut rest = bytes;
    let mut line = || -> Result<&str> {
        let end =
            rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| broken("its header has no end"))?;
        let (line, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        Ok(std::str::from_utf8(line).map_err(|_| broken("its header is no text"))?.trim())
    };
    if line()? != "ply" {
        return Err(broken("it does not begin as one"));
    }
    let (mut encoding, mut elements) = (None, Vec::<Element>::new());
    loop {
        let words: Vec<&str> = line()?.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["format", name, _version] => encoding = Some(parse_encoding(name)?),
            ["element", name, count] => {
                let count = count.parse().map_err(|_| broken("it has an element without a count"))?;
                elements.push(Element { name: (*name).to_owned(), count, properties: vec![] });
            }
            ["property", words @ ..] => {
                let element = elements.last_mut().ok_or_else(|| broken("it has a property of no element"))?;
                element.properties.push(parse_property(words)?);
            }
            ["end_header"] => break,
            [] | ["comment" | "obj_info", ..] => {}
            [word, ..] => return Err(broken(&format!("its header has a line that begins with {word:?}"))),
        }
    }
    let encoding = encoding.ok_or_else(|| broken("its header names no format"))?;
    Ok((Header { encoding, elements }, rest))
}

fn parse_encoding(name: &str) -> Result<Encoding> {
    match name {
        "ascii" => Ok(Encoding::Text),
        "binary_little_endian" => Ok(Encoding::Little),
        "binary_big_endian" => Ok(Encoding::Big),
        other => Err(broken(&format!("its format {other:?} is unknown"))),
    }
}

fn parse_property(words: &[&str]) -> Result<Property> {
    let (length, number, name) = match words {
        ["list", length, number, name] => (Some(Number::parse(length)?), Number::parse(number)?, name),
        [number, name] => (None, Number::parse(number)?, name),
        _ => return Err(broken("it has a property without type or name")),
    };
    Ok(Property { name: (*name).to_owned(), length, number })
}

impl Number {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "char" | "int8" => Self::I8,
            "uchar" | "uint8" => Self::U8,
            "short" | "int16" => Self::I16,
            "ushort" | "uint16" => Self::U16,
            "int" | "int32" => Self::I32,
            "uint" | "uint32" => Self::U32,
            "float" | "float32" => Self::F32,
            "double" | "float64" => Self::F64,
            other => return Err(broken(&format!("its type {other:?} is unknown"))),
        })
    }

    /// Bytes of one.
    pub(super) const fn size(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The largest value of a colour's channel: integers mean fractions of it.
    pub(super) const fn white(self) -> f32 {
        match self {
            Self::I8 | Self::U8 => 255.0,
            Self::I16 | Self::U16 => 65_535.0,
            _ => 1.0,
        }
    }
}

pub(super) fn broken(what: &str) -> crate::Error {
    damaged(Format::Ply, what)
}
