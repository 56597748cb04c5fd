//! Components that no gateway should load: each is refused by name and with the reason, within its time and its memory, and what
//! serves goes on as if nothing had been asked.

use std::path::{Path, PathBuf};

use harness::{Config, Handmade, Load, Upstream, guest};
use rustix::process::Signal;
use wasm_encoder::{CodeSection, Component, Function, FunctionSection, Module, ModuleSection, TypeSection, ValType};

use crate::GATEWAY;

/// Exit code of contract §2.
const PLUGIN: i32 = 4;

/// Bytes as a file of a folder.
fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a temporary folder takes files");
    path
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("the system gives a temporary folder")
}

/// A configuration whose only route passes this component.
fn passing(origin: &Upstream, component: &Path, top: &str) -> Config {
    Config::to(origin).top(top).plugin("suspect", component).route("filters: [{ use: suspect }]")
}

/// A gateway does not start on any of these; each refusal names the plugin and holds these words.
async fn assert_refused(cases: &[(&str, PathBuf, &[&str])]) {
    let origin = Upstream::down().await;
    for (what, component, words) in cases {
        let output = GATEWAY.fails(passing(&origin, component, "")).await;
        assert_eq!(output.code, PLUGIN, "{what}: {}", output.stderr);
        for word in [&["suspect"], *words].concat() {
            assert!(output.stderr.contains(word), "{what}: no `{word}` in\n{}", output.stderr);
        }
    }
}

/// An unsigned number in LEB128, as sizes of sections are written.
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).expect("seven bits");
        number >>= 7;
        bytes.push(if number == 0 { low } else { low | 0x80 });
        if number == 0 {
            return bytes;
        }
    }
}

/// A section: its number, its size, its content.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], leb(content.len()).as_slice(), content].concat()
}

const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
const NESTED_COMPONENT: u8 = 4;

/// A component in a component in a component.
fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(COMPONENT.to_vec(), |inner, _| [&COMPONENT[..], &section(NESTED_COMPONENT, &inner)].concat())
}

/// A component that holds one module with so many functions, each with some work for the compiler.
fn compile_bomb(functions: u32) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64, ValType::I64], [ValType::I64]);
    let mut declared = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut body = Function::new([(4, ValType::I64)]);
    let mut sink = body.instructions();
    for round in 0..12_u32 {
        let local = 2 + round % 4;
        sink.local_get(round % 2)
            .local_get(local)
            .i64_mul()
            .i64_const(i64::from(round) + 7)
            .i64_rem_u()
            .local_set(local);
        sink.local_get(local).i64_eqz().if_(wasm_encoder::BlockType::Empty).local_get(0).local_set(1).end();
    }
    sink.local_get(2).local_get(3).i64_add().end();
    for _ in 0..functions {
        declared.function(0);
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

/// The guest `stamp` with so many bytes in a section of its own, which means nothing to anybody.
fn stamp_with_custom_section(bytes: usize) -> Vec<u8> {
    let mut component = std::fs::read(guest("stamp")).expect("a guest");
    component.extend(section(0, &[&[7], b"padding".as_slice(), &vec![0; bytes]].concat()));
    component
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_is_refused_for_what_it_is() {
    let folder = folder();
    let stamp = std::fs::read(guest("stamp")).expect("a guest");
    let file = |name: &str, bytes: &[u8]| file(folder.path(), name, bytes);
    let cut = [0, 4, 8, 9, 100, stamp.len() / 2, stamp.len() - 1];
    let cut: Vec<_> = cut.iter().map(|&length| file(&format!("cut-{length}.wasm"), &stamp[..length])).collect();
    let mut cases: Vec<(&str, PathBuf, &[&str])> = vec![
        ("WebAssembly text", file("text.wasm", b"(component)"), &["not WebAssembly"]),
        ("text of a module", file("module.wat", b"(module (func))"), &["not WebAssembly"]),
        ("a folder", folder.path().to_owned(), &[]),
        ("a core module", file("core.wasm", b"\0asm\x01\0\0\0"), &["core", "component"]),
        ("a layer nobody knows", file("layer.wasm", b"\0asm\x0d\0\x07\0"), &[]),
        ("noise behind the magic", file("noise.wasm", &[&COMPONENT[..], &[0xff; 4096]].concat()), &[]),
        ("noise behind a component", file("tail.wasm", &[&stamp[..], &[0xff; 16]].concat()), &[]),
    ];
    cases.extend(cut.into_iter().map(|path| ("half a component", path, [].as_slice())));
    assert_refused(&cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_another_world_is_told_what_it_lacks() {
    let folder = folder();
    let world = |name: &str, text: &str| file(folder.path(), name, &wat::parse_str(text).expect("valid text"));
    let interface = |name: &str| format!("(component (instance $i) (export \"{name}\" (instance $i)))");
    // A function of this type under our name.
    let lifecycle = |parameters: &str| {
        format!(
            "(component (core module $m (func (export \"f\") {parameters} unreachable)) (core instance $c (instantiate $m))
            (func $f {} (canon lift (core func $c \"f\")))
            (instance $i (export \"configure\" (func $f)) (export \"release\" (func $f)) (export \"on-request\" (func $f)))
            (export \"witgate:plugin/lifecycle@0.1.0\" (instance $i))
            (export \"witgate:plugin/request-hook@0.1.0\" (instance $i)))",
            if parameters.is_empty() { "" } else { "(param \"a\" u32)" }
        )
    };
    let import = "(component (import \"witgate:plugin/teleport@0.1.0\" (instance (export \"go\" (func)))))";
    assert_refused(&[
        ("nothing", guest("no-world"), &["lifecycle"]),
        ("no hook", world("hookless.wasm", &interface("witgate:plugin/lifecycle@0.1.0")), &[]),
        ("no lifecycle", world("lifeless.wasm", &interface("witgate:plugin/request-hook@0.1.0")), &["lifecycle"]),
        ("a hook from the future", world("future.wasm", &interface("witgate:plugin/time-hook@0.1.0")), &["time-hook"]),
        ("a version from the future", world("version.wasm", &interface("witgate:plugin/lifecycle@0.2.0")), &["0.2.0"]),
        ("functions of another type", world("type.wasm", &lifecycle("")), &["type"]),
        ("functions of another type again", world("types.wasm", &lifecycle("(param i32)")), &["type"]),
        ("an import that nobody offers", world("import.wasm", import), &["teleport"]),
        (
            "a file system",
            world(
                "files.wasm",
                "(component (import \"wasi:filesystem/types@9.9.0\" (instance (export \"go\" (func)))))",
            ),
            &["wasi:filesystem"],
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_misbehaves_before_it_serves_is_refused() {
    let folder = folder();
    let made = |name: &str, guest: Handmade| guest.write(folder.path(), name);
    assert_refused(&[
        ("a trap in start", made("start-trap", Handmade::new().does("start", "(unreachable)")), &[]),
        ("a loop in start", made("start-loop", Handmade::new().does("start", "(loop (br 0))")), &["CPU"]),
        ("a bomb in start", made("start-bomb", Handmade::new().does("start", "(loop (drop (memory.grow (i32.const 1))) (br 0))")), &["limits.memory"]),
        ("a trap in configure", made("configure-trap", Handmade::new().does("configure", "(unreachable)")), &["all"]),
        ("a loop in configure", made("configure-loop", Handmade::new().does("configure", "(loop (br 0)) (unreachable)")), &["CPU"]),
        ("a loop behind configure", made("configured-loop", Handmade::new().does("configured", "(loop (br 0))")), &["CPU"]),
        ("an allocator that traps", made("realloc-trap", Handmade::new().does("realloc", "(unreachable)")), &[]),
        ("an allocator that loops", made("realloc-loop", Handmade::new().does("realloc", "(loop (br 0)) (unreachable)")), &["CPU"]),
        ("an allocator that lies", made("realloc-lie", Handmade::new().does("realloc", "(i32.const -8)")), &[]),
        ("more memory than it may have", made("memory", Handmade::new().pages("300")), &["limits.memory"]),
        ("more memory than there is", made("memories", Handmade::new().pages("2000")), &[]),
        ("more of a table than there is", made("table", Handmade::new().field("(table 1000000 funcref)")), &[]),
        ("more tables than there are", made("tables", Handmade::new().field(&"(table 1 funcref)".repeat(100))), &[]),
        ("endless wants", made("wants", Handmade::new()
            .import("witgate:plugin/setup@0.1.0", "", r#"(import "witgate:plugin/setup@0.1.0" "want-param" (func $want (param i32 i32) (result i32)))"#)
            .does("configure", "(local $n i32) (loop (i32.store8 (i32.const 512) (i32.add (i32.const 97) (i32.rem_u (local.get $n) (i32.const 26)))) (i32.store8 (i32.const 513) (i32.add (i32.const 97) (i32.div_u (local.get $n) (i32.const 26)))) (local.set $n (i32.add (local.get $n) (i32.const 1))) (drop (call $want (i32.const 512) (i32.const 2))) (br 0)) (unreachable)")), &[]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_within_components_are_refused_at_any_depth() {
    let folder = folder();
    let nested = |depth: usize| file(folder.path(), &format!("nested-{depth}.wasm"), &nested(depth));
    assert_refused(&[
        ("one", nested(1), &["lifecycle"]),
        ("many", nested(100), &[]),
        ("too many", nested(5_000), &[]),
        ("far too many", nested(100_000), &[]),
    ])
    .await;
}

/// A type of few bytes that stands for more than any machine holds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_of_types_is_refused() {
    let mut text = String::from("(component (type $t0 (tuple u64 u64))");
    for level in 1..60 {
        let below = level - 1;
        text.push_str(&format!("(type $t{level} (tuple $t{below} $t{below}))"));
    }
    text.push_str("(import \"witgate:plugin/log@0.1.0\" (instance (export \"f\" (func (param \"a\" $t59))))))");
    let folder = folder();
    let bomb = file(folder.path(), "types.wasm", &wat::parse_str(text).expect("valid text"));
    assert_refused(&[("types", bomb, &[])]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_custom_section_of_64_mib_is_over_the_limit_and_harmless_beyond() {
    let folder = folder();
    let origin = Upstream::echo().await;
    let component = file(folder.path(), "padded.wasm", &stamp_with_custom_section(64 << 20));
    let config = |top: &str| {
        let filters = "filters: [{ use: suspect, config: { name: x-stamp, value: '1' } }]";
        Config::to(&origin).top(top).plugin("suspect", &component).route(filters)
    };
    let output = GATEWAY.fails(config("")).await;
    assert_eq!(output.code, PLUGIN, "{}", output.stderr);
    assert!(output.stderr.contains("runtime.component"), "{}", output.stderr);
    let gateway = GATEWAY.start(config("runtime: { component: 128MiB }")).await;
    assert_eq!(gateway.client().await.get("/").await.field("x-stamp"), Some("1"));
}

/// A reload that brings a bomb, under load: the bomb is refused within its time, and no request notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compile_bomb_is_refused_in_time_and_traffic_goes_on() {
    let folder = folder();
    let bomb = file(folder.path(), "bomb.wasm", &compile_bomb(60_000));
    assert!(std::fs::metadata(&bomb).expect("the bomb").len() < 16 << 20, "it is within `runtime.component`");
    let origin = Upstream::echo().await;
    for (limit, words) in [("compile_timeout: 2s", "compile_timeout"), ("compile_memory: 64MiB", "compile_memory")] {
        let runtime = format!("workers: 1\nruntime: {{ {limit} }}");
        let mut gateway = GATEWAY.start(Config::to(&origin).top(&runtime)).await;
        let mut load = Load::start(gateway.listener("http"), "/", 2);
        load.answers(100).await;
        let before = gateway.memory_bytes();
        gateway.write_config(passing(&origin, &bomb, &runtime));
        let seen = gateway.log().len();
        gateway.signal(Signal::HUP);
        // Requests are answered from the moment the bomb is there until it is refused.
        load.answers(100).await;
        let line =
            gateway.log().wait_from(seen, "that the reload is over", |line| line.message().contains("reload")).await;
        assert_eq!(line.message(), "reload failed", "{}", line.text);
        assert!(line.text.contains("suspect") && line.text.contains(words), "{limit}: {}", line.text);
        load.answers(100).await;
        let tally = load.stop().await;
        assert_eq!((tally.of(200), tally.failures.as_slice()), (tally.total(), [].as_slice()), "{limit}");
        let after = gateway.memory_bytes();
        assert!(after < before + (64 << 20), "{limit}: {before} bytes became {after}");
        assert_eq!(gateway.reload(Config::to(&origin).top(&runtime)).await, 2, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_cannot_be_instantiated_is_told_so() {
    let folder = folder();
    let trapping = Handmade::new().does("start", "(unreachable)").build();
    let trapping = file(folder.path(), "trapping.wasm", &trapping);
    let large = file(folder.path(), "large.wasm", &Handmade::new().pages("2000").build());
    let origin = Upstream::down().await;
    // The second time its machine code is there.
    for _ in 0..2 {
        let output = GATEWAY.fails(passing(&origin, &trapping, "")).await;
        assert_eq!(output.code, PLUGIN, "{}", output.stderr);
        assert!(output.stderr.contains("plugin `suspect` cannot be instantiated: it trapped"), "{}", output.stderr);
        let output = GATEWAY.fails(passing(&origin, &large, "")).await;
        assert_eq!(output.code, PLUGIN, "{}", output.stderr);
        assert!(output.stderr.contains("does not fit this gateway"), "{}", output.stderr);
        assert!(!output.stderr.contains("cannot be used"), "nothing is wrong with the code itself: {}", output.stderr);
    }
}
