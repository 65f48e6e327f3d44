//! The residual stream of a transformer.

use tch::{Kind, Tensor};

use super::LayerNorm;
use crate::Result;
use crate::kernels::transformer::{Addition, Norm, residual_norm};

/// Rows `[N, channels]` that branches add to. What was added is taken up at the next norm, which is then one pass over the
/// rows where there is a kernel for it. Shifts, scales, gates and constants are `[1, channels]`, or `[samples, channels]`
/// where the stream knows whose rows are whose.
///
/// The sum may be in f32 while branches, norms and whatever else there is are in f16: it grows from block to block, and each
/// rounding of it would stay in it.
#[derive(Debug)]
pub struct Residual {
    x: Tensor,
    kind: Kind,
    sample: Option<Tensor>,
    branch: Option<(Tensor, Option<Tensor>)>,
    constant: Option<Tensor>,
}

/// A shift, and a scale to which one is added.
pub type ShiftScale<'a> = (&'a Tensor, &'a Tensor);

impl Residual {
    /// A stream that starts with `x`, whose memory it writes to, and whose branches are of this `kind`. `sample` `[N]` in i32
    /// is the sample of each row.
    pub fn new(x: Tensor, kind: Kind, sample: Option<Tensor>) -> Self {
        Self { x, kind, sample, branch: None, constant: None }
    }

    /// Room for a norm of each row.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn empty_like(&self) -> Result<Tensor> {
        Ok(Tensor::f_empty(self.x.size(), (self.kind, self.x.device()))?)
    }

    /// Adds `branch` `[N, channels]`, times `gate`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn add(&mut self, branch: Tensor, gate: Option<&Tensor>) -> Result<()> {
        self.take_up()?;
        self.branch = Some((branch, gate.map(Tensor::shallow_clone)));
        Ok(())
    }

    /// Adds the same to all rows, or to those of each sample. One constant at most lies between two norms.
    pub fn add_constant(&mut self, constant: &Tensor) {
        self.constant = Some(constant.shallow_clone());
    }

    /// The rows normalised, times (1 + scale) plus shift.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn norm(&mut self, norm: &LayerNorm, modulation: Option<ShiftScale>) -> Result<Tensor> {
        let out = self.empty_like()?;
        self.norm_into(norm, modulation, &out)?;
        Ok(out)
    }

    /// The same, written to `out` `[N, channels]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn norm_into(
        &mut self,
        norm: &LayerNorm,
        modulation: Option<ShiftScale>,
        out: &Tensor,
    ) -> Result<()> {
        let fused = Norm { affine: norm.affine_parts(), modulation, eps: norm.eps(), out };
        if residual_norm(&self.x, self.kind, self.sample.as_ref(), self.pending(), Some(fused))? {
            (self.branch, self.constant) = (None, None);
            return Ok(());
        }
        self.take_up()?;
        let mut normal = norm.forward(&self.x)?;
        if let Some((shift, scale)) = modulation {
            normal = normal.f_mul(&self.spread(scale)?.f_add_scalar(1.0)?)?.f_add(&self.spread(shift)?)?;
        }
        out.shallow_clone().f_copy_(&normal)?;
        Ok(())
    }

    /// Divides the stream into `count` streams of equally many rows, which go on to write to this one.
    ///
    /// # Errors
    /// When libtorch fails or the rows do not divide so.
    pub fn parts(&mut self, count: usize) -> Result<Vec<Self>> {
        let rows = self.x.size2()?.0 / count as i64;
        let (branch, constant) = (self.branch.take(), self.constant.take());
        let part = |index: usize| {
            let narrow = |tensor: &Tensor| tensor.f_narrow(0, index as i64 * rows, rows);
            let branch = branch.as_ref().map(|(branch, gate)| {
                Ok::<_, crate::Error>((narrow(branch)?, gate.as_ref().map(Tensor::shallow_clone)))
            });
            Ok(Self {
                x: narrow(&self.x)?,
                kind: self.kind,
                sample: self.sample.as_ref().map(Tensor::shallow_clone),
                branch: branch.transpose()?,
                constant: constant.as_ref().map(Tensor::shallow_clone),
            })
        };
        (0..count).map(part).collect()
    }

    /// `count` copies of the stream, one after the other.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn repeated(mut self, count: usize) -> Result<Self> {
        if count == 1 {
            return Ok(self);
        }
        self.take_up()?;
        Ok(Self { x: self.x.f_repeat([count as i64, 1])?, ..self })
    }

    /// All that was added up.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn finish(mut self) -> Result<Tensor> {
        self.take_up()?;
        Ok(self.x)
    }

    fn pending(&self) -> Addition<'_> {
        let (branch, gate) = self.branch.as_ref().map(|(branch, gate)| (branch, gate.as_ref())).unzip();
        Addition { branch, gate: gate.flatten(), constant: self.constant.as_ref() }
    }

    fn take_up(&mut self) -> Result<()> {
        if self.branch.is_none() && self.constant.is_none() {
            return Ok(());
        }
        if !residual_norm(&self.x, self.kind, self.sample.as_ref(), self.pending(), None)? {
            let Addition { branch, gate, constant } = self.pending();
            let mut sum = self.x.shallow_clone();
            if let Some(branch) = branch {
                let branch = branch.f_to_kind(sum.f_kind()?)?;
                sum = match gate {
                    Some(gate) => sum.f_add(&branch.f_mul(&self.spread(gate)?)?)?,
                    None => sum.f_add(&branch)?,
                };
            }
            if let Some(constant) = constant {
                sum = sum.f_add(&self.spread(constant)?)?;
            }
            self.x.shallow_clone().f_copy_(&sum)?;
        }
        (self.branch, self.constant) = (None, None);
        Ok(())
    }

    /// Rows of samples, for each row of the stream.
    fn spread(&self, per_sample: &Tensor) -> Result<Tensor> {
        match &self.sample {
            Some(sample) if per_sample.size2()?.0 > 1 => Ok(per_sample.f_index_select(0, sample)?),
            _ => Ok(per_sample.shallow_clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_sees_its_own_gate_and_parts_write_to_the_whole() {
        let row = |values: &[f32]| Tensor::from_slice(values).reshape([-1, 2]);
        let sample = Tensor::from_slice(&[0i32, 1]);
        let mut stream = Residual::new(row(&[1.0, 1.0, 1.0, 1.0]), Kind::Float, Some(sample));
        stream.add(row(&[1.0, 2.0, 3.0, 4.0]), Some(&row(&[1.0, 1.0, 10.0, 10.0]))).unwrap();
        let mut stream = stream.repeated(2).unwrap();
        let mut parts = stream.parts(2).unwrap();
        parts[1].add_constant(&row(&[100.0, 100.0]));
        let normal = parts[1].norm(&LayerNorm::plain(2, 0.0), None).unwrap();
        let error = (normal - row(&[-1.0, 1.0, -1.0, 1.0])).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{error}");
        let whole = stream.finish().unwrap();
        assert_eq!(whole, row(&[2.0, 3.0, 31.0, 41.0, 102.0, 103.0, 131.0, 141.0]));
    }

    #[test]
    fn small_branches_in_f16_are_not_lost_in_a_large_sum() {
        let of = |value: f32, kind| Tensor::from_slice(&[value; 8]).reshape([1, 8]).to_kind(kind);
        let mut stream = Residual::new(of(2048.0, Kind::Float), Kind::Half, None);
        for _ in 0..3 {
            stream.add(of(0.5, Kind::Half), None).unwrap();
            assert_eq!(stream.norm(&LayerNorm::plain(8, 1e-6), None).unwrap().kind(), Kind::Half);
        }
        assert_eq!(stream.finish().unwrap(), of(2049.5, Kind::Float));
    }
}
