//! One file per command.

pub mod bench;
pub mod compare;
pub mod compress;
pub mod eval;
pub mod generate;
pub mod inspect;
pub mod quantize;
pub mod run;
pub mod sweep;
pub mod tune;
