//! What this program carries for new crates: the templates, and the sources of the SDK and of the WIT.

/// Files of the SDK, by their path beneath the crate's `witgate` folder.
pub(super) const SDK: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/templates/", $file))
    };
}

pub(super) const MANIFEST: &str = template!("Cargo.toml.txt");
pub(super) const README: &str = template!("README.md.txt");
pub(super) const CONFIGURATION: &str = template!("gateway.yaml.txt");
pub(super) const IGNORED: &str = template!("gitignore.txt");

/// What differs from template to template.
pub(super) struct Parts {
    pub(super) plugin: &'static str,
    /// The plugin's config on one line of YAML.
    pub(super) config: &'static str,
    /// The line of its declaration that grants it something.
    pub(super) grants: &'static str,
    /// What the README says to try.
    pub(super) experiment: &'static str,
}

pub(super) const HEADERS: Parts = Parts {
    plugin: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/02-first-plugin/src/lib.rs")),
    config: template!("headers/config.yaml"),
    grants: "",
    experiment: template!("headers/try.txt"),
};
pub(super) const AUTH: Parts = Parts {
    plugin: template!("auth/lib.rs"),
    config: template!("auth/config.yaml"),
    grants: "",
    experiment: template!("auth/try.txt"),
};
pub(super) const BODY: Parts = Parts {
    plugin: template!("body/lib.rs"),
    config: template!("body/config.yaml"),
    grants: "",
    experiment: template!("body/try.txt"),
};
pub(super) const OUTBOUND: Parts = Parts {
    plugin: template!("outbound/lib.rs"),
    config: template!("outbound/config.yaml"),
    grants: template!("outbound/grants.yaml"),
    experiment: template!("outbound/try.txt"),
};
