//! From a parsed expression to one of which every name is known: what is read of a request becomes one name each, and what cannot be
//! is found out.

use std::collections::BTreeMap;

use cel::IdedExpr;
use cel::common::ast::operators::{IN, INDEX};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use regex_lite::Regex;

use super::inputs::Input;
use super::types::Type;

/// What an expression names.
#[derive(Default)]
pub(super) struct Names {
    pub(super) inputs: Vec<Input>,
    pub(super) patterns: BTreeMap<String, Regex>,
    /// Variables of macros such as `exists(x, …)`.
    scope: Vec<(String, Type)>,
}

/// What is wrong, and a word of the source to find its place by.
pub(super) struct Fault {
    word: String,
    why: String,
}

impl Names {
    pub(super) fn resolve_condition(&mut self, expression: &mut IdedExpr) -> Result<(), Fault> {
        match self.resolve(expression)? {
            Type::Bool | Type::Any => Ok(()),
            other => Err(Fault::new("", format!("is of the type {other}, not bool"))),
        }
    }

    fn resolve(&mut self, expression: &mut IdedExpr) -> Result<Type, Fault> {
        if let Some(input) = self.input(&expression.expr)? {
            let of = input.of();
            expression.expr = Expr::Ident(input.name.clone());
            if !self.inputs.contains(&input) {
                self.inputs.push(input);
            }
            return Ok(of);
        }
        match &mut expression.expr {
            Expr::Call(call) => self.resolve_call(call),
            Expr::Comprehension(comprehension) => self.resolve_comprehension(comprehension),
            Expr::Ident(name) => self.resolve_name(name),
            Expr::List(list) => {
                list.elements.iter_mut().try_for_each(|element| self.resolve(element).map(drop))?;
                Ok(Type::List)
            }
            Expr::Map(map) => {
                for entry in &mut map.entries {
                    if let EntryExpr::MapEntry(entry) = &mut entry.expr {
                        self.resolve(&mut entry.key)?;
                        self.resolve(&mut entry.value)?;
                    }
                }
                Ok(Type::Map)
            }
            Expr::Select(select) => {
                let operand = self.resolve(&mut select.operand)?;
                let member =
                    operand.member().ok_or_else(|| Fault::new(&select.field, format!("{operand} has no members")))?;
                Ok(if select.test { Type::Bool } else { member })
            }
            Expr::Struct(message) => Err(Fault::new(&message.type_name, "messages cannot be made here")),
            Expr::Literal(literal) => Ok(Type::of(literal)),
            Expr::Unspecified => Ok(Type::Any),
        }
    }

    fn resolve_name(&self, name: &str) -> Result<Type, Fault> {
        let variable = self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, of)| *of);
        let of = variable.or_else(|| Type::is_name(name).then_some(Type::Meta));
        of.ok_or_else(|| Fault::new(name, format!("there is no `{name}` here")))
    }

    fn resolve_call(&mut self, call: &mut CallExpr) -> Result<Type, Fault> {
        let mut types = Vec::new();
        for argument in call.target.iter_mut().map(|target| &mut **target).chain(&mut call.args) {
            types.push(self.resolve(argument)?);
        }
        let name = call.func_name.as_str();
        if name == "matches" {
            self.add_pattern(call.args.last())?;
        }
        if let Some(of) = Type::of_call(name, &types)? {
            return Ok(of);
        }
        let types: Vec<_> = types.iter().map(Type::to_string).collect();
        let symbol = name.trim_matches(['_', '@']);
        // An operator stands in many places, and the name of what it cannot take in fewer.
        let operand = call.target.as_deref().into_iter().chain(&call.args).find_map(|argument| match &argument.expr {
            Expr::Ident(name) => Some(name.as_str()),
            _ => None,
        });
        Err(Fault::new(operand.unwrap_or(symbol), format!("`{symbol}` does not take {}", types.join(" and "))))
    }

    fn resolve_comprehension(&mut self, comprehension: &mut ComprehensionExpr) -> Result<Type, Fault> {
        let range = self.resolve(&mut comprehension.iter_range)?;
        if range.member().is_none() {
            return Err(Fault::new(&comprehension.iter_var, format!("{range} has no items")));
        }
        let accumulated = self.resolve(&mut comprehension.accu_init)?;
        let before = self.scope.len();
        self.scope.push((comprehension.accu_var.clone(), accumulated));
        let variables = [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref()];
        self.scope.extend(variables.into_iter().flatten().map(|name| (name.clone(), Type::Any)));
        self.resolve(&mut comprehension.loop_cond)?;
        self.resolve(&mut comprehension.loop_step)?;
        let result = self.resolve(&mut comprehension.result);
        self.scope.truncate(before);
        result
    }

    /// Compiled beforehand, so that a bad one is found, and none is compiled for each request.
    fn add_pattern(&mut self, argument: Option<&IdedExpr>) -> Result<(), Fault> {
        let Some(pattern) = argument.and_then(|argument| text(&argument.expr)) else {
            return Err(Fault::new("matches", "the pattern of `matches` must stand here, as a text"));
        };
        let regex = Regex::new(pattern).map_err(|why| Fault::new("matches", why.to_string()))?;
        self.patterns.insert(pattern.to_owned(), regex);
        Ok(())
    }

    /// The input that an expression as a whole is.
    fn input(&self, expression: &Expr) -> Result<Option<Input>, Fault> {
        let Some((members, is_test)) = path(expression) else { return Ok(None) };
        if self.scope.iter().any(|(variable, _)| *variable == members[0]) {
            return Ok(None);
        }
        Input::at(&members, is_test).map_err(|why| Fault::new(&members.join("."), why))
    }
}

impl Fault {
    pub(super) fn new(word: &str, why: impl Into<String>) -> Self {
        Fault { word: word.to_owned(), why: why.into() }
    }

    /// With line and column of the first place where the word stands; both begin at 1.
    pub(super) fn in_source(&self, source: &str) -> String {
        let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
        let stands = |word: &str| {
            let is_alone = |at: &usize| {
                !source[..*at].ends_with(part_of_word) && !source[at + word.len()..].starts_with(part_of_word)
            };
            source.match_indices(word).map(|(at, _)| at).find(is_alone)
        };
        // `a["b"]` says `a.b` in other words.
        let mut word = self.word.as_str();
        let found = loop {
            match (stands(word), word.rsplit_once('.')) {
                (Some(at), _) => break at,
                (None, Some((shorter, _))) => word = shorter,
                (None, None) => break 0,
            }
        };
        let before = &source[..found];
        let (line, column) =
            (before.matches('\n').count() + 1, before.rsplit('\n').next().unwrap_or_default().chars().count() + 1);
        format!("line {line}, column {column}: {}", self.why)
    }
}

/// A name and the members chosen of it, and whether the question is only if it is there: `a.b["c"]`, `has(a.b)` and `"b" in a` are such.
fn path(expression: &Expr) -> Option<(Vec<String>, bool)> {
    let chosen = |operand: &Expr, member: &str, is_test: bool| {
        let (mut members, _) = path(operand).filter(|(_, is_test)| !is_test)?;
        members.push(member.to_owned());
        Some((members, is_test))
    };
    match expression {
        Expr::Ident(name) => Some((vec![name.clone()], false)),
        Expr::Select(select) => chosen(&select.operand.expr, &select.field, select.test),
        Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
            (INDEX, [operand, member]) => chosen(&operand.expr, text(&member.expr)?, false),
            (IN, [member, operand]) => chosen(&operand.expr, text(&member.expr)?, true),
            _ => None,
        },
        _ => None,
    }
}

fn text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
