//! Who has a raw socket of the group protocol, and so may hold the routing of a table: the kernel
//! does not tell which of them it is.

use std::collections::BTreeSet;
use std::fs;

use crate::kroute::Holder;
use crate::wire::Af;

/// Programs that are named at most.
const HOLDERS_MAX: usize = 4;

pub(super) fn holders(family: Af) -> Vec<Holder> {
    let (file, protocol) = match family {
        Af::Ip4 => ("/proc/thread-self/net/raw", libc::IPPROTO_IGMP),
        Af::Ip6 => ("/proc/thread-self/net/raw6", libc::IPPROTO_ICMPV6),
    };
    let inodes = raw_inodes(&fs::read_to_string(file).unwrap_or_default(), protocol);
    let pids: BTreeSet<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| has_socket(*pid, &inodes))
        .collect();
    // What a holder started has a socket for its packets.
    let is_first = |pid: &u32| !parent(*pid).is_some_and(|parent| pids.contains(&parent));
    let first = pids.iter().copied().filter(is_first).take(HOLDERS_MAX);
    first.map(|pid| Holder { program: program(pid), pid }).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn program(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

fn has_socket(pid: u32, inodes: &BTreeSet<u64>) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().any(|entry| {
        let target = entry.ok().and_then(|e| fs::read_link(e.path()).ok());
        let name = target.as_deref().and_then(|t| t.to_str());
        let inode = name.and_then(|n| n.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inode.is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

/// Socket inodes of `/proc/net/raw`, whose local port is the protocol number.
fn raw_inodes(table: &str, protocol: i32) -> BTreeSet<u64> {
    let inode = |line: &str| {
        let mut fields = line.split_whitespace();
        let (_, port) = fields.nth(1)?.rsplit_once(':')?;
        if i32::from_str_radix(port, 16).ok()? != protocol {
            return None;
        }
        fields.nth(7)?.parse().ok()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_of_the_protocol_alone() {
        // proc(5): sl local rem st tx:rx tr:when retrnsmt uid timeout inode ref pointer drops
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
    2: 00000000:0002 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0
    1: 00000000:0001 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
";
        assert_eq!(raw_inodes(table, 2), BTreeSet::from([4711]));
    }
}
