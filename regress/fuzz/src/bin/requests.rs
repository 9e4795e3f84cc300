//! What a client of the control socket sends: the server answers, asks the core or closes it.
#![no_main]

use std::io::Write;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use mcast_proxy::engine::control::{Server, Tables};
use mcast_proxy::imsg::ctl::{CheckRow, Request, Rows, Table};
use mcast_proxy::sys::time::Tick;
use mcast_proxy_fuzz::frames;

/// Nothing to show.
struct Empty;

impl Tables for Empty {
    fn show(&self, _: Table, _: u64) -> (Rows, Option<u64>) {
        (Rows::Groups(Vec::new()), None)
    }

    fn config(&self) -> String {
        String::new()
    }

    fn explain(&self, _: IpAddr, _: Option<IpAddr>) -> Vec<CheckRow> {
        Vec::new()
    }
}

fuzz_target!(|bytes: &[u8]| {
    frames::check::<Request>(bytes);
    let (mut client, server_end) = UnixStream::pair().expect("a socket pair");
    let mut server = Server::new(0);
    server.adopt(Tick(0), server_end);
    client.write_all(bytes).expect("there is room");
    server.read(0);
    // One request a turn; the core counts routes, but never answers what it is asked at most once.
    let mut asked = 0;
    while server.clients().any(|(.., goes_on)| goes_on) {
        for (id, request) in server.serve(Tick(0), &Empty) {
            assert_eq!(id, 0);
            if request.reads_only() {
                server.counted(id);
            } else {
                asked += 1;
            }
        }
    }
    assert!(asked <= 1);
});
