//! Every bound of this crate, with the reasons and the relations between them.

/// How deep expressions may nest in the text (parentheses, calls, signs, powers): the parser recurses once a level.
/// Measured: 256 levels need less than 1 MiB of stack in a debug build, a fifth of that in a release build.
pub const NESTING_MAX: usize = 256;

/// How high a syntax tree may be. Left-associative chains (`a or b or ...`) grow high without nesting; whoever walks the
/// tree recurses once a level.
pub const TREE_HEIGHT_MAX: usize = 1_000;

/// How many operators the duration expressions of a query may hold together.
pub const DURATION_OPERATORS_MAX: usize = 500;

const _: () = assert!(NESTING_MAX < TREE_HEIGHT_MAX, "what nests must fit into the tree");
