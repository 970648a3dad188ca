//! Every bound of this crate, with the relations between them asserted.
//!
//! Whatever comes from outside is cut off here, so that no body, however written, takes more memory than these
//! constants say. Bounds that a user may choose (`sample_limit` and its like) are fields of [`crate::scrape::Job`];
//! these are the ones that hold even when nothing was chosen.

/// Longest label name or metric name, in bytes.
pub const LABEL_NAME_BYTES_MAX: usize = 4 << 10;

/// Longest label value, in bytes.
pub const LABEL_VALUE_BYTES_MAX: usize = 32 << 10;

/// Most labels of one series, the metric name included.
pub const LABELS_PER_SERIES_MAX: usize = 1 << 10;

/// Longest canonical encoding of one label set, in bytes: what storage takes.
pub const LABELS_BYTES_MAX: usize = tidemark_core::limits::SERIES_LABELS_BYTES_MAX;

/// Longest help text that is kept, in bytes; the rest of a longer one is cut off.
pub const HELP_BYTES_MAX: usize = 4 << 10;

/// Most metadata entries of one body; later ones are left out.
pub const METADATA_PER_BODY_MAX: usize = 64 << 10;

/// Most samples of one body. A sample can be two bytes on the wire and is sixteen in memory.
pub const SAMPLES_PER_BODY_MAX: usize = 4 << 20;

/// Largest pushed body after decompression, in bytes.
pub const PUSH_BODY_BYTES_MAX: usize = 64 << 20;

/// Largest body of a scrape after decompression, in bytes, if the job sets no `body_size_limit`.
pub const SCRAPE_BODY_BYTES_MAX: usize = 256 << 20;

/// Bytes of all bodies of scrapes that one core holds at the same time, as they came and decompressed.
pub const SCRAPE_BODIES_BYTES_MAX: usize = 1 << 30;

/// Sets of working memory for scrapes that a core keeps for the next ones.
pub const SCRATCHES_KEPT_MAX: usize = 4;

/// Working memory that is given back instead of kept when it has grown past this, in bytes.
pub const SCRATCH_BYTES_KEPT_MAX: usize = 64 << 20;

/// Most buckets of one histogram, or quantiles of one summary, of a scrape in protobuf.
pub const BUCKETS_PER_METRIC_MAX: usize = 16 << 10;

/// Series that one core remembers by the bytes in which their senders name them; 16 bytes each.
pub const KNOWN_SERIES_MAX: usize = 4 << 20;

/// Exemplars of one series in one body; later ones are left out.
pub const EXEMPLARS_PER_SERIES_MAX: usize = 64;

/// Characters of all label names and values of an exemplar, as OpenMetrics demands.
pub const EXEMPLAR_LABELS_CHARS_MAX: usize = 128;

/// Longest line of a text format, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// First instant that is accepted as a timestamp: the year 1.
pub const TIMESTAMP_MS_MIN: i64 = -62_135_596_800_000;

/// Last instant that is accepted as a timestamp: the end of the year 9999.
pub const TIMESTAMP_MS_MAX: i64 = 253_402_300_799_999;

/// Most values in the JSON of one answer to a discoverer, all its pages included.
pub const DISCOVERY_VALUES_MAX: usize = 10_000_000;

/// As many values count as one object or list, which takes more memory.
pub const OBJECT_VALUES: usize = 10;

/// Most pages of one answer to a discoverer.
pub const DISCOVERY_PAGES_MAX: usize = 10_000;

/// Most targets of one discoverer whose answer is XML in pages.
pub const DISCOVERY_TARGETS_MAX: usize = 1_000_000;

/// Most nodes in the XML of one answer to a discoverer.
pub const DISCOVERY_NODES_MAX: u32 = 4_000_000;

/// Longest answer of a proxy to `CONNECT`, in bytes.
pub const CONNECT_ANSWER_BYTES_MAX: usize = 16 << 10;

/// Longest answer of a ZooKeeper, in bytes; data of a node are at most 1 MiB unless it is told otherwise.
pub const ZOOKEEPER_FRAME_BYTES_MAX: usize = 16 << 20;

/// Most nodes of one discoverer that asks a ZooKeeper.
pub const ZOOKEEPER_NODES_MAX: usize = 100_000;

/// Most questions to a ZooKeeper that wait for their answers.
pub const ZOOKEEPER_QUESTIONS_MAX: usize = 64;

/// Most requests that one discoverer has under way at once, however many are configured.
pub const DISCOVERY_REQUESTS_MAX: usize = 100;

/// Characters of a hostile name or value that an error message repeats.
pub const EXCERPT_CHARS_MAX: usize = 80;

const _: () = assert!(LABEL_NAME_BYTES_MAX <= LABEL_VALUE_BYTES_MAX);
const _: () = assert!(LABEL_VALUE_BYTES_MAX < LABELS_BYTES_MAX);
const _: () = assert!(LABELS_BYTES_MAX < LINE_BYTES_MAX, "a line holds the largest label set");
const _: () = assert!(LINE_BYTES_MAX < PUSH_BODY_BYTES_MAX);
const _: () = assert!(PUSH_BODY_BYTES_MAX <= SCRAPE_BODY_BYTES_MAX);
const _: () = assert!(SCRAPE_BODY_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(2 * SCRAPE_BODY_BYTES_MAX <= SCRAPE_BODIES_BYTES_MAX, "one body has room");
const _: () =
    assert!(PUSH_BODY_BYTES_MAX <= (u32::MAX / 4) as usize, "offsets into arenas are u32");

/// The start of `text`, for an error message: at most [`EXCERPT_CHARS_MAX`] characters.
pub fn excerpt(text: &str) -> String {
    match text.char_indices().nth(EXCERPT_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Cuts `text` to at most `bytes_max` bytes, at a character's border.
pub fn truncated(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_keep_characters_whole() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"é".repeat(81)), format!("{}...", "é".repeat(80)));
        assert_eq!(truncated("aé", 2), "a");
        assert_eq!(truncated("aé", 3), "aé");
    }
}
