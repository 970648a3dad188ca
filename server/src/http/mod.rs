//! HTTP/1.1, both ends: the listener of each core with its one table of routes, and the client that scrapes.
//!
//! hyper parses and frames; everything about time, bounds and sockets is here. A request's way:
//!
//! ```text
//! listener (deals connections out: seats) --> codec (a socket as hyper wants it) --> routes (the table) --> handlers by family --> answer --> gzip
//! ```

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod codec;
pub(crate) mod handlers;
pub(crate) mod identity;
pub(crate) mod life;
pub(crate) mod listener;
pub(crate) mod oauth2;
mod pool;
pub(crate) mod proxy;
pub(crate) mod request;
pub(crate) mod routes;
pub(crate) mod seats;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
