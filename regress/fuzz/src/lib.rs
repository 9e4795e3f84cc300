//! What several fuzz targets use.

pub mod frames;
pub mod message;
#[path = "../../engine/sequence/mod.rs"]
pub mod sequence;
