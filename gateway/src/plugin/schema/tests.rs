//! Schemas good and hostile, and what they find in configurations: tables of cases.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;

use serde_json::json;

use super::limits::SCHEMA_BYTES_MAX;
use super::*;

fn read(schema: &Value) -> Schema {
    Schema::read(&schema.to_string()).unwrap()
}

fn refusal(schema: &Value) -> String {
    Schema::read(&schema.to_string()).unwrap_err().to_string()
}

/// Each fault as `PATH: MESSAGE`; a fault of a key has a `!` after its path.
fn faults(schema: &Schema, config: &Value) -> Vec<String> {
    let written = |fault: &SchemaFault| {
        let mut line = String::new();
        for step in &fault.steps {
            match step {
                SchemaStep::Key(key) => write!(line, ".{key}").unwrap(),
                SchemaStep::Item(index) => write!(line, "[{index}]").unwrap(),
            }
        }
        let mark = if fault.is_key { "!" } else { "" };
        format!("{line}{mark}: {}", fault.message)
    };
    schema.check(config).iter().map(written).collect()
}

#[test]
fn every_fault_of_a_configuration_is_told_with_its_place() {
    let schema = read(&json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "properties": {
            "name": { "type": "string", "pattern": "^[a-z]+$" },
            "count": { "type": "integer", "minimum": 1 },
            "mode": { "enum": ["fast", "safe"] },
            "rules": { "type": "array", "items": { "$ref": "#/$defs/Rule" } },
            "a/b~c": { "type": "boolean" },
        },
        "$defs": { "Rule": { "type": "object", "required": ["when"], "properties": { "when": { "type": "string" } } } },
    }));
    for (config, expected) in [
        (json!({ "name": "a", "count": 1, "mode": "safe", "rules": [{ "when": "" }] }), [].as_slice()),
        (json!({ "name": "A" }), &[".name: does not match `^[a-z]+$`"]),
        (
            json!({ "name": 5, "count": 0, "nam": 1 }),
            &[
                ".nam!: unknown key `nam`: expected `a/b~c`, `count`, `mode`, `name` or `rules`",
                ".count: value is less than the minimum of 1",
                ".name: expected a string, found the number 5",
            ],
        ),
        (json!({ "name": "a", "mode": "fats" }), &[".mode: expected `fast` or `safe`"]),
        (json!({ "name": "a", "rules": [{ "when": "" }, {}] }), &[".rules[1]!: the key `when` is missing"]),
        (json!({ "name": "a", "a/b~c": "yes" }), &[".a/b~c: expected `true` or `false`, found a string"]),
        (json!(null), &["!: the key `name` is missing"]),
        (json!([]), &[": expected a map, found a list"]),
    ] {
        let mut found = faults(&schema, &config);
        let mut expected = expected.to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{config}");
    }
}

#[test]
fn of_several_forms_the_one_that_was_meant_is_judged() {
    let optional = read(&json!({ "properties": { "a": { "anyOf": [{ "$ref": "#/$defs/A" }, { "type": "null" }] } },
        "$defs": { "A": { "type": "object", "required": ["x"] } } }));
    assert_eq!(faults(&optional, &json!({ "a": {} })), [".a!: the key `x` is missing"]);
    assert_eq!(faults(&optional, &json!({ "a": 1 })), [".a: expected a map or nothing"]);
    let tagged = read(&json!({ "oneOf": [
        { "type": "object", "required": ["kind", "key"], "properties": { "kind": { "const": "a" }, "key": { "type": "string" } } },
        { "type": "object", "required": ["kind"], "properties": { "kind": { "const": "b" } } },
    ] }));
    assert_eq!(faults(&tagged, &json!({ "kind": "a", "key": 1 })), [".key: expected a string, found the number 1"]);
    assert_eq!(faults(&tagged, &json!({ "kind": "c" })).len(), 1);
}

#[test]
fn a_null_is_an_empty_map_only_where_it_is_not_taken_itself() {
    assert_eq!(faults(&read(&json!({ "type": "null" })), &json!(null)), [""; 0]);
    assert_eq!(faults(&read(&json!({ "type": "object" })), &json!(null)), [""; 0]);
    assert_eq!(faults(&read(&json!(true)), &json!(null)), [""; 0]);
    assert_eq!(faults(&read(&json!(false)), &json!(1)), [": must not be here"]);
}

#[test]
fn where_no_key_is_taken_each_is_told() {
    let schema = read(&json!({ "properties": { "none": { "type": "object", "additionalProperties": false } } }));
    assert_eq!(
        faults(&schema, &json!({ "none": { "a": 1, "b": 2 } })),
        [".none.a!: unknown key `a`", ".none.b!: unknown key `b`"]
    );
}

#[test]
fn only_so_many_faults_are_told() {
    let schema = read(&json!({ "items": { "type": "string" } }));
    assert_eq!(schema.check(&json!(vec![1; 1000])).len(), FAULTS_MAX);
    let keys: serde_json::Map<_, _> = (0..1000).map(|key| (key.to_string(), json!(1))).collect();
    assert_eq!(read(&json!({ "additionalProperties": false })).check(&keys.into()).len(), FAULTS_MAX);
}

#[test]
fn a_schema_may_be_as_large_as_its_limit() {
    let of = |length: usize| format!("{{\"description\":\"{}\"}}", "x".repeat(length - 18));
    assert_eq!(of(100).len(), 100);
    assert!(Schema::read(&of(SCHEMA_BYTES_MAX)).is_ok());
    let refusal = Schema::read(&of(SCHEMA_BYTES_MAX + 1)).unwrap_err().to_string();
    assert_eq!(refusal, "has 262145 bytes, more than 262144");
}

#[test]
fn a_schema_may_be_as_deep_as_its_limit() {
    let nested = |depth: usize| (0..depth).fold(json!(true), |inner, _| json!({ "items": inner }));
    assert!(Schema::read(&nested(64).to_string()).is_ok());
    assert_eq!(refusal(&nested(65)), "nests deeper than 64 levels");
    // Far beyond, where the reader of JSON itself gives up.
    let deep = format!("{}true{}", "{\"not\":".repeat(20_000), "}".repeat(20_000));
    assert!(Schema::read(&deep).unwrap_err().to_string().starts_with("is not JSON: recursion limit"));
}

#[test]
fn references_lead_nowhere_else() {
    for reference in ["http://127.0.0.1:1/a.json", "file:///etc/passwd", "other.json", "#name", "#/$defs/Nothing", ""] {
        let told = refusal(&json!({ "$ref": reference }));
        assert!(told.starts_with(&format!("refers to `{reference}`")), "{told}");
    }
    assert!(refusal(&json!({ "$schema": "http://127.0.0.1:1/schema" })).starts_with("is no valid JSON Schema"));
    for key in ["$dynamicRef", "$anchor"] {
        assert_eq!(refusal(&json!({ "items": { key: "#a" } })), format!("uses `{key}`, which is not supported"));
    }
    assert!(refusal(&json!({ "items": { "$id": "http://a/" } })).contains("$id"));
    // A property may be called so.
    read(&json!({ "properties": { "$ref": { "type": "string" }, "$id": true } }));
}

#[test]
fn a_schema_that_never_ends_or_explodes_is_refused() {
    let endless = "applies itself to the same value without end";
    assert_eq!(refusal(&json!({ "$ref": "#" })), endless);
    assert_eq!(refusal(&json!({ "allOf": [{ "not": { "$ref": "#" } }] })), endless);
    let hidden = json!({ "items": { "$ref": "#/$defs/a" }, "$defs": { "a": { "anyOf": [{ "$ref": "#/$defs/b" }], "items": { "$ref": "#/$defs/b" } },
        "b": { "if": { "$ref": "#/$defs/a" } } } });
    assert_eq!(refusal(&hidden), endless);
    // One that goes down the value at each turn ends with it.
    let list =
        read(&json!({ "type": "object", "properties": { "next": { "$ref": "#" } }, "additionalProperties": false }));
    assert_eq!(
        faults(&list, &json!({ "next": { "next": { "x": 1 } } })),
        [".next.next.x!: unknown key `x`: expected `next`"]
    );

    let doubling = |levels: usize| {
        let defs: serde_json::Map<_, _> = (0..levels)
            .map(|level| {
                let next = json!({ "$ref": format!("#/$defs/a{}", level + 1) });
                (format!("a{level}"), json!({ "allOf": [next, next] }))
            })
            .chain([(format!("a{levels}"), json!(true))])
            .collect();
        json!({ "$ref": "#/$defs/a0", "$defs": defs })
    };
    read(&doubling(8));
    assert_eq!(refusal(&doubling(20)), "checks one value in more than 10000 ways");

    let chain = |links: usize| {
        let defs: serde_json::Map<_, _> = (0..links)
            .map(|link| (format!("a{link}"), json!({ "$ref": format!("#/$defs/a{}", link + 1) })))
            .chain([(format!("a{links}"), json!({ "type": "null" }))])
            .collect();
        json!({ "properties": { "x": { "$ref": "#/$defs/a0" } }, "$defs": defs })
    };
    assert_eq!(faults(&read(&chain(60)), &json!({ "x": 1 })), [".x: expected nothing, found the number 1"]);
    assert_eq!(refusal(&chain(5000)), "nests deeper than 64 levels");
}

#[test]
fn patterns_take_linear_time_and_bounded_memory() {
    let schema = read(&json!({ "pattern": "^(a+)+$" }));
    let long = "a".repeat(100_000) + "b";
    assert_eq!(faults(&schema, &json!(long)).len(), 1);
    for pattern in ["((a{1000}){1000}){1000}", "(?=a)b", r"(a)\1", "("] {
        let told = refusal(&json!({ "pattern": pattern }));
        assert!(told.starts_with("is no valid JSON Schema: a pattern is no regular expression"), "{told}");
        let told = refusal(&json!({ "patternProperties": { pattern: true } }));
        assert!(told.starts_with("is no valid JSON Schema"), "{told}");
    }
    let patterns = |count: usize| {
        let all: Vec<_> = (0..count).map(|number| json!({ "pattern": format!("^{number}$") })).collect();
        json!({ "items": { "anyOf": all } })
    };
    read(&patterns(128));
    assert_eq!(refusal(&patterns(129)), "has more than 128 patterns");
}

#[test]
fn what_is_no_schema_is_refused() {
    for schema in [json!(3), json!("x"), json!({ "type": "strnig" }), json!({ "required": "name" })] {
        assert!(refusal(&schema).starts_with("is no valid JSON Schema"), "{schema}: {}", refusal(&schema));
    }
    assert!(Schema::read("{").unwrap_err().to_string().starts_with("is not JSON"));
}
