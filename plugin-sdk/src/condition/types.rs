//! What of an expression's types is known before it runs: enough to find a comparison of text with a number, no more. What a
//! request says in JSON may be anything.

use std::fmt;

use cel::common::ast::LiteralValue;
use cel::common::ast::operators::{
    ADD, CONDITIONAL, DIVIDE, EQUALS, GREATER, GREATER_EQUALS, IN, INDEX, LESS, LESS_EQUALS, LOGICAL_AND, LOGICAL_NOT,
    LOGICAL_OR, MODULO, MULTIPLY, NEGATE, NOT_EQUALS, NOT_STRICTLY_FALSE, SUBSTRACT,
};

use super::names::Fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    List,
    Map,
    Null,
    /// A type is a value, too.
    Meta,
    /// Known when it runs.
    Any,
}

impl Type {
    pub(super) fn of(literal: &LiteralValue) -> Self {
        match literal {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Bytes(_) => Type::Bytes,
            LiteralValue::Double(_) => Type::Double,
            LiteralValue::Int(_) => Type::Int,
            LiteralValue::Null => Type::Null,
            LiteralValue::String(_) => Type::Text,
            LiteralValue::UInt(_) => Type::Uint,
        }
    }

    /// Whether an expression may name a type so.
    pub(super) fn is_name(name: &str) -> bool {
        ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"].contains(&name)
    }

    /// What its members or items are, if it has any.
    pub(super) fn member(self) -> Option<Self> {
        self.is(&[Type::List, Type::Map]).then_some(Type::Any)
    }

    /// What a function or an operator gives for these; `None` where it does not take them.
    pub(super) fn of_call(function: &str, types: &[Type]) -> Result<Option<Self>, Fault> {
        let all = |wanted: &[Type]| types.iter().all(|of| of.is(wanted));
        let given = |result: Type, holds: bool| Ok(holds.then_some(result));
        match (function, types) {
            (LOGICAL_AND | LOGICAL_OR | LOGICAL_NOT | NOT_STRICTLY_FALSE, _) => given(Type::Bool, all(&[Type::Bool])),
            (CONDITIONAL, [condition, one, other]) => {
                given(if one == other { *one } else { Type::Any }, condition.is(&[Type::Bool]))
            }
            (EQUALS | NOT_EQUALS, [one, other]) => given(Type::Bool, one.compares(*other) || all(&[Type::Null])),
            (LESS | LESS_EQUALS | GREATER | GREATER_EQUALS, [one, other]) => {
                given(Type::Bool, one.compares(*other) && all(&ORDERED))
            }
            (ADD, [one, other]) => Ok(one.joined(*other).filter(|of| of.is(&ADDED))),
            (SUBSTRACT | MULTIPLY | DIVIDE | MODULO, [one, other]) => {
                Ok(one.joined(*other).filter(|of| of.is(&NUMBERS)))
            }
            (NEGATE, [one]) => given(*one, one.is(&NUMBERS)),
            (IN, [_, range]) => given(Type::Bool, range.member().is_some()),
            (INDEX, [operand, _]) => Ok(operand.member()),
            ("size", [of]) => given(Type::Int, of.is(&[Type::Text, Type::Bytes, Type::List, Type::Map])),
            ("contains" | "endsWith" | "matches" | "startsWith", [_, _]) => given(Type::Bool, all(&[Type::Text])),
            ("bool", [_]) => Ok(Some(Type::Bool)),
            ("bytes", [_]) => Ok(Some(Type::Bytes)),
            ("double", [_]) => Ok(Some(Type::Double)),
            ("int", [_]) => Ok(Some(Type::Int)),
            ("string", [_]) => Ok(Some(Type::Text)),
            ("uint", [_]) => Ok(Some(Type::Uint)),
            ("type", [_]) => Ok(Some(Type::Meta)),
            ("dyn", [_]) => Ok(Some(Type::Any)),
            _ if FUNCTIONS.contains(&function) => {
                Err(Fault::new(function, format!("`{function}` does not take so many arguments")))
            }
            _ => {
                let why = format!("there is no function `{function}`; there are {}", FUNCTIONS.join(", "));
                Err(Fault::new(function, why))
            }
        }
    }

    /// Whether it is, or may be, one of these.
    fn is(self, wanted: &[Type]) -> bool {
        self == Type::Any || wanted.contains(&self)
    }

    /// Whether values of both can be compared with each other. Numbers of all kinds can.
    fn compares(self, other: Type) -> bool {
        self.joined(other).is_some() || (self.is(&NUMBERS) && other.is(&NUMBERS))
    }

    /// What both are.
    fn joined(self, other: Type) -> Option<Type> {
        match (self, other) {
            (Type::Any, one) | (one, Type::Any) => Some(one),
            (one, other) => (one == other).then_some(one),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::Text => "text",
            Type::Bytes => "bytes",
            Type::List => "list",
            Type::Map => "map",
            Type::Null => "null",
            Type::Meta => "type",
            Type::Any => "any",
        })
    }
}

/// Of a condition; macros are none by then.
const FUNCTIONS: [&str; 13] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "type",
    "dyn",
    "bool",
    "bytes",
    "double",
    "int",
    "string",
    "uint",
];
const NUMBERS: [Type; 3] = [Type::Int, Type::Uint, Type::Double];
const ORDERED: [Type; 6] = [Type::Int, Type::Uint, Type::Double, Type::Bool, Type::Text, Type::Bytes];
const ADDED: [Type; 6] = [Type::Int, Type::Uint, Type::Double, Type::Text, Type::Bytes, Type::List];
