//! Labels whose values are the texts of elements: tables of which is which.

use roxmltree::Node;

use super::super::super::meta::{Meta, sanitized};
use super::super::super::moment::{parse_ms, utc};
use super::super::super::xml::{child, text};

/// Names of labels, each with the names of elements, one in the other, that lead to its value: `Endpoint/Port`.
pub(super) type Table = &'static [(&'static str, &'static str)];

/// The labels of one kind of thing.
pub(super) struct Labels {
    /// Those whose value is the text.
    pub(super) texts: Table,
    /// Those whose value is a moment, which is shown to the second.
    pub(super) moments: Table,
}

impl Labels {
    /// Sets `prefix` + name for each label that `node` has a value for.
    pub(super) fn set(&self, meta: &mut Meta, prefix: &str, node: Node<'_, '_>) {
        for (name, path) in self.texts {
            meta.set(&format!("{prefix}{name}"), at(node, path));
        }
        for (name, path) in self.moments {
            let text = at(node, path);
            let to_the_second = parse_ms(text).map_or_else(|| text.to_owned(), utc);
            meta.set(&format!("{prefix}{name}"), to_the_second);
        }
    }
}

/// The text at the end of a path; empty if there is none.
pub(super) fn at<'a>(node: Node<'a, '_>, path: &str) -> &'a str {
    match path.split_once('/') {
        None => text(node, path),
        Some((outer, inner)) => child(node, outer).map_or("", |outer| at(outer, inner)),
    }
}

/// The elements of a list, whatever they are called.
pub(super) fn listed<'a, 'input>(
    node: Node<'a, 'input>,
    list: &str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    let listed = child(node, list).into_iter().flat_map(|list| list.children());
    listed.filter(Node::is_element)
}

/// Sets `prefix` + key for each tag of a list.
pub(super) fn set_tags(meta: &mut Meta, prefix: &str, node: Node<'_, '_>) {
    for tag in listed(node, "TagList") {
        meta.set(&format!("{prefix}{}", sanitized(text(tag, "Key"))), text(tag, "Value"));
    }
}
