#![allow(clippy::unwrap_used)]
use sepconv_ir::{AttributeValue, Operator};

use super::*;

fn conv(attributes: &[(&str, AttributeValue)]) -> Operator {
    operator("Conv", attributes)
}

fn operator(op_type: &str, attributes: &[(&str, AttributeValue)]) -> Operator {
    attributes
        .iter()
        .fold(Operator::new(op_type, "c"), |op, (name, value)| {
            op.with(*name, value.clone())
        })
}

fn ints(values: &[i64]) -> AttributeValue {
    AttributeValue::Ints(values.to_vec())
}

fn text(value: &'static str) -> AttributeValue {
    AttributeValue::String(value.into())
}

fn fault(op: &Operator, weight: &[usize]) -> String {
    ConvAttributes::read(op, weight).unwrap_err().to_string()
}

#[test]
fn defaults_are_filled_in() {
    let c = ConvAttributes::read(&conv(&[]), &[8, 3, 3, 5]).unwrap();
    assert_eq!((c.in_channels, c.out_channels, c.group), (3, 8, 1));
    assert_eq!(c.kernel, [3, 5]);
    assert_eq!(c.strides, [1, 1]);
    assert_eq!(c.pads, [0; 4]);
    assert_eq!(c.output_spatial(&[10, 10]), Some(vec![8, 6]));
    assert_eq!(c.output_spatial(&[10]), None);
    assert_eq!(c.output_spatial(&[2, 10]), None);
}

#[test]
fn one_and_three_axes() {
    let op = conv(&[("strides", ints(&[2])), ("pads", ints(&[1, 0]))]);
    let c = ConvAttributes::read(&op, &[4, 4, 3]).unwrap();
    assert_eq!(c.output_spatial(&[8]), Some(vec![4]));
    let op = conv(&[("dilations", ints(&[1, 2, 3]))]);
    let c = ConvAttributes::read(&op, &[4, 4, 3, 3, 3]).unwrap();
    assert_eq!(c.output_spatial(&[8, 8, 8]), Some(vec![6, 4, 2]));
}

#[test]
fn auto_pad_is_resolved_and_overrides_pads() {
    let with = |mode| {
        let op = conv(&[
            ("auto_pad", text(mode)),
            ("strides", ints(&[2, 2])),
            ("pads", ints(&[7, 7, 7, 7])),
        ]);
        ConvAttributes::read(&op, &[1, 1, 3, 3]).unwrap()
    };
    let upper = with("SAME_UPPER");
    assert_eq!(upper.output_spatial(&[224, 225]), Some(vec![112, 113]));
    assert_eq!(upper.explicit_pads(&[224, 225]), Some(vec![0, 1, 1, 1]));
    assert_eq!(
        with("SAME_LOWER").explicit_pads(&[224, 225]),
        Some(vec![1, 1, 0, 1])
    );
    let valid = with("VALID");
    assert_eq!(valid.output_spatial(&[224, 225]), Some(vec![111, 112]));
    assert_eq!(valid.explicit_pads(&[224, 225]), Some(vec![0; 4]));
}

#[test]
fn groups_scale_the_inner_channels() {
    let op = conv(&[("group", AttributeValue::Int(4))]);
    let c = ConvAttributes::read(&op, &[8, 2, 1, 1]).unwrap();
    assert_eq!((c.in_channels, c.out_channels), (8, 8));
    let t = operator("ConvTranspose", &[("group", AttributeValue::Int(4))]);
    let c = ConvAttributes::read(&t, &[8, 3, 1, 1]).unwrap();
    assert_eq!((c.in_channels, c.out_channels), (8, 12));
}

#[test]
fn transposed_extents() {
    let read = |attributes: &[(&str, AttributeValue)]| {
        ConvAttributes::read(&operator("ConvTranspose", attributes), &[4, 2, 3, 3]).unwrap()
    };
    let stride = ("strides", ints(&[2, 2]));
    let plain = read(std::slice::from_ref(&stride));
    assert_eq!(plain.output_spatial(&[5, 5]), Some(vec![11, 11]));
    let padded = read(&[
        stride.clone(),
        ("pads", ints(&[1, 1, 1, 1])),
        ("output_padding", ints(&[1, 1])),
    ]);
    assert_eq!(padded.output_spatial(&[5, 5]), Some(vec![10, 10]));
    let same = read(&[stride.clone(), ("auto_pad", text("SAME_UPPER"))]);
    assert_eq!(same.output_spatial(&[5, 5]), Some(vec![10, 10]));
    assert_eq!(same.explicit_pads(&[5, 5]), Some(vec![0, 0, 1, 1]));
    for shape in [&[10, 9][..], &[1, 2, 10, 9]] {
        let asked = read(&[stride.clone(), ("output_shape", ints(shape))]);
        assert_eq!(asked.output_spatial(&[5, 5]), Some(vec![10, 9]));
        assert_eq!(asked.explicit_pads(&[5, 5]), Some(vec![1, 1, 0, 1]));
    }
    let cut = read(&[("pads", ints(&[9, 9, 9, 9]))]);
    assert_eq!(cut.output_spatial(&[5, 5]), None);
    // A kernel that reaches less than the stride leaves nothing to cut.
    let sparse = read(&[("strides", ints(&[4, 3])), ("auto_pad", text("SAME_LOWER"))]);
    assert_eq!(sparse.output_spatial(&[5, 5]), Some(vec![19, 15]));
}

#[test]
fn explicit_attributes_give_the_same_extents() {
    let read = |attributes: &[(&str, AttributeValue)]| {
        ConvAttributes::read(&operator("ConvTranspose", attributes), &[4, 2, 3, 3]).unwrap()
    };
    let stride = ("strides", ints(&[3, 2]));
    let larger = read(&[stride.clone(), ("output_shape", ints(&[16, 9]))]);
    let explicit = larger.explicit(&[5, 5]).unwrap();
    // The window reaches 15 x 11: one row is added, two columns are cut.
    assert_eq!(explicit.output_padding, [1, 0]);
    assert_eq!(explicit.pads, [0, 1, 0, 1]);
    assert_eq!(explicit.output_shape, None);
    assert_eq!(explicit.output_spatial(&[5, 5]), Some(vec![16, 9]));
    let same = read(&[
        stride,
        ("auto_pad", text("SAME_UPPER")),
        ("output_padding", ints(&[0, 1])),
    ]);
    let explicit = same.explicit(&[5, 5]).unwrap();
    assert_eq!(
        (&*explicit.pads, &*explicit.output_padding),
        (&[0, 1, 0, 1][..], &[0, 1][..])
    );
    assert_eq!(explicit.output_spatial(&[5, 5]), Some(vec![15, 10]));
    let conv = conv(&[("auto_pad", text("SAME_LOWER")), ("strides", ints(&[2, 2]))]);
    let conv = ConvAttributes::read(&conv, &[1, 1, 3, 3]).unwrap();
    let explicit = conv.explicit(&[224, 225]).unwrap();
    assert_eq!(
        (explicit.pads, explicit.auto_pad),
        (vec![1, 1, 0, 1], AutoPad::NotSet)
    );
}

#[test]
fn faults_name_the_node_and_the_attribute() {
    let w = [8, 3, 3, 3];
    let cases = [
        (
            conv(&[("kernel_shape", ints(&[5, 5]))]),
            "kernel_shape [5, 5] does not agree with the weight's [3, 3]",
        ),
        (
            conv(&[("strides", ints(&[0, 1]))]),
            "attribute 'strides' is 0, below 1",
        ),
        (
            conv(&[("strides", ints(&[1]))]),
            "attribute 'strides' has 1 elements, not 2",
        ),
        (
            conv(&[("dilations", ints(&[1, i64::MIN]))]),
            "attribute 'dilations' is -9223372036854775808, below 1",
        ),
        (
            conv(&[("pads", ints(&[0, 0, -1, 0]))]),
            "attribute 'pads' is -1, below 0",
        ),
        (
            conv(&[("group", AttributeValue::Int(3))]),
            "8 channels do not divide into 3 groups",
        ),
        (
            conv(&[("group", AttributeValue::Int(0))]),
            "attribute 'group' is 0, below 1",
        ),
        (
            conv(&[("group", text("2"))]),
            "attribute 'group' is of the wrong type",
        ),
        (
            conv(&[("pads", AttributeValue::Int(1))]),
            "attribute 'pads' is of the wrong type",
        ),
        (
            conv(&[("auto_pad", text("SOME"))]),
            "auto_pad 'SOME' is unknown",
        ),
    ];
    for (op, reason) in cases {
        assert_eq!(fault(&op, &w), format!("node 'c' (Conv): {reason}"));
    }
}

#[test]
fn hostile_weights_are_refused() {
    assert!(fault(&conv(&[]), &[]).ends_with("a weight of rank 0 has no spatial axes"));
    assert!(fault(&conv(&[]), &[8, 3]).ends_with("a weight of rank 2 has no spatial axes"));
    assert!(fault(&conv(&[]), &[8, 3, 0]).ends_with("empty axis: [8, 3, 0]"));
    let op = conv(&[("group", AttributeValue::Int(4))]);
    assert!(fault(&op, &[8, usize::MAX, 1]).ends_with("the channel count overflows"));
    let op = conv(&[
        ("dilations", ints(&[i64::MAX])),
        ("pads", ints(&[i64::MAX, i64::MAX])),
    ]);
    let c = ConvAttributes::read(&op, &[1, 1, 3]).unwrap();
    assert_eq!(c.output_spatial(&[u64::MAX]), None);
    let op = operator("ConvTranspose", &[("strides", ints(&[i64::MAX]))]);
    let c = ConvAttributes::read(&op, &[1, 1, 3]).unwrap();
    assert_eq!(c.output_spatial(&[u64::MAX]), None);
    assert_eq!(c.output_spatial(&[0]), None);
}
