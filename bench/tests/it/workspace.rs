//! The repository's files as text, for the checks beside this file.
//!
//! Walks the tree from the workspace root and leaves out what is built, downloaded or written at run time. Paths are
//! relative to the root, with `/`.

use std::fs;
use std::path::{Path, PathBuf};

/// Directories that hold nothing of the project's own.
const NOT_OURS: &[&str] = &["target", ".git", ".venv", ".node", "data", "__pycache__", "corpus"];

/// One text file of the repository.
pub(crate) struct TextFile {
    /// Relative to the root: `core/src/lib.rs`.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

impl TextFile {
    /// Whether the name ends so; `.rs`, `.md`.
    pub(crate) fn is(&self, ending: &str) -> bool {
        self.path.ends_with(ending)
    }

    /// Whether the file lies under one of these paths.
    pub(crate) fn under(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| self.path.starts_with(path))
    }

    /// The lines with their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines of a Rust file without its comments and string literals, numbered: what the compiler sees of names.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, String)> {
        self.lines().map(|(number, line)| (number, code_of(line)))
    }
}

/// The directory of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("bench lies in the workspace").to_owned()
}

/// Every text file of the repository, sorted by path.
pub(crate) fn files() -> Vec<TextFile> {
    let root = root();
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 30, "the walk from {} found only {} files", root.display(), found.len());
    found
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<TextFile>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository can be read") {
        let path = entry.expect("a directory entry can be read").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_symlink() || NOT_OURS.contains(&name) {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            // What is not UTF-8 is a fixture, not text.
            let relative = path.strip_prefix(root).expect("the walk began at the root");
            found.push(TextFile { path: relative.to_string_lossy().replace('\\', "/"), text });
        }
    }
}

/// A line of Rust without its `//` comment and the contents of its `"..."` literals. Line by line, so a literal that spans
/// lines is read as code; no rule here needs more.
fn code_of(line: &str) -> String {
    let mut code = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                code.push('"');
            }
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => code.push(c),
        }
    }
    code
}

#[test]
fn code_leaves_out_comments_and_literals() {
    assert_eq!(code_of("let a = \"un\\\"safe // x\"; // unsafe"), "let a = \"\"; ");
    assert_eq!(code_of("'\"' => call {"), "' => call {");
    assert_eq!(code_of("//! unsafe"), "");
}
