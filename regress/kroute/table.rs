//! kroute's own logic over the fake kernel, set to each system.
