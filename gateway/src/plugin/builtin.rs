//! The plugins that are bundled into the binary (`source: builtin:NAME`). The build script compiles them from `plugins/`.

use super::digest::Digest;

/// The component of a bundled plugin.
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

/// The names of all bundled plugins, in order.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}

/// Whether a component is one of them, whatever source it came from.
pub fn includes(digest: Digest) -> bool {
    COMPONENTS.iter().any(|(_, component)| Digest::of(component) == digest)
}

/// One plugin for each folder in `plugins/`, by its name.
const COMPONENTS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_plugin_is_a_component() {
        assert!(names().eq(["api-key", "jwt", "policy", "rewrite"]));
        for name in names() {
            let component = component(name).unwrap_or_default();
            // The magic and version of the component binary format, layer 1.
            assert!(component.starts_with(b"\0asm\x0d\0\x01\0"), "{name}");
            assert!(includes(Digest::of(component)), "{name}");
        }
        assert_eq!(component("no-such-plugin"), None);
        assert!(!includes(Digest::of(b"\0asm")));
    }
}
