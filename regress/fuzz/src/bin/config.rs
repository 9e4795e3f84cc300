//! The configuration: any text is read or refused, and what was read is printed as it was meant.
#![no_main]

use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use mcast_proxy::config::{Errors, Files, Loaded, MAX_ERRORS, MAX_WARNINGS, load_from, print};

/// One text that includes nothing but itself.
struct Text(Vec<u8>);

impl Files for Text {
    fn read(&mut self, path: &Path) -> Result<(PathBuf, Vec<u8>), String> {
        Ok((path.to_owned(), self.0.clone()))
    }

    fn glob(&mut self, pattern: &Path) -> Result<Vec<PathBuf>, String> {
        Ok(vec![pattern.to_owned()])
    }
}

fn parse(text: Vec<u8>) -> Result<Loaded, Errors> {
    load_from(&mut Text(text), Path::new("t"), &[("fixed".to_owned(), "em0".to_owned())])
}

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes.to_vec()) {
        Ok(loaded) => {
            assert!(loaded.warnings.len() <= MAX_WARNINGS);
            let text = print(&loaded.config);
            match parse(text.clone().into_bytes()) {
                Ok(again) => assert_eq!(again.config, loaded.config),
                Err(errors) => panic!("{errors}\n{text}"),
            }
        }
        Err(errors) => assert!((1..=MAX_ERRORS + 1).contains(&errors.0.len())),
    }
});
