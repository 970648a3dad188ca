//! File names in a configuration are relative to the file they stand in.

use std::path::Path;

/// A section that names files.
pub(crate) trait Directory {
    /// Every file name in it; blank ones may be among them.
    fn file_names(&mut self) -> Vec<&mut String>;

    /// Joins the relative ones to `dir`.
    fn set_directory(&mut self, dir: &Path) {
        for name in self.file_names() {
            join(dir, name);
        }
    }
}

/// Joins `name` to `dir` unless it is blank or absolute.
pub(crate) fn join(dir: &Path, name: &mut String) {
    if !name.is_empty() && Path::new(name.as_str()).is_relative() {
        *name = dir.join(name.as_str()).to_string_lossy().into_owned();
    }
}
