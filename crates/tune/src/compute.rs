//! Devices that networks are computed on.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::error::{TuneError, one_line};

/// The device that computes a network and its gradients. The same weights give the same bytes on the CPU,
/// whatever the number of threads; a GPU adds in an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compute {
    /// The cores of this machine.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number: cargo feature `cuda`.
    Cuda(usize),
    /// An Apple GPU, by its number: cargo feature `metal`.
    Metal(usize),
}

impl Compute {
    /// The library's device.
    ///
    /// # Errors
    /// [`TuneError::Device`] where there is none, or this build has no support for it.
    pub(crate) fn device(self) -> Result<Device, TuneError> {
        let failed = |reason: String| TuneError::Device {
            device: self.to_string(),
            reason,
        };
        let (found, built, feature) = match self {
            Self::Cpu => return Ok(Device::Cpu),
            Self::Cuda(n) => (Device::new_cuda(n), cfg!(feature = "cuda"), "cuda"),
            Self::Metal(n) => (Device::new_metal(n), cfg!(feature = "metal"), "metal"),
        };
        if !built {
            let reason = format!("this build has no support for it (cargo feature '{feature}')");
            return Err(failed(reason));
        }
        found.map_err(|e| failed(one_line(&e)))
    }
}

impl fmt::Display for Compute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(n) => write!(f, "cuda:{n}"),
            Self::Metal(n) => write!(f, "metal:{n}"),
        }
    }
}

impl FromStr for Compute {
    type Err = String;

    /// `cpu`, `cuda`, `cuda:1`, `metal`, `metal:1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, number.parse().ok()),
            None => (text, Some(0)),
        };
        match (name, number) {
            ("cpu", Some(0)) => Ok(Self::Cpu),
            ("cuda", Some(n)) => Ok(Self::Cuda(n)),
            ("metal", Some(n)) => Ok(Self::Metal(n)),
            _ => Err(format!(
                "no device '{text}' (there are cpu, cuda, cuda:N, metal, metal:N)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn devices_have_names_and_numbers() {
        for text in ["cpu", "cuda:0", "cuda:3", "metal:1"] {
            assert_eq!(text.parse::<Compute>().unwrap().to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(Compute::Cuda(0)));
        for text in ["gpu", "cuda:x", "cpu:1", "cuda:-1"] {
            assert!(text.parse::<Compute>().is_err(), "{text}");
        }
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_build_without_a_gpu_says_so() {
        let error = Compute::Cuda(0).device().unwrap_err().to_string();
        assert_eq!(
            error,
            "device cuda:0: this build has no support for it (cargo feature 'cuda')"
        );
    }
}
