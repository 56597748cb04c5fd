//! `setup`: what an attachment asks for while it is configured.

use http::HeaderName;

use super::{Phase, State};
use crate::plugin::bindings::witgate::plugin::setup;
use crate::plugin::setup::{Setup, WANTS_MAX, Want};

impl State {
    fn setup(&mut self) -> wasmtime::Result<&mut Setup> {
        match &mut self.phase {
            Phase::Configure(setup) => Ok(setup),
            Phase::Idle | Phase::Hook(_) => Err(wasmtime::Error::msg("`setup` may be called in `configure` only")),
        }
    }

    fn want(&mut self, want: Want) -> wasmtime::Result<u16> {
        self.setup()?.key(want).ok_or_else(too_many)
    }
}

impl setup::Host for State {
    fn want_method(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Method)
    }

    fn want_scheme(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Scheme)
    }

    fn want_authority(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Authority)
    }

    fn want_path(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Path)
    }

    fn want_client(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Client)
    }

    fn want_route(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::Route)
    }

    fn want_request_id(&mut self) -> wasmtime::Result<u16> {
        self.want(Want::RequestId)
    }

    fn want_param(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::Param(name.into()))
    }

    fn want_request_header(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::RequestHeader(header_name(&name)?))
    }

    fn want_response_header(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::ResponseHeader(header_name(&name)?))
    }

    fn want_attribute(&mut self, name: String) -> wasmtime::Result<u16> {
        self.want(Want::Attribute(name.into()))
    }

    fn own_header(&mut self, name: String) -> wasmtime::Result<()> {
        let name = header_name(&name)?;
        let owned = &mut self.setup()?.owned_headers;
        if owned.len() >= WANTS_MAX {
            return Err(too_many());
        }
        owned.push(name);
        Ok(())
    }

    fn buffer_request(&mut self, bytes_max: u32) -> wasmtime::Result<()> {
        self.setup()?.buffer_request_bytes = Some(bytes_max);
        Ok(())
    }

    fn buffer_response(&mut self, bytes_max: u32) -> wasmtime::Result<()> {
        self.setup()?.buffer_response_bytes = Some(bytes_max);
        Ok(())
    }

    fn skip_request(&mut self) -> wasmtime::Result<()> {
        self.setup()?.skips_request = true;
        Ok(())
    }

    fn skip_response(&mut self) -> wasmtime::Result<()> {
        self.setup()?.skips_response = true;
        Ok(())
    }

    fn may_fail_open(&mut self) -> wasmtime::Result<()> {
        self.setup()?.may_fail_open = true;
        Ok(())
    }
}

fn header_name(name: &str) -> wasmtime::Result<HeaderName> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| wasmtime::Error::msg(format!("`{name}` is not a header name")))
}

fn too_many() -> wasmtime::Error {
    wasmtime::Error::msg(format!("an attachment may want {WANTS_MAX} values at most"))
}
