//! What one statement says: from the grammar's pairs into the model.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a pair can be any of the grammar's rules, but the rule that it is in allows a few"
)]

use ipnet::IpNet;
use pest::iterators::Pair;

use super::grammar::{Fault, Rule};
use super::model::{
    Config, GroupSet, InterfaceBlock, Mgroup, Mroute, Overrides, Role, Rule as Filter, SourceMatch,
    SourceNet, StaticGroup,
};
use super::routes::{check_groups, check_mroute};
use super::settings::{OCTET, ROUTE_TIME, ROUTES, setting};
use super::value::{
    self, ALL_V6, Value, check_family, check_joined, check_routed, parse_address,
    parse_boundary_scope, parse_group, parse_name, parse_net, parse_scope, parse_source, unquote,
};

/// What a global statement was; the model has it already where it fits there.
pub(super) enum Global {
    /// A word with one value, and whether it had none before.
    Setting(&'static str, bool),
    SsmRange,
    Mgroup,
    Mroute,
    Macro {
        name: String,
        words: Vec<(String, usize)>,
    },
    Include(String),
}

/// What a statement in a block was.
pub(super) enum Local {
    /// A word with one value, and whether it had none before.
    Setting(&'static str, bool),
    Role(Role),
    Filter,
    StaticGroup,
    Group,
    /// `source` or `boundary`.
    Listed,
}

type Pairs<'i> = pest::iterators::Pairs<'i, Rule>;

fn start(pair: &Pair<'_, Rule>) -> usize {
    pair.as_span().start()
}

/// The pair's text through a parser of values; what is wrong with it is told at the pair.
fn read<T>(
    pair: &Pair<'_, Rule>,
    parser: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Fault> {
    parser(&unquote(pair.as_str())).map_err(|message| (start(pair), message))
}

/// As `read`, for the value after a keyword: the message begins with that.
fn read_value<T: Value>(mut inner: Pairs<'_>, range: (u32, u32)) -> Result<T, Fault> {
    let word = inner.next().map_or("", |k| k.as_str());
    let value = last(inner)?;
    read(&value, |text| T::parse(text, range).map_err(|m| format!("{word} {m}")))
}

/// What is wrong with each value of a statement that has several, taken by itself.
pub(super) fn value_faults(statement: Pair<'_, Rule>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for clause in statement.into_inner() {
        let rule = clause.as_rule();
        let values = match rule {
            Rule::name | Rule::prefix => vec![clause],
            Rule::by_except => clause.into_inner().flat_map(Pair::into_inner).collect(),
            _ => clause.into_inner().last().into_iter().collect(),
        };
        faults.extend(values.iter().filter_map(|value| match rule {
            Rule::name => read(value, parse_name).err(),
            Rule::by_source => read(value, parse_source).err(),
            Rule::by_except => read(value, parse_net).err(),
            Rule::by_group | Rule::prefix => read(value, parse_group).err(),
            Rule::by_scope => read(value, parse_scope).err(),
            Rule::by_host => read(value, parse_address).err(),
            _ => None,
        }));
    }
    faults
}

/// The value of a statement: its last pair.
fn last(inner: Pairs<'_>) -> Result<Pair<'_, Rule>, Fault> {
    inner.last().ok_or_else(|| (0, "a value is missing".to_owned()))
}

/// Puts a global statement into the model.
pub(super) fn read_global(
    pair: Pair<'_, Rule>,
    config: &mut Config,
) -> Result<(usize, Global), Fault> {
    let (at, rule) = (start(&pair), pair.as_rule());
    let mut inner = pair.into_inner();
    let what = match rule {
        Rule::mroute => {
            config.mroutes.push(read_mroute(inner, at)?);
            Global::Mroute
        }
        Rule::mgroup => {
            config.mgroups.push(read_mgroup(inner, at)?);
            Global::Mgroup
        }
        Rule::ssm_range => {
            config.ssm_ranges.push(read(&last(inner)?, parse_group)?);
            Global::SsmRange
        }
        Rule::max_routes => {
            let old = config.max_routes.replace(read_value(inner, ROUTES)?);
            Global::Setting("max-routes", old.is_none())
        }
        Rule::route_timeout => {
            let old = config.route_timeout.replace(read_value(inner, ROUTE_TIME)?);
            Global::Setting("route-timeout", old.is_none())
        }
        Rule::user => {
            let old = config.user.replace(read(&last(inner)?, value::parse_user)?);
            Global::Setting("user", old.is_none())
        }
        Rule::chroot => {
            let old = config.chroot.replace(read(&last(inner)?, value::parse_folder)?);
            Global::Setting("chroot", old.is_none())
        }
        Rule::macro_def => {
            let name = inner.next().map_or_else(String::new, |n| n.as_str().to_owned());
            Global::Macro { name, words: inner.map(|w| macro_word(&w)).collect() }
        }
        Rule::include => Global::Include(read(&last(inner)?, |t| Ok(t.to_owned()))?),
        _ => read_setting(inner, &mut config.defaults)
            .map(|(word, fresh)| Global::Setting(word, fresh))?,
    };
    Ok((at, what))
}

/// The text of a macro's word and where it begins, the quote left out.
fn macro_word(pair: &Pair<'_, Rule>) -> (String, usize) {
    let quoted = usize::from(pair.as_str().starts_with(['"', '\'']));
    (unquote(pair.as_str()), start(pair) + quoted)
}

fn read_setting(inner: Pairs<'_>, values: &mut Overrides) -> Result<(&'static str, bool), Fault> {
    let word = inner.clone().next().and_then(|k| setting(k.as_str()));
    let word = word.ok_or_else(|| (0, "unknown word".to_owned()))?;
    let value = last(inner)?;
    let fresh = read(&value, |text| (word.read)(values, text));
    let fresh = fresh.map_err(|(at, message)| (at, format!("{} {message}", word.word)))?;
    Ok((word.word, fresh))
}

/// Puts a statement into its block.
pub(super) fn read_local(
    pair: Pair<'_, Rule>,
    block: &mut InterfaceBlock,
) -> Result<(usize, Local), Fault> {
    let (at, rule) = (start(&pair), pair.as_rule());
    let inner = pair.into_inner();
    let what = match rule {
        Rule::role => Local::Role(match last(inner)?.as_rule() {
            Rule::k_upstream => Role::Upstream,
            Rule::k_downstream => Role::Downstream,
            _ => Role::Disabled,
        }),
        Rule::source => {
            let value = last(inner)?;
            let net = match value.as_rule() {
                Rule::k_any => SourceNet::Any,
                _ => read(&value, parse_source)?.map_or(SourceNet::Any, SourceNet::Net),
            };
            once(&mut block.sources, net, &value).map(|()| Local::Listed)?
        }
        Rule::filter => {
            block.rules.push(read_filter(inner)?);
            Local::Filter
        }
        Rule::boundary => {
            let value = last(inner)?;
            let set = match value.as_rule() {
                Rule::scope_name => GroupSet::Scopes(read(&value, parse_boundary_scope)?),
                _ => GroupSet::Net(read(&value, parse_group)?),
            };
            once(&mut block.boundaries, set, &value).map(|()| Local::Listed)?
        }
        Rule::static_group => {
            let join = read_static_group(inner)?;
            block.static_groups.push(join);
            Local::StaticGroup
        }
        Rule::group => {
            let value = last(inner)?;
            let group = read(&value, parse_group)?;
            check_routed(group).map_err(|m| (start(&value), m))?;
            block.groups.push(group);
            Local::Group
        }
        Rule::threshold => {
            let old = block.threshold.replace(read_value(inner, OCTET)?);
            Local::Setting("threshold", old.is_none())
        }
        Rule::preference => {
            let old = block.preference.replace(read_value(inner, OCTET)?);
            Local::Setting("preference", old.is_none())
        }
        _ => read_setting(inner, &mut block.overrides)
            .map(|(word, fresh)| Local::Setting(word, fresh))?,
    };
    Ok((at, what))
}

fn once<T: PartialEq>(list: &mut Vec<T>, item: T, at: &Pair<'_, Rule>) -> Result<(), Fault> {
    if list.contains(&item) {
        return Err((start(at), format!("'{}' is said already", at.as_str())));
    }
    list.push(item);
    Ok(())
}

/// What `source`, `except`, `group` and `scope` say, in any order, each once.
#[derive(Default)]
struct Clauses {
    /// `None` inside: any.
    source: Option<(usize, Option<IpNet>)>,
    except: Option<(usize, Vec<IpNet>)>,
    group: Option<(usize, IpNet)>,
    scope: Option<(usize, u16)>,
    names: Vec<(usize, String)>,
}

impl Clauses {
    fn read(inner: Pairs<'_>) -> Result<Self, Fault> {
        let mut all = Self::default();
        for pair in inner {
            let at = start(&pair);
            let rule = pair.as_rule();
            if rule == Rule::name {
                all.names.push((at, pair.as_str().to_owned()));
                continue;
            }
            let Some(value) = pair.into_inner().last() else { continue };
            let value_at = start(&value);
            let fresh = match rule {
                Rule::by_source => {
                    all.source.replace((value_at, read(&value, parse_source)?)).is_none()
                }
                Rule::by_except => all.except.replace((value_at, read_except(value)?)).is_none(),
                Rule::by_group => {
                    all.group.replace((value_at, read(&value, parse_group)?)).is_none()
                }
                _ => all.scope.replace((value_at, read(&value, parse_scope)?)).is_none(),
            };
            if !fresh {
                return Err((at, "this is said already in the statement".to_owned()));
            }
        }
        Ok(all)
    }

    fn need_group(&self, at: usize) -> Result<(usize, IpNet), Fault> {
        self.group.ok_or_else(|| (at, "'group' is missing".to_owned()))
    }

    /// The source as one network, of the group's family.
    fn source_for(&self, group: IpNet) -> Result<Option<IpNet>, Fault> {
        let Some((at, Some(source))) = self.source else { return Ok(None) };
        check_family(group, source).map_err(|m| (at, m))?;
        Ok(Some(source))
    }
}

fn read_except(list: Pair<'_, Rule>) -> Result<Vec<IpNet>, Fault> {
    let mut nets = Vec::new();
    for pair in list.into_inner() {
        once(&mut nets, read(&pair, parse_net)?, &pair)?;
    }
    Ok(nets)
}

fn read_filter(mut inner: Pairs<'_>) -> Result<Filter, Fault> {
    let word = inner.next();
    let at = word.as_ref().map_or(0, start);
    let clauses = Clauses::read(inner)?;
    let (_, group) = clauses.need_group(at)?;
    let allow = word.is_some_and(|w| w.as_rule() == Rule::k_allow);
    Ok(Filter { allow, group, source: clauses.source_for(group)? })
}

fn read_static_group(inner: Pairs<'_>) -> Result<StaticGroup, Fault> {
    let mut join = None;
    for pair in inner {
        match (pair.as_rule(), &mut join) {
            (Rule::prefix, _) => {
                let group = read(&pair, parse_group)?;
                check_joined(group).map_err(|m| (start(&pair), m))?;
                join = Some(StaticGroup { group, source: None });
            }
            (Rule::by_host, Some(join)) => {
                let value = last(pair.into_inner())?;
                let source = read(&value, parse_address)?;
                check_family(join.group, source.into()).map_err(|m| (start(&value), m))?;
                read(&value, parse_source)?;
                join.source = (!source.is_unspecified()).then_some(source);
            }
            _ => {}
        }
    }
    join.ok_or_else(|| (0, "the group is missing".to_owned()))
}

fn read_mgroup(inner: Pairs<'_>, at: usize) -> Result<Mgroup, Fault> {
    let clauses = Clauses::read(inner)?;
    let (group_at, group) = clauses.need_group(at)?;
    check_joined(group).map_err(|m| (group_at, m))?;
    let source = match (clauses.source_for(group)?, clauses.source) {
        (Some(net), Some((source_at, _))) if net.prefix_len() < net.max_prefix_len() => {
            return Err((source_at, "the source of a membership must be one address".to_owned()));
        }
        (source, _) => source.map(|net| net.addr()),
    };
    let Some((from_at, from)) = clauses.names.first() else {
        return Err((at, "'from' is missing".to_owned()));
    };
    let from = parse_name(&unquote(from)).map_err(|m| (*from_at, m))?;
    Ok(Mgroup { from, group: StaticGroup { group, source } })
}

fn read_mroute(inner: Pairs<'_>, at: usize) -> Result<Mroute, Fault> {
    let mut clauses = Clauses::read(inner)?;
    let mask = take_mask(&mut clauses)?;
    let (group_at, group) = match (clauses.group, clauses.scope, mask) {
        (Some((at, ALL_V6)), Some((_, mask)), None)
        | (Some((_, ALL_V6)), None, Some((at, mask))) => (at, GroupSet::Scopes(mask)),
        (None, Some((at, mask)), None) => (at, GroupSet::Scopes(mask)),
        (Some((at, group)), None, None) => (at, GroupSet::Net(group)),
        (_, _, Some((at, _))) => return Err((at, "a scope mask needs 'group ::'".to_owned())),
        (Some(_), Some((at, _)), None) => {
            return Err((at, "'scope' and 'group' exclude each other".to_owned()));
        }
        (None, None, None) => return Err((at, "'group' or 'scope' is missing".to_owned())),
    };
    check_groups(&group).map_err(|m| (group_at, m))?;
    let family = group.covering();
    let source = match (clauses.source_for(family)?, clauses.except.take()) {
        (Some(_), Some((at, _))) => {
            return Err((at, "'except' and 'source' exclude each other".to_owned()));
        }
        (net, None) => SourceMatch::of(net),
        (None, Some((at, nets))) => {
            for net in &nets {
                check_family(family, *net).map_err(|m| (at, m))?;
            }
            SourceMatch::Except(nets)
        }
    };
    let parse = |(at, name): &(usize, String)| parse_name(&unquote(name)).map_err(|m| (*at, m));
    let mut names = clauses.names.iter().map(parse);
    let from = names.next().unwrap_or_else(|| Err((at, "'from' is missing".to_owned())))?;
    let route = Mroute { from, source, group, to: names.collect::<Result<_, Fault>>()? };
    check_mroute(&route).map_err(|m| (at, m))?;
    Ok(route)
}

/// The scope mask that may stand before the outgoing interfaces: a bare number, or a hexadecimal one.
fn take_mask(clauses: &mut Clauses) -> Result<Option<(usize, u16)>, Fault> {
    match clauses.names.get(1) {
        Some((at, text)) if text.starts_with("0x") || text.bytes().all(|b| b.is_ascii_digit()) => {
            let mask = parse_scope(text).map_err(|m| (*at, m))?;
            let at = *at;
            clauses.names.remove(1);
            Ok(Some((at, mask)))
        }
        Some(_) | None => Ok(None),
    }
}
