//! Values of the language, from text and back: networks, scopes, times, numbers, names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::model::{FastLeave, MAX_JOIN_RANGE, Pattern, QuerierMode, WrongVif};
use crate::sys::time::Millis;
use crate::wire::{Address, GroupScope};

/// Bytes of an interface name at most. IFNAMSIZ less the final zero on Linux and the BSDs.
pub const MAX_NAME: usize = 15;
/// Bytes of a user's name at most. LOGIN_NAME_MAX of OpenBSD and Linux's useradd(8).
const MAX_USER: usize = 32;
/// IPv4 multicast. RFC 5771.
pub(super) const ALL_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4));
/// IPv6 multicast. RFC 4291, section 2.7.
pub(super) const ALL_V6: IpNet =
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8));
/// Scopes that may be forwarded: all above realm-local. RFC 7346.
pub(super) const ROUTABLE_SCOPES: u16 = 0xfff0;

/// Names of IPv6 scopes. RFC 7346, section 2; RFC 4291, section 2.7.
const SCOPES: [(u8, &str); 7] = [
    (1, "interface-local"),
    (2, "link-local"),
    (3, "realm-local"),
    (4, "admin-local"),
    (5, "site-local"),
    (8, "organization-local"),
    (14, "global"),
];

/// An address or network without host bits.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn parse_net(text: &str) -> Result<IpNet, String> {
    let Some((address, length)) = text.split_once('/') else {
        return parse_address(text).map(IpNet::from);
    };
    let address = parse_address(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    let length = length.parse().ok().filter(|&n: &u8| digits && n <= most);
    let length =
        length.ok_or_else(|| format!("the prefix length of '{text}' must be 0 to {most}"))?;
    let net = IpNet::new_assert(address, length).trunc();
    if net.addr() != address {
        return Err(format!(
            "'{text}' has bits set beyond the prefix length; the network is {net}"
        ));
    }
    Ok(net)
}

/// An IPv4 or IPv6 address.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn parse_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| format!("'{text}' is not an IPv4 or IPv6 address"))
}

/// A group or a network of groups; the unspecified address stands for all groups of its family.
///
/// # Errors
/// What is wrong with it, for the user; that it is not multicast, above all.
pub fn parse_group(text: &str) -> Result<IpNet, String> {
    let net = parse_net(text)?;
    if net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len() {
        return Ok(all_groups(net));
    }
    if !all_groups(net).contains(&net) {
        return Err(format!("'{text}' is not multicast ({ALL_V4} or {ALL_V6})"));
    }
    Ok(net)
}

/// A source or a network of sources; `None` for the unspecified address, which stands for any.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn parse_source(text: &str) -> Result<Option<IpNet>, String> {
    let net = parse_net(text)?;
    if net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len() {
        return Ok(None);
    }
    check_source(net)?;
    Ok(Some(net))
}

/// Whether it can be the source of a packet.
pub(super) fn check_source(net: IpNet) -> Result<(), String> {
    let no_host = net.prefix_len() == net.max_prefix_len() && net.addr().is_unspecified();
    if no_host || all_groups(net).contains(&net) {
        let what = if no_host { "unspecified" } else { "multicast" };
        return Err(format!("'{}' is {what} and cannot be a source", show_net(net)));
    }
    Ok(())
}

/// A set of IPv6 scopes, bit n for scope n: a mask in decimal or hexadecimal (`65520`, `0xfff0`),
/// a name (`site-local`), or a range of names open at either end (`admin-local..`). RFC 7346.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn parse_scope(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => Some(u16::from_str_radix(hex, 16)),
        None if text.starts_with(|c: char| c.is_ascii_digit()) => Some(text.parse()),
        None => None,
    };
    if let Some(number) = number {
        let mask = number.ok().filter(|&n| n > 0);
        return mask.ok_or_else(|| format!("the scope mask '{text}' must be 1 to 65535"));
    }
    let (low, high) = match text.split_once("..") {
        None => {
            let scope = scope_number(text)?;
            (scope, scope)
        }
        Some(("", "")) => return Err("'..' needs the name of a scope on one side".to_owned()),
        Some((low, "")) => (scope_number(low)?, 15),
        Some(("", high)) => (0, scope_number(high)?),
        Some((low, high)) => (scope_number(low)?, scope_number(high)?),
    };
    if low > high {
        return Err(format!("'{text}' is empty: the smaller scope comes first"));
    }
    Ok(scopes(low, high))
}

/// As [`parse_scope`], but a name alone means every scope up to it.
pub(super) fn parse_boundary_scope(text: &str) -> Result<u16, String> {
    match scope_number(text) {
        Ok(high) => Ok(scopes(0, high)),
        Err(_) => parse_scope(text),
    }
}

const fn scopes(low: u8, high: u8) -> u16 {
    (u16::MAX >> (15 - high)) & (u16::MAX << low)
}

fn scope_number(text: &str) -> Result<u8, String> {
    if let Some((number, _)) = SCOPES.iter().find(|(_, name)| *name == text) {
        return Ok(*number);
    }
    let hint = nearest(text, SCOPES.iter().map(|(_, name)| *name));
    Err(format!("'{text}' is not a scope{}", hint.map_or_else(names_of_scopes, did_you_mean)))
}

fn names_of_scopes() -> String {
    format!(": {}", SCOPES.map(|(_, name)| name).join(", "))
}

fn did_you_mean(word: &str) -> String {
    format!("; did you mean '{word}'?")
}

/// The text of a set of scopes that [`parse_scope`] takes.
pub(super) fn print_scope(mask: u16) -> String {
    let (low, high) = (mask.trailing_zeros(), 15 - mask.leading_zeros().min(15));
    let name = |n: u32| SCOPES.iter().find(|(s, _)| u32::from(*s) == n).map(|(_, name)| *name);
    let bounds = (low <= high).then_some((low, high));
    let whole = bounds.is_some_and(|(l, h)| mask == (u16::MAX >> (15 - h)) & (u16::MAX << l));
    match (name(low), name(high)) {
        _ if !whole => mask.to_string(),
        (Some(one), _) if low == high => one.to_owned(),
        (Some(from), _) if high == 15 => format!("{from}.."),
        (_, Some(to)) if low == 0 => format!("..{to}"),
        (Some(from), Some(to)) => format!("{from}..{to}"),
        (None | Some(_), None) | (None, Some(_)) => mask.to_string(),
    }
}

/// The text of a set of scopes that [`parse_boundary_scope`] takes.
pub(super) fn print_boundary_scope(mask: u16) -> String {
    let text = print_scope(mask);
    match text.strip_prefix("..") {
        Some(name) => name.to_owned(),
        None if scope_number(&text).is_ok() => mask.to_string(),
        None => text,
    }
}

/// 224.0.0.0/4 or ff00::/8, whichever is of the family.
pub(super) const fn all_groups(family: IpNet) -> IpNet {
    match family {
        IpNet::V4(_) => ALL_V4,
        IpNet::V6(_) => ALL_V6,
    }
}

/// Whether no group in the network is ever forwarded: link-local or, IPv6, of scope 0, 1 or 3.
pub(super) fn never_forwarded(group: IpNet) -> bool {
    let (scope, settled) = match group {
        IpNet::V4(n) => (n.addr().scope(), n.prefix_len() >= 24),
        IpNet::V6(n) => (n.addr().scope(), n.prefix_len() >= 16),
    };
    settled && scope != GroupScope::Routable
}

/// Whether groups may be forwarded.
pub(super) fn check_routed(group: IpNet) -> Result<(), String> {
    if never_forwarded(group) {
        return Err(format!("{} is link-local: never forwarded", show_net(group)));
    }
    Ok(())
}

/// Whether groups may be joined, all of them.
pub(super) fn check_joined(group: IpNet) -> Result<(), String> {
    check_routed(group)?;
    let bits = group.max_prefix_len() - group.prefix_len();
    if bits > MAX_JOIN_RANGE.trailing_zeros().try_into().unwrap_or(u8::MAX) {
        return Err(format!("{group} is more than {MAX_JOIN_RANGE} groups"));
    }
    if group.contains(&IpAddr::V4(Ipv4Addr::new(224, 0, 0, 0))) {
        return Err(format!("{group} has link-local groups in it"));
    }
    Ok(())
}

/// Whether the two are of one family.
pub(super) fn check_family(group: IpNet, source: IpNet) -> Result<(), String> {
    if group.max_prefix_len() == source.max_prefix_len() {
        return Ok(());
    }
    let family = |n: IpNet| if n.max_prefix_len() == 32 { "IPv4" } else { "IPv6" };
    Err(format!("the source is {}, the group {}", family(source), family(group)))
}

/// An interface name or pattern.
///
/// # Errors
/// What is wrong with it, for the user.
pub fn parse_name(text: &str) -> Result<Pattern, String> {
    let stem = text.strip_suffix(['*', '+']).unwrap_or(text);
    if text.is_empty() {
        return Err("the name of an interface cannot be empty".to_owned());
    }
    if stem.len() > MAX_NAME {
        return Err(format!("the interface name '{text}' is longer than {MAX_NAME} bytes"));
    }
    if text.starts_with('$') {
        return Err(format!("'{text}' in quotes is not expanded: write it without"));
    }
    if let Some(c) = text.chars().find(|c| c.is_whitespace() || c.is_control() || *c == '/') {
        return Err(format!("{c:?} cannot be in the name of an interface"));
    }
    if stem.contains('*') {
        return Err(format!("'*' can stand only at the end of the pattern '{text}'"));
    }
    Ok(Pattern(text.to_owned()))
}

/// A user's name.
pub(super) fn parse_user(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if text.is_empty() || text.len() > MAX_USER || text.starts_with('-') || !text.chars().all(good)
    {
        return Err(format!("'{text}' cannot be the name of a user"));
    }
    Ok(text.to_owned())
}

/// A directory by its absolute path.
pub(super) fn parse_folder(text: &str) -> Result<String, String> {
    if !text.starts_with('/') || text.chars().any(char::is_control) {
        return Err(format!("'{text}' is not an absolute path"));
    }
    Ok(text.to_owned())
}

/// The network, without the prefix length where it is one address.
pub(super) fn show_net(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        return net.addr().to_string();
    }
    net.to_string()
}

/// Whether it can stand without quotes, to the grammar's `word_char`.
fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.:/%@~".contains(c)
}

/// In quotes where it needs them: patterns, numbers (which may be masks) and odd characters.
#[must_use]
pub fn quote(text: &str) -> String {
    let number = text.bytes().all(|b| b.is_ascii_digit());
    if !number && text.chars().all(is_word) {
        return text.to_owned();
    }
    always_quote(text)
}

pub(super) fn always_quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Takes the quotes off. A backslash stands for the quote or backslash after it, else for itself.
pub(super) fn unquote(text: &str) -> String {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return text.to_owned();
    };
    let inside = text.get(1..text.len() - 1).unwrap_or_default();
    let mut plain = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next)) if next == quote || next == '\\' => {
                plain.push(next);
                chars.next();
            }
            _ => plain.push(c),
        }
    }
    plain
}

/// The candidate that differs from the word by two letters at most (by one in short words).
pub(super) fn nearest<'a>(word: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 40 {
        return None;
    }
    let most = if word.len() < 4 { 1 } else { 2 };
    all.map(|c| (distance(word, c), c)).filter(|(d, _)| *d <= most).min().map(|(_, c)| c)
}

/// Letters to insert, delete, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    let mut above = None;
    for (i, x) in a.chars().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX - 1);
            let mut d = at(&last, j) + usize::from(x != *y);
            d = d.min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let left = j.checked_sub(1).and_then(|n| b.get(n));
            if above == Some(*y) && left == Some(&x) {
                d = d.min(at(&before, j - 1) + 1);
            }
            row.push(d);
        }
        above = Some(x);
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// A value of a setting, from text and back.
pub(super) trait Value: Copy {
    /// `range` is in units of the value: milliseconds, or the number itself.
    fn parse(text: &str, range: (u32, u32)) -> Result<Self, String>;
    fn print(self) -> String;
}

/// A whole number in a range.
impl Value for u32 {
    fn parse(text: &str, (least, most): (u32, u32)) -> Result<Self, String> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|n| digits && (least..=most).contains(n));
        number.ok_or_else(|| format!("must be a number from {least} to {most}, not '{text}'"))
    }
    fn print(self) -> String {
        self.to_string()
    }
}

impl Value for u8 {
    fn parse(text: &str, range: (u32, u32)) -> Result<Self, String> {
        let number = u32::parse(text, range)?;
        Self::try_from(number).map_err(|_| format!("must be at most 255, not '{text}'"))
    }
    fn print(self) -> String {
        self.to_string()
    }
}

/// Seconds, or with a unit: `500ms`, `10s`, `2m`, `1h`.
impl Value for Millis {
    fn parse(text: &str, (least, most): (u32, u32)) -> Result<Self, String> {
        let (digits, unit) =
            text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        if digits.is_empty() || factor == 0 {
            return Err(format!("must be a time as 10, 500ms, 10s, 2m or 1h, not '{text}'"));
        }
        let length = digits.parse::<u32>().ok().and_then(|n| n.checked_mul(factor));
        let length = length.filter(|n| (least..=most).contains(n)).map(Self);
        length.ok_or_else(|| {
            let (least, most) = (show_time(Self(least)), show_time(Self(most)));
            format!("must be from {least} to {most}, not '{text}'")
        })
    }
    fn print(self) -> String {
        match self.0 % 1000 {
            0 => (self.0 / 1000).to_string(),
            _ => format!("{}ms", self.0),
        }
    }
}

/// With its unit, for messages.
pub(super) fn show_time(time: Millis) -> String {
    match time.0 % 1000 {
        0 => format!("{}s", time.0 / 1000),
        _ => format!("{}ms", time.0),
    }
}

/// Values that are one of a few words; the grammar has checked which.
macro_rules! words {
    ($type:ty: $($word:literal => $value:expr),+) => {
        impl Value for $type {
            fn parse(text: &str, _: (u32, u32)) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!("cannot be '{text}'")),
                }
            }
            fn print(self) -> String {
                [$(($value, $word)),+].iter().find(|(v, _)| *v == self)
                    .map_or_else(String::new, |(_, word)| (*word).to_owned())
            }
        }
    };
}

words!(bool: "yes" => true, "no" => false);
words!(QuerierMode: "auto" => Self::Auto, "always" => Self::Always, "never" => Self::Never);
words!(FastLeave: "no" => Self::No, "yes" => Self::Yes, "immediate" => Self::Immediate);
words!(WrongVif: "ignore" => Self::Ignore, "log" => Self::Log, "follow" => Self::Follow);
