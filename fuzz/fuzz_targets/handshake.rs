//! Any bytes as what proxies and token servers answer before the first request: it is done, or it is refused.
//!
//! The first byte of the input chooses: CONNECT in pieces of the length that the second byte says, SOCKS 5 without and with a
//! password, or a token, which no error may repeat.
//!
//! ```text
//! RUSTC_BOOTSTRAP=1 cargo fuzz run handshake -- -max_total_time=300 -max_len=1024
//! ```

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemark_ingest::handshake::connect::ConnectAnswer;
use tidemark_ingest::handshake::socks::Socks;
use tidemark_ingest::handshake::token;

fn connect(answer: &[u8], piece: usize) -> Result<bool, String> {
    let (mut connect, mut done) = (ConnectAnswer::default(), false);
    for some in answer.chunks(piece) {
        if done {
            return Ok(true);
        }
        done = connect.take(some)?;
    }
    Ok(done)
}

fn socks(login: Option<(&str, &str)>, mut answers: &[u8]) {
    let mut socks = Socks::new(login, "host", 443).expect("short texts");
    let mut step = socks.begin();
    let mut steps = 0;
    while step.answer_bytes > 0 {
        let Some((answer, rest)) = answers.split_at_checked(step.answer_bytes) else { return };
        answers = rest;
        steps += 1;
        assert!(steps <= 5 && step.answer_bytes <= 255 + 2);
        match socks.answered(answer) {
            Ok(next) => step = next,
            Err(error) => return assert!(!error.contains("password1")),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let [which, rest @ ..] = bytes else { return };
    match which % 4 {
        0 => {
            let Some((&piece, answer)) = rest.split_first() else { return };
            let whole = connect(answer, answer.len().max(1));
            let pieces = connect(answer, usize::from(piece).max(1));
            // In pieces it may be done before what follows has come; otherwise it comes to the same.
            assert!(whole == pieces || pieces == Ok(true), "{whole:?} {pieces:?}");
        }
        1 => socks(None, rest),
        2 => socks(Some(("user", "password1")), rest),
        _ => {
            if let Err(error) = token::read(rest) {
                assert!(error.len() < 60 && !error.contains('"'));
            }
        }
    }
});
