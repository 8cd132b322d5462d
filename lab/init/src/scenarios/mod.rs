//! The claims, one file each.

mod a_buffer_that_comes_back_is_itself;
mod a_console_of_a_stock_guest_is_in_the_screenshot;
mod a_crash_is_a_failure;
mod a_daemon_is_restarted_again_and_again;
mod a_dma_buf_is_not_populated_but_touched;
mod a_dma_buf_of_the_host_is_a_blob_under_kvm;
mod a_driver_comes_and_goes;
mod a_driver_goes_while_a_blob_is_mapped;
mod a_dropped_bracket_loses_bytes;
mod a_forwarded_mapping_has_the_caching_that_was_asked;
mod a_gem_handle_closes_with_its_last_share;
mod a_gpu_is_unplugged_and_plugged_in_again;
mod a_guest_finds_zeroes_where_memory_was_taken_away;
mod a_guest_loses_no_write_while_its_memory_moves;
mod a_guest_maps_as_its_host_does;
mod a_guest_outlives_the_revocation_of_its_memory;
mod a_guest_reaches_a_program_beside_it;
mod a_guest_restarts_under_its_blobs;
mod a_hang_is_a_failure;
mod a_hole_punched_under_a_udmabuf_splits_it;
mod a_host_blob_is_the_same_bytes_on_both_sides;
mod a_hostile_driver_gets_exact_answers;
mod a_hostile_tenant_gets_no_more_than_its_due;
mod a_kernel_panic_is_a_failure;
mod a_killed_machine_is_a_failure;
mod a_machine_boots_with_real_exporters;
mod a_nested_guest_boots_under_kvm;
mod a_partial_mapping_of_shmem_gem_shows_the_wrong_page;
mod a_paused_vm_goes_on_where_it_was;
mod a_stock_guest_shows_a_picture_on_our_device;
mod a_udmabuf_past_its_limits_is_refused;
mod a_vm_survives_its_daemon;
mod an_answer_equals_the_page_table;
mod an_exporter_goes_while_its_buffer_is_mapped;
mod an_ordinary_user_is_told_that_exporters_are_off_limits;
mod blobs_are_refused_as_the_table_says;
mod cycles_of_a_blob_leave_nothing_behind;
mod device_memory_goes_with_its_importers_told;
mod devices_reach_what_was_negotiated;
mod dirty_pages_are_those_that_the_guest_wrote;
mod every_dma_buf_is_listed;
mod every_exporter_of_a_host_is_probed;
mod every_kind_of_blob_is_served_or_refused;
mod exporters_are_as_written_down;
mod fences_hold_a_bracket_back;
mod fences_wait_for_work_on_the_host;
mod foreign_buffers_are_shown_in_place;
mod heaps_and_sync_files_refuse_what_the_table_says;
mod hundreds_of_blobs_live_at_once_and_leave_nothing;
mod kvm_slots_are_refused_as_the_table_says;
mod memory_moves_and_goes_on_real_exporters;
mod memory_moves_between_nodes;
mod pairs_of_exporter_and_importer_are_as_the_kernel_says;
mod prime_refuses_what_the_table_says;
mod private_memory_is_its_guests_alone;
mod the_examples_run;
mod the_first_prime_export_decides_who_may_write;
mod the_tools_tell_of_real_buffers;
mod two_gpus_drive_four_displays;
mod udmabuf_refuses_what_the_table_says;
mod vfio_refuses_what_the_table_says;

use std::sync::LazyLock;

use crate::benches;
use crate::scenario::Scenario;

/// Every scenario, in the order in which they are listed.
pub static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(|| {
    [
        SINGLE,
        an_answer_equals_the_page_table::SCENARIOS,
        a_guest_maps_as_its_host_does::SCENARIOS,
        exporters_are_as_written_down::SCENARIOS,
        &every_kind_of_blob_is_served_or_refused::SCENARIOS,
    ]
    .concat()
});

const SINGLE: &[Scenario] = &[
    a_machine_boots_with_real_exporters::SCENARIO,
    every_exporter_of_a_host_is_probed::SCENARIO,
    memory_moves_and_goes_on_real_exporters::SCENARIO,
    memory_moves_between_nodes::SCENARIO,
    a_hostile_tenant_gets_no_more_than_its_due::SCENARIO,
    every_dma_buf_is_listed::SCENARIO,
    the_tools_tell_of_real_buffers::SCENARIO,
    an_ordinary_user_is_told_that_exporters_are_off_limits::SCENARIO,
    a_partial_mapping_of_shmem_gem_shows_the_wrong_page::SCENARIO,
    a_hole_punched_under_a_udmabuf_splits_it::SCENARIO,
    the_first_prime_export_decides_who_may_write::SCENARIO,
    a_dma_buf_is_not_populated_but_touched::SCENARIO,
    a_gem_handle_closes_with_its_last_share::SCENARIO,
    a_buffer_that_comes_back_is_itself::SCENARIO,
    an_exporter_goes_while_its_buffer_is_mapped::SCENARIO,
    a_forwarded_mapping_has_the_caching_that_was_asked::SCENARIO,
    the_examples_run::SCENARIO,
    a_dropped_bracket_loses_bytes::SCENARIO,
    fences_hold_a_bracket_back::SCENARIO,
    a_udmabuf_past_its_limits_is_refused::SCENARIO,
    udmabuf_refuses_what_the_table_says::SCENARIO,
    heaps_and_sync_files_refuse_what_the_table_says::SCENARIO,
    prime_refuses_what_the_table_says::SCENARIO,
    vfio_refuses_what_the_table_says::SCENARIO,
    device_memory_goes_with_its_importers_told::SCENARIO,
    devices_reach_what_was_negotiated::SCENARIO,
    devices_reach_what_was_negotiated::IOMMUFD,
    kvm_slots_are_refused_as_the_table_says::SCENARIO,
    a_guest_loses_no_write_while_its_memory_moves::SCENARIO,
    a_guest_loses_no_write_while_its_memory_moves::LONG[0],
    a_guest_loses_no_write_while_its_memory_moves::LONG[1],
    a_guest_outlives_the_revocation_of_its_memory::SCENARIO,
    private_memory_is_its_guests_alone::SCENARIO,
    dirty_pages_are_those_that_the_guest_wrote::SCENARIO,
    blobs_are_refused_as_the_table_says::SCENARIO,
    a_guest_reaches_a_program_beside_it::SCENARIO,
    a_nested_guest_boots_under_kvm::SCENARIO,
    a_stock_guest_shows_a_picture_on_our_device::SCENARIO,
    a_console_of_a_stock_guest_is_in_the_screenshot::SCENARIO,
    a_host_blob_is_the_same_bytes_on_both_sides::SCENARIO,
    hundreds_of_blobs_live_at_once_and_leave_nothing::SCENARIO,
    cycles_of_a_blob_leave_nothing_behind::SCENARIO,
    a_driver_comes_and_goes::SCENARIO,
    a_driver_goes_while_a_blob_is_mapped::SCENARIO,
    a_guest_finds_zeroes_where_memory_was_taken_away::SCENARIO,
    a_guest_restarts_under_its_blobs::SCENARIO,
    a_gpu_is_unplugged_and_plugged_in_again::SCENARIO,
    two_gpus_drive_four_displays::SCENARIO,
    a_vm_survives_its_daemon::SCENARIO,
    a_daemon_is_restarted_again_and_again::SCENARIO,
    a_paused_vm_goes_on_where_it_was::SCENARIO,
    a_hostile_driver_gets_exact_answers::SCENARIO,
    foreign_buffers_are_shown_in_place::SCENARIO,
    pairs_of_exporter_and_importer_are_as_the_kernel_says::SCENARIO,
    a_dma_buf_of_the_host_is_a_blob_under_kvm::SCENARIO,
    fences_wait_for_work_on_the_host::SCENARIO,
    a_crash_is_a_failure::SCENARIO,
    a_hang_is_a_failure::SCENARIO,
    a_kernel_panic_is_a_failure::SCENARIO,
    a_killed_machine_is_a_failure::SCENARIO,
];

/// The scenario, or the measurement, called `name`.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scenario> {
    let all = ALL.iter().chain(benches::ALL);
    all.into_iter().find(|scenario| scenario.name == name)
}
