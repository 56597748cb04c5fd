//! What is known of forging tokens: each attempt of RFC 8725 §2, of published CVEs and of testers' lists as a token, with the reason for
//! which it is refused. The unit tests look at the reason, the end-to-end tests at the answer, which must not tell it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "each user takes its part of this; a panic fails its test"
)]

use serde_json::{Value, json};

use super::signer::{Signer, base64, decode};

/// A token that nobody may believe.
pub struct Forgery {
    pub what: String,
    pub token: String,
    /// The name of its refusal.
    pub why: &'static str,
}

/// All of them, against a set of these three keys, of which attackers know the public halves and one good token each.
pub fn forgeries(rsa: &Signer, ec: &Signer, ed: &Signer, claims: &Value) -> Vec<Forgery> {
    let mut list = Vec::new();
    of_algorithms(&mut list, rsa, claims);
    for signer in [rsa, ec, ed] {
        of_keys(&mut list, signer, claims);
        of_spelling(&mut list, &signer.sign(claims));
    }
    of_headers(&mut list, ec, claims);
    of_wrapping(&mut list, ec, claims);
    of_points(&mut list, ec, claims);
    of_scalars(&mut list, ed, claims);
    of_payloads(&mut list, ec, claims);
    list
}

fn forged(list: &mut Vec<Forgery>, what: impl Into<String>, token: String, why: &'static str) {
    list.push(Forgery { what: what.into(), token, why });
}

/// Algorithms that an attacker would like (CVE-2015-9235, CVE-2016-10555).
fn of_algorithms(list: &mut Vec<Forgery>, rsa: &Signer, claims: &Value) {
    for name in ["none", "None", "NONE", "nOnE", "none ", "", "HS1", "RS1", "rs256", "ES256K", "dir"] {
        let header = json!({ "alg": name, "kid": rsa.id }).to_string();
        let unsigned = format!("{}.{}", base64(&header), base64(claims.to_string()));
        forged(list, format!("`{name}` without a signature"), format!("{unsigned}."), "Algorithm");
        forged(list, format!("`{name}` with a signature"), rsa.sign_raw(&header, claims.to_string()), "Algorithm");
    }
    for name in ["HS256", "HS384", "HS512"] {
        let header = json!({ "alg": name, "kid": rsa.id }).to_string();
        for public in rsa.public_bytes() {
            let confused = Signer::of_secret(&public).sign_raw(&header, claims.to_string());
            forged(list, format!("a public key as the secret of {name}"), confused, "Algorithm");
        }
    }
    for name in ["RS512", "PS256", "ES256", "EdDSA"] {
        let header = json!({ "alg": name, "kid": rsa.id }).to_string();
        forged(list, format!("a key of RS256 for {name}"), rsa.sign_raw(&header, claims.to_string()), "Algorithm");
    }
}

/// Keys of one's own, by every name that a careless look-up could resolve (CVE-2018-0114 and lists of testers).
fn of_keys(list: &mut Vec<Forgery>, signer: &Signer, claims: &Value) {
    let evil = Signer::new(signer.algorithm, &signer.id);
    forged(list, format!("another key of {}", signer.algorithm), evil.sign(claims), "Signature");
    let long = "k".repeat(8000);
    for id in [
        "",
        "nobody",
        "../../../../dev/null",
        "/dev/null",
        "..\\..\\nul",
        "' OR '1'='1",
        "x' UNION SELECT 'c2VjcmV0' --",
        "1; sleep 9",
        "|cat /etc/passwd",
        "https://evil.example/key.pem",
        "1\0",
        &long,
    ] {
        let header = json!({ "alg": signer.algorithm, "kid": id }).to_string();
        let name: String = id.chars().take(30).collect();
        forged(list, format!("a key named `{name}`"), evil.sign_raw(&header, claims.to_string()), "UnknownKey");
        let header = json!({ "alg": "HS256", "kid": id }).to_string();
        let empty = Signer::of_secret(b"").sign_raw(&header, claims.to_string());
        forged(list, format!("an empty secret named `{name}`"), empty, "UnknownKey");
    }
}

/// Headers that bring a key or a condition, or that say something twice (RFC 7515 §4.1, RFC 8725 §2.7 to §2.10).
fn of_headers(list: &mut Vec<Forgery>, signer: &Signer, claims: &Value) {
    let evil = Signer::new(signer.algorithm, &signer.id);
    for (name, value) in [
        ("jwk", evil.jwk()),
        ("jku", json!("https://evil.example/jwks.json")),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!([])),
        ("crit", json!(["exp"])),
        ("crit", json!(["exp", "exp"])),
        ("crit", json!(["b64"])),
        ("crit", json!(["https://example.com/unknown"])),
        ("crit", json!("exp")),
        ("crit", Value::Null),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("kid", json!(["1"])),
        ("kid", json!({ "$ne": null })),
        ("kid", Value::Null),
        ("alg", json!(["ES256"])),
        ("alg", Value::Null),
    ] {
        for by in [signer, &evil] {
            let mut header = signer.header();
            header[name] = value.clone();
            let token = by.sign_raw(&header.to_string(), claims.to_string());
            forged(list, format!("the header `{name}: {value}`"), token, "Malformed");
        }
    }
    let (alg, kid) = (signer.algorithm, &signer.id);
    for header in [
        format!(r#"{{"alg":"none","alg":"{alg}","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"{alg}","\u0061lg":"none","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"{alg}","kid":"{kid}","kid":"2"}}"#),
        format!("{{\"alg\":\"{alg}\",\"kid\":\"{kid}\",\"x\":{}1{}}}", "[".repeat(3000), "]".repeat(3000)),
        format!("\u{feff}{{\"alg\":\"{alg}\",\"kid\":\"{kid}\"}}"),
        r#"{"kid":"1"}"#.to_owned(),
        "null".to_owned(),
        String::new(),
    ] {
        let name: String = header.chars().take(60).collect();
        forged(list, format!("the header {name}"), signer.sign_raw(&header, claims.to_string()), "Malformed");
    }
}

/// Tokens in tokens, and tokens of another kind (RFC 7519 §5.2, RFC 7516 §7.1).
fn of_wrapping(list: &mut Vec<Forgery>, signer: &Signer, claims: &Value) {
    let inner = signer.sign(claims);
    let mut header = signer.header();
    header["cty"] = "JWT".into();
    forged(list, "a token in a token", signer.sign_raw(&header.to_string(), &inner), "Malformed");
    forged(list, "a quoted token in a token", signer.sign_raw(&header.to_string(), format!("{inner:?}")), "Malformed");
    let encrypted = base64(r#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#);
    forged(list, "an encrypted token", format!("{encrypted}.a2V5.aXY.dGV4dA.dGFn"), "Malformed");
    let direct = base64(r#"{"alg":"dir","enc":"A128GCM"}"#);
    forged(list, "an encrypted token without a key", format!("{direct}..aXY.dGV4dA.dGFn"), "Malformed");
    let parts: Vec<&str> = inner.split('.').collect();
    let json = json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] });
    forged(list, "the form with several signatures", json.to_string(), "Malformed");
    forged(list, "the flat form", json!({ "payload": parts[1], "signature": parts[2] }).to_string(), "Malformed");
    forged(list, "more than a token may have", signer.sign(&json!({ "x": "x".repeat(20_000) })), "Malformed");
}

/// Other spellings of a good token: who logs, caches or revokes tokens by their text must not be misled.
fn of_spelling(list: &mut Vec<Forgery>, token: &str) {
    let [header, payload, signature]: [&str; 3] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let (signed, cut) = (format!("{header}.{payload}"), signature.len() - 4);
    for (what, other, why) in [
        ("no signature", format!("{signed}."), "Signature"),
        ("half a signature", format!("{signed}.{}", &signature[..signature.len() / 8 * 4]), "Signature"),
        ("a signature of zeros", format!("{signed}.{}", base64(vec![0; decode(signature).len()])), "Signature"),
        ("a longer signature", format!("{signed}.{}", base64([decode(signature), vec![0]].concat())), "Signature"),
        ("changed claims", format!("{header}.{}.{signature}", base64(r#"{"sub":"root"}"#)), "Signature"),
        ("no claims", format!("{header}..{signature}"), "Signature"),
        ("no header", format!(".{payload}.{signature}"), "Malformed"),
        ("one part", header.to_owned(), "Malformed"),
        ("two parts", signed.clone(), "Malformed"),
        ("four parts", format!("{token}.{signature}"), "Malformed"),
        ("points alone", "..".to_owned(), "Malformed"),
        ("three letters", "a.b.c".to_owned(), "Malformed"),
        ("padding of the signature", format!("{token}="), "Malformed"),
        ("padding of the header", format!("{header}=.{payload}.{signature}"), "Malformed"),
        ("the other alphabet", format!("{signed}.+/{}", &signature[2..]), "Malformed"),
        ("an escape", format!("{signed}.%{}", &signature[1..]), "Malformed"),
        ("a break in it", format!("{signed}.{}\r\n{}", &signature[..cut], &signature[cut..]), "Malformed"),
        ("a blank in it", format!("{header} .{payload}.{signature}"), "Malformed"),
        ("a blank before it", format!(" {token}"), "Malformed"),
        ("a break behind it", format!("{token}\n"), "Malformed"),
        ("a NUL behind it", format!("{token}\0"), "Malformed"),
        ("bits that are left over", format!("{signed}.{}", loose(signature)), "Malformed"),
    ] {
        forged(list, what, other, why);
    }
}

/// The same bytes with a last digit whose bits that stand for nothing are not zero.
fn loose(part: &str) -> String {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = part.chars().last().unwrap();
    let next = digits.chars().nth(digits.find(last).unwrap() + 1).unwrap();
    format!("{}{next}", &part[..part.len() - 1])
}

/// Signatures of ECDSA that some take for good ones: out of range (CVE-2022-21449), or written otherwise (RFC 7518 §3.4).
fn of_points(list: &mut Vec<Forgery>, signer: &Signer, claims: &Value) {
    let token = signer.sign(claims);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = decode(signature);
    let (r, s) = signature.split_at(32);
    let (zero, one, order) = ([0; 32], [&[0; 31][..], &[1]].concat(), hex(P256_ORDER));
    let (mut above, most) = (order.clone(), [0xff; 32]);
    above[31] += 1;
    for (what, r, s) in [
        ("r is zero", &zero[..], s),
        ("s is zero", r, &zero[..]),
        ("r is the order", &order, s),
        ("s is the order", r, &order),
        ("both are the order", &order, &order),
        ("r is above the order", &above, s),
        ("s is above the order", r, &above),
        ("both are as large as can be", &most, &most),
        ("both are one", &one, &one),
        ("they are exchanged", s, r),
    ] {
        forged(list, format!("ECDSA: {what}"), format!("{signed}.{}", base64([r, s].concat())), "Signature");
    }
    let integer = |number: &[u8]| [&[2, 33, 0][..], number].concat();
    let der = [&[0x30, 70][..], &integer(r), &integer(s)].concat();
    forged(list, "ECDSA: the signature in DER", format!("{signed}.{}", base64(der)), "Signature");
}

/// A signature of Ed25519 with the order added to its scalar is the same to who does not look (RFC 8032 §5.1.7).
fn of_scalars(list: &mut Vec<Forgery>, signer: &Signer, claims: &Value) {
    let token = signer.sign(claims);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = decode(signature);
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(hex(ED25519_ORDER)) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    forged(list, "EdDSA: a scalar above the order", format!("{signed}.{}", base64(signature)), "Signature");
    // This one holds for whatever message where a key is of small order: see `small_orders`.
    let identity = [&[1][..], &[0; 63]].concat();
    forged(list, "EdDSA: the neutral point", format!("{signed}.{}", base64(identity)), "Signature");
}

/// Well signed, and not to be read: an identity provider that can be misled, or two readers that differ.
fn of_payloads(list: &mut Vec<Forgery>, signer: &Signer, claims: &Value) {
    let own = signer.header().to_string();
    let text = claims.to_string();
    let with = |member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let deep = with(&format!(r#""x":{}1{}"#, "[".repeat(3000), "]".repeat(3000)));
    let timed = |name: &str, value: &str| {
        let mut without = claims.clone();
        without.as_object_mut().unwrap().remove(name);
        without.to_string().replacen('{', &format!("{{\"{name}\":{value},"), 1)
    };
    for (what, payload, why) in [
        ("a claim twice", with(r#""sub":"root""#), "Malformed"),
        ("a claim twice, once escaped", with(r#""s\u0075b":"root""#), "Malformed"),
        ("a name twice, deep inside", with(r#""x":[{"a":1,"a":2}]"#), "Malformed"),
        ("claims that are very deep", deep, "Malformed"),
        ("half a surrogate", with(r#""x":"\ud800""#), "Malformed"),
        ("a mark of byte order", format!("\u{feff}{text}"), "Malformed"),
        ("a list", format!("[{text}]"), "Malformed"),
        ("two objects", format!("{text}{text}"), "Malformed"),
        ("nothing", String::new(), "Malformed"),
        ("`exp` as text", timed("exp", r#""9999999999""#), "Malformed"),
        ("`exp` as a list", timed("exp", "[9999999999]"), "Malformed"),
        ("`exp` as an object", timed("exp", r#"{"$gt":0}"#), "Malformed"),
        ("`exp` as a bool", timed("exp", "true"), "Malformed"),
        ("`exp` as null", timed("exp", "null"), "Malformed"),
        ("`exp` beyond numbers", timed("exp", "1e999"), "Malformed"),
        ("`exp` that is no number", timed("exp", "NaN"), "Malformed"),
        ("`exp` below zero", timed("exp", "-9999999999"), "Expired"),
        ("`exp` at the beginning", timed("exp", "-0.0"), "Expired"),
        ("`exp` with a fraction, long ago", timed("exp", "1.5e9"), "Expired"),
        ("`nbf` as text", timed("nbf", r#""0""#), "Malformed"),
        ("`nbf` as a bool", timed("nbf", "false"), "Malformed"),
        ("`nbf` that never comes", timed("nbf", "1e300"), "NotYetValid"),
    ] {
        forged(list, format!("claims: {what}"), signer.sign_raw(&own, payload), why);
    }
}

/// Keys of Ed25519 in points of small order: for each there are signatures that anybody can make. Without the sign's bit, each way to
/// write them.
pub fn small_orders() -> Vec<Vec<u8>> {
    let prime = |last: u8| [&[last][..], &[0xff; 30], &[0x7f]].concat();
    let small = |first: u8| [&[first][..], &[0; 31]].concat();
    let eighth = |point: &str| hex(point);
    vec![
        small(0),
        small(1),
        prime(0xec),
        prime(0xed),
        prime(0xee),
        eighth("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        eighth("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ]
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// SEC 2 §2.4.2, the first byte first.
const P256_ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
/// RFC 8032 §5.1, the last byte first.
const ED25519_ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
