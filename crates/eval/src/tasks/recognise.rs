//! The task of a model, as it is named, else by the shapes, names and values of its outputs.

use sepconv_model::classes::are_numbers;
use sepconv_model::{DataSource, Task};

use super::Kind;
use super::detect::{Detector, Found, Layout};
use super::embed;
use super::seen::Seen;
use super::segment::Segmentation;
use super::sequence;
use super::tag::Labels;
use crate::evaluate::restoration::picture;
use crate::evaluate::rows::Rows;

/// A task, how it is measured, and why it was taken.
type Recognised = (Task, Kind, String);

/// The task that is named, or recognised; the reason where outputs don't fit one that is named.
pub(super) fn recognised(
    seen: Seen<'_>,
    source: &DataSource,
) -> Result<Option<Recognised>, String> {
    let named = |kind: Option<Kind>, what: &str| match kind {
        Some(kind) => Ok(Some((source.task, kind, "it was named".to_owned()))),
        None => Err(format!("task {}: {what}", source.task.name())),
    };
    match source.task {
        Task::Auto => Ok(auto(seen)),
        Task::Classify => named(
            classes(seen).map(|_| Kind::Classify),
            "no output is shaped [n, classes]",
        ),
        Task::Detect => match Layout::of(seen) {
            Found::Detector(layout, why) => {
                let detector = Detector::of(seen, layout);
                let why = format!("it was named: {}", described(seen, &detector, why));
                Ok(Some((Task::Detect, Kind::Detect(detector), why)))
            }
            Found::Undecoded(why) => named(None, why),
            Found::Other => named(
                None,
                "the outputs are of no known layout of boxes and scores",
            ),
        },
        Task::Segment => {
            let all = (0..seen.outputs()).find_map(|output| Segmentation::of(seen, output));
            named(
                all.map(Kind::Segment),
                "no output has a class for every position",
            )
        }
        Task::Restore => {
            let pictures = (0..seen.outputs()).find(|o| picture(seen.sample(*o)).is_some());
            let kind = pictures.map(|output| Kind::Restore(output, source.peak.unwrap_or(1.0)));
            named(kind, "no output is a picture")
        }
        Task::Sequence => named(
            sequence::shaped(seen).map(Kind::Sequence),
            "no output is shaped [n, steps, classes]",
        ),
        Task::Tag => named(
            Labels::shaped(seen).map(Kind::Tag),
            "no output is shaped [n, labels]",
        ),
        Task::Embed => {
            let vectors = embed::vectors(seen).or_else(|| embed::shaped(seen).next());
            named(
                vectors.map(Kind::Embed),
                "no output is of vectors, [n, values], axes of one element aside",
            )
        }
        Task::Regress => named(Some(Kind::Regress), ""),
    }
}

/// The first output shaped `[n, classes]`.
fn classes(seen: Seen<'_>) -> Option<usize> {
    (0..seen.outputs()).find(|output| {
        let mut rows = seen.of(*output);
        rows.next().is_some_and(|rows| rows.classes().is_some())
    })
}

/// By the first rule that holds: boxes and scores, a class for every step, vectors, labels, numbers, classes, a class for every
/// position.
fn auto(seen: Seen<'_>) -> Option<Recognised> {
    if let Found::Detector(layout, why) = Layout::of(seen) {
        let detector = Detector::of(seen, layout);
        let why = described(seen, &detector, why);
        return Some((Task::Detect, Kind::Detect(detector), why));
    }
    let name = |output: usize| seen.names.get(output).map_or("", String::as_str);
    if let Some(output) = sequence::recognised(seen) {
        let why = format!(
            "output '{}' {:?} has a class for every step",
            name(output),
            seen.sample(output)
        );
        return Some((Task::Sequence, Kind::Sequence(output), why));
    }
    if let Some(output) = embed::vectors(seen) {
        let why = format!(
            "output '{}' is of vectors of length 1, or named so",
            name(output)
        );
        return Some((Task::Embed, Kind::Embed(output), why));
    }
    if let Some(tags) = Labels::recognised(seen) {
        let why = format!(
            "output '{}' {:?} has a probability for every label, several above a half",
            name(tags.output),
            seen.sample(tags.output)
        );
        return Some((Task::Tag, Kind::Tag(tags), why));
    }
    if let Some(output) = classes(seen) {
        if (0..seen.outputs()).all(|output| is_no_class(seen, output)) {
            let why = format!(
                "output '{}' {:?} is of numbers from 0 up, above 1: no probabilities and no logits",
                name(output),
                seen.sample(output)
            );
            return Some((Task::Regress, Kind::Regress, why));
        }
        let why = format!("output '{}' is shaped [n, classes]", name(output));
        return Some((Task::Classify, Kind::Classify, why));
    }
    let mut all = (0..seen.outputs()).filter(|output| Segmentation::is_plain(seen, *output));
    let found = all.find_map(|output| Segmentation::of(seen, output))?;
    let why = format!(
        "output '{}' has a class for every position of the picture",
        name(found.output)
    );
    Some((Task::Segment, Kind::Segment(found), why))
}

/// True of an output that is of no classes, by its shape or by its values.
fn is_no_class(seen: Seen<'_>, output: usize) -> bool {
    let columns = seen.of(output).next().and_then(Rows::classes);
    columns.is_none_or(|columns| are_numbers(columns, seen.values(output)))
}

/// Such as `output 'y' [22, 2100]: channels of boxes, then of scores`.
fn described(seen: Seen<'_>, detector: &Detector, why: &str) -> String {
    let outputs = detector.outputs().into_iter().map(|output| {
        let name = seen.names.get(output).map_or("", String::as_str);
        format!("'{name}' {:?}", seen.sample(output))
    });
    let outputs = outputs.collect::<Vec<_>>().join(", ");
    match detector.details() {
        Some(details) => format!("{outputs}: {why}; {details} beside"),
        None => format!("{outputs}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use sepconv_ir::Tensor;

    use super::*;

    /// The task of one output of that name and shape for a picture of 3 by 12 by 10.
    fn task_of(name: &str, dims: &[usize], value: impl Fn(usize) -> f32) -> Option<Task> {
        let count = dims.iter().product();
        let tensor = Tensor::from_f32(dims.to_vec(), (0..count).map(value).collect());
        let runs = [vec![Rows::of(&tensor, dims[0], dims[0])]];
        let names = [name.to_owned()];
        let seen = Seen {
            names: &names,
            runs: &runs,
            picture: Some([3, 12, 10]),
        };
        let found = recognised(seen, &DataSource::default()).unwrap();
        found.map(|(task, _, _)| task)
    }

    fn wave(i: usize) -> f32 {
        (i as f32 * 0.7).sin()
    }

    #[test]
    fn tasks_are_recognised_of_shapes_names_and_values() {
        let ratings = |i: usize| 1.0 + (i % 5) as f32;
        assert_eq!(task_of("y", &[2, 3], ratings), Some(Task::Regress));
        let cases: [(&str, &[usize], Option<Task>); 10] = [
            ("logits", &[2, 10], Some(Task::Classify)),
            ("embedding", &[2, 10], Some(Task::Embed)),
            ("embedding", &[2, 1, 1, 10], Some(Task::Embed)),
            ("embedding", &[2, 2, 5, 1], None),
            ("y", &[1, 21, 12, 10], Some(Task::Segment)),
            ("y", &[1, 12, 10, 21], Some(Task::Segment)),
            // Pictures, flow, features and a number.
            ("y", &[1, 3, 12, 10], None),
            ("y", &[1, 2, 12, 10], None),
            ("y", &[1, 64, 6, 5], None),
            ("y", &[2, 1], None),
        ];
        for (name, dims, task) in cases {
            assert_eq!(task_of(name, dims, wave), task, "{name} {dims:?}");
        }
        // Features behind a Relu.
        let features = |i: usize| wave(i).max(0.0);
        assert_eq!(task_of("y", &[1, 21, 12, 10], features), None);
        assert_eq!(task_of("mask", &[1, 1, 12, 10], wave), Some(Task::Segment));
        assert_eq!(task_of("y", &[2, 5, 8], |_| 0.125), Some(Task::Sequence));
        // One channel of a picture's three that is a mask by its numbers, and one that is not.
        let ends = |i: usize| [0.02, 0.99, 0.0, 0.01][i % 4];
        assert_eq!(task_of("y", &[1, 1, 12, 10], ends), Some(Task::Segment));
        let grey = |i: usize| (i % 11) as f32 / 10.0;
        assert_eq!(task_of("y", &[1, 1, 12, 10], grey), None);
        assert_eq!(task_of("y", &[1, 1, 12, 10], |_| 0.0), None);
        // Two channels of probabilities, and vectors of length 1.
        let halves = |_| 0.5;
        assert_eq!(task_of("y", &[1, 2, 12, 10], halves), Some(Task::Segment));
        let unit = |i: usize| [0.125, -0.125][i % 2];
        assert_eq!(task_of("y", &[2, 64], unit), Some(Task::Embed));
        assert_eq!(task_of("y", &[2, 1, 1, 64], unit), Some(Task::Embed));
    }

    /// The task that is named, for one output of zeros of that shape.
    fn named(task: Task, dims: &[usize]) -> Result<Option<Task>, String> {
        let tensor = Tensor::from_f32(dims.to_vec(), vec![0.0; dims.iter().product()]);
        let runs = [vec![Rows::of(&tensor, dims[0], dims[0])]];
        let names = ["y".to_owned()];
        let seen = Seen {
            names: &names,
            runs: &runs,
            picture: None,
        };
        let source = DataSource {
            task,
            ..DataSource::default()
        };
        recognised(seen, &source).map(|found| found.map(|(task, _, _)| task))
    }

    #[test]
    fn vectors_may_have_axes_of_one_element() {
        let of = |dims| named(Task::Embed, dims);
        assert_eq!(of(&[2, 1, 1, 96]), Ok(Some(Task::Embed)));
        assert!(of(&[2, 4, 1, 96]).is_err());
    }

    #[test]
    fn a_task_that_the_outputs_are_not_of_is_refused() {
        let named = |task| named(task, &[1, 10]);
        assert_eq!(named(Task::Classify), Ok(Some(Task::Classify)));
        assert_eq!(named(Task::Embed), Ok(Some(Task::Embed)));
        assert_eq!(named(Task::Regress), Ok(Some(Task::Regress)));
        for task in [Task::Detect, Task::Segment, Task::Restore, Task::Sequence] {
            let refused = named(task).unwrap_err();
            assert!(
                refused.starts_with(&format!("task {}: ", task.name())),
                "{refused}"
            );
        }
    }
}
