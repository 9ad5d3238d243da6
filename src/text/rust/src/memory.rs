//! Where memory ends: Rust aborts the process when an allocation fails, so a vault of addresses is kept aside for that, and where
//! the vault is full, too, the program is asked for a part of its reserve (`base/memory_reserve.h`) and the allocation is tried again.
//!
//! A vault, because memory that is freed for another try may be somebody else's by then.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;

use linked_list_allocator::Heap;

type Release = extern "C" fn() -> bool;

const VAULT_BYTES: usize = 64 << 20; // addresses: untouched pages take no memory

static RELEASE: AtomicUsize = AtomicUsize::new(0); // a Release, 0 = none
static VAULT_AT: AtomicUsize = AtomicUsize::new(0); // 0 = none
static VAULT: Mutex<Heap> = Mutex::new(Heap::empty());

/// Takes the vault, once. release: frees memory for another try and says whether it did; null = none. Any thread calls it; it must
/// not call back.
#[no_mangle]
pub extern "C" fn umbel_on_memory_failure(release: Option<Release>) {
    RELEASE.store(release.map_or(0, |function| function as usize), Ordering::Release);
    let Ok(mut heap) = VAULT.lock() else { return };
    if VAULT_AT.load(Ordering::Acquire) != 0 {
        return;
    }
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: new addresses, which nobody but the heap uses from here on.
    unsafe {
        let place = libc::mmap(null_mut(), VAULT_BYTES, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0);
        if place == libc::MAP_FAILED {
            return; // tried again at the next tokenizer
        }
        heap.init(place.cast(), VAULT_BYTES);
        VAULT_AT.store(place as usize, Ordering::Release);
    }
}

fn is_in_vault(place: *mut u8) -> bool {
    let at = VAULT_AT.load(Ordering::Relaxed); // who holds such a place has seen it
    at != 0 && (place as usize).wrapping_sub(at) < VAULT_BYTES
}

fn from_vault(layout: Layout) -> *mut u8 {
    if VAULT_AT.load(Ordering::Acquire) == 0 {
        return null_mut();
    }
    let Ok(mut heap) = VAULT.lock() else { return null_mut() };
    heap.allocate_first_fit(layout).map_or(null_mut(), NonNull::as_ptr)
}

fn released() -> bool {
    let address = RELEASE.load(Ordering::Acquire);
    // SAFETY: what umbel_on_memory_failure stored.
    address != 0 && unsafe { std::mem::transmute::<usize, Release>(address) }()
}

#[cold]
fn insist(layout: Layout) -> *mut u8 {
    loop {
        let place = from_vault(layout);
        if !place.is_null() || !released() {
            return place;
        }
        // SAFETY: the caller's layout.
        let place = unsafe { System.alloc(layout) };
        if !place.is_null() {
            return place;
        }
    }
}

struct Insistent;

// SAFETY: a place is the system's or the vault's, which its address tells; both keep the layout.
unsafe impl GlobalAlloc for Insistent {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let place = unsafe { System.alloc(layout) };
        if place.is_null() { insist(layout) } else { place }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let place = unsafe { System.alloc_zeroed(layout) };
        if !place.is_null() {
            return place;
        }
        let place = insist(layout);
        if !place.is_null() {
            unsafe { place.write_bytes(0, layout.size()) };
        }
        place
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !is_in_vault(place) {
            let grown = unsafe { System.realloc(place, layout, size) };
            if !grown.is_null() {
                return grown;
            }
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return null_mut() };
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            unsafe {
                moved.copy_from_nonoverlapping(place, layout.size().min(size));
                self.dealloc(place, layout);
            }
        }
        moved
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if !is_in_vault(place) {
            return unsafe { System.dealloc(place, layout) };
        }
        if let (Ok(mut heap), Some(place)) = (VAULT.lock(), NonNull::new(place)) {
            unsafe { heap.deallocate(place, layout) };
        }
    }
}

#[global_allocator]
static ALLOCATOR: Insistent = Insistent;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_the_vault_grows_shrinks_and_goes() {
        umbel_on_memory_failure(None);
        let layout = Layout::from_size_align(1 << 20, 16).unwrap();
        let place = from_vault(layout);
        assert!(is_in_vault(place));
        unsafe {
            place.write_bytes(7, 1 << 20);
            let grown = ALLOCATOR.realloc(place, layout, 3 << 20);
            assert!(!grown.is_null() && *grown.add((1 << 20) - 1) == 7);
            ALLOCATOR.dealloc(grown, Layout::from_size_align(3 << 20, 16).unwrap());
        }
        let whole = Layout::from_size_align(VAULT_BYTES - (1 << 16), 16).unwrap();
        let all = from_vault(whole); // what went is there again, in one piece
        assert!(is_in_vault(all));
        assert!(from_vault(layout).is_null());
        unsafe { ALLOCATOR.dealloc(all, whole) };
    }
}
