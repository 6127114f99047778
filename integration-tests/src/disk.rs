//! Disks that are full: a small file system of its own for a state directory, and a limit to the size of a process's files where nothing
//! may be mounted. Linux only.
//!
//! Invariant: a [`SmallDisk`] is unmounted when it is dropped; what was on it is gone. Neither touches anything outside the directory or
//! the process that it is given.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use anyhow::{Result, bail, ensure};

/// A tmpfs of so many bytes.
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Makes the directory and mounts the file system there. `None` where this process may not mount.
    ///
    /// # Errors
    /// The directory cannot be made, or mounting fails for another reason.
    pub fn mount(at: &Path, bytes: u64) -> Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        match mount(at, bytes, 0) {
            Ok(()) => Ok(Some(SmallDisk {
                at: at.to_path_buf(),
            })),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(None),
            Err(error) => bail!("mounting {}: {error}", at.display()),
        }
    }

    /// Gives it another size.
    ///
    /// # Errors
    /// More is on it already.
    pub fn resize(&self, bytes: u64) -> Result<()> {
        Ok(mount(&self.at, bytes, libc::MS_REMOUNT)?)
    }

    /// Bytes that can still be written.
    ///
    /// # Errors
    /// The system refuses to say.
    pub fn free(&self) -> Result<u64> {
        let at = CString::new(self.at.as_os_str().as_bytes())?;
        // SAFETY: an all-zero statvfs is valid, and the call writes only there.
        unsafe {
            let mut found: libc::statvfs = std::mem::zeroed();
            ensure!(
                libc::statvfs(at.as_ptr(), &mut found) == 0,
                "{}",
                io::Error::last_os_error()
            );
            Ok(found.f_bavail * found.f_frsize)
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Ok(at) = CString::new(self.at.as_os_str().as_bytes()) {
            // SAFETY: the path is a valid C string. Detached: a process that is about to end may still have files open.
            let result = unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
            if result != 0 {
                eprintln!("{}: {}", self.at.display(), io::Error::last_os_error());
            }
        }
    }
}

fn mount(at: &Path, bytes: u64, flags: libc::c_ulong) -> io::Result<()> {
    let at = CString::new(at.as_os_str().as_bytes())?;
    let options = CString::new(format!("size={bytes}"))?;
    // SAFETY: all of them are valid C strings that outlive the call.
    let result = unsafe {
        libc::mount(
            c"tmpfs".as_ptr(),
            at.as_ptr(),
            c"tmpfs".as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Limits the size of the files that a process writes; `None`: no limit. Writing beyond it fails with "file too large", where the
/// process ignores the signal that comes with it ([`crate::process::Millstream::small_files`]).
///
/// # Errors
/// The process has ended.
pub fn limit_files(pid: u32, bytes: Option<u64>) -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the call reads the limit only.
    let result = unsafe { libc::prlimit(pid as i32, libc::RLIMIT_FSIZE, &limit, ptr::null_mut()) };
    ensure!(result == 0, "{}", io::Error::last_os_error());
    Ok(())
}
