//! A tenancy with compartments in each other, by recorded answers.

use std::cell::RefCell;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use http::{Request, Response};

use super::super::super::ask::recorded::shown;
use super::*;

const KEY: &str = include_str!("../../../../testdata/discovery/rsa.key");
const CORE: &str = "https://iaas.us-ashburn-1.oraclecloud.com/20160918";
const TENANCY: &str = "ocid1.tenancy.oc1..t";

/// What is answered: the end of the URL, where the list goes on, and the answer.
const ANSWERS: [(&str, &str, &str); 12] = [
    (
        "https://identity.us-ashburn-1.oci.oraclecloud.com/20160918/compartments?accessLevel=ACCESSIBLE&compartmentId=ocid1%2Etenancy%2Eoc1%2E%2Et&compartmentIdInSubtree=false&limit=100",
        "p/2",
        r#"[{"id": "c1", "lifecycleState": "ACTIVE"}, {"id": "dead", "lifecycleState": "DELETED"}]"#,
    ),
    ("limit=100&page=p%2F2", "", r#"[{"id": "denied", "lifecycleState": "ACTIVE"}]"#),
    (
        "compartmentId=c1&compartmentIdInSubtree=false&limit=100",
        "",
        r#"[{"id": "ocid1.tenancy.oc1..t", "lifecycleState": "ACTIVE"}]"#,
    ),
    ("/instances?compartmentId=ocid1%2Etenancy%2Eoc1%2E%2Et&limit=100", "", "[]"),
    ("/instances?compartmentId=denied&limit=100", "", r#"[{"compartmentId": "no id"}]"#),
    (
        "/instances?compartmentId=c1&limit=100",
        "",
        r#"[{"id": "i1", "compartmentId": "c1", "displayName": "web", "lifecycleState": "RUNNING", "shape": "VM.Standard", "availabilityDomain": "AD-1", "faultDomain": "FD-1", "region": "iad", "imageId": "im",
             "freeformTags": {"appOwner": "a"}, "definedTags": {"Operations": {"Cost Center": 42, "ratio": 1.5, "on": true, "list": [1], "none": null, "text": "x"}}},
            {"id": "i2", "compartmentId": "c1"}, {"id": "i3", "compartmentId": "c1"}, {"id": "i4", "compartmentId": "c1"}]"#,
    ),
    (
        "instanceId=i1&limit=100",
        "",
        r#"[{"vnicId": "gone", "lifecycleState": "DETACHED"}, {"vnicId": "v0", "lifecycleState": "ATTACHED"}, {"vnicId": "v1", "lifecycleState": "ATTACHED"}, {"vnicId": "never", "lifecycleState": "ATTACHED"}]"#,
    ),
    ("instanceId=i2&limit=100", "", r#"[{"vnicId": "v2", "lifecycleState": "ATTACHED"}]"#),
    ("instanceId=i3&limit=100", "", "[]"),
    ("/vnics/v0", "", r#"{"id": "v0", "privateIp": "10.0.0.9"}"#),
    (
        "/vnics/v1",
        "",
        r#"{"id": "v1", "isPrimary": true, "privateIp": "10.0.0.1", "publicIp": "192.0.2.1", "hostnameLabel": "h", "ipv6Addresses": ["2001:db8::2", "2001:db8::1"]}"#,
    ),
    ("/vnics/v2", "", r#"{"id": "v2", "isPrimary": true, "ipv6Addresses": ["2001:db8::3"]}"#),
];

/// A stand-in that also tells where a list goes on.
#[derive(Default)]
struct Oracle {
    failing: &'static str,
    asked: RefCell<Vec<Request<Bytes>>>,
}

impl Ask for Oracle {
    fn ask(
        &self,
        request: Request<Bytes>,
    ) -> LocalBoxFuture<'_, Result<Response<Bytes>, DiscoveryError>> {
        let url = request.uri().to_string();
        self.asked.borrow_mut().push(request);
        let failing = !self.failing.is_empty() && url.contains(self.failing);
        let found = ANSWERS.iter().find(|(end, ..)| !failing && url.ends_with(end));
        let answer = match found {
            Some((_, "", body)) => Response::builder().body(Bytes::from(*body)),
            Some((_, next, body)) => {
                Response::builder().header(NEXT_PAGE, *next).body(Bytes::from(*body))
            }
            None => Response::builder().status(403).body("NotAuthorized".into()),
        };
        async { Ok(answer.expect("a response")) }.boxed_local()
    }

    fn now_ms(&self) -> i64 {
        784_111_777_000
    }

    fn file<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<String, DiscoveryError>> {
        let text = match path {
            "/key" => KEY,
            "/encrypted" => "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            _ => "hunter2",
        };
        async { Ok(text.to_owned()) }.boxed_local()
    }
}

fn oci(key_file: &str, compartments: &[&str]) -> Oci {
    Oci {
        tenancy: TENANCY.into(),
        user: "u".into(),
        fingerprint: "20:3b".into(),
        key_file: key_file.into(),
        region: "us-ashburn-1".into(),
        compartments: compartments.iter().map(|id| (*id).to_owned()).collect(),
        port: 9100,
    }
}

fn refreshed(mut oci: Oci, oracle: &Oracle) -> Result<Vec<TargetGroup>, DiscoveryError> {
    oci.list(oracle).now_or_never().expect("nothing waits")
}

#[test]
fn instances_of_all_compartments() {
    let oracle = Oracle::default();
    assert_eq!(
        shown(&refreshed(oci("/key", &[]), &oracle).unwrap()),
        r#"OCI {}
  {"__address__": "10.0.0.1:9100", "__meta_oci_availability_domain": "AD-1", "__meta_oci_compartment_id": "c1", "__meta_oci_defined_tag_Operations_Cost_Center": "42", "__meta_oci_defined_tag_Operations_on": "true", "__meta_oci_defined_tag_Operations_ratio": "1.5", "__meta_oci_defined_tag_Operations_text": "x", "__meta_oci_fault_domain": "FD-1", "__meta_oci_hostname_label": "h", "__meta_oci_image_id": "im", "__meta_oci_instance_id": "i1", "__meta_oci_instance_name": "web", "__meta_oci_instance_shape": "VM.Standard", "__meta_oci_instance_state": "RUNNING", "__meta_oci_ipv6_addresses": ",2001:db8::1,2001:db8::2,", "__meta_oci_private_ip": "10.0.0.1", "__meta_oci_public_ip": "192.0.2.1", "__meta_oci_region": "iad", "__meta_oci_tag_appOwner": "a", "__meta_oci_tenancy_id": "ocid1.tenancy.oc1..t", "__meta_oci_vnic_id": "v1"}
  {"__address__": "[2001:db8::3]:9100", "__meta_oci_compartment_id": "c1", "__meta_oci_instance_id": "i2", "__meta_oci_ipv6_addresses": ",2001:db8::3,", "__meta_oci_tenancy_id": "ocid1.tenancy.oc1..t", "__meta_oci_vnic_id": "v2"}
"#
    );
    let asked = oracle.asked.borrow();
    let urls: Vec<String> = asked.iter().map(|request| request.uri().to_string()).collect();
    assert!(!urls.iter().any(|url| url.contains("never") || url.contains("dead")), "{urls:?}");
    let headers = asked[0].headers();
    assert_eq!(headers[DATE], "Sun, 06 Nov 1994 08:49:37 GMT");
    let authorization = headers[AUTHORIZATION].to_str().unwrap();
    assert!(
        authorization.starts_with(
            r#"Signature version="1",keyId="ocid1.tenancy.oc1..t/u/20:3b",algorithm="rsa-sha256",headers="date (request-target) host",signature=""#
        ),
        "{authorization}"
    );
}

#[test]
fn named_compartments_and_failures() {
    let oracle = Oracle::default();
    assert_eq!(refreshed(oci("/key", &["c1"]), &oracle).unwrap()[0].targets.len(), 2);
    assert!(oracle.asked.borrow()[0].uri().to_string().starts_with(CORE));
    let unreadable = refreshed(oci("/other", &["c1"]), &oracle).unwrap_err().to_string();
    assert!(unreadable.contains("key_file: the key is not an RSA key in PEM"), "{unreadable}");
    assert!(!unreadable.contains("hunter2"));
    let encrypted = refreshed(oci("/encrypted", &["c1"]), &oracle).unwrap_err().to_string();
    assert!(encrypted.contains("decrypt it by `openssl pkey`"), "{encrypted}");
    let oracle = Oracle { failing: "/instances?compartmentId=c1", ..Oracle::default() };
    let refused = refreshed(oci("/key", &[]), &oracle).unwrap_err().to_string();
    assert!(refused.contains("NotAuthorized"), "{refused}");
    for (tenancy, expected) in [
        ("ocid1.tenancy.oc3..t", "oraclegovcloud.com"),
        ("ocid1.tenancy.oc4..t", "oraclegovcloud.uk"),
        ("ocid1.tenancy.oc19..t", "oraclecloud19.com"),
        ("nonsense", "oraclecloud.com"),
    ] {
        assert_eq!(domain(tenancy), expected);
    }
}
