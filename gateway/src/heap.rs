//! The heap: whose it is, how large values get there, and when free memory goes back to the system.
//!
//! mimalloc gives back what has been free for a second, on whichever thread frees or takes a page next. After a reload of 10,000 routes that was
//! a worker, which stood still for 25 ms in the midst of its requests. Here the allocator keeps what is free until the control plane, which may
//! wait, gives it back.

#![allow(unsafe_code, reason = "the allocator is a library in C")]

use libmimalloc_sys::{mi_collect, mi_option_set_default, mi_option_t};

/// Frees and reuses memory of one thread without asking the others. Without huge pages (feature `no_thp`): with them an idle connection
/// keeps 29 KiB resident instead of 17, and the idle gateway 20 MiB instead of 13.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A value on the heap that is made there. `Box::new` takes one that is ready, and copies all of its bytes: of a request's future
/// 4 KiB, nearly all of which have no meaning until it runs.
#[inline(always)]
pub fn boxed<T>(make: impl FnOnce() -> T) -> Box<T> {
    // The room comes first, so that the compiler sees where each part of the value ends up.
    Box::write(Box::new_uninit(), make())
}

/// Leaves it to [`give_back`] from now on, unless the environment says otherwise (`MIMALLOC_PURGE_DELAY`, in milliseconds).
pub fn keep_what_is_free() {
    // SAFETY: the number names an option, which may be set at any time.
    unsafe { mi_option_set_default(PURGE_DELAY, NEVER_MS) };
}

/// Gives what is free, whoever freed it, back to the system: some 25 ms for 100 MiB, during which all other threads go on.
pub fn give_back() {
    // SAFETY: it touches only memory that is free.
    unsafe { mi_collect(true) };
}

/// `mi_option_purge_delay` of mimalloc 3, which the bindings do not name.
const PURGE_DELAY: mi_option_t = 15;
/// An hour. With a negative number mimalloc would not even note what there is to give back.
const NEVER_MS: i64 = 3_600_000;

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_the_delay() {
        // SAFETY: the number names an option, or is past the last one, which mimalloc answers with 0.
        let delay = || unsafe { mi_option_get(PURGE_DELAY) };
        // What mimalloc 3 has for it, and for no other option.
        assert_eq!(delay(), 1000);
        keep_what_is_free();
        assert_eq!(delay(), NEVER_MS);
        give_back();
    }
}
