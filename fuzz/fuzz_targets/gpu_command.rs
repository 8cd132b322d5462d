//! What a guest can put on a virtio-gpu queue: parsing never panics, and what
//! parses survives encoding unchanged, in no more bytes than came in.

#![no_main]

use landbridge_protocol_gpu::{Command, HEADER_SIZE, Request, Response};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Request::parse(bytes) {
        Ok(request) => {
            let again = request.encode();
            assert!(again.len() <= bytes.len());
            assert_eq!(Request::parse(&again).as_ref(), Ok(&request));
            assert_eq!(Command::parse(bytes).as_ref(), Ok(&request.command));
        }
        Err(bad) => {
            assert_eq!(Command::parse(bytes).as_ref(), Err(&bad.error));
            // A device can answer, and the driver understands it.
            let reply = Response::from(&bad.error).encode(&bad.header);
            assert_eq!(reply.len(), HEADER_SIZE);
            let (echo, response) = Response::parse(&reply).expect("our own answer");
            assert_eq!(echo, bad.header.reply());
            assert_eq!(response, Response::Error(bad.error.code()));
        }
    }
});
