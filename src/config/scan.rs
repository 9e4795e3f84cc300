//! Splits a file into statements: comments and continuations taken out, macros expanded, and for
//! each character where it came from.

use std::collections::HashMap;
use std::rc::Rc;

use super::source::{Loc, Report};

/// Bytes of one statement at most, macros expanded.
pub const MAX_STATEMENT: usize = 64 * 1024;
/// Bytes that macros may expand to in one run.
pub const MAX_EXPANSION: usize = 16 * 1024 * 1024;
/// Macros of one run at most.
pub const MAX_MACROS: usize = 4096;

/// What ended a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Newline,
    Semicolon,
    Open,
    Close,
    File,
}

/// From `at` on the text came from `loc`; through a macro used at `used`.
#[derive(Clone, Copy, Debug)]
struct Segment {
    at: usize,
    loc: Loc,
    used: Option<Loc>,
}

/// One statement, or the part of one before a brace.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    segments: Vec<Segment>,
    pub(super) end: End,
    pub(super) end_loc: Loc,
    /// An error in it was told already.
    pub(super) bad: bool,
}

impl Piece {
    /// Where the byte came from, and where the macro that brought it was used.
    pub(super) fn loc(&self, offset: usize) -> (Loc, Option<Loc>) {
        let n = self.segments.partition_point(|s| s.at <= offset);
        match n.checked_sub(1).and_then(|n| self.segments.get(n)) {
            Some(s) => (s.loc.plus(offset - s.at), s.used),
            None => (self.end_loc, None),
        }
    }

    /// Where the statement begins.
    pub(super) fn start(&self) -> Loc {
        self.loc(self.text.len() - self.text.trim_start().len()).0
    }

    fn push(&mut self, c: char, loc: Loc, used: Option<Loc>) {
        let follows = self
            .segments
            .last()
            .is_some_and(|s| s.used == used && s.loc.plus(self.text.len() - s.at) == loc);
        if !follows {
            self.segments.push(Segment { at: self.text.len(), loc, used });
        }
        self.text.push(c);
    }
}

impl Loc {
    fn plus(self, n: usize) -> Self {
        Self {
            file: self.file,
            offset: self.offset.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)),
        }
    }
}

/// The value of a macro, with where each of its characters came from.
#[derive(Debug)]
struct Value {
    text: String,
    segments: Vec<Segment>,
    /// From the command line: the file cannot change it.
    fixed: bool,
}

/// The macros of a run.
#[derive(Default)]
pub(super) struct Macros {
    values: HashMap<String, Rc<Value>>,
    expanded: usize,
}

impl Macros {
    /// Defines one from the command line.
    pub(super) fn fix(&mut self, name: &str, text: &str, file: u32) {
        let segments = vec![Segment { at: 0, loc: Loc { file, offset: 0 }, used: None }];
        let value = Value { text: text.to_owned(), segments, fixed: true };
        self.values.insert(name.to_owned(), Rc::new(value));
    }

    /// Defines one from words of a statement, each given by its text and offset; the words are
    /// joined by spaces.
    pub(super) fn define(
        &mut self,
        name: &str,
        words: &[(String, usize)],
        piece: &Piece,
    ) -> Result<(), String> {
        if self.values.get(name).is_some_and(|v| v.fixed) {
            return Ok(());
        }
        if self.values.len() >= MAX_MACROS && !self.values.contains_key(name) {
            return Err(format!("more than {MAX_MACROS} macros"));
        }
        let mut value = Value { text: String::new(), segments: Vec::new(), fixed: false };
        for (word, offset) in words {
            if !value.text.is_empty() {
                value.text.push(' ');
            }
            let start = value.text.len();
            let (loc, _) = piece.loc(*offset);
            value.segments.push(Segment { at: start, loc, used: None });
            let inside = |s: &&Segment| s.at > *offset && s.at < offset + word.len();
            for s in piece.segments.iter().filter(inside) {
                value.segments.push(Segment { at: start + s.at - offset, loc: s.loc, used: None });
            }
            value.text.push_str(word);
        }
        self.values.insert(name.to_owned(), Rc::new(value));
        Ok(())
    }
}

/// Reads one text.
pub(super) struct Scanner {
    text: Rc<str>,
    file: u32,
    offset: usize,
    /// The macro being read, how far, and where it was used.
    expansion: Option<(Rc<Value>, usize, Loc)>,
    done: bool,
}

impl Scanner {
    pub(super) const fn new(text: Rc<str>, file: u32) -> Self {
        Self { text, file, offset: 0, expansion: None, done: false }
    }

    fn here(&self) -> Loc {
        Loc { file: self.file, offset: u32::try_from(self.offset).unwrap_or(u32::MAX) }
    }

    /// The next character, where it is and where the macro that it is from was used.
    fn next_char(&mut self) -> Option<(char, Loc, Option<Loc>)> {
        if let Some((value, at, used)) = &mut self.expansion {
            if let Some(c) = value.text.get(*at..).and_then(|t| t.chars().next()) {
                let n = value.segments.partition_point(|s| s.at <= *at);
                let loc = n.checked_sub(1).and_then(|n| value.segments.get(n));
                let loc = loc.map_or(*used, |s| s.loc.plus(*at - s.at));
                *at += c.len_utf8();
                return Some((c, loc, Some(*used)));
            }
            self.expansion = None;
        }
        let loc = self.here();
        let c = self.text.get(self.offset..)?.chars().next()?;
        self.offset += c.len_utf8();
        Some((c, loc, None))
    }

    /// Whether the text goes on with the end of a line; reads over it.
    fn take_newline(&mut self) -> bool {
        if self.expansion.is_some() {
            return false;
        }
        let rest = self.text.get(self.offset..).unwrap_or_default();
        let length = if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
        self.offset += length;
        length > 0
    }

    /// The next statement; `None` after the last.
    pub(super) fn next(&mut self, macros: &mut Macros, report: &mut Report) -> Option<Piece> {
        if self.done {
            return None;
        }
        let mut piece = Piece {
            text: String::new(),
            segments: Vec::new(),
            end: End::File,
            end_loc: self.here(),
            bad: false,
        };
        self.fill(&mut piece, macros, report);
        self.done = piece.end == End::File;
        let length = piece.text.trim_end().len();
        piece.text.truncate(length);
        Some(piece)
    }

    fn fill(&mut self, piece: &mut Piece, macros: &mut Macros, report: &mut Report) {
        while let Some((c, loc, used)) = self.next_char() {
            piece.end_loc = loc;
            match c {
                '\n' => return piece.end = End::Newline,
                ';' => return piece.end = End::Semicolon,
                '{' => return piece.end = End::Open,
                '}' => return piece.end = End::Close,
                '#' => self.skip_comment(),
                '$' if used.is_none() => self.expand(piece, loc, macros, report),
                '"' | '\'' => {
                    piece.push(c, loc, used);
                    self.quoted(piece, c, loc, report);
                }
                '\\' if self.take_newline() => piece.push(' ', loc, used),
                '\r' if self.text.get(self.offset..).is_some_and(|t| t.starts_with('\n')) => {}
                ' ' | '\t' | '!'..='~' if c != '\\' && c != '$' => piece.push(c, loc, used),
                _ => odd(piece, c, loc, report),
            }
            if piece.text.len() > MAX_STATEMENT {
                if !piece.bad {
                    report.error(
                        piece.start(),
                        format!("statement longer than {MAX_STATEMENT} bytes"),
                    );
                }
                piece.bad = true;
                piece.text.clear();
                piece.segments.clear();
            }
        }
        piece.end_loc = self.here();
    }

    /// To the end of the line; as in other OpenBSD daemons, a backslash continues a comment too.
    fn skip_comment(&mut self) {
        self.expansion = None;
        loop {
            let rest = self.text.get(self.offset..).unwrap_or_default();
            let Some(n) = rest.find(['\n', '\\']) else {
                self.offset = self.text.len();
                return;
            };
            self.offset += n;
            if rest.as_bytes().get(n) == Some(&b'\n') {
                return;
            }
            self.offset += 1;
            self.take_newline();
        }
    }

    fn quoted(&mut self, piece: &mut Piece, quote: char, open: Loc, report: &mut Report) {
        let inside = self.expansion.is_some();
        let mut escaped = false;
        loop {
            let before = self.offset;
            let next =
                self.next_char().filter(|(c, _, used)| *c != '\n' && used.is_some() == inside);
            let Some((c, loc, used)) = next else {
                self.offset = before;
                piece.bad = true;
                return report.error(open, "quoted string does not end on this line");
            };
            match c {
                '\\' if !escaped && self.take_newline() => continue,
                _ if c.is_control() && c != '\t' || c == char::REPLACEMENT_CHARACTER => {
                    odd(piece, c, loc, report);
                }
                _ => piece.push(c, loc, used),
            }
            if c == quote && !escaped || piece.text.len() > MAX_STATEMENT {
                return;
            }
            escaped = c == '\\' && !escaped;
        }
    }

    fn expand(&mut self, piece: &mut Piece, loc: Loc, macros: &mut Macros, report: &mut Report) {
        let rest = self.text.get(self.offset..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = rest.get(..end).unwrap_or_default();
        let problem = match macros.values.get(name) {
            _ if name.is_empty() => "expected the name of a macro after '$'".to_owned(),
            None => format!("macro '{name}' is not defined"),
            Some(value) if macros.expanded + value.text.len() > MAX_EXPANSION => {
                format!("macros expand to more than {MAX_EXPANSION} bytes")
            }
            Some(value) => {
                macros.expanded += value.text.len();
                self.expansion = Some((Rc::clone(value), 0, loc));
                String::new()
            }
        };
        self.offset += end;
        if !problem.is_empty() {
            piece.bad = true;
            report.error(loc, problem);
        }
    }
}

/// Tells of a character that cannot stand there; once a statement.
fn odd(piece: &mut Piece, c: char, loc: Loc, report: &mut Report) {
    if !std::mem::replace(&mut piece.bad, true) {
        report.error(
            loc,
            match c {
                char::REPLACEMENT_CHARACTER => "this byte is not UTF-8".to_owned(),
                '\\' => "a backslash can stand only at the end of a line".to_owned(),
                '$' => "macros are not expanded inside quotes".to_owned(),
                c if c.is_control() => format!("control character 0x{:02x}", u32::from(c)),
                c => format!("{c:?} can stand only inside quotes"),
            },
        );
    }
}
