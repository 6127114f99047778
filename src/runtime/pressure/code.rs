//! Takes out of memory the program's code that only the start needed: planning runs through much of DataFusion, once.
//!
//! Invariant: only the pages of the program's own code, which are never written; one that is needed again comes back out of the
//! kernel's page cache by itself. Elsewhere than on Linux nothing happens.

/// Code as the process has it mapped: readable, executable, not shared.
#[cfg(target_os = "linux")]
const CODE: &str = "r-xp";

/// Unmaps the code's pages; an idle worker then holds a third less. To be called when the start is over.
pub fn forget() {
    #[cfg(target_os = "linux")]
    for (start, end) in mapped() {
        // SAFETY: the range is a private, unwritable mapping of the program's file. The kernel drops its pages and reads them
        // again when they are next touched.
        unsafe {
            libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED);
        }
    }
}

/// Addresses of the program's code, first and behind the last.
#[cfg(target_os = "linux")]
fn mapped() -> Vec<(usize, usize)> {
    let Ok(program) = std::fs::read_link("/proc/self/exe") else {
        return Vec::new();
    };
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let program = program.to_string_lossy().into_owned();
    maps.lines()
        .filter_map(|line| range(line, &program))
        .collect()
}

/// Of a line such as `55d0c4e00000-55d0c5200000 r-xp 00200000 08:01 123  /usr/bin/millstream`, if it is the program's code.
#[cfg(target_os = "linux")]
fn range(line: &str, program: &str) -> Option<(usize, usize)> {
    let (addresses, rest) = line.split_once(' ')?;
    if !rest.starts_with(CODE) || !rest.ends_with(program) {
        return None;
    }
    let (start, end) = addresses.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(start)?, address(end)?))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_programs_code_is_meant() {
        let lines = [
            "1000-3000 r-xp 00200000 08:01 123                        /bin/ms",
            "3000-4000 r--p 00200000 08:01 123                        /bin/ms",
            "4000-5000 rw-p 00200000 08:01 123                        /bin/ms",
            "5000-6000 r-xp 00200000 08:01 124                        /lib/libc.so.6",
            "6000-7000 r-xp 00000000 00:00 0                          [vdso]",
        ];
        let meant: Vec<_> = lines.iter().filter_map(|l| range(l, "/bin/ms")).collect();
        assert_eq!(meant, [(0x1000, 0x3000)]);
    }

    /// Pages of the code that are in memory, by the kernel's count of each mapping.
    fn resident_kb() -> u64 {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let program = std::fs::read_link("/proc/self/exe").unwrap();
        let program = program.to_string_lossy().into_owned();
        let mut lines = maps.lines();
        lines
            .by_ref()
            .find(|line| range(line, &program).is_some())
            .expect("the code is mapped");
        let rss = lines.find_map(|line| line.strip_prefix("Rss:")).unwrap();
        rss.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn the_codes_pages_are_gone_and_the_program_goes_on() {
        let before = resident_kb();
        forget();
        let after = resident_kb();
        assert!(after < before, "{before} kB, then {after} kB");
    }
}
