//! The labels of one target while a mechanism makes them.

use std::collections::BTreeMap;

use crate::scrape::TargetGroup;

/// Labels that begin with the prefix of a mechanism, `__meta_docker_` for example.
#[derive(Clone, Debug)]
pub struct Meta {
    prefix: &'static str,
    labels: BTreeMap<String, String>,
}

impl Meta {
    /// None yet.
    pub fn new(prefix: &'static str) -> Self {
        Meta { prefix, labels: BTreeMap::new() }
    }

    /// Sets `prefix` + `name`; an empty value is no label, as in relabelling.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        let (name, value) = (format!("{}{name}", self.prefix), value.into());
        if value.is_empty() {
            self.labels.remove(&name);
        } else {
            self.labels.insert(name, value);
        }
        self
    }

    /// With the labels of a table.
    pub fn with<const N: usize>(prefix: &'static str, table: [(&str, String); N]) -> Self {
        let mut meta = Meta::new(prefix);
        for (name, value) in table {
            meta.set(name, value);
        }
        meta
    }

    /// Sets `prefix` + `name` to the values with the separator between, before and after them, so that a regular expression
    /// need not care where in the list something stands. No values are no label.
    pub fn set_list(
        &mut self,
        name: &str,
        separator: &str,
        values: &[impl AsRef<str>],
    ) -> &mut Self {
        let mut list = separator.to_owned();
        for value in values {
            list.push_str(value.as_ref());
            list.push_str(separator);
        }
        if values.is_empty() { self } else { self.set(name, list) }
    }

    /// The same for what may not be there.
    pub fn set_some(&mut self, name: &str, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.set(name, value);
        }
        self
    }

    /// Sets `prefix` + `name` + the key, made a label name, for each pair.
    pub fn set_each<'a>(
        &mut self,
        name: &str,
        pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> &mut Self {
        for (key, value) in pairs {
            self.set(&format!("{name}{}", sanitized(key)), value.as_str());
        }
        self
    }

    /// Like [`Meta::set_each`], and for each `name` + `present_` + key = `true`: how Kubernetes' labels and annotations are
    /// shown, so that a rule can tell an empty one from none.
    pub fn set_each_present<'a>(
        &mut self,
        name: &str,
        pairs: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> &mut Self {
        for (key, value) in pairs {
            let key = sanitized(key);
            self.set(&format!("{name}_{key}"), value.as_str());
            self.set(&format!("{name}present_{key}"), "true");
        }
        self
    }

    /// Takes over the labels of `other`.
    pub fn extend(&mut self, other: &Meta) -> &mut Self {
        self.labels.extend(other.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        self
    }

    /// Sets a label without the prefix, as `instance`.
    pub fn set_plain(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.labels.insert(name.to_owned(), value.into());
        self
    }

    /// The value of `prefix` + `name`; empty if there is none.
    pub fn get(&self, name: &str) -> &str {
        self.labels.get(&format!("{}{name}", self.prefix)).map_or("", String::as_str)
    }

    /// The labels of a whole group.
    pub fn into_labels(self) -> BTreeMap<String, String> {
        self.labels
    }

    /// The labels of a target at `address`.
    pub fn at(mut self, address: impl Into<String>) -> BTreeMap<String, String> {
        self.labels.insert("__address__".to_owned(), address.into());
        self.labels
    }
}

/// All targets of a mechanism that makes one group of them.
pub(crate) fn one_group(
    source: impl Into<String>,
    targets: Vec<BTreeMap<String, String>>,
) -> Vec<TargetGroup> {
    vec![TargetGroup { source: source.into(), targets, labels: BTreeMap::new() }]
}

/// `text` as part of a label name: whatever is no ASCII letter or digit becomes an underscore.
pub fn sanitized(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// `host:port`, an IPv6 address in brackets.
pub fn host_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains([':', '%']) { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_a_target() {
        let tags = BTreeMap::from([("a-b.ü".to_owned(), "1".to_owned())]);
        let mut meta = Meta::with("__meta_x_", [("id", 7.to_string())]);
        meta.set("none", "").set_some("zone", None::<String>);
        meta.set_each("tag_", &tags).set_each_present("label", &tags);
        meta.set_list("list", ";", &["a", "b"]).set_list("nothing", ",", &[""; 0]);
        let shown = format!("{:?}", meta.at(host_port("::1", 80)));
        assert_eq!(
            shown,
            r#"{"__address__": "[::1]:80", "__meta_x_id": "7", "__meta_x_label_a_b__": "1", "__meta_x_labelpresent_a_b__": "true", "__meta_x_list": ";a;b;", "__meta_x_tag_a_b__": "1"}"#
        );
        assert_eq!(host_port("h", "http"), "h:http");
    }
}
