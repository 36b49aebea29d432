//! The costs that planners minimise.

use sepconv_passes::{Lowering, lowerings};

use crate::block::{Block, Form, Geometry};
use crate::build::outline;
use crate::error::LatencyError;

/// The cost of a convolution in one of its forms, in a unit of the model's choice. Costs of one
/// model add up.
pub trait CostModel: Send + Sync {
    /// The unit of a cost: `MACs`, `parameters` or `seconds`.
    fn unit(&self) -> &'static str;

    /// The cost of a block.
    ///
    /// # Errors
    /// [`LatencyError`] where the form does not apply, or can't be measured.
    fn cost(&self, block: &Block) -> Result<f64, LatencyError>;

    /// The costs of many blocks, in their order; `progress` is told how many of how many are
    /// known. `None` for a form that is out of the question: the target can't run it, or
    /// another lowering of the same family is far faster.
    ///
    /// # Errors
    /// As [`CostModel::cost`].
    fn costs(
        &self,
        blocks: &[Block],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Option<f64>>, LatencyError> {
        progress(0, blocks.len());
        let costs = blocks.iter().map(|b| self.cost(b).map(Some)).collect();
        progress(blocks.len(), blocks.len());
        costs
    }

    /// True where a lowering is worth looking at. By default those that pad apart are not, which pays
    /// on runtimes that pad slowly.
    fn considers(&self, lowering: &dyn Lowering) -> bool {
        !lowering.pads_apart()
    }

    /// The lowering with which a family costs least at a rank, and that cost. Where all cost the
    /// same, the first of [`lowerings`] that applies.
    ///
    /// # Errors
    /// As [`CostModel::cost`]; [`LatencyError::Form`] where none can be run.
    fn best_lowering(
        &self,
        geometry: &Geometry,
        family: &str,
        rank: usize,
    ) -> Result<(&'static dyn Lowering, f64), LatencyError> {
        let mut lowerings = lowerings_for(geometry, family, rank)?;
        lowerings.retain(|l| self.considers(*l));
        let named = lowerings.iter().map(|l| l.name());
        let blocks: Vec<Block> = named
            .map(|name| Block::chain(geometry.clone(), family, rank, name))
            .collect();
        let costs = self.costs(&blocks, &mut |_, _| {})?;
        let known = lowerings.into_iter().zip(costs);
        let known = known.filter_map(|(lowering, cost)| Some((lowering, cost?)));
        let best = known.min_by(|a, b| a.1.total_cmp(&b.1));
        best.ok_or_else(|| {
            Block::chain(geometry.clone(), family, rank, "any")
                .misfit("no lowering of it can be run".into())
        })
    }
}

/// The lowerings that write a family at a rank in different ways: at rank 1 all of them write
/// the same operators, but for padding, so that there the first stands for all, and the first
/// that pads apart, at the filters and at the input, for those that do. A form that pads nothing is
/// written without padding.
///
/// # Errors
/// [`LatencyError::Form`] or [`LatencyError::Factor`] where the family does not apply.
pub fn lowerings_for(
    geometry: &Geometry,
    family: &str,
    rank: usize,
) -> Result<Vec<&'static dyn Lowering>, LatencyError> {
    Block::chain(geometry.clone(), family, rank, "any").lowerings()
}

impl Block {
    /// As [`lowerings_for`], of this block's chain; none for the original.
    ///
    /// # Errors
    /// As [`lowerings_for`].
    pub fn lowerings(&self) -> Result<Vec<&'static dyn Lowering>, LatencyError> {
        let Form::Chain { rank, .. } = self.form else {
            return Ok(Vec::new());
        };
        let chain = outline(rank, self.stages()?);
        let pads = self.geometry.pads.iter().any(|p| *p > 0);
        let found = lowerings().iter().copied();
        let found = found.filter(|l| (pads || !l.pads_apart()) && l.applies(&chain).is_ok());
        let found: Vec<&'static dyn Lowering> = found.collect();
        if rank == 1 {
            let padding = |l: &dyn Lowering| (l.pads_apart(), l.computes_rim());
            let first = |wanted| found.iter().copied().find(|l| padding(*l) == wanted);
            let ways = [(false, false), (true, false), (true, true)];
            return Ok(ways.into_iter().filter_map(first).collect());
        }
        Ok(found)
    }
}

/// Costs in multiply-accumulates. All lowerings cost the same, but for those that compute a rim.
#[derive(Debug, Clone, Copy, Default)]
pub struct Macs;

impl CostModel for Macs {
    fn unit(&self) -> &'static str {
        "MACs"
    }

    fn cost(&self, block: &Block) -> Result<f64, LatencyError> {
        Ok(block.macs()? as f64)
    }
}

/// Costs in weights. All lowerings cost the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct Params;

impl CostModel for Params {
    fn unit(&self) -> &'static str {
        "parameters"
    }

    fn cost(&self, block: &Block) -> Result<f64, LatencyError> {
        Ok(block.params()? as f64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::conv;
    use sepconv_factor::families::PointwiseFirst;
    use sepconv_factor::{
        Decomposition, FactorError, Factored, Kernel, KernelShape, RankRange, Skip, StageShape,
    };

    /// [`conv`] of 8 channels that pads by 1.
    fn padding() -> Geometry {
        Geometry {
            pads: vec![1; 4],
            ..conv(8)
        }
    }

    #[test]
    fn macs_and_parameters_are_counted() {
        let original = Block::original(conv(8));
        let separable = Block::chain(conv(8), "dw-pw", 2, "concat");
        // 8 channels, 3x3, on 6x6 positions.
        assert_eq!(Params.cost(&original).unwrap(), 576.0);
        assert_eq!(Macs.cost(&original).unwrap(), 576.0 * 36.0);
        assert_eq!(Params.cost(&separable).unwrap(), 2.0 * (72.0 + 64.0));
        assert_eq!(Macs.cost(&separable).unwrap(), 2.0 * (72.0 + 64.0) * 36.0);
        // 8 to 24 channels on 8x8 positions, or on 10x10 with the rim; 24 depthwise filters.
        let macs = |lowering| {
            let block = Block::chain(padding(), "cp", 24, lowering);
            Macs.cost(&block).unwrap()
        };
        let behind = 24.0 * (9.0 + 8.0) * 64.0;
        assert_eq!(macs("fused-padded"), behind + 8.0 * 24.0 * 64.0);
        assert_eq!(macs("fused-input-padded"), behind + 8.0 * 24.0 * 100.0);
        let (lowering, cost) = Macs.best_lowering(&conv(8), "dw-pw", 2).unwrap();
        assert_eq!((lowering.name(), cost), ("branches", 9792.0));
    }

    /// PW->DW under the name of another family, whose stages are others.
    struct Odd(&'static str);

    impl Decomposition for Odd {
        fn name(&self) -> &'static str {
            self.0
        }

        fn ranks(&self, shape: &KernelShape) -> Result<RankRange, Skip> {
            PointwiseFirst.ranks(shape)
        }

        fn stages(&self, shape: &KernelShape, rank: usize) -> Result<Vec<StageShape>, FactorError> {
            PointwiseFirst.stages(shape, rank)
        }

        fn factor(&self, kernel: &Kernel) -> Result<Box<dyn Factored>, FactorError> {
            PointwiseFirst.factor(kernel)
        }

        fn widths(&self, shape: &KernelShape, rank: usize) -> Vec<usize> {
            PointwiseFirst.widths(shape, rank)
        }
    }

    #[test]
    fn families_of_others_are_costed_by_their_stages() {
        let same = Block::of(conv(8), &PointwiseFirst, 2, "fused").unwrap();
        assert_eq!(same, Block::chain(conv(8), "pw-dw", 2, "fused"));
        for name in ["odd", "dw-pw"] {
            let own = Block::of(conv(8), &Odd(name), 2, "fused").unwrap();
            let text = own.to_string();
            assert!(
                text.ends_with(&format!("| {name} 2 fused 16x8x1x1 8x2x3x3/g8")),
                "{text}"
            );
            assert_eq!(own.macs().unwrap(), same.macs().unwrap());
            let lowerings: Vec<&str> = own.lowerings().unwrap().iter().map(|l| l.name()).collect();
            assert_eq!(lowerings, ["branches", "fused"]);
            assert_eq!(
                own.written_by("branches").stages().unwrap(),
                own.stages().unwrap()
            );
            assert!(crate::build(&own).is_ok());
        }
        assert!(Block::of(conv(8), &Odd("odd"), 99, "fused").is_err());
    }

    #[test]
    fn lowerings_that_write_the_same_are_named_once() {
        let names = |family, rank| -> Vec<&str> {
            let found = lowerings_for(&padding(), family, rank).unwrap();
            found.iter().map(|l| l.name()).collect()
        };
        let all = ["branches", "concat", "tiled", "fused"];
        let padded = ["branches-padded", "tiled-padded", "fused-padded"];
        assert_eq!(names("dw-pw", 2), [all.as_slice(), &padded].concat());
        assert_eq!(names("dw-pw", 1), ["branches", "branches-padded"]);
        let padded = ["branches-padded", "fused-padded"];
        let at_input = ["branches-input-padded", "fused-input-padded"];
        let all = ["branches", "fused"];
        assert_eq!(names("pw-dw", 3), [all, padded, at_input].concat());
        assert_eq!(
            names("pw-dw", 1),
            ["branches", "branches-padded", "branches-input-padded"]
        );
        assert_eq!(names("spatial", 3), ["fused", "fused-padded"]);
        assert_eq!(
            names("cp", 3),
            ["fused", "fused-padded", "fused-input-padded"]
        );
        assert_eq!(names("tucker", 3), ["fused", "fused-input-padded"]);
        assert_eq!(names("channel", 4), ["fused"]);
        let unpadded = lowerings_for(&conv(8), "cp", 3).unwrap();
        assert_eq!(unpadded.len(), 1);
    }

    #[test]
    fn forms_that_do_not_apply_are_errors_that_name_the_block() {
        let wrong = [("wavelet", 1), ("dw-pw", 10)];
        for (family, rank) in wrong {
            let block = Block::chain(conv(8), family, rank, "branches");
            let error = Macs.cost(&block).unwrap_err().to_string();
            assert!(
                error.contains("8x8x3x3") && error.contains(family),
                "{error}"
            );
            assert!(Macs.best_lowering(&conv(8), family, rank).is_err());
        }
    }
}
