//! A detached model as a whole, for runtimes that read ONNX themselves.

use std::io::Write;
use std::path::{Path, PathBuf};

use prost::Message;
use sepconv_onnx::proto::tensor_proto::DataLocation;
use sepconv_onnx::proto::{ModelProto, StringStringEntryProto, TensorProto};
use sepconv_onnx::{Detached, Temporary};
use tempfile::TempDir;

/// Protobuf refuses messages of 2 GiB; the rest of the model needs some room too.
pub(crate) const LARGEST_MESSAGE: usize = (1 << 31) - (1 << 26);

/// A model with its weights.
pub(crate) enum Source {
    /// A `ModelProto` with all its weights.
    Bytes(Vec<u8>),
    /// A file with its weights beside it, to be kept as long as the session.
    File(PathBuf, Folder),
}

/// A temporary folder, removed with its contents.
pub(crate) struct Folder {
    folder: TempDir,
    /// For a program that ends meanwhile.
    _known: Temporary,
}

impl Folder {
    fn new() -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let _known = Temporary::tree(folder.path());
        Ok(Self { folder, _known })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Source {
    /// The folder that has to outlive the session.
    pub fn folder(self) -> Option<Folder> {
        match self {
            Self::Bytes(_) => None,
            Self::File(_, folder) => Some(folder),
        }
    }
}

/// Puts the weights back into the model: inside it up to `limit` bytes, else in a temporary
/// file beside it.
pub(crate) fn attach(model: &Detached, limit: usize) -> Result<Source, String> {
    let mut proto =
        ModelProto::decode(model.skeleton.clone()).map_err(|e| format!("not a model: {e}"))?;
    let weights: usize = model.tensors.iter().map(|t| t.len()).sum();
    let inline = weights.saturating_add(model.skeleton.len()) <= limit;
    if inline {
        for (tensor, index) in detached(&mut proto) {
            let data = model.tensors.get(index).ok_or("a tensor is missing")?;
            tensor.raw_data = Some(data.clone());
            tensor.external_data.clear();
            tensor.data_location = None;
        }
        let bytes = proto.encode_to_vec();
        (0..model.tensors.len()).for_each(|i| model.release(i));
        return Ok(Source::Bytes(bytes));
    }
    beside(proto, model).map_err(|e| format!("a temporary file for its weights: {e}"))
}

const WEIGHTS: &str = "weights";

fn beside(mut proto: ModelProto, model: &Detached) -> std::io::Result<Source> {
    let folder = Folder::new()?;
    write_weights(&folder.path().join(WEIGHTS), model)?;
    let offsets: Vec<usize> = model
        .tensors
        .iter()
        .scan(0, |end, t| {
            let start = *end;
            *end += t.len();
            Some(start)
        })
        .collect();
    for (tensor, index) in detached(&mut proto) {
        let (Some(offset), Some(data)) = (offsets.get(index), model.tensors.get(index)) else {
            continue;
        };
        tensor.external_data = [
            ("location", WEIGHTS.to_owned()),
            ("offset", offset.to_string()),
            ("length", data.len().to_string()),
        ]
        .map(|(key, value)| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        })
        .to_vec();
    }
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, proto.encode_to_vec())?;
    Ok(Source::File(path, folder))
}

fn write_weights(path: &Path, model: &Detached) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for (i, tensor) in model.tensors.iter().enumerate() {
        file.write_all(tensor)?;
        model.release(i);
    }
    file.flush()
}

/// The detached initializers with their numbers.
fn detached(proto: &mut ModelProto) -> impl Iterator<Item = (&mut TensorProto, usize)> {
    let graph = proto.graph.iter_mut();
    graph.flat_map(|g| &mut g.initializer).filter_map(|tensor| {
        let external = tensor.data_location == Some(DataLocation::External as i32);
        let entry = |key: &str| {
            let entries = tensor.external_data.iter();
            let mut found = entries.filter(|e| e.key.as_deref() == Some(key));
            found.next().and_then(|e| e.value.clone())
        };
        let index = entry("offset")?.parse().ok()?;
        (external && entry("location")? == ".").then_some((tensor, index))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::bytes::Bytes;
    use sepconv_onnx::proto::GraphProto;

    use super::*;

    fn entry(key: &str, value: &str) -> StringStringEntryProto {
        StringStringEntryProto {
            key: Some(key.into()),
            value: Some(value.into()),
        }
    }

    fn external(name: &str, location: &str, offset: &str) -> TensorProto {
        TensorProto {
            name: Some(name.into()),
            data_location: Some(DataLocation::External as i32),
            external_data: vec![entry("location", location), entry("offset", offset)],
            ..Default::default()
        }
    }

    /// Two detached tensors, and one that is in a file of its own.
    fn model() -> Detached {
        let proto = ModelProto {
            graph: Some(GraphProto {
                initializer: vec![
                    external("b", ".", "1"),
                    external("a", ".", "0"),
                    external("c", "file", "0"),
                ],
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut model = Detached::default();
        model.skeleton = proto.encode_to_vec().into();
        model.tensors = vec![Bytes::from_static(b"first"), Bytes::from_static(b"2nd")];
        model
    }

    fn initializers(bytes: &[u8]) -> Vec<TensorProto> {
        ModelProto::decode(bytes)
            .unwrap()
            .graph
            .unwrap()
            .initializer
    }

    #[test]
    fn small_models_hold_their_weights() {
        let Ok(Source::Bytes(bytes)) = attach(&model(), LARGEST_MESSAGE) else {
            panic!("not in memory");
        };
        let seen = initializers(&bytes);
        let data: Vec<Option<&[u8]>> = seen.iter().map(|t| t.raw_data.as_deref()).collect();
        assert_eq!(data, [Some(b"2nd".as_slice()), Some(b"first"), None]);
        assert_eq!(seen[0].data_location, None);
        assert_eq!(seen[2], external("c", "file", "0"));
    }

    #[test]
    fn large_models_have_their_weights_in_a_file_beside_them() {
        let Ok(Source::File(path, folder)) = attach(&model(), 10) else {
            panic!("not in a file");
        };
        let weights = std::fs::read(folder.path().join(WEIGHTS)).unwrap();
        assert_eq!(weights, b"first2nd");
        let seen = initializers(&std::fs::read(path).unwrap());
        let places = |offset, length| {
            vec![
                entry("location", WEIGHTS),
                entry("offset", offset),
                entry("length", length),
            ]
        };
        assert_eq!(seen[0].external_data, places("5", "3"));
        assert_eq!(seen[1].external_data, places("0", "5"));
        assert_eq!(seen[2], external("c", "file", "0"));
    }

    #[test]
    fn what_is_no_model_is_an_error() {
        let mut broken = Detached::default();
        broken.skeleton = Bytes::from_static(b"\xff");
        assert!(attach(&broken, LARGEST_MESSAGE).is_err());
    }
}
