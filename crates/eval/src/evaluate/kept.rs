//! Values that stay in memory between evaluations, up to a limit.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// One value per batch, made on demand and kept while there is room.
#[derive(Debug)]
pub(super) struct Kept<T> {
    slots: Vec<OnceLock<Arc<T>>>,
    /// Bytes that may still be kept.
    left: AtomicUsize,
}

impl<T> Kept<T> {
    /// Room for `batches` values of at most `bytes` together.
    pub fn new(batches: usize, bytes: usize) -> Self {
        Self {
            slots: (0..batches).map(|_| OnceLock::new()).collect(),
            left: AtomicUsize::new(bytes),
        }
    }

    /// True where the values of all batches are kept.
    pub fn is_complete(&self) -> bool {
        self.slots.iter().all(|slot| slot.get().is_some())
    }

    /// The value of batch `i`, which `make` makes where it is not kept. `size` tells its bytes.
    pub fn get<E>(
        &self,
        i: usize,
        make: impl FnOnce() -> Result<T, E>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<Arc<T>, E> {
        let Some(slot) = self.slots.get(i) else {
            return make().map(Arc::new);
        };
        if let Some(kept) = slot.get() {
            return Ok(Arc::clone(kept));
        }
        let made = Arc::new(make()?);
        let size = size(&made);
        let order = Ordering::Relaxed;
        let room = self
            .left
            .fetch_update(order, order, |left| left.checked_sub(size));
        if room.is_ok() && slot.set(Arc::clone(&made)).is_err() {
            // Another thread kept it first.
            self.left.fetch_add(size, order);
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_are_made_once_while_there_is_room() {
        let kept: Kept<Vec<u8>> = Kept::new(3, 10);
        let made = AtomicUsize::new(0);
        let get = |i: usize, size: usize| {
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                Ok::<_, ()>(vec![i as u8; size])
            };
            kept.get(i, make, Vec::len).unwrap()
        };
        for _ in 0..2 {
            // The second does not fit beside the first; the third does.
            assert_eq!(
                (get(0, 6).len(), get(1, 5).len(), get(2, 4).len()),
                (6, 5, 4)
            );
        }
        assert_eq!(made.load(Ordering::Relaxed), 4);
        assert!(!kept.is_complete());
        let small = Kept::<Vec<u8>>::new(1, 1);
        small.get(0, || Ok::<_, ()>(vec![0]), Vec::len).unwrap();
        assert!(small.is_complete());
        let failed = Kept::<Vec<u8>>::new(1, 1).get(0, || Err("no"), Vec::len);
        assert_eq!(failed.unwrap_err(), "no");
    }
}
