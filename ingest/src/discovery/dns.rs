//! `dns_sd`: records of a DNS server.
//!
//! Who asks the server hands the records in. A name that cannot be resolved keeps what it had; one that does not exist, or
//! has no such records, has no targets.

use std::collections::BTreeMap;

use super::meta::{Meta, host_port};
use crate::scrape::TargetGroup;

/// One record of an answer, names with their final dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A service: host and port.
    Srv(String, u16),
    /// A mail server.
    Mx(String),
    /// A name server.
    Ns(String),
    /// An address, version 4 or 6.
    Address(std::net::IpAddr),
}

/// The groups of each name as it was last resolved.
#[derive(Debug)]
pub struct Names {
    port: u16,
    known: BTreeMap<String, TargetGroup>,
}

impl Names {
    /// Targets get `port`, but for those of services, which have their own.
    pub fn new(port: u16) -> Self {
        Names { port, known: BTreeMap::new() }
    }

    /// Takes what `name` resolves to now.
    pub fn take(&mut self, name: &str, records: &[Record]) {
        let targets = records.iter().map(|record| self.target(name, record)).collect();
        let group = TargetGroup { source: name.to_owned(), targets, labels: BTreeMap::new() };
        self.known.insert(name.to_owned(), group);
    }

    /// The groups of all names that were resolved.
    pub fn groups(&self) -> Vec<TargetGroup> {
        self.known.values().cloned().collect()
    }

    fn target(&self, name: &str, record: &Record) -> BTreeMap<String, String> {
        let mut meta = Meta::new("__meta_dns_");
        meta.set("name", name);
        let plain = |name: &str| name.trim_end_matches('.').to_owned();
        let (host, port) = match record {
            Record::Srv(host, port) => {
                meta.set("srv_record_target", host.as_str());
                meta.set("srv_record_port", port.to_string());
                (plain(host), *port)
            }
            Record::Mx(host) => {
                meta.set("mx_record_target", host.as_str());
                (plain(host), self.port)
            }
            Record::Ns(host) => {
                meta.set("ns_record_target", host.as_str());
                (plain(host), self.port)
            }
            Record::Address(address) => (address.to_string(), self.port),
        };
        meta.at(host_port(&host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ask::recorded::shown;
    use super::*;

    #[test]
    fn each_kind_of_record() {
        let mut names = Names::new(9100);
        names.take("_x._tcp.example", &[Record::Srv("a.example.".into(), 80)]);
        names.take("h.example", &[Record::Address("::1".parse().unwrap())]);
        names.take("example", &[Record::Mx("m.example.".into()), Record::Ns("n.example.".into())]);
        names.take("h.example", &[Record::Address("10.0.0.1".parse().unwrap())]);
        names.take("gone.example", &[]);
        assert_eq!(
            shown(&names.groups()),
            r#"_x._tcp.example {}
  {"__address__": "a.example:80", "__meta_dns_name": "_x._tcp.example", "__meta_dns_srv_record_port": "80", "__meta_dns_srv_record_target": "a.example."}
example {}
  {"__address__": "m.example:9100", "__meta_dns_mx_record_target": "m.example.", "__meta_dns_name": "example"}
  {"__address__": "n.example:9100", "__meta_dns_name": "example", "__meta_dns_ns_record_target": "n.example."}
gone.example {}
h.example {}
  {"__address__": "10.0.0.1:9100", "__meta_dns_name": "h.example"}
"#
        );
        let mut six = Names::new(1);
        six.take("h", &[Record::Address("fe80::1".parse().unwrap())]);
        assert_eq!(six.groups()[0].targets[0]["__address__"], "[fe80::1]:1");
    }
}
