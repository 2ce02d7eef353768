//! Texts and pictures that are checked in as tests make them.

use std::path::Path;

/// Demands that a file is checked in with this content, and leaves a fresh one where it is not.
pub(crate) fn settle(path: &str, fresh: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if std::fs::read_to_string(root.join(path)).is_ok_and(|kept| kept == fresh) {
        return;
    }
    let name = Path::new(path).file_name().unwrap();
    let beside = root.join("target").join(name);
    std::fs::write(&beside, fresh).unwrap();
    panic!(
        "{path} is not what the test makes: look at target/{}, and copy it there if it is right",
        name.display()
    );
}
