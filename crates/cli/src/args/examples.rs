//! Examples at the end of every command's help. A test parses each line that begins with `sepconv`.

pub const SEPCONV: &str = "\
Examples:
  sepconv inspect model.onnx
      the convolutions of a model, and what every rank keeps and costs
  sepconv compress model.onnx --calib pictures.npz
      the smaller and faster model.sep.onnx, near the original on pictures that were held out
  sepconv bench model.onnx model.sep.onnx --target all
      the time of both on every runtime that is there";

pub const INSPECT: &str = "\
Examples:
  sepconv inspect model.onnx
      a table of the convolutions
  sepconv inspect model.onnx --input-shape x=1x3x320x320
      the same for an input whose extents the file leaves free
  sepconv inspect model.onnx --report out
      a page with drawings";

pub const COMPRESS: &str = "\
Examples:
  sepconv compress model.onnx --calib pictures.npz
      the cheapest model that stays near the original on pictures that were held out
  sepconv compress model.onnx --calib photos --resize 320x320 --scale 1/255 --speedup 1.5
      1.5 times as fast on the runtime that is there, fitted to a folder of pictures
  sepconv compress model.onnx --target-macs 0.6 -o small.onnx
      0.6 of the MACs, without data";

pub const SWEEP: &str = "\
Examples:
  sepconv sweep model.onnx --calib pictures.npz --eval labelled.npz --report out
      accuracy against MACs, drawn beside uniform ranks and the paper's method
  sepconv sweep model.onnx --calib pictures.npz --fractions 0.7,0.5,0.3 --no-baselines
      three budgets alone
  sepconv sweep model.onnx --calib pictures.npz --target onnxruntime --models planned
      by time on ONNX Runtime, with the model of every point";

pub const TUNE: &str = "\
Examples:
  sepconv tune model.onnx model.sep.onnx --calib pictures.npz
      trained towards the original, into model.sep.tuned.onnx
  sepconv tune model.onnx model.sep.onnx --calib pictures.npz --epochs 8 --flip --shift 2
      fewer epochs, pictures mirrored and shifted
  sepconv tune model.onnx model.sep.onnx --calib pictures.npz --state tuning.state
      goes on from the last epoch where it is interrupted";

pub const QUANTIZE: &str = "\
Examples:
  sepconv quantize model.onnx --calib pictures.npz
      eight bits, into model.int8.onnx
  sepconv quantize model.onnx --calib pictures.npz --min-snr 30
      layers stay in floats until every output channel keeps 30 dB; a note tells where that can not be had
  sepconv quantize model.onnx --calib pictures.npz --all-layers -o int8.onnx
      every layer, whatever the outputs lose";

pub const COMPARE: &str = "\
Examples:
  sepconv compare model.onnx model.sep.onnx
      errors of every output on random inputs
  sepconv compare model.onnx model.sep.onnx --data pictures.npz
      the same on data
  sepconv compare model.onnx model.sep.onnx --target onnxruntime --report out
      on ONNX Runtime, with a page of errors by channel";

pub const EVAL: &str = "\
Examples:
  sepconv eval model.onnx --data labelled.npz --scale 1/255
      accuracy by labels
  sepconv eval model.sep.onnx --original model.onnx --data pictures.npz
      agreement with the original, without labels
  sepconv eval detector.sep.onnx --original detector.onnx --data photos --task detect
      F1, recall and precision of detections, against the original's";

pub const RUN: &str = "\
Examples:
  sepconv run model.onnx --data pictures.npz -o outputs.npz
      the outputs on data, an array each
  sepconv run model.onnx --data photos --resize 224 --scale 1/255 -o outputs.npz
      the outputs on a folder of pictures
  sepconv run model.onnx --samples 4 --seed 1 -o outputs.npz
      the outputs on four random inputs";

pub const BENCH: &str = "\
Examples:
  sepconv bench model.onnx model.sep.onnx
      the time of both on tract, on one thread and on all cores
  sepconv bench model.onnx model.sep.onnx --target onnxruntime --threads 1 --runs 200
      200 rounds on ONNX Runtime with one thread
  sepconv bench model.onnx --target all --seconds 10 -o times.json
      ten seconds on every runtime that is there, also as JSON";
