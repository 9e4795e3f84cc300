//! Why a packet or a record has no effect.

use serde::{Deserialize, Serialize};

macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// Why a packet, a record or a wish has no effect; each has a counter.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Discard { $($(#[$doc])* $variant,)* }

        impl Discard {
            /// All reasons, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name in `show counters` and the manual.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

impl Discard {
    /// Whether a bound of ours was reached.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::GroupLimit
                | Self::SourceLimit
                | Self::EntryLimit
                | Self::HostLimit
                | Self::MessageRate
        )
    }
}

discards! {
    /// No IP header of a message of ours, or one that does not fit.
    IpHeader "ip-header",
    /// Total length beyond what was received, or a message too short for its type.
    Length "length",
    /// A fragment.
    Fragment "fragment",
    /// A wrong checksum.
    Checksum "checksum",
    /// A type that is no message of ours.
    Type "type",
    /// TTL other than 1 where 1 is required.
    Ttl "ttl",
    /// Hop limit other than 1.
    HopLimit "hop-limit",
    /// No Router Alert where it is required.
    RouterAlert "router-alert",
    /// Sent by this host.
    Own "own",
    /// An MLD message whose source is not link-local.
    SourceNotLinkLocal "source-not-link-local",
    /// A query of no version's length.
    QueryLength "query-length",
    /// A count that runs past the end of the message.
    Truncated "truncated",
    /// A query whose group is neither zero nor multicast, or a general one with sources.
    QueryGroup "query-group",
    /// A group that is no multicast address.
    NotMulticast "not-multicast",
    /// A group that never leaves its link.
    LinkLocalGroup "link-local-group",
    /// An IPv6 group of a scope that is never forwarded.
    Scope "scope",
    /// A report that was sent neither to its group nor to us.
    Destination "destination",
    /// A source that is in no network of the interface.
    SourceSubnet "source-subnet",
    /// An older version's report, or an EXCLUDE record, for a source-specific group.
    SsmOlderVersion "ssm-older-version",
    /// A record of an unknown type.
    RecordType "record-type",
    /// A record whose sources are none of them usable.
    RecordSources "record-sources",
    /// A group beyond a boundary of the interface.
    Boundary "boundary",
    /// A group or source that allow and deny refuse.
    Policy "policy",
    /// More groups than max-groups.
    GroupLimit "group-limit",
    /// More sources than max-sources.
    SourceLimit "source-limit",
    /// More groups and sources than the daemon holds in all.
    EntryLimit "entry-limit",
    /// More hosts in a group than are tracked.
    HostLimit "host-limit",
    /// More messages in a second than the interface takes.
    MessageRate "message-rate",
    /// An interface that has no part for this message.
    Role "role",
}
