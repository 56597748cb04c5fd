//! Guests written by hand, in the text form of WebAssembly: what no compiler makes, from ordinary code, of a plugin.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A component with both hooks that behaves, except where it is told otherwise.
///
/// It takes every configuration and passes everything on unchanged. Its functions have the core types that the canonical ABI
/// gives them: `$attachment` and, for the other parameters, names of [`SKELETON`]; those that yield a record or a variant return
/// its address. [`Handmade::RESULT`] is one whose bytes are all zero: "it went well", "no edits".
#[derive(Clone, Default)]
pub struct Handmade {
    fields: String,
    memory: Option<String>,
    bodies: Vec<(&'static str, String)>,
    world: String,
    packages: String,
    schema: Option<String>,
}

impl Handmade {
    /// An address with 64 free bytes behind it, which are zero unless data is put there.
    pub const RESULT: u32 = 1024;

    pub fn new() -> Handmade {
        Handmade::default()
    }

    /// The instructions of a function: `start`, `configure`, `configured` (runs when the result of `configure` has been read),
    /// `release`, `on-request`, `requested`, `on-response`, `responded` or `realloc`.
    ///
    /// # Panics
    /// When there is no such function.
    #[must_use]
    pub fn does(mut self, function: &'static str, instructions: &str) -> Handmade {
        assert!(BODIES.iter().any(|(known, _)| *known == function), "no function is called {function}");
        self.bodies.push((function, instructions.to_owned()));
        self
    }

    /// One more field of the module: a table, a global, data.
    #[must_use]
    pub fn field(mut self, field: &str) -> Handmade {
        let _ = writeln!(self.fields, "{field}");
        self
    }

    /// It exports `describe`, and tells this schema, by these instructions if any are given in the place of an address.
    #[must_use]
    pub fn describes(mut self, schema: &str, instructions: &str) -> Handmade {
        let escaped: String = schema.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        // The result is the address and the length of the text, which lies behind everything else.
        let (text_at, result_at) = (131_072_u32, 2048_u32);
        let result: String = [text_at, u32::try_from(schema.len()).expect("a text that fits a memory")]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        self = self
            .field(&format!("(data (i32.const {result_at}) \"{result}\") (data (i32.const {text_at}) \"{escaped}\")"));
        let pages = 3 + schema.len() / 65_536;
        let instructions =
            if instructions.is_empty() { format!("(i32.const {result_at})") } else { instructions.to_owned() };
        self.schema = Some(instructions);
        self.pages(&pages.to_string())
    }

    /// Pages in place of the two that the memory begins with, and the most that it may have.
    #[must_use]
    pub fn pages(mut self, pages: &str) -> Handmade {
        self.memory = Some(pages.to_owned());
        self
    }

    /// An import: the interface as the world names it, the WIT of its package if it is not ours, and the field that imports a function.
    #[must_use]
    pub fn import(mut self, interface: &str, package: &str, field: &str) -> Handmade {
        let _ = writeln!(self.world, "import {interface};");
        let _ = writeln!(self.packages, "{package}");
        self.fields.insert_str(0, &format!("{field}\n"));
        self
    }

    /// The component.
    ///
    /// # Panics
    /// When it is not well-formed.
    pub fn build(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).unwrap_or_else(|error| panic!("{error}\n{}", self.text()));
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let mut resolve = Resolve::default();
        resolve.push_path(wit).expect("the contract is valid WIT");
        let describe = self.schema.as_ref().map_or("", |_| "export witgate:plugin/describe@0.1.0;\n");
        let world =
            format!("package test:handmade;\nworld guest {{\n{}{EXPORTS}{describe}}}\n{}", self.world, self.packages);
        let package = resolve.push_str("handmade.wit", &world).unwrap_or_else(|error| panic!("{error:?}\n{world}"));
        let world = resolve.select_world(&[package], Some("guest")).expect("the package has one world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("a module takes a section");
        let encoder = ComponentEncoder::default().module(&module).expect("the module fits its world");
        encoder.validate(false).encode().expect("a module with its metadata becomes a component")
    }

    /// The component as a file of the folder.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(format!("{name}.wasm"));
        std::fs::write(&path, self.build()).expect("a temporary folder takes files");
        path
    }

    fn text(&self) -> String {
        let body = |function: &str| {
            let own = self.bodies.iter().rev().find(|(known, _)| *known == function);
            own.map(|(_, body)| body.as_str())
                .or(BODIES.iter().find(|(known, _)| *known == function).map(|(_, body)| *body))
        };
        let mut text = SKELETON.replace("<fields>", &self.fields);
        let schema = self.schema.as_ref().map(|schema| SCHEMA.replace("<schema>", schema)).unwrap_or_default();
        text = text.replace("<describe>", &schema);
        text = text.replace("<pages>", self.memory.as_deref().unwrap_or("2"));
        for (function, _) in BODIES {
            text = text.replace(&format!("<{function}>"), body(function).unwrap_or_default());
        }
        text
    }
}

/// What the functions do where nothing else is said.
const BODIES: &[(&str, &str)] = &[
    ("start", ""),
    ("configure", "(i32.const 1024)"),
    ("configured", ""),
    ("release", ""),
    ("on-request", "(i32.const 1024)"),
    ("requested", ""),
    ("on-response", "(i32.const 1024)"),
    ("responded", ""),
    // Every block of memory is the same one: nothing here is ever read.
    ("realloc", "(i32.const 65536)"),
];

/// The core module; the parameters stand as the canonical ABI lays them out for `wit/hooks.wit`.
const SKELETON: &str = r#"(module
<fields>
(memory (export "memory") <pages>)
(func $start <start>)
(start $start)
(func $realloc (export "cabi_realloc") (param $old i32) (param $old_bytes i32) (param $align i32) (param $bytes i32)
  (result i32) <realloc>)
(func (export "witgate:plugin/lifecycle@0.1.0#configure") (param $attachment i32) (param $config i32)
  (param $config_bytes i32) (result i32) <configure>)
(func (export "cabi_post_witgate:plugin/lifecycle@0.1.0#configure") (param $result i32) <configured>)
(func (export "witgate:plugin/lifecycle@0.1.0#release") (param $attachment i32) <release>)
(func (export "witgate:plugin/request-hook@0.1.0#on-request") (param $attachment i32) (param $has_values i32)
  (param $values i32) (param $values_count i32) (result i32) <on-request>)
(func (export "cabi_post_witgate:plugin/request-hook@0.1.0#on-request") (param $result i32) <requested>)
(func (export "witgate:plugin/response-hook@0.1.0#on-response") (param $attachment i32) (param $status i32)
  (param $origin i32) (param $has_values i32) (param $values i32) (param $values_count i32) (param $has_kept i32)
  (param $kept i32) (param $kept_bytes i32) (result i32) <on-response>)
(func (export "cabi_post_witgate:plugin/response-hook@0.1.0#on-response") (param $result i32) <responded>)
<describe>
)"#;

const SCHEMA: &str = r#"(func (export "witgate:plugin/describe@0.1.0#schema") (result i32) <schema>)"#;

const EXPORTS: &str = "\
export witgate:plugin/lifecycle@0.1.0;
export witgate:plugin/request-hook@0.1.0;
export witgate:plugin/response-hook@0.1.0;
";
