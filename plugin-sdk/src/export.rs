//! How a plugin becomes a component: the macro that exports it and those of its hooks that are listed, and what it leaves behind for
//! others to read. What the hooks do is `plugin`'s.

use std::cell::RefCell;
use std::thread::LocalKey;

use schemars::{JsonSchema, schema_for};

use crate::Plugin;
use crate::glue::Attachments;

/// The hooks that a component exports. The gateway reads a plugin's rights from them and calls no others.
///
/// ```
/// use witgate_plugin::Hooks;
///
/// let hooks = Hooks { request: true, ..Hooks::NONE };
/// assert!(hooks.any_request() && !hooks.any_response());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks {
    /// [`Plugin::on_request`] is called.
    pub request: bool,
    /// [`Plugin::on_response`] is called.
    pub response: bool,
    /// [`Plugin::on_request_body`] is called.
    pub request_body: bool,
    /// [`Plugin::on_response_body`] is called.
    pub response_body: bool,
    /// [`Plugin::on_whole_request`] is called.
    pub whole_request: bool,
    /// [`Plugin::on_whole_response`] is called.
    pub whole_response: bool,
}

impl Hooks {
    /// No hook at all.
    pub const NONE: Hooks = Hooks {
        request: false,
        response: false,
        request_body: false,
        response_body: false,
        whole_request: false,
        whole_response: false,
    };

    /// Whether anything is called for a request, other than for its response.
    pub const fn any_request(self) -> bool {
        self.request || self.request_body || self.whole_request
    }

    /// Whether anything is called for a response.
    pub const fn any_response(self) -> bool {
        self.response || self.response_body || self.whole_response
    }
}

/// A plugin that [`export_plugin!`](crate::export_plugin) exports; implemented by that macro alone.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig, export_plugin};
/// use witgate_plugin::Exported;
/// # struct Quiet;
/// # impl Plugin for Quiet {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Quiet) }
/// # }
///
/// export_plugin!(Quiet: response);
/// assert!(Quiet::HOOKS.any_response() && !Quiet::HOOKS.any_request());
/// ```
pub trait Exported: Plugin {
    /// What the component exports.
    const HOOKS: Hooks;

    /// What the component tells of its configuration, if it exports `describe`.
    #[cfg(not(target_arch = "wasm32"))]
    #[doc(hidden)]
    fn exported_schema() -> Option<String> {
        None
    }

    #[doc(hidden)]
    fn attachments() -> &'static LocalKey<RefCell<Attachments<Self>>>;
}

/// A plugin that tells what configuration it takes: one whose `export_plugin!` lists `describe`, and so whose configuration
/// has a JSON Schema. Implemented for all of them.
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig};
/// use witgate_plugin::Described;
/// # struct Quiet;
/// # impl Plugin for Quiet {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Quiet) }
/// # }
///
/// assert!(Quiet::schema().contains(r#""additionalProperties":false"#));
/// ```
pub trait Described: Plugin {
    /// The JSON Schema (draft 2020-12) of [`Plugin::Config`], as text. Doc comments of the configuration's types and fields
    /// are its descriptions.
    fn schema() -> String;
}

impl<P: Plugin> Described for P
where
    P::Config: JsonSchema,
{
    fn schema() -> String {
        schema_for!(P::Config).to_value().to_string()
    }
}

/// Export a plugin, and those of its hooks that are listed.
///
/// Only a hook that is listed runs, and only for it does a request pay: a component that does not export the response
/// hook is never called for a response, and one that exports no body hook can neither read nor delay a body. Invoke it
/// once in a crate, at its top level.
///
/// `describe` is no hook: it lets the component carry the JSON Schema of its configuration, so that the gateway finds every
/// fault of a configuration, and its place, before the plugin sees any of it. It needs a configuration that derives
/// [`JsonSchema`]; where it is not listed nothing of that is in the component.
///
/// | name | runs |
/// |---|---|
/// | `describe` | nothing: the component tells the schema of [`Plugin::Config`] |
/// | `request` | [`Plugin::on_request`] |
/// | `response` | [`Plugin::on_response`] |
/// | `request_body` | [`Plugin::on_request_body`] |
/// | `response_body` | [`Plugin::on_response_body`] |
/// | `whole_request` | [`Plugin::on_whole_request`] |
/// | `whole_response` | [`Plugin::on_whole_response`] |
///
/// ```
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig};
/// struct Quiet;
///
/// impl Plugin for Quiet {
///     type Config = NoConfig;
///     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> {
///         Ok(Quiet)
///     }
/// }
///
/// witgate_plugin::export_plugin!(Quiet: describe, request, response);
/// ```
///
/// Any other name is refused when it is compiled:
///
/// ```compile_fail
/// # use witgate_plugin::{Error, Plugin, Setup, config::NoConfig};
/// # struct Quiet;
/// # impl Plugin for Quiet {
/// #     type Config = NoConfig;
/// #     fn configure(_: NoConfig, _: &mut Setup) -> Result<Self, Error> { Ok(Quiet) }
/// # }
/// witgate_plugin::export_plugin!(Quiet: requests);
/// ```
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ident: $($hook:ident),+ $(,)?) => {
        impl $crate::Exported for $plugin {
            const HOOKS: $crate::Hooks = {
                let mut hooks = $crate::Hooks::NONE;
                $($crate::__hook!(hooks $hook);)+
                hooks
            };

            $($crate::__schema!($hook);)+

            fn attachments() -> &'static ::std::thread::LocalKey<::std::cell::RefCell<$crate::glue::Attachments<Self>>> {
                ::std::thread_local! {
                    static ATTACHMENTS: ::std::cell::RefCell<$crate::glue::Attachments<$plugin>> =
                        const { ::std::cell::RefCell::new($crate::glue::Attachments::new()) };
                }
                &ATTACHMENTS
            }
        }

        // Natively nobody but tests calls the plugin, and the compiler would take all of it for dead.
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(<$plugin as $crate::Plugin>::Config, &mut $crate::Setup) -> ::std::result::Result<$plugin, $crate::Error> =
            <$plugin as $crate::Plugin>::configure;

        // A native library with component exports does not link, so they exist on wasm alone.
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            $crate::bindings::lifecycle::export_lifecycle!($plugin with_types_in $crate::bindings::lifecycle);
            $($crate::__export!($plugin $hook);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    ($hooks:ident describe) => {};
    ($hooks:ident request) => {
        $hooks.request = true
    };
    ($hooks:ident response) => {
        $hooks.response = true
    };
    ($hooks:ident request_body) => {
        $hooks.request_body = true
    };
    ($hooks:ident response_body) => {
        $hooks.response_body = true
    };
    ($hooks:ident whole_request) => {
        $hooks.whole_request = true
    };
    ($hooks:ident whole_response) => {
        $hooks.whole_response = true
    };
    ($hooks:ident $other:ident) => {
        compile_error!(concat!(
            "no hook is called `",
            stringify!($other),
            "`; there are `describe`, `request`, `response`, `request_body`, `response_body`, `whole_request` and `whole_response`"
        ))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __schema {
    (describe) => {
        #[cfg(not(target_arch = "wasm32"))]
        fn exported_schema() -> ::std::option::Option<::std::string::String> {
            ::std::option::Option::Some(<Self as $crate::Described>::schema())
        }
    };
    ($other:ident) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ident describe) => {
        $crate::bindings::describe::export_describe!($plugin with_types_in $crate::bindings::describe);
    };
    ($plugin:ident request) => {
        $crate::bindings::request_hook::export_request_hook!($plugin with_types_in $crate::bindings::request_hook);
    };
    ($plugin:ident response) => {
        $crate::bindings::response_hook::export_response_hook!($plugin with_types_in $crate::bindings::response_hook);
    };
    ($plugin:ident request_body) => {
        $crate::bindings::request_body::export_request_body!($plugin with_types_in $crate::bindings::request_body);
    };
    ($plugin:ident response_body) => {
        $crate::bindings::response_body::export_response_body!($plugin with_types_in $crate::bindings::response_body);
    };
    ($plugin:ident whole_request) => {
        $crate::bindings::whole_request::export_whole_request!($plugin with_types_in $crate::bindings::whole_request);
    };
    ($plugin:ident whole_response) => {
        $crate::bindings::whole_response::export_whole_response!($plugin with_types_in $crate::bindings::whole_response);
    };
    // `__hook!` has said what is wrong.
    ($plugin:ident $other:ident) => {};
}
