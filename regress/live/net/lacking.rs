//! A kernel that lacks something: a seccomp filter answers in its stead, as that kernel would.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// A system call by its number, with these arguments by their places, fails with this error.
pub type Lack = (libc::c_long, &'static [(u8, u64)], i32);

/// A socket option by its level and number that a kernel without it does not know.
macro_rules! no_option {
    ($level:expr, $name:expr) => {
        (libc::SYS_setsockopt, &[(1, $level), (2, $name)], libc::ENOPROTOOPT)
    };
}

const IPV4: u64 = libc::IPPROTO_IP as u64;
const IPV6: u64 = libc::IPPROTO_IPV6 as u64;
// `MRT_INIT`, `MRT_PIM`, `MRT_TABLE` of `linux/mroute.h`; those of `linux/mroute6.h` are the same.
pub const NO_MRT_INIT: Lack = no_option!(IPV4, 200);
pub const NO_MRT6_INIT: Lack = no_option!(IPV6, 200);
pub const NO_MRT_PIM: Lack = no_option!(IPV4, 208);
pub const NO_MRT6_PIM: Lack = no_option!(IPV6, 208);
pub const NO_MRT_TABLE: Lack = no_option!(IPV4, 209);
pub const NO_MRT6_TABLE: Lack = no_option!(IPV6, 209);
/// No memory for an IPv4 multicast route: `MRT_ADD_MFC`.
pub const NO_MRT_ROUTE: Lack = (libc::SYS_setsockopt, &[(1, IPV4), (2, 204)], libc::ENOMEM);
/// No IPv6 at all.
pub const NO_IPV6: Lack = (libc::SYS_socket, &[(0, libc::AF_INET6 as u64)], libc::EAFNOSUPPORT);
/// No dump of multicast routes: a request of 28 octets (`struct nlmsghdr`, `struct rtmsg`) to
/// nobody, as a connected socket sends it.
pub const NO_ROUTE_DUMP: Lack = (libc::SYS_sendto, &[(2, 28), (4, 0), (5, 0)], libc::EOPNOTSUPP);
/// No counters of one multicast route: `SIOCGETSGCNT`, and its namesake of IPv6.
pub const NO_ROUTE_COUNTS: Lack = (libc::SYS_ioctl, &[(1, 0x89e1)], libc::EPERM);

/// From now on this thread, and what it starts, lacks these.
pub fn lack(calls: &[Lack]) {
    for (call, arguments, error) in calls {
        let condition = |(place, value): &(u8, u64)| {
            SeccompCondition::new(*place, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value)
        };
        let conditions = arguments.iter().map(condition).collect::<Result<_, _>>();
        let rule = SeccompRule::new(conditions.expect("conditions")).expect("a rule");
        let refuse = SeccompAction::Errno((*error).try_into().expect("an error number"));
        let filter = SeccompFilter::new(
            [(*call, vec![rule])].into(),
            SeccompAction::Allow,
            refuse,
            std::env::consts::ARCH.try_into().expect("an architecture that seccompiler knows"),
        );
        let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
        seccompiler::apply_filter(&program).expect("seccomp");
    }
}
