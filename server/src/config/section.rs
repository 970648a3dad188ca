//! `section!`: one table per block of the configuration file, from which reading and printing both follow.
//!
//! A section is a plain struct with defaults. What `serde`'s derive cannot say of Prometheus' YAML is said here once:
//!
//! * a field that is `null` or absent keeps its default (`rule_files:` with nothing below it is common);
//! * some blocks are *inlined* into many others (the HTTP client's fields, the discoverers), and an unknown field
//!   below them must still be reported with its own line and column, which `#[serde(flatten)]` loses;
//! * checks that need several fields of a block point at the field that is wrong;
//! * a field is printed if it says something: it is not blank, or it differs from the default.
//!
//! A position travels inside the error's text as `line:column: `, since serde's errors carry nothing else; the loader
//! ([`super::load`]) takes it out again.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde_saphyr::{Location, Spanned};

/// What is wrong with a section, and which of its fields to point at.
#[derive(Debug, PartialEq)]
pub(crate) struct Fault {
    /// A field of the section; where the file does not have it, the section's first field is pointed at.
    pub(crate) field: &'static str,
    /// Prometheus' own words where it has some.
    pub(crate) message: String,
}

/// Result of a check across the fields of a section.
pub(crate) type Checked = Result<(), Fault>;

/// A fault in `field`.
pub(crate) fn fault(field: &'static str, message: impl Into<String>) -> Fault {
    Fault { field, message: message.into() }
}

/// `Err` with a message unless `good`.
pub(crate) fn ensure(good: bool, field: &'static str, message: impl FnOnce() -> String) -> Checked {
    if good { Ok(()) } else { Err(fault(field, message())) }
}

/// A required text that is not blank.
pub(crate) fn required(field: &'static str, value: &str, section: &str) -> Checked {
    ensure(!value.is_empty(), field, || format!("{section} requires {field}"))
}

/// One of a list of words.
pub(crate) fn one_of(field: &'static str, value: &str, words: &[&str]) -> Checked {
    ensure(words.contains(&value), field, || {
        format!("unknown {field} {value:?}, must be one of {}", words.join(", "))
    })
}

/// A block of the configuration file; made by [`section!`].
pub(crate) trait Section: Default + Sized {
    /// Every field's name, those of inlined sections included.
    fn field_names() -> Vec<&'static str>;
    /// Reads the value of `key` if the section has that field; says whether it has.
    fn set<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
    /// Writes the fields that say something.
    fn write<M: SerializeMap>(&self, default: &Self, map: &mut M) -> Result<(), M::Error>;
    /// Checks across fields, after all are read; fills what depends on another field.
    fn check(&mut self) -> Checked;
}

/// Reads a mapping into a section.
pub(crate) struct SectionVisitor<T>(PhantomData<T>);

impl<T: Section> SectionVisitor<T> {
    /// Reads one section.
    pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_map(SectionVisitor(PhantomData))
    }
}

impl<'de, T: Section> Visitor<'de> for SectionVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut section = T::default();
        let mut seen: Vec<(String, Location)> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            if !section.set(&key.value, &mut map)? {
                return Err(at(key.referenced, unknown_field(&key.value, &T::field_names())));
            }
            seen.push((key.value, key.referenced));
        }
        section.check().map_err(|fault| {
            let place = seen.iter().find(|(name, _)| name == fault.field).or(seen.first());
            match place {
                Some(&(_, location)) => at(location, fault.message),
                None => A::Error::custom(fault.message),
            }
        })?;
        Ok(section)
    }
}

fn at<E: serde::de::Error>(location: Location, message: impl fmt::Display) -> E {
    E::custom(format_args!("{}:{}: {message}", location.line(), location.column()))
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    let near = known.iter().map(|k| (edits(name, k), k)).min().filter(|&(d, k)| d * 3 <= k.len());
    match near {
        Some((_, near)) => format!("unknown field {name:?}, did you mean {near:?}?"),
        None => format!("unknown field {name:?}"),
    }
}

/// Levenshtein distance in bytes, one row at a time.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Whether a value is what Go calls zero, and so is not printed unless it differs from the default.
pub(crate) trait Blank {
    /// Whether it says nothing.
    fn is_blank(&self) -> bool;
}

impl Blank for bool {
    fn is_blank(&self) -> bool {
        !self
    }
}

macro_rules! blank_numbers {
    ($($number:ty),*) => { $(impl Blank for $number {
        fn is_blank(&self) -> bool {
            *self == <$number>::default()
        }
    })* };
}
blank_numbers!(u16, u32, u64, i64, f64);

impl Blank for String {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Blank for Option<T> {
    fn is_blank(&self) -> bool {
        self.is_none()
    }
}

impl<T> Blank for Vec<T> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

impl<V> Blank for BTreeMap<String, V> {
    fn is_blank(&self) -> bool {
        self.is_empty()
    }
}

/// Declares a section: its fields with types and defaults (the type's own where none is given), the sections whose
/// fields are inlined, and the check across fields.
///
/// ```text
/// section! {
///     /// What it is.
///     FileSdConfig {
///         files: Vec<String>,
///         refresh_interval: Duration = Duration::from_secs(300),
///     }
///     inline { http: HttpClientConfig }
///     check = Self::validate
/// }
/// ```
macro_rules! section {
    (
        $(#[$meta:meta])*
        $name:ident {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty $(= $default:expr)? ),* $(,)?
        }
        $( inline { $( $inner:ident : $inner_ty:ty $(= $inner_default:expr)? ),* $(,)? } )?
        $( check = $check:path )?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub(crate) struct $name {
            $( $(#[$field_meta])* pub(crate) $field: $ty, )*
            $( $( pub(crate) $inner: $inner_ty, )* )?
        }

        impl Default for $name {
            fn default() -> Self {
                $name {
                    $( $field: $crate::config::section::section!(@default $($default)?), )*
                    $( $( $inner: $crate::config::section::section!(@default $($inner_default)?), )* )?
                }
            }
        }

        impl $crate::config::section::Section for $name {
            #[allow(unused_mut)]
            fn field_names() -> Vec<&'static str> {
                let mut names = vec![$( $crate::config::section::bare(stringify!($field)) ),*];
                $( $( names.extend(<$inner_ty>::field_names()); )* )?
                names
            }

            fn set<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                map: &mut A,
            ) -> Result<bool, A::Error> {
                $(
                    if key == $crate::config::section::bare(stringify!($field)) {
                        if let Some(value) = map.next_value::<Option<$ty>>()? {
                            self.$field = value;
                        }
                        return Ok(true);
                    }
                )*
                $( $( if self.$inner.set(key, map)? { return Ok(true); } )* )?
                Ok(false)
            }

            fn write<M: serde::ser::SerializeMap>(
                &self,
                default: &Self,
                map: &mut M,
            ) -> Result<(), M::Error> {
                $(
                    if !$crate::config::section::Blank::is_blank(&self.$field)
                        || self.$field != default.$field
                    {
                        let name = $crate::config::section::bare(stringify!($field));
                        map.serialize_entry(name, &self.$field)?;
                    }
                )*
                $( $( self.$inner.write(&default.$inner, map)?; )* )?
                Ok(())
            }

            fn check(&mut self) -> $crate::config::section::Checked {
                $( $( self.$inner.check()?; )* )?
                $( $check(self)?; )?
                Ok(())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::config::section::SectionVisitor::read(deserializer)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use $crate::config::section::Section;
                let mut map = serializer.serialize_map(None)?;
                self.write(&Self::default(), &mut map)?;
                serde::ser::SerializeMap::end(map)
            }
        }

        impl $crate::config::section::Blank for $name {
            fn is_blank(&self) -> bool {
                true $( && $crate::config::section::Blank::is_blank(&self.$field) )*
                    $( $( && $crate::config::section::Blank::is_blank(&self.$inner) )* )?
            }
        }
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}
pub(crate) use section;

/// A field's name without the `r#` of a raw identifier.
pub(crate) const fn bare(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    section! {
        /// Inlined below.
        Inner { deep: String, open: bool = true }
    }

    section! {
        /// For these tests.
        Outer { name: String, r#type: String = "x".to_owned(), list: Vec<Inner> }
        inline { inner: Inner }
        check = Self::named
    }

    impl Outer {
        fn named(&mut self) -> Checked {
            required("name", &self.name, "an outer section")
        }
    }

    fn read(text: &str) -> Result<Outer, String> {
        serde_saphyr::from_str::<Outer>(text).map_err(|e| e.without_snippet().to_string())
    }

    #[test]
    fn null_and_absent_keep_the_default() {
        let outer = read("name: 7\ntype:\nlist:\n- deep: ~\nopen: no\n").unwrap();
        assert_eq!(outer.name, "7");
        assert_eq!(outer.r#type, "x");
        assert_eq!(outer.list, [Inner::default()]);
        assert!(!outer.inner.open);
        assert_eq!(
            serde_saphyr::to_string(&outer).unwrap(),
            "name: \"7\"\ntype: x\nlist:\n- open: true\nopen: false\n"
        );
    }

    #[test]
    fn errors_point_at_the_field() {
        for (text, expected) in [
            (
                "name: a\nlist:\n- deep: a\n  deeep: 1\n",
                "4:3: unknown field \"deeep\", did you mean \"deep\"?",
            ),
            ("name: a\nwhatever: 1\n", "2:1: unknown field \"whatever\""),
            ("open: true\nname: ''\n", "2:1: an outer section requires name"),
            ("open: true\n", "1:1: an outer section requires name"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.starts_with(expected), "{error} instead of {expected}");
        }
        assert!(read("name: a\nname: b\n").unwrap_err().contains("duplicate"));
    }

    #[test]
    fn distance() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
