//! Plug-ins of callers work: the example `plugins`, run.
#![allow(clippy::unwrap_used)]

#[path = "../examples/plugins.rs"]
mod plugins;

#[test]
fn a_family_a_cost_model_a_metric_a_runtime_and_a_planner_of_others() {
    let outcome = plugins::run().unwrap();
    assert!(outcome.layers.iter().any(|l| l.form() == "block-pw"));
}
