//! Values made where they are first asked for.

use std::sync::OnceLock;

use crate::error::FactorError;

/// The content of `cell`, made where it is first asked for.
pub(crate) fn made_once<T>(
    cell: &OnceLock<T>,
    make: impl FnOnce() -> Result<T, FactorError>,
) -> Result<&T, FactorError> {
    if let Some(found) = cell.get() {
        return Ok(found);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
