//! Does what its configuration says, in this order: edits, a reply, and things that no plugin should do.

use std::time::Duration;

use serde::Deserialize;
use witgate_plugin::{Error, Plugin, Reply, Request, Response, Setup, Verdict, export_plugin, info};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Puppet {
    #[serde(default)]
    request: Vec<Deed>,
    #[serde(default)]
    response: Vec<Deed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Deed {
    SetHeader(String, Text),
    AppendHeader(String, Text),
    RemoveHeader(String),
    SetPath(Text),
    SetQuery(Text),
    SetMethod(Text),
    SetAuthority(Text),
    SetAttribute(Text, Text),
    SelectUpstream(Text),
    Keep(Text),
    SetStatus(u16),
    Reply {
        status: u16,
        #[serde(default)]
        headers: Vec<(String, Text)>,
        #[serde(default)]
        body: Text,
    },
    Log(Text),
    Panic(Text),
    /// Milliseconds.
    Sleep(u64),
    /// Ends the process that it takes itself to be.
    Exit(i32),
    /// Calls itself without end.
    Recurse,
    /// The deeds of a list, so many times.
    Times(u32, Vec<Deed>),
    /// The deeds of a list, without end.
    Forever(Vec<Deed>),
}

/// A text, or a number: so many bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Plain(String),
    Filled(usize),
}

impl Default for Text {
    fn default() -> Self {
        Text::Filled(0)
    }
}

impl Text {
    fn get(&self) -> String {
        match self {
            Text::Plain(text) => text.clone(),
            Text::Filled(bytes) => "x".repeat(*bytes),
        }
    }
}

impl Plugin for Puppet {
    type Config = Puppet;

    fn configure(config: Puppet, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(config)
    }

    fn on_request(&self, request: &mut Request) -> Verdict {
        run(&self.request, &mut |deed| edit_request(request, deed)).map_or(Verdict::Next, Verdict::from)
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        run(&self.response, &mut |deed| edit_response(response, deed)).map_or(Verdict::Next, Verdict::from)
    }
}

/// Runs deeds up to the first reply; what is no edit is done here.
fn run(deeds: &[Deed], edit: &mut dyn FnMut(&Deed)) -> Option<Reply> {
    for deed in deeds {
        match deed {
            Deed::Reply { status, headers, body } => {
                let reply = Reply::new(*status).body(body.get());
                return Some(headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value.get())));
            }
            Deed::Log(text) => info!("{}", text.get()),
            Deed::Panic(text) => panic!("{}", text.get()),
            Deed::Sleep(ms) => std::thread::sleep(Duration::from_millis(*ms)),
            Deed::Exit(code) => std::process::exit(*code),
            Deed::Recurse => drop(recurse(0)),
            Deed::Times(times, deeds) => {
                for _ in 0..*times {
                    if let Some(reply) = run(deeds, edit) {
                        return Some(reply);
                    }
                }
            }
            Deed::Forever(deeds) => loop {
                if let Some(reply) = run(deeds, edit) {
                    return Some(reply);
                }
            },
            deed => edit(deed),
        }
    }
    None
}

/// Uses what comes back, so that no compiler makes a loop of it.
#[allow(unconditional_recursion, reason = "it is what this is for")]
fn recurse(depth: u64) -> u64 {
    std::hint::black_box(recurse(std::hint::black_box(depth) + 1)) + depth
}

fn edit_request(request: &mut Request, deed: &Deed) {
    match deed {
        Deed::SetHeader(name, value) => request.set_header(name, value.get()),
        Deed::AppendHeader(name, value) => request.append_header(name, value.get()),
        Deed::RemoveHeader(name) => request.remove_header(name),
        Deed::SetPath(path) => request.set_path(path.get()),
        Deed::SetQuery(query) => request.set_query(query.get()),
        Deed::SetMethod(method) => request.set_method(method.get()),
        Deed::SetAuthority(authority) => request.set_authority(authority.get()),
        Deed::SetAttribute(name, value) => request.set_attribute(name.get(), value.get()),
        Deed::SelectUpstream(name) => request.select_upstream(name.get()),
        Deed::Keep(bytes) => request.keep(bytes.get()),
        _ => panic!("this edit is not for requests"),
    }
}

fn edit_response(response: &mut Response, deed: &Deed) {
    match deed {
        Deed::SetHeader(name, value) => response.set_header(name, value.get()),
        Deed::AppendHeader(name, value) => response.append_header(name, value.get()),
        Deed::RemoveHeader(name) => response.remove_header(name),
        Deed::SetAttribute(name, value) => response.set_attribute(name.get(), value.get()),
        Deed::SetStatus(status) => response.set_status(*status),
        _ => panic!("this edit is not for responses"),
    }
}

export_plugin!(Puppet: request, response);
