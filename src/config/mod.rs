//! The configuration language of mcast-proxy.conf(5): grammar, parser, checks, printer, differ.
//!
//! [`load`] reads a file and all that it includes, and tells everything that is wrong with it in
//! one run; [`print()`] is its inverse; [`diff()`] tells two configurations apart for people;
//! [`Config::add`](model::Config::add) and [`remove`](model::Config::remove) change one at run time
//! by the same rules, [`keep_run_time`] carries that over a reload.
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

mod check;
mod diff;
mod files;
mod grammar;
pub mod model;
mod parse;
mod print;
mod routes;
mod runtime;
mod scan;
mod settings;
mod source;
mod statement;
mod value;

pub use diff::diff;
pub use files::{Disk, Files, MAX_FILE};
pub use parse::{MAX_DEPTH, MAX_FILES, MAX_TOTAL, load, load_from};
pub use print::print;
pub use runtime::{Change, keep_run_time, note_run_time};
pub use scan::{MAX_EXPANSION, MAX_MACROS, MAX_STATEMENT};
pub use source::{Error, Errors, MAX_ERRORS, MAX_WARNINGS};
pub use value::{
    MAX_NAME, parse_address, parse_group, parse_name, parse_net, parse_scope, parse_source, quote,
};

/// A configuration that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What it says.
    pub config: model::Config,
    /// What is odd but no error, a line each.
    pub warnings: Vec<String>,
    /// The files that were read, the first at the front.
    pub files: Vec<PathBuf>,
}

/// Every word of the language, sorted.
pub fn keywords() -> impl Iterator<Item = &'static str> {
    grammar::KEYWORDS.iter().map(String::as_str)
}
