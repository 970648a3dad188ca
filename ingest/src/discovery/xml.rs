//! Answers in XML, read as a tree of at most [`DISCOVERY_NODES_MAX`] nodes. Names count without their namespace.

use roxmltree::{Document, Node, ParsingOptions};

use crate::limits::DISCOVERY_NODES_MAX;

/// The body as text.
pub(crate) fn utf8(body: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(body).map_err(|e| e.to_string())
}

/// The tree of a document. A document type, which could define entities, is refused.
pub(crate) fn parse(body: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions {
        allow_dtd: false,
        nodes_limit: DISCOVERY_NODES_MAX,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(body, options).map_err(|e| e.to_string())
}

/// The elements in `node` of one name.
pub(crate) fn children<'a, 'input>(
    node: Node<'a, 'input>,
    name: &'a str,
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}

/// The first element in `node` of that name.
pub(crate) fn child<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of the first element in `node` of that name, without the space around it; empty if there is none.
pub(crate) fn text<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    child(node, name).and_then(|child| child.text()).map_or("", str::trim)
}

/// What stands in `node`, as it is written in `body`.
pub(crate) fn inner<'a>(body: &'a str, node: Node) -> &'a str {
    match (node.first_child(), node.last_child()) {
        (Some(first), Some(last)) => &body[first.range().start..last.range().end],
        _ => "",
    }
}
