//! Timing of stages on a device.

use std::time::Instant;

use tch::{Cuda, Device, Kind, Tensor};
use trellis::{Result, gpu};

use super::table::Row;

/// Times stages one after the other.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) device: Device,
    pub(super) runs: u32,
    /// Only stages in whose name this occurs.
    pub(super) only: String,
    pub(super) rows: Vec<Row>,
}

/// What was held on the device at some time. `None`: it is no GPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held(Option<u64>);

impl Clock {
    /// What is in use now: from here on a stage's memory counts.
    pub(super) fn held(&self) -> Held {
        self.release();
        Held(self.in_use())
    }

    /// Times `work`, if that stage is wanted. The first two runs do not count: they pay for what is set up once.
    pub(super) fn time<T: PartialEq>(
        &mut self,
        stage: impl Into<String>,
        before: Held,
        mut work: impl FnMut() -> Result<T>,
    ) -> Result<()> {
        let stage = stage.into();
        if !stage.contains(&self.only) {
            return Ok(());
        }
        work()?;
        self.release();
        let first = work()?;
        let mut last = None;
        let mut times = Vec::new();
        self.wait();
        for _ in 0..self.runs {
            // The result of the run before, if it lived, would count as memory of this one.
            last = None;
            let start = Instant::now();
            let result = work()?;
            self.wait();
            times.push(start.elapsed());
            last.replace(result);
        }
        let mut row = Row::new(stage, times);
        let held = self.in_use().zip(before.0).map(|(now, before)| now.saturating_sub(before));
        row.peak_gib = held.map(|bytes| bytes as f64 / f64::from(1 << 30));
        row.same_bytes = Some(last.as_ref() == Some(&first));
        self.rows.push(row);
        Ok(())
    }

    /// Waits for what the device was given to do.
    fn wait(&self) {
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(index as i64);
        }
    }

    fn in_use(&self) -> Option<u64> {
        self.wait();
        gpu::memory(self.device).map(|memory| memory.total - memory.free)
    }

    /// Makes libtorch give back memory that it keeps for later: that is the last thing it does before it refuses to allocate.
    fn release(&self) {
        if let Some(memory) = gpu::memory(self.device) {
            let too_much = i64::try_from(2 * memory.total).unwrap_or(i64::MAX);
            drop(Tensor::f_empty([too_much], (Kind::Uint8, self.device)));
        }
    }
}
