//! What a device can answer: parsing never panics, and what parses survives
//! encoding unchanged but for header fields that mean nothing without a fence.

#![no_main]

use landbridge_protocol_gpu::Response;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((header, response)) = Response::parse(bytes) {
        let again = response.encode(&header);
        assert!(again.len() <= bytes.len());
        assert_eq!(Response::parse(&again), Ok((header.reply(), response)));
    }
});
