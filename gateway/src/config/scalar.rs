//! Values that a scalar of the file stands for: numbers, durations, sizes, rates, shares, `auto`, `never`.
//!
//! The options of native filters are written in them too. Each knows its own text and its place in the JSON Schema. Whether a value is allowed where it stands is for `check` to say.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::model::{self, ByteSize};

/// A whole number. It may be quoted, because that is how `${env:VAR}` yields one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole(pub i64);

/// `250ms`, `10s`, `5m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

/// `512B`, `64KiB`, `10MiB`, `2GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub ByteSize);

/// `100/1m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(pub model::Rate);

/// `5%`, `0.5%`: in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(pub f64);

/// `2`, `1.5`: how many times something else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor(pub f64);

/// `auto`, which is `None`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoOrWhole(pub Option<Whole>);

/// `never`, which is `None`, or a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanOrNever(pub Option<Span>);

/// `1.2` or `1.3`, with or without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsVersion(pub model::TlsVersion);

/// `512MiB`, or `90%` of what there is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SizeOrShare(pub model::MemoryLimit);

/// A word, or a number as its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberOrWord(pub String);

/// A value that has a text, and perhaps a number that stands for it.
trait Scalar: Sized {
    /// Completes "expected …".
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self>;

    /// Only whole numbers have one: a duration or a size without a unit would leave the reader to guess.
    fn from_number(_number: i64) -> Option<Self> {
        None
    }

    /// The same for numbers with a fraction.
    fn from_fraction(_number: f64) -> Option<Self> {
        None
    }
}

impl Scalar for Whole {
    const EXPECTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }

    fn from_number(number: i64) -> Option<Self> {
        Some(Self(number))
    }
}

impl Scalar for Span {
    const EXPECTED: &'static str = "a duration with its unit, such as `250ms` or `10s`";

    fn from_text(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        counted(text, &UNITS).map(|ms| Self(Duration::from_millis(ms)))
    }
}

impl Scalar for Size {
    const EXPECTED: &'static str = "a size with its unit, such as `64KiB` or `10MiB`";

    fn from_text(text: &str) -> Option<Self> {
        const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        counted(text, &UNITS).map(|bytes| Self(ByteSize(bytes)))
    }
}

impl Scalar for Rate {
    const EXPECTED: &'static str = "a rate, such as `10/1s` or `100/1m`";

    fn from_text(text: &str) -> Option<Self> {
        let (count, per) = text.split_once('/')?;
        let Span(per) = Span::from_text(per)?;
        Some(Self(model::Rate { count: digits(count)?.parse().ok()?, per }))
    }
}

impl Scalar for Share {
    const EXPECTED: &'static str = "a share in percent, such as `5%`";

    fn from_text(text: &str) -> Option<Self> {
        Factor::from_text(text.strip_suffix('%')?).map(|Factor(percent)| Self(percent))
    }
}

impl Scalar for Factor {
    const EXPECTED: &'static str = "a number, such as `2` or `1.5`";

    fn from_text(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        digits(whole).and(digits(fraction))?;
        text.parse().ok().map(Self)
    }

    fn from_number(number: i64) -> Option<Self> {
        Self::from_text(&number.to_string())
    }

    fn from_fraction(number: f64) -> Option<Self> {
        (number.is_finite() && number >= 0.0).then_some(Self(number))
    }
}

impl Scalar for AutoOrWhole {
    const EXPECTED: &'static str = "`auto` or a whole number";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self(None)),
            _ => Whole::from_text(text).map(|whole| Self(Some(whole))),
        }
    }

    fn from_number(number: i64) -> Option<Self> {
        Some(Self(Some(Whole(number))))
    }
}

impl Scalar for SpanOrNever {
    const EXPECTED: &'static str = "`never`, or a duration with its unit, such as `1h`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self(None)),
            _ => Span::from_text(text).map(|span| Self(Some(span))),
        }
    }
}

impl Scalar for TlsVersion {
    const EXPECTED: &'static str = "`1.2` or `1.3`";

    fn from_text(text: &str) -> Option<Self> {
        match text {
            "1.2" => Some(Self(model::TlsVersion::V12)),
            "1.3" => Some(Self(model::TlsVersion::V13)),
            _ => None,
        }
    }

    fn from_fraction(number: f64) -> Option<Self> {
        Self::from_text(&number.to_string())
    }
}

impl Scalar for SizeOrShare {
    const EXPECTED: &'static str = "a size with its unit, such as `512MiB`, or a share, such as `90%`";

    fn from_text(text: &str) -> Option<Self> {
        let share = |Share(percent)| Self(model::MemoryLimit::Share(percent));
        let size = |Size(size)| Self(model::MemoryLimit::Size(size));
        Share::from_text(text).map(share).or_else(|| Size::from_text(text).map(size))
    }
}

impl Scalar for NumberOrWord {
    const EXPECTED: &'static str = "a word or a whole number";

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }

    fn from_number(number: i64) -> Option<Self> {
        Some(Self(number.to_string()))
    }
}

/// The text, if it is nothing but digits, and at least one.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

/// Digits, then one of the units; `None` also where the product does not fit.
fn counted(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Reads any [`Scalar`]. Serde makes "…, expected …" of whatever this refuses.
struct ScalarVisitor<T>(std::marker::PhantomData<T>);

impl<T: Scalar> Visitor<'_> for ScalarVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::from_number(number).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        let refused = || de::Error::invalid_value(de::Unexpected::Unsigned(number), &self);
        i64::try_from(number).ok().and_then(T::from_number).ok_or_else(refused)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        T::from_fraction(number).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Float(number), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| de::Error::invalid_value(de::Unexpected::Str(text), &self))
    }
}

/// Wires a scalar to serde and to the schema.
macro_rules! scalar {
    ($type:ty, $name:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_any(ScalarVisitor(std::marker::PhantomData))
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

// Each pattern also lets text with `${…}` pass: an editor cannot know what the environment will put there.
scalar!(Whole, "Whole", {
    "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": "^[+-]?[0-9]+$|\\$\\{" }]
});
scalar!(Span, "Duration", {
    "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$|\\$\\{", "examples": ["250ms", "10s"]
});
scalar!(Size, "Size", {
    "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$|\\$\\{", "examples": ["64KiB", "10MiB"]
});
scalar!(Rate, "Rate", {
    "type": "string", "pattern": "^[0-9]+/[0-9]+(ms|s|m|h|d)$|\\$\\{", "examples": ["10/1s", "100/1m"]
});
scalar!(Share, "Share", {
    "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?%$|\\$\\{", "examples": ["5%"]
});
scalar!(Factor, "Factor", {
    "anyOf": [{ "type": "number", "minimum": 1 }, { "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$|\\$\\{" }]
});
scalar!(SpanOrNever, "DurationOrNever", {
    "type": "string", "pattern": "^(never|[0-9]+(ms|s|m|h|d))$|\\$\\{", "examples": ["1h", "never"]
});
scalar!(SizeOrShare, "SizeOrShare", {
    "type": "string", "pattern": "^([0-9]+(B|KiB|MiB|GiB)|[0-9]+(\\.[0-9]+)?%)$|\\$\\{", "examples": ["512MiB", "90%"]
});
scalar!(AutoOrWhole, "AutoOrWhole", {
    "anyOf": [{ "type": "integer", "minimum": 1 }, { "type": "string", "pattern": "^(auto|[0-9]+)$|\\$\\{" }]
});

scalar!(TlsVersion, "TlsVersion", {
    "anyOf": [{ "enum": [1.2, 1.3] }, { "type": "string", "pattern": "^1\\.[23]$|\\$\\{" }]
});

scalar!(NumberOrWord, "NumberOrWord", {
    "anyOf": [{ "type": "integer" }, { "type": "string" }]
});

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Scalar + PartialEq + fmt::Debug>(text: &str, expected: Option<T>) {
        assert_eq!(T::from_text(text), expected, "{text}");
    }

    #[test]
    fn durations_need_a_known_unit() {
        check("250ms", Some(Span(Duration::from_millis(250))));
        check("2h", Some(Span(Duration::from_secs(7200))));
        check("7d", Some(Span(Duration::from_secs(604_800))));
        for refused in
            ["10", "s", "", "1.5s", "10 s", "10S", "-1s", "1s2", "99999999999999999999s", "18446744073709551615d"]
        {
            check::<Span>(refused, None);
        }
    }

    #[test]
    fn sizes_need_a_binary_unit() {
        check("0B", Some(Size(ByteSize(0))));
        check("64KiB", Some(Size(ByteSize::kib(64))));
        check("2GiB", Some(Size(ByteSize::mib(2048))));
        for refused in ["64", "64KB", "64k", "64kib", "1.5MiB", "17179869184GiB"] {
            check::<Size>(refused, None);
        }
    }

    #[test]
    fn a_size_is_displayed_as_it_would_be_written() {
        for text in ["0B", "1000B", "64KiB", "1025KiB", "10MiB", "2GiB"] {
            let size = Size::from_text(text).map(|size| size.0.to_string());
            assert_eq!(size.as_deref(), Some(text));
        }
    }

    #[test]
    fn whole_numbers_may_be_quoted() {
        check("42", Some(Whole(42)));
        check("-1", Some(Whole(-1)));
        check::<Whole>("4.2", None);
        check("auto", Some(AutoOrWhole(None)));
        check("4", Some(AutoOrWhole(Some(Whole(4)))));
        check::<AutoOrWhole>("Auto", None);
    }

    #[test]
    fn rates_need_a_duration() {
        check("100/1m", Some(Rate(model::Rate { count: 100, per: Duration::from_secs(60) })));
        check("0/0s", Some(Rate(model::Rate { count: 0, per: Duration::ZERO })));
        for refused in ["100", "100/m", "/1m", "+1/1m", "100/1", "1.5/1s", "1/1s/1s", "4294967296/1s", ""] {
            check::<Rate>(refused, None);
        }
    }

    #[test]
    fn shares_are_in_percent() {
        check("5%", Some(Share(5.0)));
        check("0.5%", Some(Share(0.5)));
        for refused in ["5", "%", ".5%", "5.%", "5 %", "-5%", "1e1%", "inf%", "NaN%", "5%%"] {
            check::<Share>(refused, None);
        }
    }

    #[test]
    fn factors_may_have_a_fraction() {
        check("2", Some(Factor(2.0)));
        check("1.25", Some(Factor(1.25)));
        assert_eq!(Factor::from_number(3), Some(Factor(3.0)));
        assert_eq!(Factor::from_number(-3), None);
        assert_eq!(Factor::from_fraction(1.5), Some(Factor(1.5)));
        assert_eq!(Factor::from_fraction(f64::NAN), None);
        for refused in ["", "-1", "1e3", "inf", "1.2.3", "2x"] {
            check::<Factor>(refused, None);
        }
    }

    #[test]
    fn an_age_may_be_never() {
        check("never", Some(SpanOrNever(None)));
        check("1h", Some(SpanOrNever(Some(Span(Duration::from_secs(3600))))));
        check::<SpanOrNever>("Never", None);
    }
}
