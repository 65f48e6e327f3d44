//! Requests to `https://` addresses that strangers name: a reader and a sender behind one guard.

mod guard;
mod reader;
mod sender;

pub use ipnet::IpNet;
pub use reader::HttpsReader;
pub use sender::HttpsSender;
