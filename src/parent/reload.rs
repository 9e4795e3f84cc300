//! What changes the configuration in force: SIGHUP and `mcast-proxyctl reload` (the file is read
//! whole, then replaces it), statements that are added and removed at run time.

use log::{info, warn};

use super::{Parent, validate};
use crate::config::model::{Config, Pattern, Statement};
use crate::config::{self, Change, Disk};
use crate::imsg::frame::{self, MAX_FRAME_FROM_PARENT};
use crate::imsg::{Notice, Order};
use crate::kroute::Options;
use crate::sys::sandbox::{self, Use};
use crate::sys::service::State;
use crate::sys::time::Tick;
use crate::wire::Af;

/// Run-time changes that add something are refused beyond this; what can be removed is bounded by
/// what there is.
const MAX_CHANGES: usize = 16_384;
/// Octets of a configuration at most, so that an engine can be started with it.
const MAX_SIZE: usize = MAX_FRAME_FROM_PARENT - (64 << 10);
/// Lines that a reload tells at most.
const MAX_LINES: usize = 1000;
/// Characters of such a line at most.
const MAX_LINE: usize = 500;

/// A configuration that was read again and found good.
struct Fresh {
    config: Config,
    size: usize,
    named: Vec<Pattern>,
    changes: Vec<Change>,
    /// What is odd in the file, and what became of the run-time changes.
    told: Vec<String>,
}

impl Parent {
    /// Reads the file again; one with errors leaves the running configuration in force. What was
    /// added or removed at run time still holds after it, unless the file says otherwise.
    pub(super) fn reload(&mut self, client: Option<u32>, now: Tick) {
        // Reading takes its time, which the engine is not to be blamed for.
        let result = self.read_again();
        let now = self.clock.now().max(now);
        let result = result.map(|fresh| self.put_in_force(fresh, now)).map_err(bound);
        match &result {
            Ok(lines) => {
                self.tell_status();
                info!("configuration reloaded");
                lines.iter().for_each(|line| info!("{line}"));
            }
            Err(errors) => {
                let line = "reload failed, the running configuration stays in force";
                self.setup.outside.tell(State::Status(line));
                warn!("{line}");
                errors.iter().for_each(|line| warn!("{line}"));
            }
        }
        if let Some(client) = client {
            self.tell(&Notice::Reloaded { client, result });
        }
    }

    fn read_again(&mut self) -> Result<Fresh, Vec<String>> {
        let setup = &self.setup;
        let mut files = Disk { folders: Some(setup.folders.clone()) };
        let loaded = config::load_from(&mut files, &setup.config_file, &setup.macros)
            .map_err(|e| e.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        let mut config = loaded.config;
        let named = config.names();
        let (mut changes, mut told) = (self.changes.clone(), loaded.warnings);
        let refuse = |statement: &Statement| validate::check_statement(&named, statement);
        told.extend(config::keep_run_time(&mut config, &mut changes, refuse));
        let size = size(&config).map_err(|e| vec![e])?;
        self.switch_on(config.families()).map_err(|e| vec![e])?;
        Ok(Fresh { config, size, named, changes, told })
    }

    /// Takes the routing of families that were off so far. One that is switched off is kept: an engine
    /// may still ask about it.
    fn switch_on(&mut self, wanted: [bool; 2]) -> Result<(), String> {
        for (family, _) in Af::ALL.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
            if self.world.has(family) {
                continue;
            }
            let only = Af::ALL.map(|other| other == family);
            let options = Options { table: self.setup.table, families: only };
            let (kind, socket) = self.setup.outside.packet_socket(family, options.table)?;
            self.setup.kernel.open(&options).map_err(|e| e.to_string())?;
            if let Some(routing) = self.setup.kernel.descriptor(family) {
                sandbox::limit(routing, Use::Routing).map_err(|e| e.to_string())?;
            }
            for (open, on) in self.world.families.iter_mut().zip(only) {
                *open |= on;
            }
            self.give(kind, socket);
        }
        Ok(())
    }

    /// Returns what changed, a line each.
    fn put_in_force(&mut self, fresh: Fresh, now: Tick) -> Vec<String> {
        (self.changes, self.size) = (fresh.changes, fresh.size);
        self.world.named = fresh.named;
        let old = std::mem::replace(&mut self.world.config, fresh.config);
        let new = &self.world.config;
        let mut lines = fresh.told;
        if (&old.user, &old.chroot) != (&new.user, &new.chroot) {
            lines.push("user and chroot take effect at the next start".to_owned());
        }
        lines.extend(config::diff(&old, new));
        self.tell(&Notice::Config(Box::new(self.world.config.clone())));
        match self.setup.monitor.snapshot() {
            Ok(table) => {
                let changes = self.world.compare(table);
                self.tell_interfaces(changes, now);
            }
            Err(e) => {
                warn!("{e}");
                self.unsettle(now);
            }
        }
        self.join_control_groups();
        self.next_reconcile = now;
        bound(lines)
    }

    /// Adds or removes a statement, and answers.
    pub(super) fn change_statement(&mut self, client: u32, change: Change) {
        let result = self.apply(&change).map(|statement| {
            config::note_run_time(&mut self.changes, Change { statement, ..change });
        });
        let Change { add, statement } = change;
        self.tell(&Notice::Statement { client, add, statement, result });
    }

    /// Returns what it brings about.
    fn apply(&mut self, change: &Change) -> Result<Statement, String> {
        let Change { statement, .. } = change;
        if !change.add {
            return self.world.config.remove(statement);
        }
        let mut octets = Vec::new();
        let order = Order::Add { client: 0, statement: statement.clone() };
        frame::encode(&order, &mut octets).map_err(|e| e.to_string())?;
        if self.size + octets.len() > MAX_SIZE {
            // What was removed since the last count counts no more.
            self.size = size(&self.world.config)?;
        }
        let size = self.size + octets.len();
        if self.changes.len() >= MAX_CHANGES || size > MAX_SIZE {
            let changes = self.changes.len();
            return Err(format!("no room after {changes} run-time changes: put them in the file"));
        }
        validate::check_statement(&self.world.named, statement)?;
        let fresh = self.world.config.add(statement)?;
        self.size = size;
        Ok(fresh)
    }
}

/// Octets of the configuration on its way to an engine; an error when they are too many.
pub(super) fn size(config: &Config) -> Result<usize, String> {
    let mut octets = Vec::new();
    let notice = Notice::Config(Box::new(config.clone()));
    frame::encode(&notice, &mut octets).map_err(|e| e.to_string())?;
    let fits = octets.len() <= MAX_SIZE;
    fits.then_some(octets.len()).ok_or_else(|| "the configuration is too large".to_owned())
}

/// Cuts what is told to what fits a frame.
fn bound(mut lines: Vec<String>) -> Vec<String> {
    let rest = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    for line in &mut lines {
        if let Some((cut, _)) = line.char_indices().nth(MAX_LINE) {
            line.truncate(cut);
        }
    }
    lines.extend((rest > 0).then(|| format!("and {rest} more")));
    lines
}
