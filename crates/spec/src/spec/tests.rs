#![allow(clippy::unwrap_used)]

use sepconv_factor::WeightBits;

use super::*;

fn error(json: &str) -> String {
    Spec::from_json(json).unwrap_err().to_string()
}

#[test]
fn options_go_to_json_and_back() {
    let json = r#"{"rank": 3, "target": "tract", "threads": 2, "order": "pw-dw", "tune": 5, "skip": ["a*"],
        "families": ["dw-pw", "cp"], "max_memory": 1024, "scale": "1/255", "resize": "320x240",
        "channel_order": "bgr", "layout": "nhwc", "plan": {"format": "x"}, "cache": true}"#;
    let spec = Spec::from_json(json).unwrap();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(Spec::from_json(&text).unwrap(), spec);
    assert_eq!(Spec::from_json("{}").unwrap(), Spec::default());
    assert_eq!(
        Spec::from_json(r#"{"rounds": null}"#).unwrap(),
        Spec::default()
    );
}

#[test]
fn values_have_several_forms() {
    let alike = [
        (r#"{"scale": 0.5}"#, r#"{"scale": "0.5"}"#),
        (r#"{"mean": [1, 0.5]}"#, r#"{"mean": "1,0.5"}"#),
        (r#"{"std": []}"#, "{}"),
        (r#"{"resize": [32, 24]}"#, r#"{"resize": "32x24"}"#),
        (r#"{"crop": 24}"#, r#"{"crop": "24"}"#),
        (r#"{"max_memory": "2K"}"#, r#"{"max_memory": 2048}"#),
        (r#"{"tune": true}"#, r#"{"tune": 20}"#),
        (r#"{"tune": false}"#, r#"{"tune": 0}"#),
        (r#"{"layers": "a"}"#, r#"{"layers": ["a"]}"#),
        (
            r#"{"families": "cp,+lowrank"}"#,
            r#"{"families": ["cp", "+lowrank"]}"#,
        ),
    ];
    for (a, b) in alike {
        assert_eq!(
            Spec::from_json(a).unwrap(),
            Spec::from_json(b).unwrap(),
            "{a}"
        );
    }
}

#[test]
fn errors_name_the_option() {
    for (json, expected) in [
        (
            r#"{"order": "first"}"#,
            "order: there is no 'first' (there are dw-pw, pw-dw, best)",
        ),
        (
            r#"{"rank": 1, "threads": 0}"#,
            "threads: expected at least 1, found 0",
        ),
        (
            r#"{"energy": "half"}"#,
            "energy: found string \"half\", expected f64",
        ),
        (r#"{"target_mac": 1}"#, "there is no option 'target_mac'"),
        (r#"{"max_memory": 0}"#, "max_memory: '0' is no size"),
        (
            r#"{"channel_order": "gbr"}"#,
            "channel_order: expected rgb or bgr, found 'gbr'",
        ),
        (r#"{"plan": 3}"#, "plan: expected"),
        ("[]", "options: "),
    ] {
        let found = error(json);
        assert!(found.starts_with(expected), "{json}: {found}");
        assert!(!found.contains('\n'), "{found}");
    }
}

#[test]
fn parts_are_checked() {
    let spec = |json| Spec::from_json(json).unwrap();
    let both = spec(r#"{"rank": 1, "plan": "file.json"}"#);
    let error = both.budget.check().unwrap_err().to_string();
    assert_eq!(error, "one budget at a time: rank and plan are given");
    assert!(spec(r#"{"rank": 1}"#).budget.check().is_ok());
    let error = spec(r#"{"families": "+nonesuch"}"#)
        .space
        .families()
        .unwrap_err();
    assert!(matches!(error, SpecError::Family { found, .. } if found == "+nonesuch"));
    let error = spec(r#"{"skip": "["}"#)
        .space
        .selection()
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("layers or skip: "), "{error}");
    let error = spec(r#"{"input_shape": "x=0"}"#)
        .run
        .shapes
        .pins()
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("input_shape: input shape 'x=0'"),
        "{error}"
    );
    let error = spec(r#"{"scale": "1/x"}"#)
        .data
        .samples
        .recipe()
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("scale: number: expected"), "{error}");
}

#[test]
fn every_lowering_has_a_choice() {
    let named = LoweringChoice::ALL
        .iter()
        .filter_map(|choice| choice.lowering());
    let named: Vec<&str> = named.map(|lowering| lowering.name()).collect();
    let all: Vec<&str> = sepconv_passes::lowerings()
        .iter()
        .map(|l| l.name())
        .collect();
    assert_eq!(named, all);
    assert!(LoweringChoice::Auto.lowering().is_none());
}

#[test]
fn precision_is_said_once_and_what_needs_eight_bits_is_refused_without() {
    let space = |json: &str| Spec::from_json(json).unwrap().space;
    let precision = |json: &str| space(json).precision().map_err(|e| e.to_string());
    assert_eq!(precision("{}"), Ok(PrecisionChoice::F32));
    assert_eq!(precision(r#"{"int8": true}"#), Ok(PrecisionChoice::Int8));
    assert_eq!(
        precision(r#"{"precision": "auto"}"#),
        Ok(PrecisionChoice::Auto)
    );
    let twice = precision(r#"{"int8": true, "precision": "auto"}"#).unwrap_err();
    assert!(twice.starts_with("int8 or precision: "), "{twice}");
    let alone = space(r#"{"families": "none"}"#).families().unwrap_err();
    assert!(alone.to_string().starts_with("families: "), "{alone}");
    let both = space(r#"{"families": "none", "int8": true}"#).families();
    assert!(both.unwrap().is_none());
    assert!(
        space(r#"{"families": "none,cp", "int8": true}"#)
            .families()
            .is_err()
    );
    let raised = space(r#"{"opset": 13}"#).raises().unwrap_err();
    assert!(raised.to_string().starts_with("opset: "), "{raised}");
    let seven = space(r#"{"weight_bits": 7}"#).weight_bits().unwrap_err();
    assert!(seven.to_string().starts_with("weight_bits: "), "{seven}");
    let seven = space(r#"{"weight_bits": 7, "int8": true}"#).weight_bits();
    assert_eq!(seven.unwrap(), Some(WeightBits::Seven));
    assert!(
        space(r#"{"opset": 13, "precision": "auto"}"#)
            .raises()
            .unwrap()
    );
}
