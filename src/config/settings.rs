//! The words that stand globally and in interface blocks, as a table: the parser reads through it,
//! the printer writes through it.

use super::model::Overrides;
use super::value::Value;

const HOURS_MS: u32 = 3_600_000;
/// Times that a query can carry. RFC 9776, section 4.1.7: QQIC up to 31744 s.
const QUERY_TIME: (u32, u32) = (500, 31_744_000);
const STARTUP_TIME: (u32, u32) = (100, 31_744_000);
/// RFC 9776, section 4.1.1: Max Resp Code up to 3174.4 s.
const RESPONSE_TIME: (u32, u32) = (100, 3_174_000);
/// RFC 4286, section 3.1: MaxAdvertisementInterval.
const MRDISC_TIME: (u32, u32) = (4_000, 180_000);
/// Robustness travels in three bits. RFC 9776, section 4.1.6.
const ROBUSTNESS: (u32, u32) = (1, 7);
/// No number: one of the words that the grammar lists.
const WORDS: (u32, u32) = (0, 0);
const GROUPS: (u32, u32) = (1, 4_194_304);
const SOURCES: (u32, u32) = (1, 65_535);
/// `max-routes`.
pub(super) const ROUTES: (u32, u32) = (1, 4_194_304);
/// `route-timeout`.
pub(super) const ROUTE_TIME: (u32, u32) = (1_000, 24 * HOURS_MS);
/// `threshold` and `preference`.
pub(super) const OCTET: (u32, u32) = (1, 255);

/// One word.
pub(super) struct Setting {
    pub(super) word: &'static str,
    /// Reads the text into its field; whether that had no value.
    pub(super) read: fn(&mut Overrides, &str) -> Result<bool, String>,
    /// The text of its field.
    pub(super) print: fn(&Overrides) -> Option<String>,
}

macro_rules! settings {
    ($($word:literal $field:ident $range:expr),+ $(,)?) => {
        /// All, in the order in which they are printed.
        pub(super) const SETTINGS: &[Setting] = &[$(Setting {
            word: $word,
            read: |o, text| Ok(o.$field.replace(Value::parse(text, $range)?).is_none()),
            print: |o| o.$field.map(Value::print),
        }),+];
    };
}

settings! {
    "ipv4" ipv4 WORDS,
    "ipv6" ipv6 WORDS,
    "igmp-version" igmp_version (1, 3),
    "mld-version" mld_version (1, 2),
    "query-interval" query_interval QUERY_TIME,
    "query-response-interval" query_response_interval RESPONSE_TIME,
    "last-member-query-interval" last_member_query_interval RESPONSE_TIME,
    "last-member-query-count" last_member_query_count ROBUSTNESS,
    "startup-query-interval" startup_query_interval STARTUP_TIME,
    "startup-query-count" startup_query_count ROBUSTNESS,
    "robustness" robustness ROBUSTNESS,
    "querier" querier WORDS,
    "forward-non-querier" forward_non_querier WORDS,
    "fast-leave" fast_leave WORDS,
    "require-router-alert" require_router_alert WORDS,
    "verify-source-subnet" verify_source_subnet WORDS,
    "max-groups" max_groups GROUPS,
    "max-sources" max_sources SOURCES,
    "wrongvif" wrongvif WORDS,
    "mrdisc" mrdisc WORDS,
    "mrdisc-interval" mrdisc_interval MRDISC_TIME,
}

/// The word's entry.
pub(super) fn setting(word: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|s| s.word == word)
}
