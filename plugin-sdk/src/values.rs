//! What crossed the boundary for one call of a hook, read by key. Which kinds of keys there are is `setup`'s, and how each reads
//! is `request`'s and `response`'s.

use crate::wire::Value;

/// What the attachment asked for, in the gateway's order: a handful of values, so that looking through them all is the fastest way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a>(&'a [Value]);

impl<'a> Values<'a> {
    /// None crossed where nothing that was asked for is there.
    pub(crate) fn new(crossed: Option<&'a [Value]>) -> Self {
        Values(crossed.unwrap_or_default())
    }

    /// All values under a key, in order.
    pub(crate) fn all(self, key: u16) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.iter().filter(move |(at, _)| *at == key).map(|(_, value)| value.as_slice())
    }

    /// The value under the key of what is UTF-8 by the contract: a part, a parameter, an attribute.
    pub(crate) fn text(self, key: u16) -> Option<&'a str> {
        self.all(key).next().map(|value| str::from_utf8(value).expect("the gateway passes this as UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_key_in_order() {
        let crossed = [(3, b"a".to_vec()), (1, vec![0xff]), (3, b"b".to_vec())];
        let values = Values::new(Some(&crossed));
        assert!(values.all(3).eq([b"a", b"b"]));
        assert!(values.all(1).eq([[0xff]]));
        assert_eq!((values.text(3), values.text(2)), (Some("a"), None));
        assert_eq!(Values::new(None).text(3), None);
    }

    #[test]
    #[should_panic(expected = "the gateway passes this as UTF-8")]
    fn text_that_is_none_breaks_the_contract() {
        let crossed = [(1, vec![0xff])];
        Values::new(Some(&crossed)).text(1);
    }
}
