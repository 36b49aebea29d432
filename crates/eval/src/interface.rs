//! Inputs and outputs of two models that are held against one another.

use sepconv_model::{Error, Loaded};

/// Refuses `b` where its inputs or outputs differ from those of `a` in name or number.
pub(crate) fn same_interface(a: &Loaded, b: &Loaded) -> Result<(), Error> {
    same(b, "inputs", &input_names(a), &input_names(b))?;
    same(b, "outputs", &a.output_names(), &b.output_names())
}

fn input_names(model: &Loaded) -> Vec<String> {
    let graph = model.graph();
    graph.inputs().map(|v| graph.name(v).to_owned()).collect()
}

fn same(b: &Loaded, what: &str, left: &[String], right: &[String]) -> Result<(), Error> {
    if left == right {
        return Ok(());
    }
    Err(Error::Interface {
        file: b.file(),
        reason: format!(
            "its {what} are [{}], those of the first model [{}]",
            right.join(", "),
            left.join(", ")
        ),
    })
}
