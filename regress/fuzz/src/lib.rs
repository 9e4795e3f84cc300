//! What several fuzz targets use.

pub mod message;
