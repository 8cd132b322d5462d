//! What is encoded comes back; what arrives cut off or as garbage is refused
//! and breaks nothing.

mod strategies;

use std::collections::HashSet;

use landbridge_protocol_gpu::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

proptest! {
    #[test]
    fn commands_come_back(header in strategies::header(), command in strategies::command()) {
        let bytes = command.encode(&header);
        prop_assert_eq!(Command::parse(&bytes), Ok(command.clone()));
        let request = Request::parse(&bytes);
        prop_assert_eq!(request, Ok(Request { header, command }));
    }

    #[test]
    fn bytes_past_a_command_mean_nothing(
        command in strategies::command(),
        extra in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut bytes = command.encode(&ControlHeader::default());
        bytes.extend(extra);
        prop_assert_eq!(Command::parse(&bytes), Ok(command));
    }

    #[test]
    fn a_cut_command_is_refused_with_its_header(
        header in strategies::header(),
        command in strategies::command(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = command.encode(&header);
        let cut = &bytes[..cut.index(bytes.len())];
        let bad = Request::parse(cut).unwrap_err();
        let expected = if cut.len() < HEADER_SIZE { ControlHeader::default() } else { header };
        prop_assert_eq!(bad.header, expected);
        prop_assert_eq!(bad.error.code(), ErrorCode::InvalidParameter);
    }

    #[test]
    fn garbage_commands_break_nothing(
        kind in prop::sample::select(CommandKind::ALL),
        body in prop::collection::vec(any::<u8>(), 20..200),
    ) {
        let bytes = [&kind.code().to_le_bytes(), &body[..]].concat();
        if let Ok(request) = Request::parse(&bytes) {
            prop_assert_eq!(request.command.kind(), kind);
            let again = request.encode();
            prop_assert!(again.len() <= bytes.len());
            prop_assert_eq!(Request::parse(&again), Ok(request));
        }
    }

    #[test]
    fn responses_come_back_with_the_fence(
        request in strategies::header(),
        response in strategies::response(),
    ) {
        let bytes = response.encode(&request);
        prop_assert_eq!(Response::parse(&bytes), Ok((request.reply(), response)));
    }

    #[test]
    fn a_cut_response_is_refused(
        response in strategies::response(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = response.encode(&ControlHeader::default());
        let cut = &bytes[..cut.index(bytes.len())];
        let parsed = Response::parse(cut);
        if let (Response::OkCapset(whole), true) = (&response, cut.len() >= HEADER_SIZE) {
            // Only the queue knows how long a capset is.
            let part = whole[..cut.len() - HEADER_SIZE].to_vec();
            prop_assert_eq!(parsed.unwrap().1, Response::OkCapset(part));
        } else {
            let too_short = matches!(parsed, Err(ParseError::TooShort { .. }));
            prop_assert!(too_short);
        }
    }

    #[test]
    fn garbage_responses_break_nothing(
        kind in prop_oneof![0x1100u32..0x1108, 0x1200u32..0x1208],
        body in prop::collection::vec(any::<u8>(), 20..1100),
    ) {
        let bytes = [&kind.to_le_bytes(), &body[..]].concat();
        if let Ok((header, response)) = Response::parse(&bytes) {
            let again = response.encode(&header);
            prop_assert_eq!(Response::parse(&again), Ok((header.reply(), response)));
        }
    }
}

/// The properties above are worth what their strategies cover.
#[test]
fn strategies_cover_everything() {
    let mut runner = TestRunner::deterministic();
    let commands: HashSet<_> = (0..2000)
        .map(|_| {
            strategies::command()
                .new_tree(&mut runner)
                .unwrap()
                .current()
                .kind()
        })
        .collect();
    assert_eq!(commands.len(), CommandKind::ALL.len());
    let responses: HashSet<_> = (0..2000)
        .map(|_| {
            strategies::response()
                .new_tree(&mut runner)
                .unwrap()
                .current()
                .code()
        })
        .collect();
    assert_eq!(
        responses.len(),
        ResponseKind::ALL.len() + ErrorCode::ALL.len()
    );
}
