//! What holds for the repository as a whole: the tidy checks of [`tidy`], which read its files as text.

mod tidy;
mod workspace;
