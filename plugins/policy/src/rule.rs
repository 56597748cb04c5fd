//! A rule's expression: parsed, its names found and asked for, and evaluated for each request.

use cel::common::ast::operators::{IN, INDEX};
use cel::common::ast::{EntryExpr, Expr, LiteralValue};
use cel::common::types::CelBool;
use cel::parser::PrattParser;
use cel::{Context, ExecutionError, IdedExpr, Value};
use witgate_plugin::Setup;

use crate::inputs::Inputs;

/// An expression in which each input is one name, such as `request.headers.x-team`.
pub(crate) struct Rule(IdedExpr);

/// What stands at a place of an expression: a name and the members chosen of it.
struct Path {
    members: Vec<String>,
    /// `has(…)` around it.
    is_test: bool,
}

impl Rule {
    /// The error tells line and column of what is wrong.
    pub(crate) fn compile(source: &str, inputs: &mut Inputs, setup: &mut Setup) -> Result<Self, String> {
        let mut expression = PrattParser::new().parse(source).map_err(|faults| match faults.errors.first() {
            Some(fault) => format!("line {}, column {}: {}", fault.pos.0, fault.pos.1, fault.msg),
            None => "is no expression".to_owned(),
        })?;
        let mut names = Names { inputs, setup, scope: Vec::new() };
        names.resolve(&mut expression).map_err(|(word, why)| {
            let (line, column) = place(source, &word);
            format!("line {line}, column {column}: {why}")
        })?;
        Ok(Rule(expression))
    }

    pub(crate) fn applies(&self, context: &Context<'_, '_>) -> Result<bool, ExecutionError> {
        let value = Value::resolve_val(&self.0, context)?;
        let got = || value.get_type().name().to_owned();
        let verdict = value.downcast_ref::<CelBool>().map(|verdict| *verdict.inner());
        verdict.ok_or_else(|| ExecutionError::UnexpectedType { got: got(), want: "bool".to_owned() })
    }
}

/// Replaces what is read of the request by names under which `inputs` will give it.
struct Names<'n> {
    inputs: &'n mut Inputs,
    setup: &'n mut Setup,
    /// Variables of macros such as `exists(x, …)`.
    scope: Vec<String>,
}

/// A word of the source, and what is wrong with it.
type Fault = (String, String);

impl Names<'_> {
    fn resolve(&mut self, expression: &mut IdedExpr) -> Result<(), Fault> {
        if let Some(name) = self.input(&expression.expr)? {
            expression.expr = Expr::Ident(name);
            return Ok(());
        }
        match &mut expression.expr {
            Expr::Call(call) => {
                let is_operator = !call.func_name.starts_with(|first: char| first.is_ascii_alphabetic());
                if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                    return Err((call.func_name.clone(), format!("there is no function `{}`", call.func_name)));
                }
                call.target.iter_mut().try_for_each(|target| self.resolve(target))?;
                call.args.iter_mut().try_for_each(|argument| self.resolve(argument))
            }
            Expr::Comprehension(comprehension) => {
                self.resolve(&mut comprehension.iter_range)?;
                let before = self.scope.len();
                self.scope.extend([comprehension.iter_var.clone(), comprehension.accu_var.clone()]);
                self.scope.extend(comprehension.iter_var2.clone());
                for part in [
                    &mut comprehension.accu_init,
                    &mut comprehension.loop_cond,
                    &mut comprehension.loop_step,
                    &mut comprehension.result,
                ] {
                    self.resolve(part)?;
                }
                self.scope.truncate(before);
                Ok(())
            }
            Expr::Ident(name) if self.scope.contains(name) || TYPES.contains(&name.as_str()) => Ok(()),
            Expr::Ident(name) => Err((name.clone(), format!("there is no `{name}` here"))),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.resolve(element)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.resolve(&mut entry.key)?;
                    self.resolve(&mut entry.value)
                }
                EntryExpr::StructField(_) => Ok(()),
            }),
            Expr::Select(select) => self.resolve(&mut select.operand),
            Expr::Struct(message) => Err((message.type_name.clone(), "messages cannot be made here".to_owned())),
            Expr::Literal(_) | Expr::Unspecified => Ok(()),
        }
    }

    /// The name of the input that an expression as a whole is.
    fn input(&mut self, expression: &Expr) -> Result<Option<String>, Fault> {
        let Some(path) = Path::of(expression) else { return Ok(None) };
        if self.scope.contains(&path.members[0]) {
            return Ok(None);
        }
        let input = self.inputs.want(&path.members, path.is_test, self.setup);
        input.map_err(|why| (path.members.join("."), why))
    }
}

impl Path {
    /// `a.b["c"]`, `has(a.b)` and `"b" in a` are paths.
    fn of(expression: &Expr) -> Option<Self> {
        let chosen = |operand: &Expr, member: &str, is_test| {
            let mut path = Path::of(operand).filter(|path| !path.is_test)?;
            path.members.push(member.to_owned());
            Some(Path { is_test, ..path })
        };
        match expression {
            Expr::Ident(name) => Some(Path { members: vec![name.clone()], is_test: false }),
            Expr::Select(select) => chosen(&select.operand.expr, &select.field, select.test),
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                (INDEX, [operand, member]) => chosen(&operand.expr, text(&member.expr)?, false),
                (IN, [member, operand]) => chosen(&operand.expr, text(&member.expr)?, true),
                _ => None,
            },
            _ => None,
        }
    }
}

fn text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}

/// Line and column of the first place where a word stands; both begin at 1.
fn place(source: &str, word: &str) -> (usize, usize) {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let stands_alone =
        |at: &usize| !source[..*at].ends_with(part_of_word) && !source[at + word.len()..].starts_with(part_of_word);
    let found = source.match_indices(word).map(|(at, _)| at).find(stands_alone);
    let before = &source[..found.unwrap_or_default()];
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Of the standard library, without `matches`, times and optional values. Macros are no calls any more.
const FUNCTIONS: [&str; 12] =
    ["bool", "bytes", "contains", "double", "dyn", "endsWith", "int", "size", "startsWith", "string", "type", "uint"];
const TYPES: [&str; 9] = ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"];
