//! The values after the header.

use super::header::{Element, Encoding, Number, broken};
use crate::Result;

/// Reads values in their order.
pub(super) struct Rows<'a> {
    encoding: Encoding,
    rest: &'a [u8],
}

impl<'a> Rows<'a> {
    pub(super) fn new(encoding: Encoding, rest: &'a [u8]) -> Self {
        Self { encoding, rest }
    }

    /// Hands each property of each row, by its place, to `take`: a list's values, or the one number.
    pub(super) fn element(
        &mut self,
        element: &Element,
        mut take: impl FnMut(usize, &[f64]) -> Result<()>,
    ) -> Result<()> {
        if element.properties.is_empty() {
            return Ok(());
        }
        // A row takes a byte at least: what is declared cannot be more than what is there.
        if element.count > self.rest.len() {
            return Err(self.short());
        }
        let mut list = vec![];
        for _ in 0..element.count {
            for (place, property) in element.properties.iter().enumerate() {
                match property.length {
                    None => take(place, &[self.number(property.number)?])?,
                    Some(length) => {
                        self.list(length, property.number, &mut list)?;
                        take(place, &list)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, length: Number, number: Number, list: &mut Vec<f64>) -> Result<()> {
        let length = self.number(length)?;
        if !(0.0..=self.rest.len() as f64).contains(&length) {
            return Err(self.short());
        }
        list.clear();
        for _ in 0..length as usize {
            list.push(self.number(number)?);
        }
        Ok(())
    }

    fn number(&mut self, number: Number) -> Result<f64> {
        match self.encoding {
            Encoding::Text => self.word(),
            encoding => {
                let size = number.size();
                let (bytes, rest) = self.rest.split_at_checked(size).ok_or_else(|| self.short())?;
                self.rest = rest;
                let mut little = [0; 8];
                little[..size].copy_from_slice(bytes);
                if encoding == Encoding::Big {
                    little[..size].reverse();
                }
                Ok(decode(number, little))
            }
        }
    }

    fn word(&mut self) -> Result<f64> {
        let start =
            self.rest.iter().position(|byte| !byte.is_ascii_whitespace()).ok_or_else(|| self.short())?;
        let rest = &self.rest[start..];
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        self.rest = &rest[end..];
        let word = std::str::from_utf8(&rest[..end]).ok().and_then(|word| word.parse().ok());
        word.ok_or_else(|| broken("it has a word where a number belongs"))
    }

    fn short(&self) -> crate::Error {
        broken("it ends before its last element")
    }
}

fn decode(number: Number, bytes: [u8; 8]) -> f64 {
    let [a, b, c, d, ..] = bytes;
    match number {
        Number::I8 => f64::from(a as i8),
        Number::U8 => f64::from(a),
        Number::I16 => f64::from(i16::from_le_bytes([a, b])),
        Number::U16 => f64::from(u16::from_le_bytes([a, b])),
        Number::I32 => f64::from(i32::from_le_bytes([a, b, c, d])),
        Number::U32 => f64::from(u32::from_le_bytes([a, b, c, d])),
        Number::F32 => f64::from(f32::from_le_bytes([a, b, c, d])),
        Number::F64 => f64::from_le_bytes(bytes),
    }
}
