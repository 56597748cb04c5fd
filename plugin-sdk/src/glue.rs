//! From calls of the gateway to calls of the plugin: finds the attachment, decodes its configuration, turns verdicts into their wire form.
//! The test harness calls the same functions, so that what runs natively is what runs on wasm.

use std::mem;

use crate::error::decode;
use crate::wire::{
    RequestHead, RequestVerdict, ResponseHead, ResponseVerdict, WholeRequestVerdict, WholeResponseVerdict,
};
use crate::{Body, Exported, Request, Response, Setup, Transform, Verdict};

/// The attachments that this instance serves, in the order of the gateway's numbers. A gateway has a handful or some hundred of a
/// plugin, so halving a sorted list beats a hash table, and new numbers are mostly the largest.
#[derive(Debug)]
pub struct Attachments<P>(Vec<(u32, P)>);

impl<P> Attachments<P> {
    /// None yet.
    pub const fn new() -> Self {
        Attachments(Vec::new())
    }

    fn position(&self, attachment: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&attachment, |(number, _)| *number)
    }

    fn get(&self, attachment: u32) -> &P {
        let at = self
            .position(attachment)
            .expect("the gateway configures an attachment on an instance before it calls a hook of it");
        &self.0[at].1
    }

    /// Returns the one that had this number, if there was one.
    fn insert(&mut self, attachment: u32, plugin: P) -> Option<P> {
        match self.position(attachment) {
            Ok(at) => Some(mem::replace(&mut self.0[at].1, plugin)),
            Err(at) => {
                self.0.insert(at, (attachment, plugin));
                None
            }
        }
    }

    fn remove(&mut self, attachment: u32) -> Option<P> {
        self.position(attachment).ok().map(|at| self.0.remove(at).1)
    }
}

impl<P> Default for Attachments<P> {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn configure<P: Exported>(attachment: u32, config: &str) -> Result<(), String> {
    let config = decode(config).map_err(|error| error.to_string())?;
    let plugin = P::configure(config, &mut Setup { _private: () }).map_err(|error| error.to_string())?;
    let old = P::attachments().with_borrow_mut(|all| all.insert(attachment, plugin));
    // Dropped outside the borrow, because the drop is the author's code.
    drop(old);
    Ok(())
}

pub(crate) fn release<P: Exported>(attachment: u32) {
    let plugin = P::attachments().with_borrow_mut(|all| all.remove(attachment));
    drop(plugin);
}

pub(crate) fn on_request<P: Exported>(attachment: u32, head: RequestHead) -> RequestVerdict {
    P::attachments().with_borrow(|all| {
        let mut request = Request::new(&head);
        match all.get(attachment).on_request(&mut request) {
            Verdict::Next => RequestVerdict::Next(request.into_edits()),
            Verdict::Respond(reply) => RequestVerdict::Respond(reply.into_wire()),
        }
    })
}

pub(crate) fn on_response<P: Exported>(attachment: u32, head: ResponseHead) -> ResponseVerdict {
    P::attachments().with_borrow(|all| {
        let mut response = Response::new(&head);
        match all.get(attachment).on_response(&mut response) {
            Verdict::Next => ResponseVerdict::Next(response.into_edits()),
            Verdict::Respond(reply) => ResponseVerdict::Respond(reply.into_wire()),
        }
    })
}

pub(crate) fn open_request_body<P: Exported>(attachment: u32, head: RequestHead) -> Option<Box<dyn Transform>> {
    P::attachments().with_borrow(|all| all.get(attachment).on_request_body(&Request::new(&head)))
}

pub(crate) fn open_response_body<P: Exported>(attachment: u32, head: ResponseHead) -> Option<Box<dyn Transform>> {
    P::attachments().with_borrow(|all| all.get(attachment).on_response_body(&Response::new(&head)))
}

pub(crate) fn on_whole_request<P: Exported>(attachment: u32, head: RequestHead, body: &[u8]) -> WholeRequestVerdict {
    P::attachments().with_borrow(|all| {
        let mut request = Request::new(&head);
        let mut body = Body::new(body);
        match all.get(attachment).on_whole_request(&mut request, &mut body) {
            Verdict::Next => WholeRequestVerdict::Next((request.into_edits(), body.into_replaced())),
            Verdict::Respond(reply) => WholeRequestVerdict::Respond(reply.into_wire()),
        }
    })
}

pub(crate) fn on_whole_response<P: Exported>(attachment: u32, head: ResponseHead, body: &[u8]) -> WholeResponseVerdict {
    P::attachments().with_borrow(|all| {
        let mut response = Response::new(&head);
        let mut body = Body::new(body);
        match all.get(attachment).on_whole_response(&mut response, &mut body) {
            Verdict::Next => WholeResponseVerdict::Next((response.into_edits(), body.into_replaced())),
            Verdict::Respond(reply) => WholeResponseVerdict::Respond(reply.into_wire()),
        }
    })
}

/// The traits that the generated exports call, for every plugin. They are linked only where `export_plugin!` exports them.
#[cfg(target_arch = "wasm32")]
mod exports {
    use std::cell::RefCell;
    use std::sync::Once;

    use crate::bindings::{
        describe, lifecycle, request_body, request_hook, response_body, response_hook, whole_request, whole_response,
    };
    use crate::wire::{
        End, RequestHead, RequestVerdict, ResponseHead, ResponseVerdict, Step, WholeRequestVerdict,
        WholeResponseVerdict,
    };
    use crate::{Described, Exported, Transform};

    /// A transform behind the handle that the gateway holds.
    pub struct Running(RefCell<Box<dyn Transform>>);

    impl<P: Exported> lifecycle::exports::witgate::plugin::lifecycle::Guest for P {
        fn configure(attachment: u32, config: String) -> Result<(), String> {
            log_panics();
            super::configure::<P>(attachment, &config)
        }

        fn release(attachment: u32) {
            super::release::<P>(attachment);
        }
    }

    impl<P: Described> describe::exports::witgate::plugin::describe::Guest for P {
        fn schema() -> String {
            log_panics();
            P::schema()
        }
    }

    impl<P: Exported> request_hook::exports::witgate::plugin::request_hook::Guest for P {
        fn on_request(attachment: u32, head: RequestHead) -> RequestVerdict {
            super::on_request::<P>(attachment, head)
        }
    }

    impl<P: Exported> response_hook::exports::witgate::plugin::response_hook::Guest for P {
        fn on_response(attachment: u32, head: ResponseHead) -> ResponseVerdict {
            super::on_response::<P>(attachment, head)
        }
    }

    impl<P: Exported> request_body::exports::witgate::plugin::request_body::Guest for P {
        type Transform = Running;

        fn open(
            attachment: u32,
            head: RequestHead,
        ) -> Option<request_body::exports::witgate::plugin::request_body::Transform> {
            let transform = super::open_request_body::<P>(attachment, head)?;
            Some(request_body::exports::witgate::plugin::request_body::Transform::new(Running(RefCell::new(transform))))
        }
    }

    impl request_body::exports::witgate::plugin::request_body::GuestTransform for Running {
        fn chunk(&self, data: Vec<u8>) -> Step {
            self.0.borrow_mut().chunk(&data).into_wire()
        }

        fn finish(&self) -> End {
            self.0.borrow_mut().finish().into_wire()
        }
    }

    impl<P: Exported> response_body::exports::witgate::plugin::response_body::Guest for P {
        type Transform = Running;

        fn open(
            attachment: u32,
            head: ResponseHead,
        ) -> Option<response_body::exports::witgate::plugin::response_body::Transform> {
            let transform = super::open_response_body::<P>(attachment, head)?;
            Some(response_body::exports::witgate::plugin::response_body::Transform::new(Running(RefCell::new(
                transform,
            ))))
        }
    }

    impl response_body::exports::witgate::plugin::response_body::GuestTransform for Running {
        fn chunk(&self, data: Vec<u8>) -> Step {
            self.0.borrow_mut().chunk(&data).into_wire()
        }

        fn finish(&self) -> End {
            self.0.borrow_mut().finish().into_wire()
        }
    }

    impl<P: Exported> whole_request::exports::witgate::plugin::whole_request::Guest for P {
        fn on_request(attachment: u32, head: RequestHead, body: Vec<u8>) -> WholeRequestVerdict {
            super::on_whole_request::<P>(attachment, head, &body)
        }
    }

    impl<P: Exported> whole_response::exports::witgate::plugin::whole_response::Guest for P {
        fn on_response(attachment: u32, head: ResponseHead, body: Vec<u8>) -> WholeResponseVerdict {
            super::on_whole_response::<P>(attachment, head, &body)
        }
    }

    /// A panic aborts the instance, and the gateway sees only a trap: this line is all that tells why. `configure` or
    /// `schema` is the first call of every instance, so nothing runs before it.
    fn log_panics() {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string()))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachments_are_found_until_released() {
        let mut all = Attachments::new();
        // Numbers are sparse, and an instance learns them as requests come.
        for number in (0..10_000).step_by(7).rev().chain((3..10_000).step_by(7)) {
            assert_eq!(all.insert(number, number.to_string()), None);
        }
        assert_eq!((all.get(693).as_str(), all.get(696).as_str()), ("693", "696"));
        assert_eq!(all.remove(693).as_deref(), Some("693"));
        assert_eq!((all.remove(693), all.remove(1)), (None, None));
        assert_eq!(all.insert(696, "again".to_owned()).as_deref(), Some("696"));
        assert_eq!(all.get(696), "again");
    }
}
