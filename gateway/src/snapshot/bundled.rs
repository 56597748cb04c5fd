//! What a bundled plugin may use without a line of `grants`: the key sets and tables that its own attachments name.
//!
//! They are this program's own code, and open nothing else. Where the declaration has grants of a kind, these alone count.

use std::collections::BTreeSet;

use serde_json::Value;

use super::plugin::Use;
use crate::config::model::{Grants, Plugin, PluginSource};

/// The grants of a declaration, with what these uses of it imply.
pub(super) fn grants(raw: &Plugin, uses: &[Use]) -> Grants {
    let mut grants = raw.grants.clone();
    let PluginSource::Builtin(name) = &raw.source else { return grants };
    let (granted, key) = match name.as_str() {
        "jwt" => (&mut grants.key_sets, "key_set"),
        "api-key" => (&mut grants.tables, "table"),
        _ => return grants,
    };
    if granted.is_empty() {
        let names: BTreeSet<_> = uses.iter().filter_map(|one| text(&one.config, key)).collect();
        granted.extend(names);
    }
    grants
}

/// A member of the config, if it is text.
fn text(config: &str, key: &str) -> Option<String> {
    let config: Value = serde_json::from_str(config).ok()?;
    config.get(key)?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use super::*;
    use crate::config::load_text;

    fn granted(declaration: &str, configs: &[&str]) -> Grants {
        let text = format!(
            "version: 1\nlisteners: [{{ name: http, address: 127.0.0.1:0 }}]\nplugins: {{ p: {declaration} }}\n\
             key_sets: {{ a: {{ jwks_file: a }}, b: {{ jwks_file: b }} }}\ntables: {{ a: {{ file: a }} }}\n"
        );
        let config = load_text(Path::new("/gateway.yaml"), text, &|_| None).unwrap().config;
        let one = |config: &&str| Use { config: (*config).into(), may_open: false, route: "r".into(), at: "at".into() };
        grants(&config.plugins["p"], &configs.iter().map(one).collect::<Vec<_>>())
    }

    #[test]
    fn a_bundled_plugin_gets_what_its_attachments_name() {
        let jwt = granted("{ source: builtin:jwt }", &[r#"{"key_set":"b","table":"a"}"#, r#"{"key_set":"a"}"#, "null"]);
        assert_eq!(jwt, Grants { key_sets: vec!["a".to_owned(), "b".to_owned()], ..Grants::default() });
        let keys = granted("{ source: builtin:api-key }", &[r#"{"key_set":"b","table":"a"}"#]);
        assert_eq!(keys, Grants { tables: vec!["a".to_owned()], ..Grants::default() });
        assert_eq!(granted("{ source: builtin:policy }", &[r#"{"key_set":"b","table":"a"}"#]), Grants::default());
    }

    #[test]
    fn what_a_declaration_grants_is_all_there_is() {
        let limited = granted("{ source: builtin:jwt, grants: { key_sets: [a] } }", &[r#"{"key_set":"b"}"#]);
        assert_eq!(limited.key_sets, ["a"]);
        assert_eq!(granted("{ source: file:jwt.wasm }", &[r#"{"key_set":"a"}"#]), Grants::default());
    }
}
