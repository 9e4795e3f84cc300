//! The configuration language: grammar, parser, checks, printer, differ.

pub mod model;
