//! Images, built by the tests for themselves.

use std::fs::{self, File};
use std::path::Path;

use stackvm_images::{BuildOptions, Cancel, ImageStore, machine_config};
use stackvm_machine::MachineConfig;

/// What `tiny` starts from; see [`named`].
pub fn tiny(home: &Path) -> MachineConfig {
    named("tiny", home)
}

/// What an image starts from, out of the data directory `home`, where it is built if need be.
///
/// # Panics
/// When it cannot be built: a test that needs it fails.
pub fn named(name: &str, home: &Path) -> MachineConfig {
    fs::create_dir_all(home).expect("shared directory");
    // Tests run in many processes: one builds, the others wait.
    let lock = File::create(home.join(format!("{name}.lock"))).expect("lock file");
    lock.lock().expect("lock");
    let store = ImageStore::open(home).expect("the store");
    let image = store.get(name).unwrap_or_else(|_| {
        let options = BuildOptions { data_dir: home.into(), mirror: None };
        stackvm_images::build(name, &options, &mut |_| {}, &Cancel::default()).expect(name)
    });
    machine_config(&image).expect("its files")
}
