//! One thread of another process held still while the rest of that process runs on: what a thread looks like that waits for a disk, or
//! that lost its core. Linux only, through ptrace; needs the same user or root.
//!
//! Invariant: a thread is held only while it waits in the kernel with a time limit, never where it may hold a lock that its neighbours
//! need, so that what follows is its own absence and no deadlock of our making. Dropping lets it go. It does not hold whole processes:
//! [`crate::process::Worker::sigstop`] does.

use std::fs;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};

/// Catches of the thread outside a wait before giving up.
const TRIES: usize = 2_000;
const PAUSE: Duration = Duration::from_micros(700);

/// A thread that is held.
pub struct Frozen {
    pid: u32,
    tid: i32,
    release: Option<Sender<()>>,
    /// Only the thread that has caught another one may let it go.
    keeper: Option<JoinHandle<Result<()>>>,
}

impl Frozen {
    /// Holds the thread of this name.
    ///
    /// # Errors
    /// There is no such thread, the system does not allow it, or the thread never waits.
    pub fn thread(pid: u32, name: &str) -> Result<Self> {
        let tid = find(pid, name)?;
        let (caught, news) = channel();
        let (release, released) = channel();
        let keeper = thread::spawn(move || keep(pid, tid, &caught, &released));
        let frozen = Frozen {
            pid,
            tid,
            release: Some(release),
            keeper: Some(keeper),
        };
        match news.recv() {
            Ok(()) => Ok(frozen),
            Err(_) => Err(frozen
                .thaw()
                .err()
                .unwrap_or_else(|| anyhow!("{name} was not held"))),
        }
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// It was not held any more.
    pub fn thaw(mut self) -> Result<()> {
        let state = state(self.pid, self.tid);
        self.let_go()?;
        ensure!(state? == 't', "the thread was not held to the end");
        Ok(())
    }

    fn let_go(&mut self) -> Result<()> {
        drop(self.release.take());
        match self.keeper.take() {
            Some(keeper) => keeper
                .join()
                .map_err(|_| anyhow!("the keeper of the thread panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // The process may be gone.
        let _ = self.let_go();
    }
}

/// The thread of a process that has this name.
fn find(pid: u32, name: &str) -> Result<i32> {
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let entry = entry?;
        // A thread may end while we look.
        let found = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        if found.trim() == name {
            let tid = entry.file_name();
            return Ok(tid.to_string_lossy().parse()?);
        }
    }
    bail!("process {pid} has no thread {name}")
}

/// The one-letter state of a thread; `t` is held by a tracer.
fn state(pid: u32, tid: i32) -> Result<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat"))?;
    // The name before it may hold spaces and brackets.
    let after = stat.rsplit_once(") ").context("no state")?.1;
    after.chars().next().context("no state")
}

fn keep(pid: u32, tid: i32, caught: &Sender<()>, released: &Receiver<()>) -> Result<()> {
    trace(libc::PTRACE_SEIZE, tid, 0)?;
    for _ in 0..TRIES {
        trace(libc::PTRACE_INTERRUPT, tid, 0)?;
        let signal = wait_stopped(tid)?;
        if signal == 0 && waits(pid, tid)? {
            caught.send(())?;
            // The other end is never sent to, only dropped.
            let _ = released.recv();
            return trace(libc::PTRACE_DETACH, tid, 0);
        }
        trace(libc::PTRACE_CONT, tid, signal)?;
        thread::sleep(PAUSE);
    }
    bail!("thread {tid} of process {pid} never waits")
}

/// Waits until the thread stands; returns the signal that stopped it, 0 if it was our wish.
fn wait_stopped(tid: i32) -> Result<i32> {
    let mut status = 0;
    // SAFETY: waitpid writes the status only.
    let found = unsafe { libc::waitpid(tid, &mut status, libc::__WALL) };
    ensure!(found == tid, "{}", io::Error::last_os_error());
    ensure!(
        libc::WIFSTOPPED(status),
        "the thread has ended: status {status:#x}"
    );
    Ok(match status >> 16 {
        libc::PTRACE_EVENT_STOP => 0,
        _ => libc::WSTOPSIG(status),
    })
}

/// Whether a held thread was waiting for a condition with a time limit. A wait for a lock has none.
fn waits(pid: u32, tid: i32) -> Result<bool> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall"))?;
    let words: Vec<_> = text.split_whitespace().collect();
    let futex = libc::SYS_futex.to_string();
    // Number, then six arguments; the fourth is the time limit.
    Ok(words.first() == Some(&futex.as_str()) && words.get(4).is_some_and(|limit| *limit != "0x0"))
}

fn trace(request: libc::c_uint, tid: i32, data: i32) -> Result<()> {
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests used here reads or writes memory of ours; `data` is a signal number.
    let result = unsafe { libc::ptrace(request, tid, nothing, data as usize) };
    ensure!(
        result == 0,
        "tracing thread {tid}: {}",
        io::Error::last_os_error()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_is_no_thread_is_an_error() {
        assert!(Frozen::thread(std::process::id(), "nobody-has-this").is_err());
        let mut child = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        assert!(find(child.id(), "other").is_err());
        assert_eq!(find(child.id(), "sleep").unwrap() as u32, child.id());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
