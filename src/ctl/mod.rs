//! mcast-proxyctl.
