//! Statements that come and go at run time, and what a reload makes of them.

use super::check::{Blocks, can_join, lacks_source, loop_message};
use super::model::{Config, InterfaceBlock, Mgroup, Mroute, Role, Statement};
use super::routes::{Loops, RouteKey, Search, check_mroute};
use super::value::{check_family, check_joined, check_source, show_net};

impl Config {
    /// Adds a statement, by the rules of the file. A static route with the incoming interface,
    /// source and group of another adds its outgoing interfaces to that; a membership on a
    /// downstream becomes a `static-group` of its block. Returns what was not there before.
    ///
    /// # Errors
    /// Why it is refused, for the user; the configuration is as before then.
    pub fn add(&mut self, statement: &Statement) -> Result<Statement, String> {
        match statement {
            Statement::Mroute(route) => self.add_mroute(route).map(Statement::Mroute),
            Statement::Join(join) => self.add_join(join).map(|()| statement.clone()),
        }
    }

    /// Takes a statement out. Of a static route with more outgoing interfaces than the statement
    /// names, these are taken out; without any in the statement, the route is. Returns what is taken
    /// out.
    ///
    /// # Errors
    /// That there is no such statement, for the user.
    pub fn remove(&mut self, statement: &Statement) -> Result<Statement, String> {
        match statement {
            Statement::Mroute(route) => self.remove_mroute(route).map(Statement::Mroute),
            Statement::Join(join) => self.remove_join(join).map(|()| statement.clone()),
        }
    }

    fn add_mroute(&mut self, route: &Mroute) -> Result<Mroute, String> {
        check_mroute(route)?;
        let blocks = Blocks::new(self);
        let names = || std::iter::once(&route.from).chain(&route.to);
        let disabled = |b: &InterfaceBlock| b.role == Role::Disabled;
        if let Some(name) = names().find(|name| blocks.of(name).is_some_and(disabled)) {
            return Err(format!("'{}' is disabled", name.0));
        }
        let key = RouteKey::of(route);
        let same = self.mroutes.iter().position(|other| RouteKey::of(other) == key);
        let mut fresh = route.clone();
        let mut merged = route.clone();
        if let Some(other) = same.and_then(|n| self.mroutes.get(n)) {
            fresh.to.retain(|name| !other.to.contains(name));
            if !same_flows(other, route) || fresh.to.is_empty() {
                return Err(format!(
                    "there is a static route for the same source and group: {other}"
                ));
            }
            merged.to = [other.to.as_slice(), &fresh.to].concat();
        }
        match Loops::around(&merged, &self.mroutes).through(&merged) {
            Search::Loop(path) => return Err(loop_message(&path)),
            Search::None | Search::Unknown => {}
        }
        match same.and_then(|n| self.mroutes.get_mut(n)) {
            Some(other) => *other = merged,
            None => self.mroutes.push(merged),
        }
        Ok(fresh)
    }

    fn remove_mroute(&mut self, route: &Mroute) -> Result<Mroute, String> {
        let found = self.find_mroute(route).ok_or("there is no such static route")?;
        let mut gone = route.clone();
        if gone.to.is_empty() {
            gone.to.clone_from(&found.to);
        }
        // The file may say it twice.
        self.mroutes.retain_mut(|other| {
            if same_flows(other, route) {
                other.to.retain(|name| !gone.to.contains(name));
            }
            !other.to.is_empty()
        });
        Ok(gone)
    }

    fn add_join(&mut self, join: &Mgroup) -> Result<(), String> {
        check_joined(join.group.group)?;
        if let Some(source) = join.group.source {
            check_family(join.group.group, source.into())?;
            check_source(source.into())?;
        }
        if lacks_source(self, &join.group) {
            let group = show_net(join.group.group);
            return Err(format!("{group} is source-specific, and needs a source"));
        }
        let block = Blocks::new(self).of(&join.from).cloned();
        let Some(block) = block.filter(|b| b.role == Role::Downstream) else {
            can_join(&join.from, Blocks::new(self).of(&join.from))?;
            return push_new(&mut self.mgroups, join.clone());
        };
        // A block of its own, where only a pattern's held for the interface so far.
        let mut own = InterfaceBlock { name: join.from.clone(), ..block };
        push_new(&mut own.static_groups, join.group)?;
        match self.interfaces.iter_mut().find(|b| b.name == own.name) {
            Some(old) => *old = own,
            None => self.interfaces.push(own),
        }
        Ok(())
    }

    fn remove_join(&mut self, join: &Mgroup) -> Result<(), String> {
        let none = || format!("there is no such membership on '{}'", join.from.0);
        if let Some(n) = self.mgroups.iter().position(|m| m == join) {
            self.mgroups.remove(n);
            return Ok(());
        }
        let own = self.interfaces.iter().position(|b| b.name == join.from).ok_or_else(none)?;
        let block = self.interfaces.get_mut(own).ok_or_else(none)?;
        let n = block.static_groups.iter().position(|g| *g == join.group).ok_or_else(none)?;
        block.static_groups.remove(n);
        let block = block.clone();
        let like = |b: &&InterfaceBlock| b.name.is_wild() && b.name.matches(&block.name.0);
        let pattern = self.interfaces.iter().find(like).cloned();
        if pattern.is_some_and(|p| InterfaceBlock { name: block.name.clone(), ..p } == block) {
            self.interfaces.remove(own);
        }
        Ok(())
    }
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) -> Result<(), String> {
    if list.contains(&item) {
        return Err("this membership is there already".to_owned());
    }
    list.push(item);
    Ok(())
}

/// A statement that was added or removed at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Added, or removed.
    pub add: bool,
    /// What.
    pub statement: Statement,
}

fn same_flows(a: &Mroute, b: &Mroute) -> bool {
    (&a.from, &a.source, &a.group) == (&b.from, &b.source, &b.group)
}

/// Notes what a change added or took out, for [`keep_run_time`]. What it undoes of those before is
/// forgotten with it, so that the list does not grow with time.
pub fn note_run_time(changes: &mut Vec<Change>, mut change: Change) {
    let mut undone = false;
    changes.retain_mut(|old| match (&mut old.statement, &mut change.statement) {
        _ if old.add == change.add => true,
        (Statement::Mroute(old), Statement::Mroute(new)) if same_flows(old, new) => {
            let both: Vec<_> = old.to.iter().filter(|n| new.to.contains(n)).cloned().collect();
            for to in [&mut old.to, &mut new.to] {
                to.retain(|name| !both.contains(name));
            }
            undone |= new.to.is_empty();
            !old.to.is_empty()
        }
        (old, new) => {
            undone |= old == new;
            old != new
        }
    });
    if !undone {
        changes.push(change);
    }
}

/// Carries run-time changes, in their order, over a reload: what was removed is taken out of the
/// new configuration where it is still there; what was added is added unless `refuse` or the
/// configuration says why not. Forgets the changes that the file has made its own or contradicts,
/// and tells what happened, a line for each.
pub fn keep_run_time(
    new: &mut Config,
    changes: &mut Vec<Change>,
    refuse: impl Fn(&Statement) -> Result<(), String>,
) -> Vec<String> {
    let mut told = Vec::new();
    changes.retain(|Change { add, statement }| {
        if !add {
            let stays = new.remove(statement).is_ok();
            told.extend(stays.then(|| format!("stays removed: {statement}")));
            return stays;
        }
        let (stays, line) = match refuse(statement).and_then(|()| new.add(statement)) {
            Ok(_) => (true, format!("kept from run time: {statement}")),
            Err(_) if new.has(statement) => (false, format!("now in the file: {statement}")),
            Err(why) => (false, format!("dropped: {statement}: {why}")),
        };
        told.push(line);
        stays
    });
    told
}

impl Config {
    /// Whether the statement is in it, as it is or as part of a route.
    fn has(&self, statement: &Statement) -> bool {
        match statement {
            Statement::Mroute(route) => self.find_mroute(route).is_some(),
            Statement::Join(join) => {
                let listed = |b: &InterfaceBlock| b.static_groups.contains(&join.group);
                self.mgroups.contains(join)
                    || self.interfaces.iter().any(|b| b.name == join.from && listed(b))
            }
        }
    }

    /// The static route that the statement is, or is a part of.
    fn find_mroute(&self, route: &Mroute) -> Option<&Mroute> {
        self.mroutes
            .iter()
            .find(|r| same_flows(r, route) && route.to.iter().all(|name| r.to.contains(name)))
    }
}
