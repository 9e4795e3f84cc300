//! Prints what the running program takes, in network namespaces of its own, and igmpproxy beside it
//! where that is installed: start, memory, wake-ups, joins; reports a second, 100,000 groups.

#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
#[path = "../../live/net/mod.rs"]
#[allow(dead_code, unreachable_pub, reason = "the live tests share it; each uses a part")]
mod net;
#[cfg(target_os = "linux")]
mod proxy;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use std::process::ExitCode;

    match net::as_root(&[]) {
        Ok(None) => {}
        Ok(Some(status)) if status.success() => return ExitCode::SUCCESS,
        Ok(Some(_)) => return ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    }
    net::daemon::end_daemons_on_panic("bench: failed");
    proxy::print();
    load::print();
    ExitCode::SUCCESS
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("bench: it needs Linux network namespaces");
}
