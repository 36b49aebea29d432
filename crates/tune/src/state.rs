//! A run that was interrupted goes on where it was.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{Device, Tensor};

use crate::epoch::Epoch;
use crate::error::TuneError;
use crate::parameter::Parameter;
use crate::soap::{Moments, Soap};

/// The state of a run after an epoch.
pub(crate) struct State {
    pub soap: Soap,
    /// The weights of the best epoch.
    pub best: Vec<Tensor>,
    pub epochs: Vec<Epoch>,
}

/// Numbers of an [`Epoch`].
const NUMBERS: usize = 4;

impl State {
    /// Writes the state, and the parameters, beside `path` and then renames it.
    pub fn save(&self, path: &Path, key: &str, parameters: &[Parameter]) -> Result<(), TuneError> {
        let mut tensors = HashMap::new();
        for (i, parameter) in parameters.iter().enumerate() {
            let name = |part: &str| format!("{part}/{}", parameter.name);
            tensors.insert(name("now"), parameter.var.as_detached_tensor());
            tensors.insert(name("best"), self.best[i].clone());
            let moments = self.soap.moments[i].numbers();
            let count = moments.len();
            let moments = Tensor::from_vec(moments, count, &Device::Cpu)?;
            tensors.insert(name("moments"), moments);
        }
        let numbers: Vec<f64> = self.epochs.iter().flat_map(Epoch::numbers).collect();
        let rows = self.epochs.len();
        tensors.insert(
            "epochs".into(),
            Tensor::from_vec(numbers, (rows, NUMBERS), &Device::Cpu)?,
        );
        tensors.insert(
            "steps".into(),
            Tensor::new(&[self.soap.steps as i64], &Device::Cpu)?,
        );
        tensors.insert("key".into(), Tensor::new(key.as_bytes(), &Device::Cpu)?);
        let staged = path.with_extension("partial");
        candle_core::safetensors::save(&tensors, &staged).map_err(|e| wrong(path, e))?;
        std::fs::rename(&staged, path).map_err(|e| wrong(path, e))
    }

    /// Reads a state into the parameters; `None` where there is none.
    pub fn load(
        path: &Path,
        key: &str,
        parameters: &[Parameter],
    ) -> Result<Option<Self>, TuneError> {
        if !path.exists() {
            return Ok(None);
        }
        let tensors =
            candle_core::safetensors::load(path, &Device::Cpu).map_err(|e| wrong(path, e))?;
        let get = |name: String| {
            tensors
                .get(&name)
                .cloned()
                .ok_or_else(|| wrong(path, format!("'{name}' is missing")))
        };
        let found = get("key".into())?
            .to_vec1::<u8>()
            .map_err(|e| wrong(path, e))?;
        if found != key.as_bytes() {
            return Err(wrong(
                path,
                "it is of a run with another model, data or settings",
            ));
        }
        let all = |part: &str| -> Result<Vec<Tensor>, TuneError> {
            let named = |p: &Parameter| {
                let tensor = get(format!("{part}/{}", p.name))?;
                match tensor.dims() == p.dims() {
                    true => Ok(tensor.to_device(p.var.device())?),
                    false => Err(wrong(path, format!("'{}' is of another shape", p.name))),
                }
            };
            parameters.iter().map(named).collect()
        };
        let now = all("now")?;
        let epochs = get("epochs".into())?
            .to_vec2::<f64>()
            .map_err(|e| wrong(path, e))?;
        let steps = get("steps".into())?
            .to_vec1::<i64>()
            .map_err(|e| wrong(path, e))?;
        let moments = |p: &Parameter| {
            let numbers = get(format!("moments/{}", p.name))?.to_vec1::<f64>();
            let found = Moments::of(p, &numbers.map_err(|e| wrong(path, e))?);
            found.ok_or_else(|| wrong(path, format!("'{}' is of another shape", p.name)))
        };
        let state = Self {
            soap: Soap {
                moments: parameters.iter().map(moments).collect::<Result<_, _>>()?,
                steps: steps
                    .first()
                    .copied()
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(0),
            },
            best: all("best")?,
            epochs: epochs.iter().filter_map(|row| Epoch::of(row)).collect(),
        };
        for (parameter, tensor) in parameters.iter().zip(now) {
            parameter.var.set(&tensor)?;
        }
        Ok(Some(state))
    }
}

fn wrong(path: &Path, reason: impl std::fmt::Display) -> TuneError {
    let reason = reason.to_string();
    TuneError::State {
        path: path.display().to_string(),
        reason: reason.lines().next().unwrap_or_default().to_owned(),
    }
}
