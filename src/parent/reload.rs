//! SIGHUP and `mcast-proxyctl reload`: the file is read whole, then replaces what is in force.

use log::{info, warn};

use super::Parent;
use crate::config::model::Config;
use crate::imsg::{Notice, frame};
use crate::sys::time::Tick;

impl Parent {
    /// Reads the file again; one with errors leaves the running configuration in force. What was
    /// added or removed at run time still holds after it.
    pub(super) fn reload(&mut self, client: Option<u32>, now: Tick) {
        let result = self.read_again().map(|config| self.put_in_force(config, now));
        match &result {
            Ok(changes) => info!("configuration reloaded, {} changes", changes.len()),
            Err(errors) => {
                warn!("reload failed, the running configuration stays in force");
                errors.iter().for_each(|line| warn!("{line}"));
            }
        }
        if let Some(client) = client {
            self.tell(&Notice::Reloaded { client, result });
        }
    }

    fn read_again(&mut self) -> Result<Config, Vec<String>> {
        let loaded = crate::config::load(&self.setup.config_file, &self.setup.macros)
            .map_err(|e| e.to_string().lines().map(str::to_owned).collect::<Vec<_>>())?;
        loaded.warnings.iter().for_each(|line| warn!("{line}"));
        let new = loaded.config.families();
        for (family, wanted) in crate::wire::Af::ALL.into_iter().zip(new) {
            if wanted && !self.world.has(family) {
                return Err(vec![format!("{family} was off at start: restart to enable it")]);
            }
        }
        self.world.named = loaded.config.names();
        let mut config = loaded.config;
        let kept = crate::config::keep_run_time(&mut config, &self.added, &self.removed);
        kept.iter().for_each(|line| info!("{line}"));
        let mut scratch = Vec::new();
        let notice = Notice::Config(Box::new(config.clone()));
        frame::encode(&notice, &mut scratch).map_err(|e| vec![e.to_string()])?;
        Ok(config)
    }

    /// Returns what changed, a line each.
    fn put_in_force(&mut self, config: Config, now: Tick) -> Vec<String> {
        let old = std::mem::replace(&mut self.world.config, config);
        let new = &self.world.config;
        if (&old.user, &old.chroot) != (&new.user, &new.chroot) {
            warn!("user and chroot take effect at the next start");
        }
        let changes = crate::config::diff(&old, new);
        self.tell(&Notice::Config(Box::new(self.world.config.clone())));
        match self.setup.monitor.snapshot() {
            Ok(table) => {
                for change in self.world.compare(table) {
                    self.tell(&Notice::Interface(change));
                }
            }
            Err(e) => warn!("{e}"),
        }
        self.unsettle(now);
        self.join_control_groups();
        changes
    }
}
