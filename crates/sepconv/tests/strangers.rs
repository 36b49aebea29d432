//! What a stranger brings works: the example `strangers`, run.
#![allow(clippy::unwrap_used)]

#[path = "../examples/strangers.rs"]
mod strangers;

#[test]
fn a_family_a_cost_model_a_metric_a_runtime_and_a_planner_of_others() {
    let outcome = strangers::run().unwrap();
    assert!(outcome.layers.iter().any(|l| l.form == "block-pw"));
}
