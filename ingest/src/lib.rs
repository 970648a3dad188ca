//! Everything that brings samples in: protocols, relabelling, scraping.
