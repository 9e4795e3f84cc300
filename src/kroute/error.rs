//! What can go wrong, said so that a user can mend it.

use std::fmt;
use std::io;

use crate::wire::Af;

/// A program that has the routing socket, or may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its name.
    pub program: String,
    /// Its process id.
    pub pid: u32,
}

/// Why kroute refuses or fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another program routes multicast of this family in this table.
    #[error(
        "{family}: multicast routing table {table} is held by {}; stop it, or choose another table with -t",
        Holders(.holders)
    )]
    Busy {
        /// The family.
        family: Af,
        /// The table's name: `default` or a number.
        table: String,
        /// Who may hold it: the programs with a raw socket of the family's group protocol.
        holders: Vec<Holder>,
    },
    /// The kernel lacks something.
    #[error("{family}: the kernel lacks {option}")]
    Unsupported {
        /// The family.
        family: Af,
        /// The kernel option or module.
        option: &'static str,
    },
    /// The kernel could, but is told not to.
    #[error("{family}: multicast is not forwarded; turn it on: sysctl {setting}")]
    SwitchedOff {
        /// The family.
        family: Af,
        /// What to set.
        setting: &'static str,
    },
    /// OpenBSD routes multicast in routing domains, of which other routing tables are parts.
    #[error("routing table {table} is no routing domain; choose domain {domain} with -t")]
    NoDomain {
        /// The table.
        table: u32,
        /// What it is part of.
        domain: u16,
    },
    /// The kernel has no number left for another vif.
    #[error(
        "{family}: {interface} would be one interface too many: the kernel routes multicast among {max} at most"
    )]
    TooManyVifs {
        /// The family.
        family: Af,
        /// The interface's name.
        interface: String,
        /// How many there may be.
        max: u8,
    },
    /// The interface is a vif already.
    #[error("{family}: {interface} is a multicast interface already")]
    VifExists {
        /// The family.
        family: Af,
        /// The interface's name.
        interface: String,
    },
    /// The system makes vifs by address, and the interface has none.
    #[error("{family}: {interface} has no IPv4 address, which this system needs for multicast")]
    NoAddress {
        /// The family.
        family: Af,
        /// The interface's name.
        interface: String,
    },
    /// No vif for that interface.
    #[error("{family}: the interface with index {ifindex} is no multicast interface")]
    NoVif {
        /// The family.
        family: Af,
        /// The index.
        ifindex: u32,
    },
    /// [`MAX_ROUTES`](super::MAX_ROUTES) are installed.
    #[error("{family}: too many routes")]
    TooManyRoutes {
        /// The family.
        family: Af,
    },
    /// Not a route that can be installed.
    #[error("{0}")]
    Invalid(&'static str),
    /// The kernel refused.
    #[error("{call}: {source}")]
    System {
        /// The call and what it was for.
        call: &'static str,
        /// Its error.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: what the call was.
    pub(super) fn system(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { call, source }
    }
}

struct Holders<'a>(&'a [Holder]);

impl fmt::Display for Holders<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((first, more)) = self.0.split_first() else {
            return f.write_str("another program");
        };
        if !more.is_empty() {
            f.write_str("one of ")?;
        }
        write!(f, "{} (pid {})", first.program, first.pid)?;
        more.iter().try_for_each(|h| write!(f, ", {} (pid {})", h.program, h.pid))
    }
}
