//! What `build` refuses, and what it says about it.

use super::super::pattern::SEGMENTS_MAX;
use super::super::regex::NFA_BYTES_MAX;
use super::super::{BuildError, RouteField, Router};
use super::{FieldSpec, RouteSpec, check_fault, exact, matches, prefix, regex, template};

#[test]
fn hosts_that_no_request_could_have() {
    let fault = |host: &str, part: &str| {
        check_fault(exact("/").hosts(&["a.example", host]), RouteField::Host(1), part);
    };
    fault("", "names no host");
    fault("*.", "names no host");
    fault(".", "names no host");
    fault("a.*.example", "`*` that is not its first label");
    fault("*a.example", "`*` that is not its first label");
    fault("a.example:8080", "has a port");
    fault("bücher.example", "`xn--`");
    fault("a b.example", "has a ' '");
    fault("a/b", "has a '/'");
    fault("a..example", "empty label");
    fault(".a.example", "empty label");
    fault("[::1", "IPv6");
    fault("[a.example]", "IPv6");
    fault(&"a".repeat(254), "longer than 253 bytes");
}

#[test]
fn paths_that_no_request_could_have() {
    let fault = |spec: fn(&str) -> RouteSpec, path: &str, part| {
        check_fault(spec(path), RouteField::Path, part);
    };
    for spec in [exact as fn(&str) -> RouteSpec, prefix, template] {
        fault(spec, "users", "`users` does not begin with `/`");
        fault(spec, "/a%2fb", "an encoded slash");
    }
    for spec in [exact as fn(&str) -> RouteSpec, prefix] {
        fault(spec, "/a//b", "arrives as `/a/b`");
        fault(spec, "/a/../b", "arrives as `/b`");
        fault(spec, "/café", "arrives as `/caf%C3%A9`");
        fault(spec, "", "arrives as `/`");
    }
    fault(template, "/a//{b}", "`//` arrives as `/`");
    fault(template, "/{a}/..", "arrives as `/`");
    fault(template, "/{a}/caf é", "arrives as `/caf%20%C3%A9`");
}

#[test]
fn templates_that_make_no_sense() {
    let fault = |path, part| check_fault(template(path), RouteField::Path, part);
    fault("/{a}/{a}", "two parameters named `a`");
    fault("/{a}/{*a}", "two parameters named `a`");
    fault("/{*a}/b", "nothing may follow");
    fault("/{*a}/", "nothing may follow");
    fault("/{a}.json", "mixes text and a parameter");
    fault("/a{", "mixes text and a parameter");
    fault("/{}", "no parameter");
    fault("/{*}", "no parameter");
    fault("/{a b}", "no parameter");
    fault("/{a*}", "no parameter");
}

#[test]
fn paths_of_too_many_segments() {
    let most = "/a".repeat(SEGMENTS_MAX);
    let more = "/a".repeat(SEGMENTS_MAX + 1);
    Router::build(vec![prefix(&most), template(&most)]).unwrap();
    for spec in [prefix, template] {
        check_fault(spec(&more), RouteField::Path, "129 segments, of 128 allowed");
    }
}

#[test]
fn regexes_that_do_not_compile() {
    let fault = |text: &str, part: &str| check_fault(regex(text), RouteField::Path, part);
    fault("/a(", "`/a(` is not a regex: unclosed group");
    // Joining texts instead of trees would have made this one valid.
    fault("/a)|(?:b", "unopened group");
    fault("/é", "write escapes, such as `%C3%A9`");
    fault("/[a-z]{60000}", &format!("needs more than {NFA_BYTES_MAX} bytes"));
    fault(&"a".repeat(4097), "longer than 4096 bytes");
    let nested = format!("{}{}", "(".repeat(65), ")".repeat(65));
    fault(&nested, "exceed the maximum number of nested");
    check_fault(
        exact("/").header("x-a", FieldSpec::Present(true)).header("x-b", matches("[")),
        RouteField::Header(1),
        "unclosed character class",
    );
    check_fault(exact("/").query("a", matches("(?=a)")), RouteField::Query(0), "look-around");
}

#[test]
fn every_fault_is_reported() {
    let specs = vec![
        exact("a").hosts(&["", "a.example", ":"]).header("x-a", matches("(")).query("b", matches(")")),
        exact("/"),
        template("/{}"),
    ];
    let errors = Router::build(specs).unwrap_err();
    let places: Vec<_> = errors.iter().map(|e| (e.route, e.field)).collect();
    let expected = [
        (0, RouteField::Host(0)),
        (0, RouteField::Host(2)),
        (0, RouteField::Path),
        (0, RouteField::Header(0)),
        (0, RouteField::Query(0)),
        (2, RouteField::Path),
    ];
    assert_eq!(places, expected);
}

#[test]
fn an_error_reads_as_a_sentence() {
    let error = BuildError { route: 3, field: RouteField::Query(1), message: "`(` is not a regex".into() };
    assert_eq!(error.to_string(), "route 3, query parameter 1: `(` is not a regex");
}
