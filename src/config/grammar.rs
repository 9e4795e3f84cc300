//! The grammar's parser, and its errors in the user's words.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};
use pest::iterators::Pair;

use super::settings::SETTINGS;
use super::value::nearest;

#[derive(pest_derive::Parser)]
#[grammar = "config/grammar.pest"]
pub(super) struct Grammar;

/// Every word of the language.
pub(super) static KEYWORDS: LazyLock<BTreeSet<String>> =
    LazyLock::new(|| Rule::all_rules().iter().filter_map(|rule| word_of(*rule)).collect());

/// The keyword whose rule this is, where it is one.
fn word_of(rule: Rule) -> Option<String> {
    format!("{rule:?}").strip_prefix("k_").map(|word| word.replace('_', "-"))
}

/// An offset in a statement and what is wrong there.
pub(super) type Fault = (usize, String);

/// First words of global statements, besides settings.
const GLOBAL: [&str; 9] = [
    "mroute",
    "mgroup",
    "max-routes",
    "route-timeout",
    "ssm-range",
    "user",
    "chroot",
    "include",
    "interface",
];
/// First words of statements in a block, besides settings.
const LOCAL: [&str; 11] = [
    "upstream",
    "downstream",
    "disabled",
    "source",
    "allow",
    "deny",
    "static-group",
    "boundary",
    "threshold",
    "group",
    "preference",
];

/// Where a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    Global,
    Local,
    /// Before a brace.
    Head,
}

/// The pair of the statement; of `interface NAME`, that of the name.
pub(super) fn statement(text: &str, context: Context) -> Result<Pair<'_, Rule>, Fault> {
    let (form, place) = match context {
        Context::Global => (Rule::global, 0),
        Context::Local => (Rule::local, 0),
        Context::Head => (Rule::head, 1),
    };
    let top = Grammar::parse(form, text).map_err(|e| explain(&e, text, context))?.next();
    top.and_then(|top| top.into_inner().nth(place))
        .ok_or_else(|| (0, "a word is missing".to_owned()))
}

/// Where the statement went wrong, what was expected and what stands there.
fn explain(error: &Error<Rule>, text: &str, context: Context) -> Fault {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let rest = text.get(at..).unwrap_or_default();
    let found = first_word(rest);
    if at == text.len() - text.trim_start().len() {
        return (at, unknown(found, context));
    }
    let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
        return (at, error.variant.message().into_owned());
    };
    let mut expected: Vec<String> = positives.iter().map(|rule| describe(*rule)).collect();
    expected.sort();
    expected.dedup();
    let words = expected.iter().filter_map(|e| e.strip_prefix('\'')?.strip_suffix('\''));
    let hint = nearest(found, words).map_or_else(String::new, |w| format!("; did you mean '{w}'?"));
    let found =
        if found.is_empty() { "the statement ends".to_owned() } else { format!("found '{found}'") };
    (at, format!("expected {}, {found}{hint}", expected.join(" or ")))
}

/// Tells of a statement whose first word the grammar does not know there.
fn unknown(word: &str, context: Context) -> String {
    let settings = SETTINGS.iter().filter(|_| context != Context::Head).map(|s| s.word);
    let (here, elsewhere, place) = match context {
        Context::Global => (&GLOBAL[..], &LOCAL[..], "belongs in an interface block"),
        Context::Local => (&LOCAL[..], &GLOBAL[..], "cannot stand in an interface block"),
        Context::Head if nearest(word, ["interface"].into_iter()).is_none() => {
            return "only 'interface' and a name can stand before '{'".to_owned();
        }
        Context::Head => (&["interface"][..], &[][..], ""),
    };
    if elsewhere.contains(&word) && !here.contains(&word) {
        return format!("'{word}' {place}");
    }
    match nearest(word, here.iter().copied().chain(settings)) {
        Some(near) => format!("unknown word '{word}'; did you mean '{near}'?"),
        None => format!("unknown word '{word}'"),
    }
}

/// The word, quoted text or single character that the text begins with.
fn first_word(text: &str) -> &str {
    let separates = |c: char| c.is_whitespace() || ",=".contains(c);
    let end = text.find(separates).unwrap_or(text.len());
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.get(..end.max(first)).unwrap_or_default()
}

/// A rule in the user's words; a keyword is its own name.
fn describe(rule: Rule) -> String {
    if let Some(word) = word_of(rule) {
        return format!("'{word}'");
    }
    let name = format!("{rule:?}");
    let words = match name.as_str() {
        "name" => "the name of an interface",
        "path" => "the name of a file or directory",
        "value" => "a value",
        "prefix" | "prefixes" => "an address or network",
        "address" => "an address",
        "scope" | "scope_name" => "a scope",
        "number" => "a number",
        "time" => "a time",
        "by_source" | "by_host" => "'source'",
        "by_group" => "'group'",
        "by_except" => "'except'",
        "by_scope" => "'scope'",
        "EOI" => "the end of the statement",
        other => other,
    };
    words.to_owned()
}
