//! Convolutions of all attributes: what tract computes as it is driven here, what ONNX Runtime
//! computes, and what patches times the kernel give are the same.
#![allow(clippy::unwrap_used)]

#[path = "../../../../tests/networks.rs"]
mod networks;

use std::collections::HashSet;

use sepconv_analysis::constants::Sight;
use sepconv_factor::InputMap;
use sepconv_ir::{DType, NodeId, Tensor};
use sepconv_passes::Site;
use sepconv_targets::{InputSpec, Target, reference};

use super::geometry;
use networks::{Arg, Net, noise, onnxruntime};
use sepconv_model::Loaded;

/// Number of values of each varied attribute.
const CHOICES: [usize; 10] = [2, 3, 4, 4, 3, 3, 8, 2, 2, 3];

/// A choice of each.
type Choice = [usize; CHOICES.len()];

struct Case {
    transposed: bool,
    kernel: Vec<i64>,
    strides: Vec<i64>,
    dilations: Vec<i64>,
    input: Vec<i64>,
    groups: i64,
    padding: Padding,
    output_padding: Vec<i64>,
    bias: bool,
}

enum Padding {
    /// Beginnings and ends.
    Explicit(Vec<i64>),
    Auto(&'static str),
    /// As much more than `stride * input` per axis.
    Shape(i64, &'static str),
}

impl Case {
    fn of(c: &Choice) -> Self {
        let axes = c[1] + 1;
        let by = |patterns: &[[i64; 3]]| patterns[0][..axes].to_vec();
        let kernels = [[3, 3, 3], [1, 3, 2], [2, 1, 3], [4, 2, 1]];
        let strides = [[1, 1, 1], [2, 2, 2], [3, 1, 2], [2, 4, 3]];
        let dilations = [[1, 1, 1], [2, 1, 2], [1, 3, 1]];
        let inputs = [[5, 6, 4], [7, 4, 5], [4, 9, 6]];
        let padding = match c[6] {
            0 => Padding::Explicit(vec![0; 2 * axes]),
            1 => Padding::Explicit(vec![1; 2 * axes]),
            2 => Padding::Explicit([&[2, 0, 1][..axes], &[0, 1, 2][..axes]].concat()),
            3 => Padding::Auto("SAME_UPPER"),
            4 => Padding::Auto("SAME_LOWER"),
            5 => Padding::Auto("VALID"),
            6 => Padding::Shape(0, "NOTSET"),
            _ => Padding::Shape(-1, "SAME_UPPER"),
        };
        Self {
            transposed: c[0] == 1,
            kernel: by(&kernels[c[2]..]),
            strides: by(&strides[c[3]..]),
            dilations: by(&dilations[c[4]..]),
            groups: [1, 2, 4][c[5]],
            padding,
            output_padding: vec![c[7] as i64; axes],
            bias: c[8] == 1,
            input: by(&inputs[c[9]..]),
        }
    }

    /// Extents of the output that the attributes ask for, where they do.
    fn asked(&self) -> Option<Vec<i64>> {
        let Padding::Shape(more, _) = self.padding else {
            return None;
        };
        let extents = self.input.iter().zip(&self.strides);
        Some(extents.map(|(n, s)| n * s + more).collect())
    }

    /// True where ONNX defines it and ONNX Runtime takes it.
    fn is_valid(&self) -> bool {
        let axes = self.kernel.len();
        let auto = matches!(self.padding, Padding::Auto("SAME_UPPER" | "SAME_LOWER"));
        (0..axes).all(|a| {
            let (stride, dilation) = (self.strides[a], self.dilations[a]);
            let reach = (self.kernel[a] - 1) * dilation + 1;
            let pads = match &self.padding {
                Padding::Explicit(pads) => pads[a] + pads[a + axes],
                _ => 0,
            };
            if !self.transposed {
                let fits = self.input[a] + pads >= reach;
                let plain = matches!(self.padding, Padding::Explicit(_) | Padding::Auto(_));
                return fits && plain && !(auto && dilation > 1) && self.output_padding[a] == 0;
            }
            let added = self.output_padding[a];
            let whole = (self.input[a] - 1) * stride + reach + added;
            let surplus = self.asked().map_or(0, |asked| (asked[a] - whole).max(0));
            // A row or column that no window reaches is the most that ONNX Runtime adds.
            added + surplus < stride && whole > pads
        })
    }

    fn add(&self, net: &mut Net, name: &str) {
        let channels = 4;
        let outer = 8;
        let (x, w, b) = (format!("x{name}"), format!("w{name}"), format!("b{name}"));
        net.input(&x, &[&[2, channels], &*self.input].concat());
        let front = match self.transposed {
            true => [channels, outer / self.groups],
            false => [outer, channels / self.groups],
        };
        let dims = [&front, &*self.kernel].concat();
        let dims: Vec<usize> = dims.iter().map(|n| *n as usize).collect();
        net.weight(&w, &dims);
        let mut inputs = vec![&*x, &*w];
        if self.bias {
            net.weight(&b, &[outer as usize]);
            inputs.push(&b);
        }
        let mut args = vec![
            ("strides", Arg::Ints(&self.strides)),
            ("dilations", Arg::Ints(&self.dilations)),
            ("group", Arg::Int(self.groups)),
        ];
        let asked = self.asked();
        match (&self.padding, &asked) {
            (Padding::Explicit(pads), _) => args.push(("pads", Arg::Ints(pads))),
            (Padding::Auto(how), _) => args.push(("auto_pad", Arg::Text(how))),
            (Padding::Shape(_, how), shape) => {
                args.push(("auto_pad", Arg::Text(how)));
                args.extend(shape.as_ref().map(|s| ("output_shape", Arg::Ints(s))));
            }
        }
        if self.output_padding.iter().any(|p| *p > 0) {
            args.push(("output_padding", Arg::Ints(&self.output_padding)));
        }
        let op = match self.transposed {
            true => "ConvTranspose",
            false => "Conv",
        };
        let y = format!("y{name}");
        net.node(op, &inputs, &y, &args);
        net.output(&y);
    }

    fn describe(&self) -> String {
        let padding = match &self.padding {
            Padding::Explicit(pads) => format!("pads {pads:?}"),
            Padding::Auto(how) => (*how).to_owned(),
            Padding::Shape(_, how) => format!("{how} to {:?}", self.asked()),
        };
        let (k, s, d, n) = (&self.kernel, &self.strides, &self.dilations, &self.input);
        let (t, g, p) = (self.transposed, self.groups, &self.output_padding);
        format!("transposed {t}: {n:?} * {k:?} s{s:?} d{d:?} g{g} {padding} +{p:?}")
    }
}

/// Valid cases in which every two choices meet that can.
fn cases() -> Vec<Case> {
    let mut met: HashSet<(usize, usize, usize, usize)> = HashSet::new();
    let mut cases = Vec::new();
    for draw in noise(20_000 * CHOICES.len(), 21).chunks_exact(CHOICES.len()) {
        let mut choice = [0; CHOICES.len()];
        for ((own, count), x) in choice.iter_mut().zip(CHOICES).zip(draw) {
            *own = (((x + 1.0) / 2.0 * count as f32) as usize).min(count - 1);
        }
        let case = Case::of(&choice);
        let pairs = (0..choice.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        let pairs = pairs.map(|(a, b)| (a, choice[a], b, choice[b]));
        let new = pairs.filter(|pair| !met.contains(pair)).collect::<Vec<_>>();
        if !new.is_empty() && case.is_valid() {
            met.extend(new);
            cases.push(case);
        }
    }
    cases
}

fn outputs(model: &Loaded, target: &dyn Target, inputs: &[Tensor]) -> Vec<Tensor> {
    let names = model.graph().inputs().map(|v| model.graph().name(v));
    let specs = names.zip(inputs).map(|(name, x)| InputSpec {
        name: name.to_owned(),
        dtype: x.dtype(),
        dims: x.dims().to_vec(),
    });
    let specs: Vec<InputSpec> = specs.collect();
    let session = target.load(&model.document.detach(), &specs).unwrap();
    session.run(inputs).unwrap()
}

/// A convolution without its bias, by the patches of its input.
fn by_patches(model: &Loaded, node: NodeId, x: &Tensor) -> Vec<f32> {
    let site = Site::of(model.graph(), node, &model.shapes, Sight::Plain);
    let site = site.unwrap().unwrap();
    let kernel = site.weights(model.graph()).unwrap();
    let shape = kernel.shape();
    let input = &x.dims()[2..];
    let geometry = geometry(&site.attributes, input).unwrap();
    let output = geometry.output_spatial(shape, input).unwrap();
    assert_eq!(Some(&output), site.output_spatial.as_ref());
    let all: Vec<usize> = (0..output.iter().product()).collect();
    let values = x.to_f32().unwrap();
    let mut y = Vec::new();
    for x in values.chunks_exact(values.len() / x.dims()[0]) {
        let rows = kernel.data().chunks_exact(shape.group_in() * shape.taps());
        let rows: Vec<&[f64]> = rows.collect();
        let map = InputMap {
            values: x,
            extents: input,
        };
        let patches = geometry.gather(shape, map, &all).unwrap();
        for (patches, rows) in patches.iter().zip(rows.chunks_exact(shape.group_out())) {
            for row in rows {
                y.extend(patches.chunks_exact(row.len()).map(|patch| {
                    let products = patch.iter().zip(*row);
                    products.map(|(x, w)| f64::from(*x) * w).sum::<f64>() as f32
                }));
            }
        }
    }
    y
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let pairs = a.iter().zip(b);
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn executors_and_patches_agree_on_all_attributes() {
    let cases = cases();
    let (some, transposed) = (cases.len(), cases.iter().filter(|c| c.transposed).count());
    assert!(some > 60 && transposed > 30, "{some} {transposed}");
    let mut net = Net::new(DType::F32);
    for (i, case) in cases.iter().enumerate() {
        case.add(&mut net, &i.to_string());
    }
    let model = net.loaded();
    let inputs: Vec<Tensor> = (0..)
        .zip(&cases)
        .map(|(seed, case)| {
            let dims = [&[2, 4], &*case.input].concat();
            let dims: Vec<usize> = dims.iter().map(|n| *n as usize).collect();
            let values = noise(dims.iter().product(), seed);
            Tensor::from_f32(dims, values)
        })
        .collect();
    let ours = outputs(&model, reference(), &inputs);
    let theirs = onnxruntime().map(|target| outputs(&model, target, &inputs));
    let nodes: Vec<NodeId> = model.graph().operators().map(|(id, _)| id).collect();
    let mut wrong = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let y = ours[i].to_f32().unwrap();
        if let Some(theirs) = &theirs {
            let z = theirs[i].to_f32().unwrap();
            if ours[i].dims() != theirs[i].dims() || distance(&y, &z) > 1e-4 {
                let (a, b) = (ours[i].dims(), theirs[i].dims());
                let by = distance(&y, &z);
                wrong.push(format!("{}: {a:?} and {b:?}, {by} apart", case.describe()));
            }
        }
        let mut plain = y.into_owned();
        if case.bias {
            let op = model.graph().operator(nodes[i]).unwrap();
            let bias = model.graph().constant(op.input(2).unwrap()).unwrap();
            let bias = bias.to_f32().unwrap();
            let plane = plain.len() / (2 * bias.len());
            let rows = plain.chunks_exact_mut(plane).zip(bias.iter().cycle());
            rows.for_each(|(row, b)| row.iter_mut().for_each(|y| *y -= b));
        }
        let by = by_patches(&model, nodes[i], &inputs[i]);
        if by.len() != plain.len() || distance(&by, &plain) > 1e-4 {
            wrong.push(format!("{}: patches differ", case.describe()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {some}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
