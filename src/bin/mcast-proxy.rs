//! The daemon.

use std::env;
use std::process::ExitCode;

use mcast_proxy::sys::spawn;
use mcast_proxy::{engine, parent};

fn main() -> ExitCode {
    if !env::args_os().skip(1).eq([spawn::ENGINE]) {
        return parent::main(env::args_os());
    }
    match engine::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::error!("engine: {e}");
            ExitCode::FAILURE
        }
    }
}
