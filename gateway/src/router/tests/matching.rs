//! The rules of matching, one table each. That they hold in every combination is left to `reference`.

use http::Method;

use super::{FieldSpec, ask, check, check_params, equals, exact, matches, prefix, regex, template};

#[test]
fn an_empty_router_finds_nothing() {
    check(&[], "GET a.example/", None);
}

#[test]
fn exact_paths() {
    let specs = [exact("/users"), exact("/")];
    check(&specs, "GET a.example/users", 0);
    check(&specs, "GET a.example/", 1);
    for line in ["GET a.example/users/", "GET a.example/Users", "GET a.example/user"] {
        check(&specs, line, None);
    }
}

#[test]
fn prefixes_take_whole_segments() {
    let specs = [prefix("/users")];
    check(&specs, "GET a.example/users", 0);
    check(&specs, "GET a.example/users/", 0);
    check(&specs, "GET a.example/users/1/orders", 0);
    check(&specs, "GET a.example/usersx", None);
    check(&specs, "GET a.example/user", None);
    check(&specs, "GET a.example/", None);
}

#[test]
fn a_prefix_with_a_slash_takes_what_lies_below() {
    let specs = [prefix("/users/")];
    check(&specs, "GET a.example/users/", 0);
    check(&specs, "GET a.example/users/1", 0);
    check(&specs, "GET a.example/users", None);
    check(&[prefix("/")], "GET a.example/", 0);
    check(&[prefix("/")], "GET a.example/a/b", 0);
}

#[test]
fn the_longest_prefix_wins() {
    let specs = [prefix("/"), prefix("/a"), prefix("/a/b/c"), prefix("/a/b"), prefix("/a/")];
    check(&specs, "GET a.example/x", 0);
    check(&specs, "GET a.example/a", 1);
    check(&specs, "GET a.example/a/x", 4);
    check(&specs, "GET a.example/a/b", 3);
    check(&specs, "GET a.example/a/b/c/d", 2);
}

#[test]
fn template_parameters_take_one_segment() {
    let specs = [template("/users/{id}"), template("/users/{id}/")];
    check(&specs, "GET a.example/users/1", 0);
    check(&specs, "GET a.example/users/1/", 1);
    for line in ["GET a.example/users", "GET a.example/users/", "GET a.example/users/1/x"] {
        check(&specs, line, None);
    }
}

#[test]
fn a_rest_takes_one_segment_or_more() {
    let specs = [template("/files/{*path}")];
    check(&specs, "GET a.example/files/a", 0);
    check(&specs, "GET a.example/files/a/b/", 0);
    check(&specs, "GET a.example/files/", None);
    check(&specs, "GET a.example/files", None);
}

#[test]
fn the_template_with_most_literals_wins() {
    let specs = [
        template("/{a}/{b}"),
        template("/{*rest}"),
        template("/users/{*rest}"),
        template("/users/{b}"),
        template("/users/{b}/{*rest}"),
        template("/users/me"),
        template("/{a}/{b}/orders"),
    ];
    check(&specs, "GET a.example/x/y", 0);
    check(&specs, "GET a.example/x", 1);
    check(&specs, "GET a.example/users/1", 3);
    check(&specs, "GET a.example/users/1/x", 4);
    check(&specs, "GET a.example/users/me", 5);
    // Ahead of `/users/{b}/{*rest}`, which has one literal, too: a rest says less.
    check(&specs, "GET a.example/users/1/orders", 6);
}

#[test]
fn templates_of_one_shape_keep_file_order() {
    let specs = [template("/{a}/x"), template("/x/{b}"), template("/{c}/x")];
    check(&specs, "GET a.example/x/x", 0);
    check(&specs, "GET a.example/y/x", 0);
    check(&specs, "GET a.example/x/y", 1);
}

#[test]
fn regexes_match_the_whole_path() {
    let specs = [regex("/a|/b(?x) # c"), regex("^/n/[0-9]+$")];
    check(&specs, "GET a.example/a", 0);
    check(&specs, "GET a.example/b", 0);
    check(&specs, "GET a.example/n/17", 1);
    for line in ["GET a.example/ax", "GET a.example/x/b", "GET a.example/n/17x"] {
        check(&specs, line, None);
    }
}

#[test]
fn of_regexes_the_first_in_the_file_wins() {
    let specs =
        [regex("/a/.*").header("x-a", FieldSpec::Present(true)), regex("/a/b"), regex("/a/b").methods(&[Method::GET])];
    check(&specs, "GET a.example/a/b", 1);
    check(&specs, ask("GET a.example/a/b").with("x-a", ""), 0);
}

#[test]
fn exact_then_template_then_regex_then_prefix() {
    let specs = [prefix("/a/b"), regex("/a/b"), template("/a/{b}"), exact("/a/b")];
    check(&specs, "GET a.example/a/b", 3);
    check(&specs[..3], "GET a.example/a/b", 2);
    check(&specs[..2], "GET a.example/a/b", 1);
    check(&specs[..1], "GET a.example/a/b", 0);
}

#[test]
fn priority_goes_before_the_path() {
    let specs = [
        exact("/a"),
        prefix("/").priority(1),
        regex("/.*").priority(-1),
        template("/{a}").priority(2).methods(&[Method::PUT]),
    ];
    check(&specs, "GET a.example/a", 1);
    check(&specs, "PUT a.example/a", 3);
    check(&[specs[0].clone(), specs[2].clone()], "GET a.example/a", 0);
}

#[test]
fn hosts_ignore_case_and_a_final_dot() {
    let specs = [prefix("/").hosts(&["Api.Example.com."])];
    check(&specs, "GET api.example.com/", 0);
    check(&specs, "GET API.example.COM/", 0);
    check(&specs, "GET api.example.com./", 0);
    for line in ["GET api.example.com../", "GET example.com/", "GET x.api.example.com/", "GET /"] {
        check(&specs, line, None);
    }
}

#[test]
fn wildcard_hosts_take_one_label_or_more() {
    let specs = [prefix("/").hosts(&["*.example.org"])];
    check(&specs, "GET a.example.org/", 0);
    check(&specs, "GET a.b.Example.org./", 0);
    for line in ["GET example.org/", "GET .example.org/", "GET xexample.org/", "GET a.example.orgx/"] {
        check(&specs, line, None);
    }
}

#[test]
fn exact_host_then_longest_wildcard_then_any() {
    let specs = [
        prefix("/").priority(9),
        prefix("/").hosts(&["*.example.org"]).priority(8),
        prefix("/").hosts(&["*.b.example.org"]).priority(7),
        prefix("/").hosts(&["a.b.example.org"]),
    ];
    check(&specs, "GET a.b.example.org/", 3);
    check(&specs, "GET c.b.example.org/", 2);
    check(&specs, "GET b.example.org/", 1);
    check(&specs, "GET example.org/", 0);
    check(&specs, "GET /", 0);
}

#[test]
fn a_less_specific_host_gets_its_turn() {
    let specs =
        [exact("/any"), exact("/wildcard").hosts(&["*.example.org"]), exact("/exact").hosts(&["a.example.org"])];
    check(&specs, "GET a.example.org/exact", 2);
    check(&specs, "GET a.example.org/wildcard", 1);
    check(&specs, "GET a.example.org/any", 0);
}

#[test]
fn a_star_is_any_host_and_one_route_may_have_several() {
    let specs = [prefix("/").hosts(&["*"]), prefix("/").hosts(&["a.example", "A.example", "*.b.example"])];
    check(&specs, "GET c.example/", 0);
    check(&specs, "GET a.example/", 1);
    check(&specs, "GET x.b.example/", 1);
}

#[test]
fn ipv6_hosts_keep_their_brackets() {
    let specs = [prefix("/").hosts(&["[2001:DB8:0::1]"])];
    check(&specs, "GET [2001:db8::1]/", 0);
    check(&specs, "GET [2001:DB8::1]/", 0);
    check(&specs, "GET [2001:db8::2]/", None);
}

#[test]
fn a_host_beyond_the_limit_is_any_host() {
    let specs = [prefix("/").hosts(&["*.a"])];
    let labels = "a.".repeat(126);
    check(&specs, &*format!("GET {labels}a/"), 0);
    check(&specs, &*format!("GET {labels}aa.a/"), None);
}

#[test]
fn methods() {
    let specs = [exact("/a").methods(&[Method::GET, Method::PUT]), exact("/a"), exact("/b").methods(&[Method::GET])];
    check(&specs, "GET a.example/a", 0);
    check(&specs, "PUT a.example/a", 0);
    check(&specs, "POST a.example/a", 1);
    check(&specs, "POST a.example/b", None);
    // HEAD is not GET.
    check(&specs, "HEAD a.example/b", None);
}

#[test]
fn a_preflight_takes_the_route_of_what_it_announces() {
    let specs = [exact("/a").methods(&[Method::OPTIONS]), exact("/a").methods(&[Method::PUT])];
    let preflight = |method| {
        ask("OPTIONS a.example/a").with("origin", "https://b.example").with("access-control-request-method", method)
    };
    check(&specs, preflight("PUT"), 1);
    check(&specs, preflight("DELETE"), None);
    check(&specs, preflight("not a method"), 0);
    check(&specs, "OPTIONS a.example/a", 0);
    let no_origin = ask("OPTIONS a.example/a").with("access-control-request-method", "PUT");
    check(&specs, no_origin, 0);
    let no_options =
        ask("POST a.example/a").with("origin", "https://b.example").with("access-control-request-method", "PUT");
    check(&specs, no_options, None);
}

#[test]
fn headers() {
    let specs = [
        exact("/").header("x-a", equals("1")),
        exact("/").header("x-a", matches("b+")),
        exact("/").header("x-b", FieldSpec::Present(true)),
        exact("/").header("x-c", FieldSpec::Present(false)),
    ];
    let asked = || ask("GET a.example/");
    check(&specs, asked().with("x-a", "1"), 0);
    check(&specs, asked().with("x-a", "2").with("x-a", "1"), 0);
    check(&specs, asked().with("x-a", "bb"), 1);
    check(&specs, asked().with("x-a", "xbb").with("x-c", ""), None);
    check(&specs, asked().with("x-a", "1, 2").with("x-c", ""), None);
    check(&specs, asked().with("x-b", ""), 2);
    check(&specs, asked(), 3);
    check(&specs, asked().with("x-c", ""), None);
}

#[test]
fn query_parameters() {
    let specs = [
        exact("/").query("a b", equals("1+")),
        exact("/").query("a", matches("é+")),
        exact("/").query("b", FieldSpec::Present(true)),
        exact("/").query("c", FieldSpec::Present(false)),
    ];
    check(&specs, "GET a.example/?a+b=1%2B", 0);
    check(&specs, "GET a.example/?c&a%20b=2&a%20b=1%2B", 0);
    check(&specs, "GET a.example/?a=%C3%A9%C3%A9", 1);
    check(&specs, "GET a.example/?c&a=x%C3%A9", None);
    check(&specs, "GET a.example/?c&b", 2);
    check(&specs, "GET a.example/?d", 3);
    check(&specs, "GET a.example/", 3);
    check(&specs, "GET a.example/?c=", None);
}

#[test]
fn listeners() {
    let specs = [exact("/").listeners(&[1, 2]), exact("/a")];
    check(&specs, ask("GET a.example/").on(1), 0);
    check(&specs, ask("GET a.example/").on(2), 0);
    check(&specs, ask("GET a.example/").on(3), None);
    check(&specs, ask("GET a.example/a").on(3), 1);
}

#[test]
fn method_then_headers_then_query_then_file_order() {
    let present = || FieldSpec::Present(false);
    let specs = [
        exact("/"),
        exact("/"),
        exact("/").query("a", present()),
        exact("/").query("a", present()).query("b", present()),
        exact("/").header("x-a", present()),
        exact("/").header("x-a", present()).header("x-b", present()).listeners(&[0]),
        exact("/").methods(&[Method::GET]),
    ];
    for (count, expected) in [(7, 6), (6, 5), (5, 4), (4, 3), (3, 2), (2, 0)] {
        check(&specs[..count], "GET a.example/", expected);
    }
}

#[test]
fn a_predicate_that_fails_lets_the_next_route_try() {
    let specs = [
        prefix("/"),
        regex("/a/.*").methods(&[Method::PATCH, Method::PUT]),
        template("/a/{b}").methods(&[Method::PUT, Method::POST]),
        exact("/a/b").methods(&[Method::POST]),
    ];
    check(&specs, "POST a.example/a/b", 3);
    check(&specs, "PUT a.example/a/b", 2);
    check(&specs, "PATCH a.example/a/b", 1);
    check(&specs, "GET a.example/a/b", 0);
}

#[test]
fn params() {
    check_params(exact("/a"), "GET a.example/a", &[]);
    check_params(prefix("/"), "GET a.example/a", &[]);
    check_params(template("/a/b"), "GET a.example/a/b", &[]);
    check_params(template("/u/{id}/f/{*rest}"), "GET a.example/u/1%2B/f/a/b/", &[("id", "1%2B"), ("rest", "a/b/")]);
    check_params(template("/{x-1}/"), "GET a.example/v/", &[("x-1", "v")]);
    check_params(
        template("/{a}/{b}/{c}/{d}/{e}"),
        "GET a.example/1/2/3/4/5",
        &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")],
    );
    check_params(regex("/([a-z]+)"), "GET a.example/a", &[]);
    check_params(regex("/(?<a>[a-z]+)(-(?<b>[a-z]+))?(?<c>/.*)?"), "GET a.example/x/y", &[("a", "x"), ("c", "/y")]);
}
