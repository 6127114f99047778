//! RocksDB's settings: dozens of small databases in one process of few cores, under one memory budget.
//!
//! Invariant: block cache and write buffers are shared by all databases of a process and charged to one budget. Nothing
//! is collected that costs on the read or write path.

use super::StoreBudget;
use ::rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel,
    Options, WriteBufferManager,
};

/// Files that one database keeps open: dozens of databases stay far below the usual limit of the process.
const MAX_OPEN_FILES: i32 = 64;
/// A column family's write buffer is flushed at this size, or earlier when all of them exceed the budget.
const WRITE_BUFFER: (usize, usize) = (1 << 20, 32 << 20);
/// Bounds what is replayed at a start, and with it the files that the seldom written position keeps alive.
const MAX_WAL_BYTES: u64 = 64 << 20;
/// Memory of write buffers comes in steps of this: an almost empty column family stays almost free.
const ARENA_BLOCK: usize = 64 << 10;
/// Rows of state are small and read one by one: a block is what one of them costs.
const BLOCK: usize = 4 << 10;
const METADATA_BLOCK: usize = 4 << 10;
const BLOOM_BITS: f64 = 10.0;
/// Of a write buffer, for a filter of the keys in it: about 16 bits a row. Most lookups are of rows that nobody has written lately,
/// and a search through the write buffer was their largest cost.
const BUFFER_BLOOM: f64 = 0.02;
/// Flushed files of a column family that are merged at once. RocksDB's 4 rewrites the files below twice as often.
const FLUSHED_FILES: i32 = 8;

/// What all databases of a process share.
#[derive(Clone)]
pub(super) struct Shared {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer: usize,
}

impl Shared {
    pub(super) fn new(budget: StoreBudget) -> Self {
        let cache = Cache::new_lru_cache(budget.block_cache_bytes);
        // No stall: a worker thread that waits for a flush holds a Kafka transaction's time.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            budget.write_buffer_bytes,
            false,
            cache.clone(),
        );
        let write_buffer = (budget.write_buffer_bytes / 4).clamp(WRITE_BUFFER.0, WRITE_BUFFER.1);
        Shared {
            cache,
            write_buffers,
            write_buffer,
        }
    }

    /// Memory in use: write buffers are charged to the cache.
    pub(super) fn memory(&self) -> usize {
        self.cache.get_usage()
    }

    /// Of a database.
    pub(super) fn database(&self) -> Options {
        let mut options = self.family();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        options.set_max_total_wal_size(MAX_WAL_BYTES);
        options.set_max_open_files(MAX_OPEN_FILES);
        options.set_max_background_jobs(2);
        options.set_max_subcompactions(1);
        // Writes to the device in steps instead of one burst at the end of a file.
        options.set_bytes_per_sync(1 << 20);
        options.set_skip_stats_update_on_db_open(true);
        options.set_stats_dump_period_sec(0);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(1 << 20);
        options.set_keep_log_file_num(2);
        options.set_max_manifest_file_size(4 << 20);
        options
    }

    /// Of a column family.
    pub(super) fn family(&self) -> Options {
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_block_size(BLOCK);
        blocks.set_cache_index_and_filter_blocks(true);
        // In pieces: the filter of a whole file is a megabyte, and a cache that is small beside the state would read it again and again.
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_metadata_block_size(METADATA_BLOCK);
        blocks.set_pin_top_level_index_and_filter(true);
        blocks.set_bloom_filter(BLOOM_BITS, false);
        blocks.set_whole_key_filtering(true);
        blocks.set_optimize_filters_for_memory(true);
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.write_buffer);
        options.set_memtable_prefix_bloom_ratio(BUFFER_BLOOM);
        options.set_memtable_whole_key_filtering(true);
        options.set_level_zero_file_num_compaction_trigger(FLUSHED_FILES);
        options.set_arena_block_size(ARENA_BLOCK);
        options
    }
}
