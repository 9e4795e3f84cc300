//! Prints a C source that compiles only where the system's headers agree with every number and
//! layout that is written down in this program: `cargo run --example abi | cc -fsyntax-only -xc -`.
//!
//! The text is made when this is compiled, so that it can be read out of an executable for another
//! system.

use mcast_proxy::kroute;
use mcast_proxy::sys::{abi::Fact, consts};

const FACTS: &[&[&[Fact]]] = &[&[consts::ABI], kroute::ABI];

#[cfg(target_os = "linux")]
const INCLUDES: &str = "#define _GNU_SOURCE
#include <stddef.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/icmp6.h>
#include <linux/mroute.h>
#include <linux/mroute6.h>
";

#[cfg(not(target_os = "linux"))]
const INCLUDES: &str = "#include <stddef.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <sys/sockio.h>
#include <sys/sysctl.h>
#include <net/if.h>
#include <net/if_dl.h>
#include <net/if_types.h>
#include <net/route.h>
#include <netinet/in.h>
#include <netinet/icmp6.h>
#include <netinet/ip_mroute.h>
#include <netinet6/in6_var.h>
#include <netinet6/ip6_mroute.h>
";

/// OpenBSD shows `struct igmpmsg` to its kernel only: the part of netinet/ip_mroute.h that defines it
/// has to be put beside this source.
const MORE_INCLUDES: &str =
    if cfg!(target_os = "openbsd") { "#include \"igmpmsg.h\"\n" } else { "" };

/// A text of at most `N` octets, built when this is compiled.
struct Text<const N: usize> {
    octets: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    const fn push(mut self, text: &str) -> Self {
        let mut i = 0;
        while i < text.len() {
            self.octets[self.len] = text.as_bytes()[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    const fn push_number(mut self, number: i64) -> Self {
        if number < 0 {
            self = self.push("-");
        }
        let mut power = 1;
        while number.unsigned_abs() / power >= 10 {
            power *= 10;
        }
        while power > 0 {
            self.octets[self.len] = b'0' + (number.unsigned_abs() / power % 10).to_le_bytes()[0];
            self.len += 1;
            power /= 10;
        }
        self
    }

    const fn push_fact(self, fact: &Fact) -> Self {
        self.push("_Static_assert((long long)(")
            .push(fact.0)
            .push(") == ")
            .push_number(fact.1)
            .push("LL, \"")
            .push(fact.0)
            .push("\");\n")
    }
}

const fn text<const N: usize>() -> Text<N> {
    let text = Text { octets: [0; N], len: 0 }.push("\n/* abi: begin */\n");
    let mut text = text.push(INCLUDES).push(MORE_INCLUDES);
    let (mut i, mut j, mut k) = (0, 0, 0);
    while i < FACTS.len() {
        if j == FACTS[i].len() {
            (i, j, k) = (i + 1, 0, 0);
        } else if k == FACTS[i][j].len() {
            (j, k) = (j + 1, 0);
        } else {
            text = text.push_fact(&FACTS[i][j][k]);
            k += 1;
        }
    }
    text.push("/* abi: end */\n")
}

const LEN: usize = text::<{ 1 << 17 }>().len;
static SOURCE: [u8; LEN] = text::<LEN>().octets;

fn main() {
    print!("{}", String::from_utf8_lossy(&SOURCE));
}
