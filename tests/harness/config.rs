//! Configurations for tests: the smallest that works, with additions, or a text with addresses filled in.
//!
//! The keys are written as a user writes them, so that a test shows the YAML it is about.

use std::fmt::{self, Display, Write as _};
use std::path::Path;

/// One listener `http`, one upstream `origin`, and one route `all` from everything to it; each takes more keys, as YAML lines.
#[derive(Clone, Default)]
pub struct Config {
    origin: String,
    top: String,
    listener: String,
    upstream: String,
    plugins: String,
    routes: String,
    route: String,
}

impl Config {
    /// Everything goes to this upstream: `HOST:PORT`, in the clear.
    pub fn to(origin: &impl Display) -> Config {
        Config::to_url(&format!("http://{origin}"))
    }

    /// Everything goes to the endpoint of this URL.
    pub fn to_url(origin: &str) -> Config {
        Config { origin: origin.to_owned(), ..Config::default() }
    }

    /// More keys at top level.
    pub fn top(mut self, lines: &str) -> Config {
        indent(&mut self.top, 0, lines);
        self
    }

    /// More keys of the listener `http`.
    pub fn listener(mut self, lines: &str) -> Config {
        indent(&mut self.listener, 4, lines);
        self
    }

    /// More keys of the upstream `origin`.
    pub fn upstream(mut self, lines: &str) -> Config {
        indent(&mut self.upstream, 4, lines);
        self
    }

    /// Declare a plugin from a file.
    pub fn plugin(self, name: &str, component: &Path) -> Config {
        self.plugin_with(name, component, "")
    }

    /// Declare a plugin from a file, with more keys.
    pub fn plugin_with(mut self, name: &str, component: &Path, lines: &str) -> Config {
        indent(&mut self.plugins, 2, &format!("{name}:"));
        indent(&mut self.plugins, 4, &format!("source: 'file:{}'", component.display()));
        indent(&mut self.plugins, 4, lines);
        self
    }

    /// Declare a bundled plugin under its own name, as plainly as it can be.
    pub fn builtin(mut self, name: &str) -> Config {
        indent(&mut self.plugins, 2, &format!("{name}: {{ source: 'builtin:{name}' }}"));
        self
    }

    /// One more route, whole.
    pub fn and_route(mut self, lines: &str) -> Config {
        let mut item = String::new();
        indent(&mut item, 4, lines);
        let _ = write!(self.routes, "  - {}", item.trim_start());
        self
    }

    /// More keys of the route `all`.
    pub fn route(mut self, lines: &str) -> Config {
        indent(&mut self.route, 4, lines);
        self
    }
}

impl Display for Config {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Config { origin, top, listener, upstream, plugins, routes, route } = self;
        write!(out, "version: 1\n{top}")?;
        write!(out, "listeners:\n  - name: http\n    address: 127.0.0.1:0\n{listener}")?;
        if !plugins.is_empty() {
            write!(out, "plugins:\n{plugins}")?;
        }
        write!(out, "upstreams:\n  origin:\n    endpoints: [{{ url: '{origin}' }}]\n{upstream}")?;
        write!(
            out,
            "routes:\n{routes}  - name: all\n    match: {{ path: {{ prefix: / }} }}\n    upstream: origin\n{route}"
        )
    }
}

/// A YAML text in which each `<name>` of `values` is filled in.
///
/// # Panics
/// When the text has no such place, so that no value is forgotten in silence.
pub fn yaml(text: &str, values: &[(&str, &dyn Display)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        let place = format!("<{name}>");
        assert!(text.contains(&place), "no {place} in {text}");
        text.replace(&place, &value.to_string())
    })
}

/// Append lines, each behind `spaces` more spaces than it has.
fn indent(to: &mut String, spaces: usize, lines: &str) {
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(to, "{:spaces$}{line}", "");
    }
}
