//! The transformer of both flow models, dense and sparse.

use tch::{Kind, Tensor};

use super::{BlockConfig, Context, FlowBlock, Modulation, Residual, Rows, Samples, TimestepEmbedder};
use crate::Result;
use crate::weights::Weights;

/// Blocks, and what tells them the time.
#[derive(Debug)]
pub struct FlowTorso {
    kind: Kind,
    timestep: TimestepEmbedder,
    shared_modulation: Option<Modulation>,
    blocks: Vec<FlowBlock>,
}

/// Embedded times, and what the blocks make of them: a row for each time.
#[derive(Debug)]
pub struct Times {
    /// `[T, channels]`, in the torso's kind.
    pub embedded: Tensor,
    /// Of each block, `[T, 6 · channels]`.
    modulations: Vec<Tensor>,
}

/// A condition as each block sees it.
#[derive(Debug)]
pub struct Contexts(Vec<Context>);

impl FlowTorso {
    /// Takes `t_embedder`, `blocks` and, where it is shared, the modulation.
    ///
    /// # Errors
    /// As [`Weights::tensor`].
    pub fn load(weights: &Weights, config: &BlockConfig, blocks: i64) -> Result<Self> {
        let (torso, channels) = (weights.torso(), config.channels);
        let shared = config.shared_modulation.then(|| Modulation::load(weights, channels));
        Ok(Self {
            kind: torso.kind(),
            timestep: TimestepEmbedder::load(&weights.at("t_embedder"), channels)?,
            shared_modulation: shared.transpose()?,
            blocks: (0..blocks)
                .map(|index| FlowBlock::load(&torso.at("blocks").at(index), config))
                .collect::<Result<_>>()?,
        })
    }

    /// What the blocks compute in.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Readies `times` `[T]` = 1000 · time, in f32.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn times(&self, times: &Tensor) -> Result<Times> {
        let single = self.timestep.forward(times)?;
        let embedded = single.f_to_kind(self.kind)?;
        let shared = self.shared_modulation.as_ref().map(|modulation| modulation.forward(&single));
        let shared = shared.transpose()?.map(|modulation| modulation.f_to_kind(self.kind)).transpose()?;
        let of_block = |block: &FlowBlock| match &shared {
            Some(shared) => Ok(shared.shallow_clone()),
            None => Ok(block.modulation(&embedded)?.unwrap_or_else(|| embedded.shallow_clone())),
        };
        let modulations = self.blocks.iter().map(of_block).collect::<Result<_>>()?;
        Ok(Times { embedded, modulations })
    }

    /// Readies `condition [1 or samples, conditions, width]`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn contexts(&self, condition: &Tensor) -> Result<Contexts> {
        let condition = condition.f_to_kind(self.kind)?;
        let first = condition.f_narrow(0, 0, 1)?.f_narrow(1, 0, 1)?;
        let alike = condition.f_eq_tensor(&first)?.f_all()?.f_int64_value(&[])? != 0;
        Ok(Contexts(self.blocks.iter().map(|block| block.context(&condition, alike)).collect::<Result<_>>()?))
    }

    /// `x` `[N, channels]` under each of `conditions`: `[conditions · N, channels]`, both in f32, as the sum of all blocks is
    /// kept. `times` holds one row, or one for each sample and then there is one condition. It writes to the memory of `x`.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn forward(
        &self,
        x: Tensor,
        samples: &Samples,
        times: &Times,
        conditions: &[&Contexts],
    ) -> Result<Tensor> {
        let count = conditions.len();
        let (lengths, padding) = (samples.lengths(), samples.padding());
        let of_copies = lengths.repeat(count);
        let mut stream = Residual::new(x, self.kind, samples.of_row().map(Tensor::shallow_clone));
        for (index, (block, modulation)) in self.blocks.iter().zip(&times.modulations).enumerate() {
            // Conditions make no difference before the first block attends to them.
            let rows = Rows { lengths: if index == 0 { lengths } else { &of_copies }, padding };
            block.attend_within(&mut stream, modulation, rows)?;
            if index == 0 {
                stream = stream.repeated(count)?;
            }
            let contexts: Vec<&Context> =
                conditions.iter().filter_map(|contexts| contexts.0.get(index)).collect();
            block.attend_to_condition(&mut stream, modulation, lengths, &contexts)?;
        }
        stream.finish()
    }
}

impl Times {
    /// One of the times alone.
    ///
    /// # Errors
    /// When libtorch fails.
    pub fn step(&self, step: usize) -> Result<Self> {
        let row = |rows: &Tensor| Ok(rows.f_narrow(0, step as i64, 1)?);
        Ok(Self {
            embedded: row(&self.embedded)?,
            modulations: self.modulations.iter().map(row).collect::<Result<_>>()?,
        })
    }
}
