//! The virtio-gpu driver of the crate `virtio-drivers`, which we did not
//! write, against our device: display info, EDID, a framebuffer, a cursor.
//!
//! It brings its own virtqueues, so it stands in for the embedded guest; the
//! VMM around it is `vhost`'s frontend. Everything from the socket down is
//! what QEMU meets.
#![expect(
    unsafe_code,
    reason = "the driver's HAL hands out pointers to the guest's memory"
)]

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock};

use landbridge_device_gpu::display::Event;
use landbridge_device_gpu::{FakeDisplay, Gpu, GpuConfig, Mode, Output};
use landbridge_dmabuf::{Memfd, memfd::Options};
use landbridge_exchange::{Exchange, Limits, Tenant};
use landbridge_transport::{Backend, Link};
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_drivers::device::gpu::VirtIOGpu;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use virtio_drivers::{BufferDirection, Hal, PAGE_SIZE, PhysAddr};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const RAM_BASE: u64 = 0x1000_0000;
const RAM_SIZE: usize = 32 << 20;
const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;

/// The guest's memory. The driver's HAL has no `self`, so there is one.
struct Ram {
    file: OwnedFd,
    start: NonNull<u8>,
    taken: Mutex<Vec<bool>>,
}

// SAFETY: the pointer is an address that belongs to no thread, and which parts
// of the memory are whose is kept under the lock.
unsafe impl Send for Ram {}
// SAFETY: as above.
unsafe impl Sync for Ram {}

fn ram() -> &'static Ram {
    static RAM: OnceLock<Ram> = OnceLock::new();
    RAM.get_or_init(|| {
        let memfd = Memfd::create("guest", RAM_SIZE as u64, Options::default()).unwrap();
        let file = OwnedFd::from(memfd);
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing is mapped.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                RAM_SIZE,
                protection,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )
        };
        Ram {
            file,
            start: NonNull::new(start.unwrap().cast()).unwrap(),
            taken: Mutex::new(vec![false; RAM_SIZE / PAGE_SIZE]),
        }
    })
}

impl Ram {
    fn take(&self, pages: usize) -> PhysAddr {
        let mut taken = self.taken.lock().unwrap();
        let first = taken
            .windows(pages)
            .position(|pages| !pages.contains(&true))
            .expect("enough memory");
        taken[first..first + pages].fill(true);
        RAM_BASE + (first * PAGE_SIZE) as u64
    }

    fn give(&self, address: PhysAddr, pages: usize) {
        let first = (address - RAM_BASE) as usize / PAGE_SIZE;
        self.taken.lock().unwrap()[first..first + pages].fill(false);
    }

    fn at(&self, address: PhysAddr) -> NonNull<u8> {
        let offset = (address - RAM_BASE) as usize;
        assert!(offset < RAM_SIZE);
        // SAFETY: the offset was just checked to be within the mapping.
        unsafe { self.start.add(offset) }
    }

    fn free_pages(&self) -> usize {
        let taken = self.taken.lock().unwrap();
        taken.iter().filter(|taken| !**taken).count()
    }
}

struct GuestHal;

// SAFETY: `dma_alloc` returns page-aligned, zeroed pages of a mapping that is
// never undone, and no two that are taken at once overlap.
unsafe impl Hal for GuestHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        let address = ram().take(pages);
        let start = ram().at(address);
        // SAFETY: the pages were just taken: mapped, writable, nobody else's.
        unsafe { start.write_bytes(0, pages * PAGE_SIZE) };
        (address, start)
    }

    unsafe fn dma_dealloc(address: PhysAddr, _: NonNull<u8>, pages: usize) -> i32 {
        ram().give(address, pages);
        0
    }

    unsafe fn mmio_phys_to_virt(_: PhysAddr, _: usize) -> NonNull<u8> {
        unreachable!("there is no MMIO")
    }

    unsafe fn share(buffer: NonNull<[u8]>, direction: BufferDirection) -> PhysAddr {
        let address = ram().take(buffer.len().div_ceil(PAGE_SIZE));
        if direction != BufferDirection::DeviceToDriver {
            let source = buffer.cast::<u8>();
            // SAFETY: the caller vouches for the buffer; the pages were just
            // taken for at least its length, and are not where it is.
            unsafe {
                ram()
                    .at(address)
                    .copy_from_nonoverlapping(source, buffer.len())
            };
        }
        address
    }

    unsafe fn unshare(address: PhysAddr, buffer: NonNull<[u8]>, direction: BufferDirection) {
        if direction != BufferDirection::DriverToDevice {
            let target = buffer.cast::<u8>();
            // SAFETY: the caller vouches for the buffer and that `address` is
            // what `share` returned for it.
            unsafe {
                ram()
                    .at(address)
                    .copy_to_nonoverlapping(target, buffer.len())
            };
        }
        ram().give(address, buffer.len().div_ceil(PAGE_SIZE));
    }
}

/// vhost-user as the driver's transport.
struct Vmm {
    frontend: Frontend,
    status: DeviceStatus,
    kicks: Vec<Option<EventFd>>,
}

impl Vmm {
    fn connect(backend: &Backend) -> (Self, landbridge_transport::Connection) {
        let (stream, connection) = backend.connect().unwrap();
        let mut frontend = Frontend::from_stream(stream, 2);
        frontend.set_owner().unwrap();
        frontend.get_features().unwrap();
        let protocol = frontend.get_protocol_features().unwrap();
        let wanted = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::REPLY_ACK;
        frontend.set_protocol_features(protocol & wanted).unwrap();
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        let vmm = Self {
            frontend,
            status: DeviceStatus::empty(),
            kicks: vec![None, None],
        };
        (vmm, connection)
    }
}

impl Transport for Vmm {
    fn device_type(&self) -> DeviceType {
        DeviceType::GPU
    }

    fn read_device_features(&mut self) -> u64 {
        self.frontend.get_features().unwrap()
    }

    fn write_driver_features(&mut self, features: u64) {
        let features = features | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        self.frontend.set_features(features).unwrap();
        let memory = VhostUserMemoryRegionInfo {
            guest_phys_addr: RAM_BASE,
            memory_size: RAM_SIZE as u64,
            userspace_addr: RAM_BASE,
            mmap_offset: 0,
            mmap_handle: ram().file.as_raw_fd(),
        };
        self.frontend.set_mem_table(&[memory]).unwrap();
    }

    fn max_queue_size(&mut self, _: u16) -> u32 {
        landbridge_transport::backend::MAX_QUEUE_SIZE as u32
    }

    fn notify(&mut self, queue: u16) {
        let kick = self.kicks[usize::from(queue)].as_ref().unwrap();
        kick.write(1).unwrap();
    }

    fn get_status(&self) -> DeviceStatus {
        self.status
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.status = status;
    }

    fn set_guest_page_size(&mut self, _: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        let index = usize::from(queue);
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let (kick, call) = (event(), event());
        let vmm = &mut self.frontend;
        vmm.set_vring_num(index, size as u16).unwrap();
        vmm.set_vring_base(index, 0).unwrap();
        let places = VringConfigData {
            queue_max_size: size as u16,
            queue_size: size as u16,
            flags: 0,
            desc_table_addr: descriptors,
            used_ring_addr: device_area,
            avail_ring_addr: driver_area,
            log_addr: None,
        };
        vmm.set_vring_addr(index, &places).unwrap();
        vmm.set_vring_call(index, &call).unwrap();
        vmm.set_vring_kick(index, &kick).unwrap();
        vmm.set_vring_enable(index, true).unwrap();
        self.kicks[index] = Some(kick);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.frontend.get_vring_base(usize::from(queue)).unwrap();
        self.kicks[usize::from(queue)] = None;
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.kicks[usize::from(queue)].is_some()
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        0
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        let room = vec![0; size_of::<T>()];
        let (_, bytes) = self
            .frontend
            .clone()
            .get_config(
                offset as u32,
                room.len() as u32,
                VhostUserConfigFlags::empty(),
                &room,
            )
            .unwrap();
        Ok(T::read_from_bytes(&bytes).unwrap())
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> virtio_drivers::Result<()> {
        let flags = VhostUserConfigFlags::WRITABLE;
        self.frontend
            .set_config(offset as u32, flags, value.as_bytes())
            .unwrap();
        Ok(())
    }
}

fn last_picture(display: &FakeDisplay) -> ((u32, u32), Vec<u8>) {
    let flushed = display
        .take()
        .into_iter()
        .rev()
        .find_map(|event| match event {
            Event::Flushed { size, pixels, .. } => Some((size, pixels)),
            _ => None,
        });
    let (size, pixels) = flushed.expect("a picture was shown");
    (size, pixels.expect("its pixels could be read"))
}

/// A pattern, as the driver writes it (B8G8R8A8) and as it should be shown.
fn pattern(width: u32, height: u32) -> (Vec<u8>, Vec<u8>) {
    let pixels = (0..width * height).map(|i| {
        let [red, green, blue] = [(i % width) as u8, (i / width) as u8, (i * 7) as u8];
        ([blue, green, red, 0xff], [red, green, blue, 0xff])
    });
    let (written, shown): (Vec<[u8; 4]>, Vec<[u8; 4]>) = pixels.unzip();
    (written.concat(), shown.concat())
}

fn drive(backend: &Backend, display: &FakeDisplay) {
    let (vmm, connection) = Vmm::connect(backend);
    let mut gpu = VirtIOGpu::<GuestHal, _>::new(vmm).unwrap();

    assert_eq!(gpu.resolution().unwrap(), (WIDTH, HEIGHT));
    assert_eq!(gpu.edid_preferred_resolution().unwrap(), (WIDTH, HEIGHT));

    for (width, height) in [(WIDTH, HEIGHT), (200, 100), (WIDTH, HEIGHT)] {
        let (written, shown) = pattern(width, height);
        let frame = gpu.change_resolution(width, height).unwrap();
        frame[..written.len()].copy_from_slice(&written);
        gpu.flush().unwrap();
        assert!(last_picture(display) == ((width, height), shown));
    }

    let shape = vec![0x80; 64 * 64 * 4];
    gpu.setup_cursor(&shape, 100, 50, 3, 4).unwrap();
    let cursor = |position, hot_spot| Event::Cursor {
        scanout: 0,
        shown: true,
        position,
        hot_spot,
    };
    assert_eq!(display.take(), [cursor((100, 50), (3, 4))]);
    gpu.move_cursor(7, 9).unwrap();
    assert_eq!(display.take(), [cursor((7, 9), (3, 4))]);
    drop(gpu);
    connection.wait().unwrap();
}

#[test]
fn an_independent_driver_works() {
    let tenant = Tenant::new("guest", Limits::default());
    let outputs = vec![Output::new(WIDTH, HEIGHT).unwrap()];
    let window = 1 << 20;
    for mode in [Mode::HostVisible { window }, Mode::GuestImport] {
        let config = GpuConfig::new(outputs.clone(), mode, tenant.clone()).unwrap();
        let link = Link::new();
        let display = Arc::new(FakeDisplay::default());
        let device = Gpu::new(
            config,
            Exchange::new(),
            link.memory(),
            link.mapper(),
            Arc::clone(&display) as _,
        );
        let backend = Backend::new(Arc::new(device), link);
        for _ in 0..2 {
            drive(&backend, &display);
            assert_eq!(ram().free_pages(), RAM_SIZE / PAGE_SIZE);
        }
    }
}
