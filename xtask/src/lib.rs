//! Evenkeel: a test-matrix tool that finds determinism regressions in container and VM networking.

pub mod matrix;
pub mod record;
