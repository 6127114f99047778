//! The state directory of one process: locked, so that no two processes use the same stores and worker id.
//!
//! Invariant: while a [`StateDirectory`] lives, no other process of this machine has one of the same path and
//! application. The lock is the operating system's and ends with the process, however it ends. What stands in the
//! directory can be deleted at any time when no process runs: it is rebuilt from Kafka (with a new worker id).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A state directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    #[error(
        "state directory {path} is in use by process {holder}: stop that process, or give this one a directory \
         of its own (state.dir)"
    )]
    InUse { path: String, holder: String },
    #[error("state directory: {path}: {source}")]
    Io { path: String, source: io::Error },
}

type Result<T, E = DirectoryError> = std::result::Result<T, E>;

/// A locked state directory, `<path>/<app>/`.
#[derive(Debug)]
pub struct StateDirectory {
    root: PathBuf,
    /// Holds the lock as long as it is open.
    _lock: File,
}

impl StateDirectory {
    /// Creates the directory where it does not exist, and locks it.
    ///
    /// # Errors
    /// In use by another process (which one, and what to do), or not accessible.
    pub fn open(path: &Path, app: &str) -> Result<Self> {
        let root = path.join(app);
        fs::create_dir_all(&root).map_err(|e| failed(&root, e))?;
        let lock = lock(&root)?;
        Ok(StateDirectory { root, _lock: lock })
    }

    /// The worker id: `configured`, or one that was made by chance at the first start and is kept here.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn worker_id(&self, configured: Option<&str>) -> Result<String> {
        if let Some(id) = configured {
            return Ok(id.to_owned());
        }
        let path = self.root.join("worker-id");
        match fs::read_to_string(&path) {
            Ok(text) if is_worker_id(text.trim()) => return Ok(text.trim().to_owned()),
            // Cut short by a crash in its first start: nobody can have used it for long.
            Ok(_) => {
                tracing::warn!(file = %path.display(), "no worker id in its file: making a new one")
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(&path, e)),
        }
        let id = format!("{:016x}", rand::random::<u64>());
        write_durably(&path, &id).map_err(|e| failed(&path, e))?;
        Ok(id)
    }

    /// Where the stores of the tasks are.
    pub fn stores_path(&self) -> PathBuf {
        self.root.join("stores")
    }
}

/// Name of a task's directory: `/` becomes `~`, which no topic, and so no sub-topology, can have in its name.
pub(super) fn task_directory(task: &str) -> String {
    task.replace('/', "~")
}

fn failed(path: &Path, source: io::Error) -> DirectoryError {
    DirectoryError::Io {
        path: path.display().to_string(),
        source,
    }
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path);
    let mut file = open.map_err(|e| failed(&path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder may not have written its id yet; the file is for people, the lock is what counts.
            let _ = file.read_to_string(&mut holder);
            let holder = if holder.trim().is_empty() {
                "unknown"
            } else {
                holder.trim()
            }
            .to_owned();
            return Err(DirectoryError::InUse {
                path: root.display().to_string(),
                holder,
            });
        }
        Err(TryLockError::Error(e)) => return Err(failed(&path, e)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|e| failed(&path, e))?;
    Ok(file)
}

fn is_worker_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whole or not at all, also across a crash of the machine: a half-written id would be another worker.
fn write_durably(path: &Path, text: &str) -> io::Result<()> {
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    path.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_refused_and_told_who_holds_it() {
        let at = tempfile::tempdir().expect("directory");
        let first = StateDirectory::open(at.path(), "app").expect("first");
        let error = StateDirectory::open(at.path(), "app")
            .expect_err("second")
            .to_string();
        assert!(
            error.contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        assert!(error.contains("directory of its own"), "{error}");
        StateDirectory::open(at.path(), "other-app").expect("another application");
        drop(first);
        StateDirectory::open(at.path(), "app").expect("after the first has gone");
    }

    #[test]
    fn a_worker_id_is_made_once_and_kept() {
        let at = tempfile::tempdir().expect("directory");
        let id = |configured| {
            StateDirectory::open(at.path(), "app")
                .and_then(|d| d.worker_id(configured))
                .expect("id")
        };
        let made = id(None);
        assert!(is_worker_id(&made), "{made}");
        assert_eq!(id(None), made);
        assert_eq!(id(Some("worker-3")), "worker-3");
        assert_eq!(id(None), made, "a configured id is not kept");
        fs::write(at.path().join("app/worker-id"), "").expect("cut short");
        assert_ne!(id(None), made);
        let other = StateDirectory::open(at.path(), "other")
            .and_then(|d| d.worker_id(None))
            .expect("id");
        assert_ne!(other, id(None));
    }
}
