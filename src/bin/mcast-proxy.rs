//! The daemon.

use std::env;
use std::process::ExitCode;

use mcast_proxy::sys::spawn;
use mcast_proxy::{engine, parent};

fn main() -> ExitCode {
    if env::args_os().skip(1).eq([spawn::ENGINE]) {
        engine::run()
    } else {
        parent::main(env::args_os())
    }
}
