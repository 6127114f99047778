//! How the memory budget of a process is divided among everything that grows with the data.
//!
//! Invariant: the shares together with what a process takes anyway stay below the budget; each is a limit that its user keeps by
//! itself. Page cache of the kernel (files of the store) and program text are not counted: the kernel takes them back.

/// Private memory of a worker whose shares are all small: clients, threads, records on their way from one step to the next.
const BASE: usize = 56 << 20;
/// Parts of the rest, of 32; the four that are missing are for batches, folds and what an allocator holds between two uses.
const STORE: usize = 8;
/// Of the store's part.
const WRITE_BUFFERS: usize = 4;
const HOT: usize = 9;
const FETCHED: usize = 4;
const TO_SEND: usize = 4;
const PENDING: usize = 3;

/// Limits in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Blocks, indexes and filters of all stores, with the write buffers.
    pub block_cache: usize,
    pub write_buffers: usize,
    /// State in memory, of each thread.
    pub hot: usize,
    /// Groups that are folded and not yet sent, of each thread.
    pub pending: usize,
    /// Fetched and not yet polled, of each thread.
    pub fetched: usize,
    /// Sent and not yet acknowledged, of each thread; also the most that one transaction may write.
    pub to_send: usize,
}

impl Shares {
    pub fn of(budget: u64, threads: usize) -> Shares {
        let rest = usize::try_from(budget)
            .unwrap_or(usize::MAX)
            .saturating_sub(BASE);
        let part = |parts: usize| rest / 32 * parts;
        let each = |parts: usize| part(parts) / threads.max(1);
        Shares {
            block_cache: part(STORE),
            write_buffers: part(WRITE_BUFFERS),
            hot: each(HOT),
            pending: each(PENDING).max(1 << 20),
            fetched: each(FETCHED),
            to_send: each(TO_SEND),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_any_number_of_threads_fit_into_the_budget() {
        for budget in [128_000_000, 160_000_000, 256_000_000, 4_000_000_000_u64] {
            for threads in [1, 2, 8] {
                let shares = Shares::of(budget, threads);
                let each = shares.hot + shares.pending + shares.fetched + shares.to_send;
                let all = BASE + shares.block_cache + each * threads;
                assert!(all as u64 <= budget, "{budget} {threads}: {shares:?}");
                assert!(shares.write_buffers < shares.block_cache);
            }
        }
    }
}
