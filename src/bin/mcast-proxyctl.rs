//! The control tool.

fn main() -> std::process::ExitCode {
    mcast_proxy::ctl::main(std::env::args_os().skip(1))
}
