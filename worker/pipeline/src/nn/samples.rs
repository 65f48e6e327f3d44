//! Which rows of a transformer are whose.

use tch::{Device, Kind, Tensor};

use crate::Result;
use crate::kernels;

/// Rows of a sample are a multiple of this where they are padded.
const BUCKET: i64 = 256;

/// Rows of samples that follow one another.
#[derive(Debug)]
pub struct Samples {
    lengths: Vec<i64>,
    of_row: Option<Tensor>,
    padding: Option<Padding>,
}

/// Rows after the tokens of a sample, which no token attends to.
#[derive(Debug)]
struct Padding {
    /// Tokens of each sample.
    tokens: Vec<i64>,
    /// `[N]` in i32: 1 for a row of padding, 0 for a token.
    mask: Tensor,
}

/// How rows are to attend to one another.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Rows of each sample.
    pub lengths: &'a [i64],
    /// `[n]` in i32, 1 for rows that none attends to; it goes for each n rows.
    pub padding: Option<&'a Tensor>,
}

impl Samples {
    /// Samples of these `lengths`, which share one time.
    pub fn at_one_time(lengths: Vec<i64>) -> Self {
        Self { lengths, of_row: None, padding: None }
    }

    /// Samples of these `lengths`, which may have times of their own.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn new(lengths: Vec<i64>, device: Device) -> Result<Self> {
        let of_row = Some(samples_of_rows(&lengths, device)?);
        Ok(Self { lengths, of_row, padding: None })
    }

    /// Samples of so many `tokens`, with padding where attention in this kind on this device is planned anew for each number
    /// of rows: cuDNN takes 40 ms for a plan, and keeps it.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn bucketed(tokens: &[i64], kind: Kind, device: Device) -> Result<Self> {
        if kind == Kind::Half && kernels::are_there(device) {
            return Self::padded(tokens, device);
        }
        Self::new(tokens.to_vec(), device)
    }

    /// The same with padding in any case.
    ///
    /// # Errors
    /// When libtorch fails.
    fn padded(tokens: &[i64], device: Device) -> Result<Self> {
        let lengths: Vec<i64> = tokens.iter().map(|tokens| (tokens + BUCKET - 1) / BUCKET * BUCKET).collect();
        let mask = tokens
            .iter()
            .zip(&lengths)
            .flat_map(|(&tokens, &rows)| (0..rows).map(move |row| i32::from(row >= tokens)));
        let mask = Tensor::f_from_slice(&mask.collect::<Vec<_>>())?.f_to_device(device)?;
        let padding = Some(Padding { tokens: tokens.to_vec(), mask });
        Ok(Self { padding, ..Self::new(lengths, device)? })
    }

    /// Rows of each sample.
    pub fn lengths(&self) -> &[i64] {
        &self.lengths
    }

    /// The sample of each row, where it is known.
    pub fn of_row(&self) -> Option<&Tensor> {
        self.of_row.as_ref()
    }

    /// 1 for each row of padding, where there is any.
    pub fn padding(&self) -> Option<&Tensor> {
        self.padding.as_ref().map(|padding| &padding.mask)
    }

    /// Tokens `[.., C]` as rows `[N, C]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn spread(&self, tokens: Tensor) -> Result<Tensor> {
        let Some(padding) = &self.padding else { return Ok(tokens) };
        let parts = tokens.f_split_with_sizes(&padding.tokens, 0)?;
        let padded = parts
            .iter()
            .zip(&self.lengths)
            .zip(&padding.tokens)
            .map(|((part, rows), tokens)| part.f_constant_pad_nd([0, 0, 0, rows - tokens]));
        Ok(Tensor::f_cat(&padded.collect::<std::result::Result<Vec<_>, _>>()?, 0)?)
    }

    /// The tokens among rows `[N, C]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn gather(&self, rows: &Tensor) -> Result<Tensor> {
        let Some(padding) = &self.padding else { return Ok(rows.shallow_clone()) };
        let parts = rows.f_split_with_sizes(&self.lengths, 0)?;
        let tokens = parts.iter().zip(&padding.tokens).map(|(part, &tokens)| part.f_narrow(0, 0, tokens));
        Ok(Tensor::f_cat(&tokens.collect::<std::result::Result<Vec<_>, _>>()?, 0)?)
    }
}

/// `[N]` in i32.
fn samples_of_rows(lengths: &[i64], device: Device) -> Result<Tensor> {
    let samples = (0..).zip(lengths).flat_map(|(sample, &rows)| (0..rows).map(move |_| sample));
    Ok(Tensor::f_from_slice(&samples.collect::<Vec<i32>>())?.f_to_device(device)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_from_among_the_padding() {
        let samples = Samples::padded(&[3, 256, 300], Device::Cpu).unwrap();
        assert_eq!(samples.lengths(), [256, 256, 512]);
        let tokens = Tensor::arange(559, (Kind::Float, Device::Cpu)).reshape([559, 1]);
        let rows = samples.spread(tokens.copy()).unwrap();
        assert_eq!(rows.size(), [1024, 1]);
        assert_eq!(samples.gather(&rows).unwrap(), tokens);
        let filled = samples.padding().unwrap().eq(0);
        assert_eq!(rows.squeeze_dim(1).masked_select(&filled), tokens.reshape([-1]));
    }
}
