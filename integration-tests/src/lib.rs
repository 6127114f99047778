//! Fixtures of the integration tests and of the demo: a real Kafka, real worker processes, topics, and patience.
//!
//! Nothing here links the engine: what is tested is the binary, through its command line, its ports and Kafka.
//! 1. [`kafka`]: a broker from the environment, Docker or a local JVM. 2. [`process`]: workers that can be killed and frozen.
//! 3. [`topics`]: create, produce, read back; [`aborts`]: proof that transactions were aborted, from the raw log through [`wire`].
//! 4. [`proxy`]: a broker whose answers get lost; [`admin`]: what an administrator's tools do to a log or a group. 5. [`ledger`]: one long window,
//!    fed and checked key by key. 6. [`http`]: what a worker says about itself. 7. [`wait`]: polling with a deadline and a message.
//! 8. [`freeze`]: one thread of a worker held still. 9. [`disk`]: full disks.

pub mod aborts;
pub mod admin;
#[cfg(target_os = "linux")]
pub mod disk;
#[cfg(target_os = "linux")]
pub mod freeze;
pub mod http;
pub mod kafka;
pub mod ledger;
pub mod process;
pub mod proxy;
pub mod scenario;
pub mod topics;
pub mod wait;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result};

/// The root of the repository, found upwards from the working directory.
///
/// Not from `CARGO_MANIFEST_DIR` at compile time: clones that share a target directory share executables, and the path would be another clone's.
///
/// # Errors
/// The working directory is not inside a clone.
pub fn repository() -> Result<PathBuf> {
    let here = std::env::current_dir()?;
    here.ancestors()
        .find(|folder| folder.join("deploy/local-kafka/kafka.sh").is_file())
        .map(PathBuf::from)
        .with_context(|| format!("{} is not inside a clone of the repository", here.display()))
}
