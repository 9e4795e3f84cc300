//! The privileged process: start, dispatch, validate, supervise, reload.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
