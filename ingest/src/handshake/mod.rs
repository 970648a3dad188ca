//! What is said before the first request: a proxy is asked to connect ([`connect`], [`socks`]), a token server for a token
//! ([`token`]). What others answer is read here, without a socket; the server's HTTP client sends and receives.

pub mod connect;
pub mod socks;
pub mod token;
