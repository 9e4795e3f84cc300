//! Memory returns to its start when all members are gone.

use mcast_proxy::kroute::fake::Behaviour;
use mcast_proxy::sys::time::Millis;
use mcast_proxy::wire::RecordType::{Allow, Block, IsEx, IsIn, ToEx, ToIn};
use mcast_proxy::wire::{Address, Af};

use super::plain;
use crate::counting::held_here;
use crate::router::{DOWN, DOWN2, Net, Router, UP};

scenarios! {
    memory_returns_to_its_start
}

/// Groups that hosts join and leave.
const GROUPS: u32 = 250 * 8;
/// What hosts and senders do.
const ACTS: u32 = 4000;
/// Until all members and flows are gone.
const HOUR: Millis = Millis::from_secs(3600);

/// Octets that the core holds.
fn owned(router: Router) -> isize {
    let Router { core, .. } = router;
    let before = held_here();
    drop(core);
    before - held_here()
}

fn group<F: Net>(n: u32) -> F::Addr {
    let address = match F::AF {
        Af::Ip4 => std::net::Ipv4Addr::from_bits(0xe9fc_0000 + n).into(),
        Af::Ip6 => std::net::Ipv6Addr::from_bits((0xff0e << 112) + u128::from(n)).into(),
    };
    F::Addr::from_ip(address).unwrap()
}

/// One member and one flow, in each round as much more as hosts and senders do; then nobody.
fn after<F: Net>(system: Behaviour, rounds: u32) -> isize {
    let mut router = Router::on(system, &plain::<F>());
    router.record::<F>(DOWN, F::address(DOWN, 5), ToEx, group::<F>(0), &[]);
    router.data_to::<F>(UP, F::SOURCE, group::<F>(0));
    for round in 0..rounds {
        load::<F>(&mut router, round);
        let status = router.status();
        assert!(status.groups > u64::from(GROUPS / 3) && status.routes > 30, "{status:?}");
        router.pass(HOUR);
    }
    router.pass(HOUR);
    let status = router.status();
    assert_eq!((status.groups, status.hosts, status.routes), (0, 0, 0));
    owned(router)
}

/// Hosts join and leave in no order; not all of them leave.
fn load<F: Net>(router: &mut Router, seed: u32) {
    let mut state = seed;
    let mut below = |n: u8| {
        // A linear congruence; its high bits are good.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u8::try_from((state >> 16) % u32::from(n)).unwrap()
    };
    let kinds = [IsIn, IsEx, ToIn, ToEx, Allow, Block, ToEx, Allow];
    for _ in 0..ACTS {
        let link = [DOWN, DOWN2][usize::from(below(2))];
        let host = F::address(link, 5 + below(3));
        let group = group::<F>(u32::from(below(250)) * 8 + u32::from(below(8)));
        match below(8) {
            0 => _ = router.data_to::<F>(UP, F::source(below(9)), group),
            1 => router.pass(Millis(u32::from(below(200)) * 10)),
            _ => {
                let kind = kinds[usize::from(below(8))];
                let sources: Vec<F::Addr> = (0..below(4)).map(F::source).collect();
                router.record::<F>(link, host, kind, group, &sources);
            }
        }
    }
}

/// What is left is what one member leaves, however many there were.
fn memory_returns_to_its_start<F: Net>(system: Behaviour) {
    assert_eq!(after::<F>(system, 2), after::<F>(system, 0));
}
