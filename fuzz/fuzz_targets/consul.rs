//! Any answers of Consul become groups or are refused, and so do any records of a DNS server.
//!
//! The input is the answers of a Consul as in `refreshed`, of which each may carry its index: to the agent, to the catalogue, and to
//! the services that are in it. The same bytes are then the names of a DNS server's records.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run consul fuzz/seeds/consul -- -max_total_time=300 -max_len=2048
//! ```

#![no_main]

#[path = "../src/script.rs"]
mod script;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use script::Script;
use tidemark_ingest::discovery::consul::Consul;
use tidemark_ingest::discovery::dns::{Names, Record};

/// Services that are asked for.
const SERVICES_MAX: usize = 4;

async fn ask(script: &Script) -> Option<()> {
    let consul = Consul {
        base: "http://localhost".to_owned(),
        tag_separator: ",".to_owned(),
        tags: vec![String::new()],
        ..Consul::default()
    };
    let datacenter = consul.find_datacenter(script).await.ok()?;
    let mut index = 0;
    // Without tags to ask for, every service of the catalogue is wanted.
    let all = Consul { tags: Vec::new(), ..consul.clone() };
    let services = all.catalogue(script, &mut index).await.ok()??;
    for service in services.iter().take(SERVICES_MAX) {
        let mut index = 0;
        for _ in 0..2 {
            let asked = consul.service(script, service, &datacenter, &mut index).await;
            let Some(group) = asked.ok()? else { continue };
            assert_eq!(group.source, *service);
            assert!(group.targets.iter().all(|target| target.contains_key("__address__")));
        }
    }
    Some(())
}

fn dns(bytes: &[u8]) {
    let texts = bytes.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned());
    let records: Vec<Record> = texts
        .enumerate()
        .map(|(i, text)| match (i % 4, text.parse()) {
            (_, Ok(address)) => Record::Address(address),
            (0, _) => Record::Mx(text),
            (1, _) => Record::Ns(text),
            (port, _) => Record::Srv(text, port as u16),
        })
        .collect();
    let mut names = Names::new(80);
    names.take("name", &records);
    names.take("none", &[]);
    let groups = names.groups();
    assert_eq!(groups.len(), 2);
    assert_eq!(groups[0].targets.len(), records.len());
}

fuzz_target!(|bytes: &[u8]| {
    ask(&Script::new(bytes)).now_or_never().expect("every answer is there");
    dns(bytes);
});
