//! The functions of PromQL: one table of signatures, implementations by family.

pub mod signature;
