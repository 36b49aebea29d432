//! Work that its caller ends: nothing half done stays, and a state that was kept is gone on from.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use sepconv::data::Preprocess;
use sepconv::ir::{DType, Tensor};
use sepconv::training::TrainSettings;
use sepconv::{
    Budget, CalibrationSettings, DataFree, DataSource, Error, Event, Order, Pins, Progress,
    Selection, Settings, Source, TuneFiles, TuneSettings, compress_file, tune_file,
};

fn digits() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/digits.onnx")
}

/// Pictures of stripes.
fn data(count: usize) -> DataSource {
    let bytes: Vec<u8> = (0..count * 1024)
        .map(|i| (i % 32 * (i / 1024 + 3) + i / 32 % 32 * 5) as u8)
        .collect();
    let pictures = Tensor::new(DType::U8, vec![count, 1, 32, 32], bytes.into()).unwrap();
    DataSource {
        preprocess: Preprocess {
            scale: 1.0 / 255.0,
            ..Preprocess::default()
        },
        ..DataSource::memory(vec![pictures])
    }
}

/// Wants an end from the event of a number on.
#[derive(Default)]
struct Until {
    last: usize,
    seen: AtomicUsize,
}

impl Progress for Until {
    fn on(&self, _: Event<'_>) {
        self.seen.fetch_add(1, Ordering::SeqCst);
    }

    fn cancelled(&self) -> bool {
        self.seen.load(Ordering::SeqCst) >= self.last
    }
}

/// Wants an end once a file is there.
struct UntilWritten<'a>(&'a Path);

impl Progress for UntilWritten<'_> {
    fn on(&self, _: Event<'_>) {}

    fn cancelled(&self) -> bool {
        self.0.exists()
    }
}

#[test]
fn wherever_a_compression_is_ended_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.onnx");
    let settings = Settings {
        budget: Budget::Rank(1),
        selection: Selection::new(&["stage1/*/conv1"], &[]).unwrap(),
        calibration: Some(CalibrationSettings {
            positions: 200,
            ..CalibrationSettings::new(data(8))
        }),
        force: true,
        ..Settings::default()
    };
    let all = Until {
        last: usize::MAX,
        ..Until::default()
    };
    compress_file(&digits(), &out, &settings, &all).unwrap();
    std::fs::remove_file(&out).unwrap();
    let events = all.seen.into_inner();
    // Nobody asks after the last step, only ends of stages follow.
    for last in (0..events - 4).step_by(3) {
        let until = Until {
            last,
            ..Until::default()
        };
        let ended = compress_file(&digits(), &out, &settings, &until).unwrap_err();
        assert!(matches!(ended, Error::Cancelled), "{last}: {ended}");
        let left = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, 0, "{last} of {events}");
    }
}

#[test]
fn an_ended_training_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let coarse = Settings {
        budget: Budget::Rank(1),
        families: Order::DwPw.into(),
        selection: Selection::new(&[], &["stem/conv1"]).unwrap(),
        data_free: DataFree::Weights,
        ..Settings::default()
    };
    compress_file(&digits(), &path("coarse.onnx"), &coarse, &()).unwrap();
    let state = path("state");
    let tuned = |name: &str, temperature: f64, keeps: bool, progress: &dyn Progress| {
        let files = TuneFiles {
            original: digits(),
            compressed: path("coarse.onnx"),
            output: path(name),
            force: false,
            pins: Pins::default(),
        };
        let plain = TuneSettings::new(Source::Data(data(12)));
        let how = TuneSettings {
            train: TrainSettings {
                epochs: 2,
                batch: Some(4),
                temperature,
                ..plain.train
            },
            state: keeps.then(|| state.clone()),
            ..plain
        };
        tune_file(&files, &how, coarse.target, None, progress)
    };
    tuned("straight.onnx", 2.0, false, &()).unwrap();
    let ended = tuned("resumed.onnx", 2.0, true, &UntilWritten(&state)).unwrap_err();
    assert!(matches!(ended, Error::Cancelled), "{ended}");
    assert!(!path("resumed.onnx").exists(), "nothing is written");
    let other = tuned("resumed.onnx", 3.0, true, &()).unwrap_err();
    let refused = "another model, data or settings";
    assert!(other.to_string().contains(refused), "{other}");
    tuned("resumed.onnx", 2.0, true, &()).unwrap();
    let [straight, resumed] = ["straight.onnx", "resumed.onnx"].map(|n| std::fs::read(path(n)));
    assert!(straight.unwrap() == resumed.unwrap());
    assert!(!state.exists(), "what is done needs no state");
}
