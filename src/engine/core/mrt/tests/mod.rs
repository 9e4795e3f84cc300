//! Route tables on kernels in memory that behave as Linux's, OpenBSD's and FreeBSD's, for both
//! families.

mod bench;
mod changes;
mod flows;
mod merged;
mod random;
mod star;
mod statics;

use crate::kroute::fake::Behaviour;

/// The kernels that tell sources apart.
const BY_SOURCE: [Behaviour; 2] = [Behaviour::Linux, Behaviour::FreeBsd];

/// Runs a check for both families on each of the kernels.
macro_rules! on {
    ($kernels:expr, $check:ident) => {
        for kernel in $kernels {
            $check::<crate::wire::V4>(kernel);
            $check::<crate::wire::V6>(kernel);
        }
    };
}
use on;
