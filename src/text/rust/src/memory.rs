//! Where memory ends: Rust aborts the process when an allocation fails, so before that the program is asked for a part of its
//! reserve (`base/memory_reserve.h`), and the allocation is tried again.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

type Release = extern "C" fn() -> bool;

static RELEASE: AtomicUsize = AtomicUsize::new(0); // a Release, 0 = none

/// release: frees memory for another try and says whether it did; null = none. Any thread calls it; it must not call back.
#[no_mangle]
pub extern "C" fn umbel_on_memory_failure(release: Option<Release>) {
    RELEASE.store(release.map_or(0, |function| function as usize), Ordering::Release);
}

fn released() -> bool {
    let address = RELEASE.load(Ordering::Acquire);
    // SAFETY: what umbel_on_memory_failure stored.
    address != 0 && unsafe { std::mem::transmute::<usize, Release>(address) }()
}

fn insist(mut allocate: impl FnMut() -> *mut u8) -> *mut u8 {
    loop {
        let place = allocate();
        if !place.is_null() || !released() {
            return place;
        }
    }
}

struct Insistent;

// SAFETY: the system's allocator, called again with the same arguments where it gave nothing.
unsafe impl GlobalAlloc for Insistent {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        insist(|| unsafe { System.alloc(layout) })
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        insist(|| unsafe { System.alloc_zeroed(layout) })
    }
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        insist(|| unsafe { System.realloc(place, layout, size) })
    }
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Insistent = Insistent;
