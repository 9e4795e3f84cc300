//! Where the text of a configuration came from, and what is wrong with it there.

use std::fmt::{self, Display, Formatter};
use std::rc::Rc;

/// Errors told in one run at most.
pub const MAX_ERRORS: usize = 100;
/// Warnings told in one run at most.
pub const MAX_WARNINGS: usize = 100;
/// Characters of a source line shown under an error.
const MAX_SHOWN: usize = 120;

/// A place in one of the texts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Loc {
    pub(super) file: u32,
    pub(super) offset: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The file, as it was named, or `-D name`.
    pub file: String,
    /// The line, from 1; 0 where the whole file is meant.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// The line of the source, cut where it is long, and the caret's line.
    pub excerpt: Option<(String, String)>,
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        match &self.excerpt {
            Some((line, caret)) => write!(f, "\n{line}\n{caret}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a configuration, file by file in the order of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Display for Errors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

struct Source {
    name: String,
    text: Rc<str>,
}

/// The texts of a run and what was found in them.
#[derive(Default)]
pub(super) struct Report {
    sources: Vec<Source>,
    errors: Vec<(Loc, Error)>,
    pub(super) warnings: Vec<String>,
}

impl Report {
    pub(super) fn add_source(&mut self, name: String, text: Rc<str>) -> u32 {
        self.sources.push(Source { name, text });
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= MAX_ERRORS
    }

    pub(super) fn error(&mut self, at: Loc, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        let Some(source) = self.sources.get(at.file as usize) else { return };
        let (line, column, text) = source.place(at.offset);
        let excerpt = Some(shown(text, column));
        let file = source.name.clone();
        self.errors.push((at, Error { file, line, column, message: message.into(), excerpt }));
    }

    pub(super) fn file_error(&mut self, file: String, message: String) {
        let last = Loc { file: u32::MAX, offset: u32::MAX };
        self.errors.push((last, Error { file, line: 0, column: 0, message, excerpt: None }));
    }

    pub(super) fn warn(&mut self, at: Loc, message: impl Display) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(format!("{}: warning: {message}", self.place(at)));
        }
    }

    /// `file:line:column`.
    pub(super) fn place(&self, at: Loc) -> String {
        self.sources.get(at.file as usize).map_or_else(String::new, |source| {
            let (line, column, _) = source.place(at.offset);
            format!("{}:{line}:{column}", source.name)
        })
    }

    pub(super) fn finish(mut self) -> Result<Vec<String>, Errors> {
        if self.errors.is_empty() {
            return Ok(self.warnings);
        }
        if self.errors.len() >= MAX_ERRORS {
            let file = self.sources.first().map_or_else(String::new, |s| s.name.clone());
            self.file_error(file, "too many errors, the rest is not shown".into());
        }
        self.errors.sort_by_key(|(at, _)| *at);
        Err(Errors(self.errors.into_iter().map(|(_, error)| error).collect()))
    }
}

impl Source {
    /// Line and column, both from 1, and the line's text.
    fn place(&self, offset: u32) -> (usize, usize, &str) {
        let mut offset = (offset as usize).min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let (before, after) = self.text.split_at(offset);
        let start = before.rfind('\n').map_or(0, |n| n + 1);
        let end = offset + after.find('\n').unwrap_or(after.len());
        let line = 1 + before.bytes().filter(|&b| b == b'\n').count();
        let column = 1 + before.get(start..).unwrap_or_default().chars().count();
        (line, column, self.text.get(start..end).unwrap_or_default())
    }
}

/// The part of the line around the column, and a caret under it; control characters made visible.
fn shown(line: &str, column: usize) -> (String, String) {
    let skip = column.saturating_sub(MAX_SHOWN / 2);
    let clean = |c: char| if c == '\t' || !c.is_control() { c } else { '?' };
    let line: String = line.trim_end().chars().skip(skip).take(MAX_SHOWN).map(clean).collect();
    let pad = line.chars().chain(std::iter::repeat(' ')).take(column - 1 - skip.min(column - 1));
    let mut caret: String = pad.map(|c| if c == '\t' { c } else { ' ' }).collect();
    caret.push('^');
    (line, caret)
}
