//! Upper and lower case, one character for one as Go maps them (Rust's own mapping turns `ß` into `SS`).

/// `text` in lower case.
pub(super) fn lower(text: &str) -> String {
    text.chars().map(|c| if c == 'İ' { 'i' } else { single(c, c.to_lowercase()) }).collect()
}

/// `text` in upper case.
pub(super) fn upper(text: &str) -> String {
    text.chars().map(|c| greek_upper(c).unwrap_or_else(|| single(c, c.to_uppercase()))).collect()
}

/// The mapping if it is one character, else the character itself.
fn single(c: char, mut mapped: impl Iterator<Item = char>) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// Greek letters with iota subscript: one character in upper case as well, unlike in the full mapping.
fn greek_upper(c: char) -> Option<char> {
    let offset = match c {
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
        '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
        _ => return None,
    };
    char::from_u32(u32::from(c) + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_character_for_one() {
        assert_eq!(upper("aéßŉﬁᾳᾀ"), "AÉßŉﬁᾼᾈ");
        assert_eq!(lower("AÉİΣ"), "aéiσ");
    }
}
