//! The allocator of plugins on wasm: small blocks come from lists of free ones, one list for each size. What is larger, and where
//! memory comes from in the first place, is the system allocator's.
//!
//! A call of a hook takes a few small blocks and gives back as many of the same sizes. The system's allocator (dlmalloc) splits
//! and merges blocks for that, which took a fifth of the guest's time; here each is a pop or a push, and a call of the request hook that sets one header takes
//! 0.55 us instead of 0.65. In exchange, memory that once was small blocks of a size stays blocks of that size.
//!
//! The one thing it cannot serve is C code that frees what WASI allocated for it, because C's `free` is the system's. Witgate gives
//! plugins an empty WASI, where no call returns such memory; a plugin that has its own reasons can turn off the feature `allocator`.

#![allow(unsafe_code, reason = "an allocator deals in raw memory: Rust has no safe way to be one")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;

/// Not by itself fit for threads: whoever makes a `static` of it answers for that.
pub(crate) struct SizeClasses {
    /// The first free block of each class; each free block holds the address of the next.
    free: [Cell<*mut Block>; CLASSES],
    /// What is left of the chunk that new blocks are cut from.
    chunk: Cell<*mut u8>,
    chunk_bytes: Cell<usize>,
}

/// A free block.
struct Block {
    next: *mut Block,
}

/// Blocks are of 16, 32, 64 … 1024 bytes.
const CLASSES: usize = 7;
const SMALLEST_BYTES: usize = 16;
const LARGEST_BYTES: usize = SMALLEST_BYTES << (CLASSES - 1);

/// Every size is a multiple of it, so every block that is cut from an aligned chunk is aligned.
const ALIGN: usize = SMALLEST_BYTES;

/// What is asked of the system at once. The end of a chunk that is too short for the next block is lost: a quarter at most. Behind a plugin's
/// stack and data there are often some KiB left of the pages that it starts with, and one page more makes a fresh instance half as dear again.
const CHUNK_BYTES: usize = 4 * LARGEST_BYTES;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static GLOBAL: SizeClasses = SizeClasses::new();

// SAFETY: a component has one thread. Where wasm could have more, this file is not compiled (`lib.rs`).
#[cfg(target_arch = "wasm32")]
unsafe impl Sync for SizeClasses {}

impl SizeClasses {
    pub(crate) const fn new() -> Self {
        SizeClasses {
            free: [const { Cell::new(ptr::null_mut()) }; CLASSES],
            chunk: Cell::new(ptr::null_mut()),
            chunk_bytes: Cell::new(0),
        }
    }

    /// Cut a new block from the chunk; null when the system has no more.
    #[cold]
    fn cut(&self, class: usize) -> *mut u8 {
        let bytes = SMALLEST_BYTES << class;
        if self.chunk_bytes.get() < bytes {
            let layout = Layout::from_size_align(CHUNK_BYTES, ALIGN).expect("a chunk has a layout");
            // SAFETY: a chunk is not empty.
            let chunk = unsafe { System.alloc(layout) };
            if chunk.is_null() {
                return chunk;
            }
            self.chunk.set(chunk);
            self.chunk_bytes.set(CHUNK_BYTES);
        }
        let block = self.chunk.get();
        // SAFETY: the chunk has at least this many bytes left.
        self.chunk.set(unsafe { block.add(bytes) });
        self.chunk_bytes.set(self.chunk_bytes.get() - bytes);
        block
    }
}

/// The class that serves a layout, which is the same when it is freed; none for what the system serves.
#[inline]
fn class_of(layout: Layout) -> Option<usize> {
    let small = layout.size() <= LARGEST_BYTES && layout.align() <= ALIGN;
    let sixteenths = layout.size().saturating_sub(1) / SMALLEST_BYTES;
    small.then_some((usize::BITS - sixteenths.leading_zeros()) as usize)
}

// SAFETY: a block that is handed out is in no list and in no chunk, so it overlaps with no other, until it is freed; its class has
// room for its layout, and its address is a multiple of `ALIGN`, which is at least the layout's.
unsafe impl GlobalAlloc for SizeClasses {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            // SAFETY: the caller's promises are those that the system wants.
            return unsafe { System.alloc(layout) };
        };
        let block = self.free[class].get();
        if block.is_null() {
            return self.cut(class);
        }
        // SAFETY: what is in a list was freed, and `dealloc` wrote a `Block` there.
        self.free[class].set(unsafe { (*block).next });
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(class) = class_of(layout) else {
            // SAFETY: `alloc` had it from the system, because the layout is the same.
            return unsafe { System.dealloc(at, layout) };
        };
        let block = at.cast::<Block>();
        // SAFETY: nobody else uses the block any more, it has room for a `Block`, and is aligned for more than that.
        unsafe { block.write(Block { next: self.free[class].get() }) };
        self.free[class].set(block);
    }

    #[inline]
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (class_of(layout), class_of(new_layout)) {
            // The block has room for both.
            (Some(old), Some(new)) if old == new => at,
            // SAFETY: the system gave it, and takes it back.
            (None, None) => unsafe { System.realloc(at, layout, new_size) },
            _ => {
                // SAFETY: neither layout is empty; both blocks hold as many bytes as the smaller size, and do not overlap.
                unsafe {
                    let new = self.alloc(new_layout);
                    if !new.is_null() {
                        ptr::copy_nonoverlapping(at, new, layout.size().min(new_size));
                        self.dealloc(at, layout);
                    }
                    new
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1).unwrap()
    }

    #[test]
    fn a_class_has_room_for_its_layouts() {
        for size in 1..=LARGEST_BYTES {
            let class = class_of(layout(size)).unwrap();
            assert!(size <= SMALLEST_BYTES << class, "{size}");
            assert!(class == 0 || size > SMALLEST_BYTES << (class - 1), "{size} fits a smaller one");
        }
        assert_eq!(class_of(layout(LARGEST_BYTES + 1)), None);
        assert_eq!(class_of(Layout::from_size_align(16, 32).unwrap()), None);
    }

    /// Takes, grows, shrinks and frees blocks in a random order, and looks whether each still holds what was written to it.
    #[test]
    fn blocks_keep_apart() {
        let all = SizeClasses::new();
        let mut live: Vec<(*mut u8, usize, u8)> = Vec::new();
        let mut seed = 1_u32;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % below
        };
        let holds = |(at, size, mark): (*mut u8, usize, u8)| {
            // SAFETY: the block is live, has this size, and was filled.
            unsafe { std::slice::from_raw_parts(at, size) }.iter().all(|&byte| byte == mark)
        };
        for step in 0..20_000_u32 {
            let mark = step.to_le_bytes()[0];
            let new_size = 1 + random(if step % 8 == 0 { 4 * LARGEST_BYTES } else { 80 });
            let at = match random(3) {
                // SAFETY: no layout is empty, and each block is freed or grown with the size that it has.
                0 if !live.is_empty() => unsafe {
                    let old = live.swap_remove(random(live.len()));
                    assert!(holds(old), "step {step}");
                    all.dealloc(old.0, layout(old.1));
                    continue;
                },
                1 if !live.is_empty() => unsafe {
                    let (old, size, mark) = live.swap_remove(random(live.len()));
                    let new = all.realloc(old, layout(size), new_size);
                    assert!(holds((new, size.min(new_size), mark)), "step {step}");
                    new
                },
                _ => unsafe { all.alloc(layout(new_size)) },
            };
            assert!(!at.is_null() && (new_size > LARGEST_BYTES || at.addr().is_multiple_of(ALIGN)));
            // SAFETY: the block is ours and has this size.
            unsafe { at.write_bytes(mark, new_size) };
            live.push((at, new_size, mark));
        }
        assert!(live.iter().all(|&block| holds(block)));
    }

    #[test]
    fn a_freed_block_serves_again() {
        let all = SizeClasses::new();
        // SAFETY: no layout is empty, and each block is freed once.
        unsafe {
            let first = all.alloc(layout(100));
            let second = all.alloc(layout(100));
            all.dealloc(first, layout(100));
            // Another size of the same class.
            assert_eq!(all.alloc(layout(128)), first);
            assert_eq!(all.realloc(first, layout(128), 65), first);
            assert_ne!(all.realloc(first, layout(65), 64), first);
            assert_ne!(all.alloc(layout(64)), second);
        }
    }
}
