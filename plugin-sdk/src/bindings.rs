//! The contract as generated code, one small world for each hook: a component exports exactly the hooks whose macro
//! `export_plugin!` invokes. All worlds share the types of `imports`. Exists on wasm alone; `wire` and `host` hide it.

#![allow(missing_docs, reason = "generated")]
#![allow(unsafe_code, reason = "generated: values cross the component boundary as pointers and lengths")]
#![allow(unused_qualifications, unreachable_pub, reason = "generated")]
#![allow(clippy::all, reason = "generated")]

pub mod imports {
    wit_bindgen::generate!({ path: "../wit", world: "with-imports" });
}

pub mod lifecycle {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-lifecycle",
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
        default_bindings_module: "witgate_plugin::bindings::lifecycle",
    });
}

pub mod describe {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-describe",
        pub_export_macro: true,
        export_macro_name: "export_describe",
        default_bindings_module: "witgate_plugin::bindings::describe",
    });
}

pub mod request_hook {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-request-hook",
        pub_export_macro: true,
        export_macro_name: "export_request_hook",
        default_bindings_module: "witgate_plugin::bindings::request_hook",
        with: { "witgate:plugin/types@0.1.0": crate::bindings::imports::witgate::plugin::types },
    });
}

pub mod response_hook {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-response-hook",
        pub_export_macro: true,
        export_macro_name: "export_response_hook",
        default_bindings_module: "witgate_plugin::bindings::response_hook",
        with: { "witgate:plugin/types@0.1.0": crate::bindings::imports::witgate::plugin::types },
    });
}

pub mod request_body {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-request-body",
        pub_export_macro: true,
        export_macro_name: "export_request_body",
        default_bindings_module: "witgate_plugin::bindings::request_body",
        with: {
            "witgate:plugin/types@0.1.0": crate::bindings::imports::witgate::plugin::types,
            "witgate:plugin/body-types@0.1.0": crate::bindings::imports::witgate::plugin::body_types,
        },
    });
}

pub mod response_body {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-response-body",
        pub_export_macro: true,
        export_macro_name: "export_response_body",
        default_bindings_module: "witgate_plugin::bindings::response_body",
        with: {
            "witgate:plugin/types@0.1.0": crate::bindings::imports::witgate::plugin::types,
            "witgate:plugin/body-types@0.1.0": crate::bindings::imports::witgate::plugin::body_types,
        },
    });
}

pub mod whole_request {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-whole-request",
        pub_export_macro: true,
        export_macro_name: "export_whole_request",
        default_bindings_module: "witgate_plugin::bindings::whole_request",
        with: {
            "witgate:plugin/types@0.1.0": crate::bindings::imports::witgate::plugin::types,
            "witgate:plugin/body-types@0.1.0": crate::bindings::imports::witgate::plugin::body_types,
        },
    });
}

pub mod whole_response {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-whole-response",
        pub_export_macro: true,
        export_macro_name: "export_whole_response",
        default_bindings_module: "witgate_plugin::bindings::whole_response",
        with: {
            "witgate:plugin/types@0.1.0": crate::bindings::imports::witgate::plugin::types,
            "witgate:plugin/body-types@0.1.0": crate::bindings::imports::witgate::plugin::body_types,
        },
    });
}
