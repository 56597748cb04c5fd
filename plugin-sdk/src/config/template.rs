//! Text with `${…}` in it: taken apart once, when it is decoded. What a variable means is up to the plugin.

use serde::de::{self, Deserialize, Deserializer};

/// Text with variables, as configurations write it: `${name}` is a variable, `$$` a dollar sign, a lone `$` an error.
///
/// ```
/// use witgate_plugin::config::{Piece, Template};
///
/// let template: Template = serde_json::from_str(r#""/v1/${param.id}$$""#)?;
/// let [Piece::Text(text), Piece::Variable(name), Piece::Text(dollar)] = template.pieces() else {
///     panic!("it has three pieces");
/// };
/// assert_eq!([text, name, dollar], ["/v1/", "param.id", "$"]);
/// assert_eq!(template.texts().collect::<Vec<_>>(), ["/v1/", "$"]);
/// assert_eq!(template.variables().collect::<Vec<_>>(), ["param.id"]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// A piece of a [`Template`].
///
/// ```
/// use witgate_plugin::config::{Piece, Template};
///
/// /// Fills a template with values that the plugin knows.
/// fn fill(template: &Template, value: impl Fn(&str) -> String) -> String {
///     let fill = |piece: &Piece| match piece {
///         Piece::Text(text) => text.clone(),
///         Piece::Variable(name) => value(name),
///     };
///     template.pieces().iter().map(fill).collect()
/// }
/// let template = Template::try_from("Hello, ${who}!")?;
/// assert_eq!(fill(&template, |name| name.to_uppercase()), "Hello, WHO!");
/// # Ok::<(), String>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Stands as it is, and is never empty.
    Text(String),
    /// What stood between `${` and `}`.
    Variable(String),
}

impl Template {
    /// Its pieces, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// What stands between its variables.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Variable(_) => None,
        })
    }

    /// The names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Variable(name) => Some(name.as_str()),
        })
    }

    /// Its text, if it has no variable; else the name of the first.
    pub(super) fn into_text(self) -> Result<String, String> {
        let mut whole = String::new();
        for piece in self.0 {
            match piece {
                Piece::Text(text) => whole.push_str(&text),
                Piece::Variable(name) => return Err(name),
            }
        }
        Ok(whole)
    }

    /// Neighbouring text becomes one piece.
    fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Piece::Text(text.to_owned())),
        }
    }
}

impl From<Piece> for Template {
    fn from(piece: Piece) -> Self {
        Template(vec![piece])
    }
}

impl TryFrom<&str> for Template {
    type Error = String;

    fn try_from(mut rest: &str) -> Result<Self, String> {
        let mut template = Template(Vec::new());
        while let Some((text, after)) = rest.split_once('$') {
            template.push_text(text);
            if let Some(after) = after.strip_prefix('$') {
                template.push_text("$");
                rest = after;
            } else if let Some((name, after)) = after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                template.0.push(Piece::Variable(name.to_owned()));
                rest = after;
            } else {
                return Err("a lone `$`: write `$$` for a dollar sign, `${name}` for a variable".to_owned());
            }
        }
        template.push_text(rest);
        Ok(template)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Template::try_from(text.as_str()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_come_apart() {
        for (text, expected) in [
            ("", "[]"),
            ("plain", r#"[Text("plain")]"#),
            ("$$", r#"[Text("$")]"#),
            ("a$$b", r#"[Text("a$b")]"#),
            ("$${a}", r#"[Text("${a}")]"#),
            ("${a}", r#"[Variable("a")]"#),
            ("$$${a}", r#"[Text("$"), Variable("a")]"#),
            ("x${a.b}${c}y", r#"[Text("x"), Variable("a.b"), Variable("c"), Text("y")]"#),
            ("${}", r#"[Variable("")]"#),
        ] {
            let pieces = Template::try_from(text).map(|template| format!("{:?}", template.0));
            assert_eq!(pieces.as_deref(), Ok(expected), "{text}");
        }
        for text in ["$", "a$b", "${a", "$$$"] {
            assert!(Template::try_from(text).is_err_and(|why| why.contains("a lone `$`")), "{text}");
        }
    }
}
