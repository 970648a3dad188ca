//! For tests that end their process: the test runs itself again as a child.

use std::process::{Command, Output};

const ROLE: &str = "TIDEMARK_TEST_CHILD";

/// Whether this process is the child of that role.
pub(super) fn is(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|value| value == role)
}

/// Runs the test `name` of this binary alone, in a child with that role.
pub(super) fn run(role: &str, name: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ROLE, role)
        .output()
        .unwrap()
}
