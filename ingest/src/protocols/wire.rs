//! The protobuf wire format: a walk over fields that borrows from the body and allocates nothing.
//!
//! ```text
//! message | field | field | ...          field | tag: varint (number << 3 | kind) | payload |
//! kind 0: varint   1: 8 bytes   2: length (varint), bytes   5: 4 bytes   (3, 4: groups, refused)
//! ```

/// What is wrong with the bytes, and at which byte of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("protobuf, byte {offset}: {message}")]
pub struct WireError {
    /// Byte of the decompressed body, from 0.
    pub offset: usize,
    /// What is wrong.
    pub message: &'static str,
}

/// Payload of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Payload<'a> {
    /// Integers, booleans, enumerations.
    Varint(u64),
    /// `double`, `fixed64`, `sfixed64`.
    Fixed64(u64),
    /// `float`, `fixed32`, `sfixed32`.
    Fixed32(u32),
    /// Strings, bytes, messages, packed arrays; the reader stands at its first byte.
    Bytes(Reader<'a>),
}

/// Number and payload of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Its number in the schema.
    pub number: u32,
    /// What it holds.
    pub payload: Payload<'a>,
    /// Where it begins.
    offset: usize,
}

/// Reads fields from the front of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// Offset in the body of the byte behind the last of `bytes`.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads a whole body.
    pub fn new(body: &'a [u8]) -> Self {
        Reader { bytes: body, end: body.len() }
    }

    /// What is not read yet.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Passes over so many bytes, or over all there are.
    #[inline]
    pub fn skip(&mut self, bytes: usize) {
        self.bytes = self.bytes.get(bytes..).unwrap_or_default();
    }

    /// Where in the body the next byte stands.
    #[inline]
    pub fn offset(&self) -> usize {
        self.end - self.bytes.len()
    }

    /// An error at the next byte.
    #[cold]
    pub fn error(&self, message: &'static str) -> WireError {
        WireError { offset: self.offset(), message }
    }

    /// The next field; `None` at the end of the message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let offset = self.offset();
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number) if number != 0 && number < 1 << 29 => number,
            _ => return Err(WireError { offset, message: "field number out of range" }),
        };
        let payload = match tag & 7 {
            0 => Payload::Varint(self.varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => Payload::Bytes(self.prefixed()?),
            5 => Payload::Fixed32(u32::from_le_bytes(self.fixed()?)),
            _ => return Err(WireError { offset, message: "unknown kind of field" }),
        };
        Ok(Some(Field { number, payload, offset }))
    }

    /// Skips the fields at the front whose tag is this one byte and which have a length; they are returned as they stand.
    #[inline]
    pub fn skip_fields(&mut self, tag: u8) -> Result<&'a [u8], WireError> {
        let all = self.bytes;
        while let [first, rest @ ..] = self.bytes
            && *first == tag
        {
            self.bytes = rest;
            self.prefixed()?;
        }
        Ok(&all[..all.len() - self.bytes.len()])
    }

    /// The next varint.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        if let Some((&byte, rest)) = self.bytes.split_first()
            && byte < 0x80
        {
            self.bytes = rest;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for (i, &byte) in self.bytes.iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(self.error(if self.bytes.len() < 10 {
            "cut off in a varint"
        } else {
            "varint too long"
        }))
    }

    /// The next eight bytes as a float: an element of a packed array.
    #[inline]
    pub fn double(&mut self) -> Result<f64, WireError> {
        self.fixed().map(f64::from_le_bytes)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let Some((value, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.error("cut off in a number of fixed size"));
        };
        self.bytes = rest;
        Ok(*value)
    }

    /// A length and as many bytes; stands at the first of them.
    #[inline]
    pub fn prefixed(&mut self) -> Result<Reader<'a>, WireError> {
        let length = self.varint()?;
        let split = usize::try_from(length).ok().and_then(|n| self.bytes.split_at_checked(n));
        let Some((bytes, rest)) = split else {
            return Err(self.error("length reaches past the end of the message"));
        };
        self.bytes = rest;
        Ok(Reader { bytes, end: self.end - rest.len() })
    }
}

/// A signed number out of the varint that holds it folded: 0, -1, 1, -2, ...
#[inline]
pub fn zigzag(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}

impl<'a> Field<'a> {
    /// The message, string or bytes it holds.
    #[inline]
    pub fn bytes(self) -> Result<Reader<'a>, WireError> {
        match self.payload {
            Payload::Bytes(reader) => Ok(reader),
            _ => Err(self.wrong("expected a field with a length")),
        }
    }

    /// The integer it holds.
    #[inline]
    pub fn varint(self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Varint(value) => Ok(value),
            _ => Err(self.wrong("expected a varint")),
        }
    }

    /// The double it holds.
    #[inline]
    pub fn double(self) -> Result<f64, WireError> {
        match self.payload {
            Payload::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(self.wrong("expected a double")),
        }
    }

    /// An error at the beginning of the field.
    #[cold]
    pub fn wrong(self, message: &'static str) -> WireError {
        WireError { offset: self.offset, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_of_every_kind() {
        let body = b"\x08\x96\x01\x11\0\0\0\0\0\0\xf0\x3f\x1a\x02hi\x25\x01\0\0\0";
        let mut reader = Reader::new(body);
        let mut next = || reader.next_field().unwrap().unwrap();
        assert_eq!(next().varint(), Ok(150));
        assert_eq!(next().double(), Ok(1.0));
        let text = next();
        assert_eq!((text.number, text.bytes().unwrap().bytes()), (3, &b"hi"[..]));
        assert_eq!(next().payload, Payload::Fixed32(1));
        assert_eq!(reader.next_field(), Ok(None));
    }

    #[test]
    fn zigzag_folds_signs() {
        for (folded, number) in
            [(0, 0), (1, -1), (2, 1), (u64::MAX, i64::MIN), (u64::MAX - 1, i64::MAX)]
        {
            assert_eq!(zigzag(folded), number);
        }
    }

    #[test]
    fn errors_name_the_byte() {
        for (body, offset, message) in [
            (&b"\x08\x01\x80"[..], 2, "cut off in a varint"),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 1, "varint too long"),
            (b"\x1a\x05hi", 2, "length reaches past the end of the message"),
            (
                b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                11,
                "length reaches past the end of the message",
            ),
            (b"\x11\0", 1, "cut off in a number of fixed size"),
            (b"\x0b\x0c", 0, "unknown kind of field"),
            (b"\x00\x00", 0, "field number out of range"),
        ] {
            let mut reader = Reader::new(body);
            let error = std::iter::repeat_with(|| reader.next_field()).find_map(Result::err);
            assert_eq!(error, Some(WireError { offset, message }), "{body:?}");
        }
    }

    #[test]
    fn offsets_count_from_the_body_in_nested_messages() {
        let mut outer = Reader::new(b"\x08\x01\x1a\x02\x08\x80");
        outer.next_field().unwrap();
        let mut inner = outer.next_field().unwrap().unwrap().bytes().unwrap();
        assert_eq!(inner.next_field().unwrap_err().offset, 5);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(_)) = reader.next_field() {}
        }
    }
}
