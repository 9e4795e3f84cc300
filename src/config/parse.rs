//! From text to the model: files, statements, blocks. What a statement says is in `statement`,
//! whether the whole makes sense in `check`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::{Disk, Files, is_pattern};
use super::grammar::{Context, Fault, KEYWORDS, statement};
use super::model::{Config, InterfaceBlock, Overrides, Pattern, Role};
use super::scan::{End, Macros, Piece, Scanner};
use super::source::{Errors, Loc, Report};
use super::statement::{Global, Local, read_global, read_local, value_faults};
use super::value::{parse_name, unquote};
use super::{Loaded, check};

/// Files that include one another, at most that deep.
pub const MAX_DEPTH: usize = 16;
/// Files of one run at most.
pub const MAX_FILES: usize = 1000;
/// Bytes of all files of one run at most.
pub const MAX_TOTAL: usize = 64 * 1024 * 1024;

/// Where the statements of the model stand; the vectors go along with the model's.
#[derive(Default)]
pub(super) struct Places {
    pub(super) settings: HashMap<&'static str, Loc>,
    pub(super) ssm_ranges: Vec<Loc>,
    pub(super) blocks: Vec<BlockPlaces>,
    pub(super) mgroups: Vec<Loc>,
    pub(super) mroutes: Vec<Loc>,
}

/// Where the statements of one block stand.
#[derive(Default)]
pub(super) struct BlockPlaces {
    pub(super) name: Loc,
    pub(super) role: Option<Loc>,
    pub(super) settings: HashMap<&'static str, Loc>,
    pub(super) rules: Vec<Loc>,
    pub(super) static_groups: Vec<Loc>,
    pub(super) groups: Vec<Loc>,
    /// A statement in it was not understood, so that what it lacks is not told.
    pub(super) bad: bool,
}

/// Reads a configuration.
pub(super) struct Loader<'a> {
    files: &'a mut dyn Files,
    pub(super) report: Report,
    macros: Macros,
    pub(super) config: Config,
    pub(super) places: Places,
    names: HashMap<String, usize>,
    read: Vec<PathBuf>,
    bytes: usize,
    /// The files being read: identity and name, the first at the front.
    chain: Vec<(PathBuf, String)>,
}

/// What the scanner is inside of.
struct State {
    folder: PathBuf,
    /// The block, and where its brace is.
    block: Option<(usize, Loc)>,
    /// Braces in the block that should not be there.
    nested: u32,
    /// A block was closed on this line.
    closed: bool,
    /// A block whose brace did not follow its name.
    headless: Option<usize>,
}

/// Reads a configuration from the files of the system.
///
/// # Errors
/// All that is wrong with it.
pub fn load(path: &Path, macros: &[(String, String)]) -> Result<Loaded, Errors> {
    load_from(&mut Disk::default(), path, macros)
}

/// Reads a configuration from anywhere.
///
/// # Errors
/// All that is wrong with it.
pub fn load_from(
    files: &mut dyn Files,
    path: &Path,
    macros: &[(String, String)],
) -> Result<Loaded, Errors> {
    let mut loader = Loader {
        files,
        report: Report::default(),
        macros: Macros::default(),
        config: Config::default(),
        places: Places::default(),
        names: HashMap::new(),
        read: Vec::new(),
        bytes: 0,
        chain: Vec::new(),
    };
    for (name, text) in macros {
        let file = loader.report.add_source(format!("-D {name}"), Rc::from(text.as_str()));
        if let Err(message) = check_macro_name(name) {
            loader.report.error(Loc { file, offset: 0 }, message);
        }
        loader.macros.fix(name, text, file);
    }
    if let Err(message) = loader.file(path) {
        loader.report.file_error(path.display().to_string(), message);
    }
    check::check(&loader.config, &loader.places, &mut loader.report);
    let Loader { report, config, read, .. } = loader;
    report.finish().map(|warnings| Loaded { config, warnings, files: read })
}

fn check_macro_name(name: &str) -> Result<(), String> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("the macro name '{name}' must be of letters, digits and underscores"));
    }
    if KEYWORDS.contains(name) {
        return Err(format!("the macro name '{name}' is a word of the language"));
    }
    Ok(())
}

impl Loader<'_> {
    fn file(&mut self, path: &Path) -> Result<(), String> {
        let (identity, bytes) = self.files.read(path)?;
        let name = path.display().to_string();
        if let Some(n) = self.chain.iter().position(|(seen, _)| *seen == identity) {
            let chain: Vec<&str> =
                self.chain.iter().skip(n).map(|(_, name)| name.as_str()).collect();
            return Err(format!("includes itself: {} -> {name}", chain.join(" -> ")));
        }
        self.bytes = self.bytes.saturating_add(bytes.len());
        if self.chain.len() >= MAX_DEPTH {
            return Err(format!("included more than {MAX_DEPTH} files deep"));
        }
        if self.read.len() >= MAX_FILES || self.bytes > MAX_TOTAL {
            return Err(format!("more than {MAX_FILES} files or {MAX_TOTAL} bytes in all"));
        }
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err("is UTF-16: save it as UTF-8".to_owned());
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let text: Rc<str> = Rc::from(String::from_utf8_lossy(bytes));
        let file = self.report.add_source(name.clone(), Rc::clone(&text));
        self.read.push(identity.clone());
        self.chain.push((identity, name));
        self.statements(text, file, path.parent().unwrap_or(Path::new("")));
        self.chain.pop();
        Ok(())
    }

    fn statements(&mut self, text: Rc<str>, file: u32, folder: &Path) {
        let folder = folder.to_owned();
        let mut state = State { folder, block: None, nested: 0, closed: false, headless: None };
        let mut scanner = Scanner::new(text, file);
        while let Some(piece) = scanner.next(&mut self.macros, &mut self.report) {
            if self.report.is_full() {
                return;
            }
            self.piece(&piece, &mut state);
        }
        if let Some((_, open)) = state.block {
            self.report.error(open, "this brace is not closed: expected '}'");
        }
    }

    fn piece(&mut self, piece: &Piece, state: &mut State) {
        let empty = piece.text.trim().is_empty();
        if !empty && std::mem::take(&mut state.closed) {
            self.report.error(piece.start(), "expected a new line after '}'");
        }
        match (state.block, piece.end) {
            (None, End::Open) => self.open(piece, state),
            (None, End::Newline | End::File | End::Semicolon | End::Close) => {
                self.global(piece, state);
                if piece.end == End::Semicolon {
                    self.report.error(piece.end_loc, "';' separates statements only inside braces");
                } else if piece.end == End::Close {
                    self.report.error(piece.end_loc, "'}' without a '{' before it");
                }
            }
            (Some((index, _)), End::Open) if is_head(piece) => {
                self.report.error(piece.start(), "expected '}' before the next interface");
                self.spoil(index);
                self.open(piece, state);
            }
            (Some((index, _)), End::Open) => {
                self.report.error(piece.end_loc, "'{' cannot stand inside a block");
                self.spoil(index);
                state.nested = state.nested.saturating_add(1);
            }
            (Some((index, _)), End::Newline | End::File | End::Semicolon) => {
                self.local(piece, index);
            }
            (Some((index, _)), End::Close) => {
                self.local(piece, index);
                match state.nested.checked_sub(1) {
                    Some(less) => state.nested = less,
                    None => (state.block, state.closed) = (None, true),
                }
            }
        }
        if piece.end == End::Newline {
            state.closed = false;
        }
    }

    fn open(&mut self, piece: &Piece, state: &mut State) {
        let index = match state.headless.take() {
            Some(index) if piece.text.is_empty() => index,
            Some(_) | None => self.head(piece),
        };
        state.block = Some((index, piece.end_loc));
        state.nested = 0;
    }

    /// The block that the head names; one without a name where there is an error.
    fn head(&mut self, piece: &Piece) -> usize {
        if !piece.bad {
            let named = statement(&piece.text, Context::Head).and_then(|pair| {
                let at = pair.as_span().start();
                parse_name(&unquote(pair.as_str())).map(|name| (at, name)).map_err(|m| (at, m))
            });
            match named {
                Ok((at, name)) => return self.block(name, piece.loc(at).0),
                Err(fault) => self.fault(piece, fault),
            }
        }
        let index = self.new_block(Pattern(String::new()), piece.start());
        self.spoil(index);
        index
    }

    fn block(&mut self, name: Pattern, at: Loc) -> usize {
        if let Some(index) = self.names.get(&name.0) {
            return *index;
        }
        self.names.insert(name.0.clone(), self.config.interfaces.len());
        self.new_block(name, at)
    }

    fn new_block(&mut self, name: Pattern, at: Loc) -> usize {
        self.places.blocks.push(BlockPlaces { name: at, ..BlockPlaces::default() });
        self.config.interfaces.push(InterfaceBlock::new(name, Role::Static));
        self.config.interfaces.len() - 1
    }

    fn spoil(&mut self, index: usize) {
        if let Some(places) = self.places.blocks.get_mut(index) {
            places.bad = true;
        }
    }

    pub(super) fn fault(&mut self, piece: &Piece, (offset, message): Fault) {
        let (loc, used) = piece.loc(offset);
        let message = match used {
            Some(used) => format!("{message} (by the macro at {})", self.report.place(used)),
            None => message,
        };
        self.report.error(loc, message);
    }

    fn global(&mut self, piece: &Piece, state: &mut State) {
        if piece.bad || piece.text.trim().is_empty() {
            return;
        }
        let after = piece.text.trim_start().strip_prefix("interface");
        if after.is_some_and(|s| s.is_empty() || s.starts_with([' ', '\t', '"', '\''])) {
            return self.headless(piece, state);
        }
        let read = statement(&piece.text, Context::Global)
            .and_then(|pair| read_global(pair, &mut self.config));
        let done = read.and_then(|(at, what)| self.place_global(piece, state, at, what));
        if let Err(fault) = done {
            self.faults(piece, Context::Global, fault);
        }
    }

    /// The fault that ended the reading of a statement, and those of its other values.
    fn faults(&mut self, piece: &Piece, context: Context, first: Fault) {
        let others = statement(&piece.text, context).map_or_else(|_| Vec::new(), value_faults);
        let place = first.0;
        self.fault(piece, first);
        for fault in others.into_iter().filter(|(at, _)| *at != place) {
            self.fault(piece, fault);
        }
    }

    /// `interface NAME` without a brace on the line.
    fn headless(&mut self, piece: &Piece, state: &mut State) {
        match statement(&piece.text, Context::Head) {
            Ok(_) => {
                self.report.error(piece.end_loc, "expected '{' on the same line");
                state.headless = Some(self.head(piece));
            }
            Err(fault) => self.fault(piece, fault),
        }
    }

    fn place_global(
        &mut self,
        piece: &Piece,
        state: &State,
        at: usize,
        what: Global,
    ) -> Result<(), Fault> {
        let loc = piece.loc(at).0;
        match what {
            Global::Setting(word, fresh) => {
                let first = self.places.settings.entry(word).or_insert(loc);
                if !fresh {
                    return Err((at, twice(word, &self.report.place(*first))));
                }
            }
            Global::SsmRange => self.places.ssm_ranges.push(loc),
            Global::Mgroup => self.places.mgroups.push(loc),
            Global::Mroute => self.places.mroutes.push(loc),
            Global::Macro { name, words } => {
                check_macro_name(&name).map_err(|m| (at, m))?;
                self.macros.define(&name, &words, piece).map_err(|m| (at, m))?;
            }
            Global::Include(path) => self.include(&path, state).map_err(|m| (at, m))?,
        }
        Ok(())
    }

    fn include(&mut self, path: &str, state: &State) -> Result<(), String> {
        if path.is_empty() || path.contains('\0') {
            return Err("this cannot be the name of a file".to_owned());
        }
        let path = state.folder.join(path);
        let failed = |path: &Path, message: String| format!("{}: {message}", path.display());
        if !is_pattern(&path) {
            return self.file(&path).map_err(|m| failed(&path, m));
        }
        for found in self.files.glob(&path).map_err(|m| failed(&path, m))? {
            if self.report.is_full() {
                break;
            }
            self.file(&found).map_err(|m| failed(&found, m))?;
        }
        Ok(())
    }

    fn local(&mut self, piece: &Piece, index: usize) {
        if piece.bad {
            return self.spoil(index);
        }
        if piece.text.trim().is_empty() {
            return;
        }
        let Some(block) = self.config.interfaces.get_mut(index) else { return };
        let read = statement(&piece.text, Context::Local).and_then(|pair| read_local(pair, block));
        let done = read.and_then(|(at, what)| self.place_local(piece, index, at, what));
        if let Err(fault) = done {
            self.spoil(index);
            self.faults(piece, Context::Local, fault);
        }
    }

    fn place_local(
        &mut self,
        piece: &Piece,
        index: usize,
        at: usize,
        what: Local,
    ) -> Result<(), Fault> {
        let loc = piece.loc(at).0;
        let Some(places) = self.places.blocks.get_mut(index) else { return Ok(()) };
        match what {
            Local::Setting(word, fresh) => {
                let first = places.settings.entry(word).or_insert(loc);
                if !fresh {
                    return Err((at, twice(word, &self.report.place(*first))));
                }
            }
            Local::Role(role) => {
                let Some(block) = self.config.interfaces.get_mut(index) else { return Ok(()) };
                if let Some(first) = places.role.replace(loc) {
                    places.role = Some(first);
                    let (name, first) = (&block.name.0, self.report.place(first));
                    return Err((at, format!("'{name}' has a role already, at {first}")));
                }
                block.role = role;
            }
            Local::Filter => places.rules.push(loc),
            Local::StaticGroup => places.static_groups.push(loc),
            Local::Group => places.groups.push(loc),
            Local::Listed => {}
        }
        Ok(())
    }
}

/// Whether it is `interface NAME`.
fn is_head(piece: &Piece) -> bool {
    !piece.bad && statement(&piece.text, Context::Head).is_ok()
}

fn twice(word: &str, first: &str) -> String {
    format!("'{word}' is set already, at {first}")
}

impl InterfaceBlock {
    /// A block that says nothing but the role.
    #[must_use]
    pub fn new(name: Pattern, role: Role) -> Self {
        Self {
            name,
            role,
            overrides: Overrides::default(),
            threshold: None,
            sources: Vec::new(),
            rules: Vec::new(),
            boundaries: Vec::new(),
            static_groups: Vec::new(),
            groups: Vec::new(),
            preference: None,
        }
    }
}
